"""What is measured, and on how much: the group ``probe`` of params.yaml."""

from dataclasses import asdict, dataclass, field, replace

from lib.degrade.attacks import ATTACKS
from lib.degrade.corruptions import CORRUPTIONS
from lib.probes.finetune import RECIPES
from lib.probes.finetuned import FINETUNED
from lib.probes.neighbours import BY_NEIGHBOURS
from lib.strong_attacks import Strong

TASKS = ("expression", "action_units", "verification", "valence_arousal")
BESIDE = {**BY_NEIGHBOURS, **FINETUNED}  # further readers of a task's images: name -> its linear probe, which is one of TASKS


@dataclass(frozen=True)
class Attacked:
    """How many images (verification: pairs) of each task are attacked: its first ones, balanced over persons."""

    expression: int = 60
    action_units: int = 60
    verification: int = 60
    valence_arousal: int = 60

    def __post_init__(self):
        for name, value in asdict(self).items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")

    def of(self, task: str) -> int:
        """Whatever stands beside a linear probe is attacked on the same items."""
        return getattr(self, BESIDE.get(task, task))


@dataclass(frozen=True)
class Finetune:
    """How the fine-tuned tasks are trained."""

    recipe: str = "affectnet"  # a key of lib.probes.finetune.RECIPES
    epochs: int = 0  # 0: as many as the recipe says

    def __post_init__(self):
        if self.recipe not in RECIPES:
            raise ValueError(f"recipe must be one of {', '.join(RECIPES)}, got {self.recipe!r}")
        if self.epochs < 0:
            raise ValueError(f"epochs must be at least 1, or 0 for the recipe's, got {self.epochs}")

    @property
    def chosen(self):
        """The recipe with its number of epochs."""
        recipe = RECIPES[self.recipe]
        return replace(recipe, epochs=self.epochs) if self.epochs else recipe


@dataclass(frozen=True)
class ProbeParams:
    """What is measured, and on how much. An empty list of corruptions, attacks, sweep or strong.attacks measures none of them."""

    # of TASKS, and of BESIDE where their linear probe is asked for too ('_finetuned' is expensive: it trains the encoder)
    tasks: list[str] = field(default_factory=lambda: ["expression", "action_units", "verification"])
    images: int = 140  # test images of a data set (clean and corrupted); fewer where it has fewer
    pairs: int = 200  # verification pairs of a data set among these images, a multiple of 20
    attacked: Attacked = field(default_factory=Attacked)  # attacks cost most of the time
    l2: float = 0.03  # penalty of the linear probes of expression, valence and arousal on standardised features
    au_epochs: int = 100  # for which the linear heads of action units are trained, as published; the best on held-out people is kept
    finetune: Finetune = field(default_factory=Finetune)
    corruptions: list[str] = field(default_factory=lambda: list(CORRUPTIONS))  # all types
    severities: list[int] = field(default_factory=lambda: [1, 2, 3, 4, 5])
    # the eight of DAR-SFRL's code
    attacks: list[str] = field(default_factory=lambda: [name for name in ATTACKS if name != "fgsm"])
    eps: float = 8.0  # largest change of a pixel by an attack, in 255ths
    alpha: float = 2.0  # step size of an attack, in 255ths
    steps: int = 10  # of an attack
    sweep: list[int] = field(default_factory=lambda: [2, 16, 64])  # further eps for pgd; alpha grows with eps
    checked: int = 20  # images or pairs of a task on which the checks for masked gradients are made
    # numbers of steps of pgd in these checks; its loss must rise with them
    check_steps: list[int] = field(default_factory=lambda: [1, 2, 5, 10, 20, 50])
    queries: int = 300  # passes of the gradient-free attack
    strong: Strong = field(default_factory=Strong)  # further attacks, beside the checks
    resamples: int = 2000  # bootstrap draws of an interval
    batch_size: int = 128  # images that go through the encoder at once

    def __post_init__(self):
        for name in ("images", "au_epochs", "steps", "checked", "queries", "resamples", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.pairs < 20 or self.pairs % 20:
            raise ValueError(f"pairs must be a positive multiple of 20 (10 folds, half genuine), got {self.pairs}")
        for name in ("l2", "eps", "alpha"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        known_names = (
            ("tasks", (*TASKS, *BESIDE)), ("corruptions", CORRUPTIONS), ("attacks", ATTACKS), ("severities", (1, 2, 3, 4, 5)),
        )  # fmt: skip
        for name, known in known_names:
            values = getattr(self, name)
            unknown = [v for v in values if v not in known]
            if unknown:
                raise ValueError(
                    f"{name} must be among {', '.join(map(str, known))}, got {', '.join(map(str, unknown))}"
                )
        for name in ("tasks", "corruptions", "attacks", "severities", "sweep", "check_steps"):
            if len(set(getattr(self, name))) != len(getattr(self, name)):
                raise ValueError(f"{name} must hold each entry once, got {getattr(self, name)}")
        if not self.tasks:
            raise ValueError("tasks must not be empty")
        for name, base in BESIDE.items():
            if name in self.tasks and base not in self.tasks:
                raise ValueError(f"tasks must hold {base} where {name} is: its linear probe stands beside it and attacks it")
        if self.corruptions and not self.severities:
            raise ValueError("severities must not be empty while there are corruptions")
        if not self.check_steps or min(self.check_steps) < 1:
            raise ValueError(f"check_steps must hold numbers of steps >= 1, got {self.check_steps}")
        if max([self.eps, self.alpha, *self.sweep]) > 255:
            got = f"{self.eps:g}, {self.alpha:g} and {self.sweep}"
            raise ValueError(f"eps, alpha and sweep are in 255ths of the pixels' range, so at most 255, got {got}")
        if any(eps <= 0 for eps in self.sweep) or self.eps in self.sweep:
            raise ValueError(
                f"sweep must hold positive eps other than eps = {self.eps:g} (it is there anyway), got {self.sweep}"
            )
