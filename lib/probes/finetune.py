"""Full fine-tuning: a copy of the encoder and a head, trained together on labels; no weight is frozen.

Three readings of one run, so that the published habit can be told from honest numbers: the last epoch, the epoch that is best
on held-out people (whose weights the evaluation goes on with), and the epoch that is best on the test images.

References:
    [1] SSL-FER (BMVC 2022), its code for AffectNet ('affectnet'): Adam 1e-4, weight decay 5e-4, batch 64, 20 epochs, cosine
        per step to 0, balanced softmax. It chooses the epoch by macro F1 on the very images that it reports on.
    [2] github.com/usef-kh/fer ('fer2013'): SGD with Nesterov momentum, the rate times 0.75 after 5 epochs without gain, ten
        crops.

Where the recipes differ from these:

- both: images as lib.prepare made them, aligned where landmarks are known; one sampling or colour step may stand where the
  published code has several on 8-bit images;
- affectnet: which part (an eye or the mouth) is covered is drawn for each image and step, not once for a run; faces without
  landmarks stay uncovered; brightness, contrast, saturation and hue change in this order, not in a random one; the head has
  no ReLU before its first layer (see lib.models.finetuned);
- fer2013: shift and rotation are bilinear, not nearest; pixels are normalised as the encoder was trained, not by FER2013's
  mean and deviation.
"""

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor, nn

from lib.conditions import generator_for, to_numpy
from lib.files import write_aside
from lib.loading import ahead, read
from lib.models.finetuned import FineTuned
from lib.probes.augment import Augmentation, augmented
from lib.probes.features import to_float
from lib.progress import Progress


class FineTuningError(RuntimeError):
    """Fine-tuning cannot go on; the message says why and what to try."""


@dataclass(frozen=True)
class Recipe:
    """How to fine-tune.

    Attributes:
        optimizer: 'adam', or 'sgd' with Nesterov momentum 0.9.
        learning_rate, weight_decay: weight_decay is an L2 penalty, as both optimisers of torch have it.
        batch_size, epochs: what does not fill a batch at the end of an epoch is left out.
        plateau: False: the rate falls to 0 as a cosine, step by step; True: it is multiplied by 0.75 when the score on the
            held-out people has not risen for more than 5 epochs.
        balanced: expressions by balanced softmax with the counts of the training images; False: plain cross-entropy.
        crop: share of the side of the ten crops whose scores are averaged at test time; 0: the image as it is.
        augmentation: of the training images.
    """

    optimizer: str = "adam"
    learning_rate: float = 1e-4
    weight_decay: float = 5e-4
    batch_size: int = 64
    epochs: int = 20
    plateau: bool = False
    balanced: bool = True
    crop: float = 0.0
    augmentation: Augmentation = field(default_factory=Augmentation)


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "affectnet": Recipe(augmentation=Augmentation(hue=0.2, mask=0.8)),
        "fer2013": Recipe(
            optimizer="sgd", learning_rate=0.01, weight_decay=1e-4, epochs=300, plateau=True, balanced=False, crop=40 / 48,
            augmentation=Augmentation(0.0, 0.0, 0.0, crop=0.8, rotation=10.0, shift=0.2, corner=40 / 48, erasing=0.5),
        ),
        # our choice, for a thousand faces of 32 px in a minute. The published steps are too few and the views too strong for that
        # (a blur of 1 px hides there what 3 px would at 112 px). Larger steps carry predictions of valence and arousal so far off
        # that the CCC has no slope any more.
        "demo": Recipe(learning_rate=5e-4, batch_size=32, epochs=12, augmentation=Augmentation(0.2, grey=0.0, blur=0.0)),
    }
)  # fmt: skip
PLATEAU_FACTOR, PLATEAU_PATIENCE = 0.75, 5
MOMENTUM = 0.9


@dataclass(frozen=True)
class Goal:
    """What is learned.

    Attributes:
        outputs: classes, or dimensions.
        labels: of every image of the table, on the device; what is not known is not looked at.
        loss: (scores [B,outputs], labels [B,...]) -> scalar to be lowered.
        score: (scores [n,outputs], labels [n,...]), numpy -> number by which epochs are chosen, higher is better.
    """

    outputs: int
    labels: Tensor
    loss: Callable[[Tensor, Tensor], Tensor]
    score: Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        model: with the weights of the epoch that is best on the held-out people; eval mode, no gradients to its parameters.
        last, best_on_test: scores [N,outputs] of the test images after the last epoch, and after the one that is best on them.
        history: a row an epoch: epoch, lr, loss, validation, test (the goal's score).
    """

    model: FineTuned
    last: np.ndarray
    best_on_test: np.ndarray
    history: list[dict]


def finetune(
    encoder: nn.Module,
    table,
    goal: Goal,
    rows: tuple[np.ndarray, np.ndarray, np.ndarray],
    recipe: Recipe,
    *,
    seed: int,
    batch_size: int,
    device: torch.device | str,
    label: str,
    checkpoint: Path | None = None,
    progress: Callable[..., Progress] = Progress,
) -> Run:
    """Fine-tune a copy of ``encoder``, which is left as it was.

    Everything drawn depends on (seed, label, step) alone. After each epoch the whole state goes into ``checkpoint``: a killed
    run goes on from there and ends with the same numbers; a finished one is read back.

    Args:
        encoder: images [B,3,H,W] in [0,1] -> features [B,D], on ``device``.
        rows: images of ``table`` to fit on, to choose the epoch by, and to test on.
        batch_size: images that go through at once when scoring. label: what progress lines say, and what draws belong to.
    Raises:
        ValueError: fewer than 2 images to fit on. FineTuningError: a loss that is not finite.
    """
    fit, validation, test = (torch.as_tensor(part) for part in rows)
    if len(fit) < 2 or not len(validation) or not len(test):
        raise ValueError(
            f"rows: expected at least 2 images to fit on, 1 to choose by and 1 to test on, got {[len(part) for part in rows]}"
        )
    device = torch.device(device)
    batch = min(recipe.batch_size, len(fit))
    steps = len(fit) // batch
    with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.enable_grad():
        seed_all(generator_for("cpu", seed, label, "weights"))
        model = fresh_model(encoder, table, goal.outputs, recipe, device)
        optimizer, plateau = optimizer_of(model, recipe)
        state = {"epoch": 0, "history": [], "chosen": None, "last": None, "best_on_test": None}
        if checkpoint is not None and checkpoint.exists():
            state = restored(checkpoint, model, optimizer, plateau, device)
        meter = progress(steps * recipe.epochs, label, start=steps * state["epoch"])
        for epoch in range(state["epoch"], recipe.epochs):
            order = fit[torch.randperm(len(fit), generator=generator_for("cpu", seed, label, "order", epoch))]
            model.train()
            total = 0.0
            batches = ahead(lambda part: (part, read(table, part, device)), order.split(batch)[:steps])
            for step, (part, found) in enumerate(batches, start=epoch * steps):
                seed_all(generator_for("cpu", seed, label, "dropout", step))
                if not recipe.plateau:
                    set_rate(optimizer, recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * step / (steps * recipe.epochs))))
                places = table.landmarks(part).to(device) if table.has_landmarks else None
                images = augmented(found.on(device), recipe.augmentation, generator_for(device, seed, label, "views", step), places)
                labels = goal.labels[part.to(device)]
                labels = labels.repeat(len(images) // len(part), *(1,) * (labels.dim() - 1))  # one for each crop
                loss = goal.loss(model(images), labels)
                if not torch.isfinite(loss):
                    raise FineTuningError(
                        f"{label}: the loss is {loss.item()} in step {step}; lower the recipe's learning_rate. Finished epochs"
                        " are kept"
                    )
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                total += loss.item()
                meter.step(1, f"loss {loss.item():.3f}")
            rate = optimizer.param_groups[0]["lr"]
            told, score = {}, {}
            for name, part in (("validation", validation), ("test", test)):
                told[name] = scored(model, table, part, batch_size, device)
                score[name] = goal.score(told[name], to_numpy(goal.labels[part.to(device)]))
            if plateau is not None:
                plateau.step(score["validation"])
            before = state["history"]
            if all(score["validation"] > row["validation"] for row in before):
                state["chosen"] = {name: value.detach().clone() for name, value in model.state_dict().items()}
            if all(score["test"] > row["test"] for row in before):
                state["best_on_test"] = torch.from_numpy(told["test"])
            state["last"] = torch.from_numpy(told["test"])
            state["history"] = [*before, {"epoch": epoch + 1, "lr": rate, "loss": total / steps} | score]
            state["epoch"] = epoch + 1
            if checkpoint is not None:
                keep(checkpoint, state, model, optimizer, plateau)
    model.load_state_dict(state["chosen"])
    model.zero_grad(set_to_none=True)
    return Run(
        model.eval().requires_grad_(False), state["last"].numpy(), state["best_on_test"].numpy(), state["history"]
    )


def fresh_model(encoder: nn.Module, table, outputs: int, recipe: Recipe, device: torch.device) -> FineTuned:
    """A copy of the encoder with a new head, drawn from torch's global state, every weight of it to be trained."""
    encoder = copy.deepcopy(encoder).eval()
    with torch.no_grad():
        dim = encoder(to_float(table.images([0]), device)).shape[1]
    return FineTuned(encoder, dim, outputs, recipe.crop).to(device).requires_grad_(True)


def optimizer_of(model: nn.Module, recipe: Recipe):
    """The recipe's optimiser, and its scheduler where the rate waits for a plateau, else None."""
    if recipe.optimizer == "sgd":
        optimizer = torch.optim.SGD(
            model.parameters(), recipe.learning_rate, momentum=MOMENTUM, weight_decay=recipe.weight_decay, nesterov=True
        )
    elif recipe.optimizer == "adam":
        optimizer = torch.optim.Adam(model.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    else:
        raise ValueError(f"optimizer: expected 'adam' or 'sgd', got {recipe.optimizer!r}")
    if not recipe.plateau:
        return optimizer, None
    return optimizer, torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, "max", factor=PLATEAU_FACTOR, patience=PLATEAU_PATIENCE
    )


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def seed_all(generator: torch.Generator) -> None:
    """Dropout and new weights draw from torch's global state."""
    torch.manual_seed(generator.initial_seed())


@torch.no_grad()
def scored(model: FineTuned, table, rows: Tensor, batch_size: int, device: torch.device) -> np.ndarray:
    """Scores [n,outputs] of the images ``rows``, without augmentation; the model is left in eval mode."""
    model.eval()
    batches = ahead(lambda part: read(table, part, device), rows.split(batch_size))
    return to_numpy(torch.cat([model(found.on(device)) for found in batches]))


def keep(path: Path, state: dict, model: nn.Module, optimizer, plateau) -> None:
    """Write the whole state of a run (whole or not at all)."""
    content = state | {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    content["plateau"] = None if plateau is None else plateau.state_dict()
    with write_aside(path) as aside:
        torch.save(content, aside)


def restored(path: Path, model: nn.Module, optimizer, plateau, device: torch.device) -> dict:
    """The state that ``keep`` wrote; model, optimiser and scheduler are put where they were."""
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # a broken zip, a cut pickle: torch raises many kinds
        raise FineTuningError(f"{path}: the checkpoint is cut short or broken; delete it to start anew") from error
    model.load_state_dict(content.pop("model"))
    optimizer.load_state_dict(content.pop("optimizer"))
    scheduler = content.pop("plateau")
    if plateau is not None:
        plateau.load_state_dict(scheduler)
    return content | {name: content[name].cpu() for name in ("last", "best_on_test")}
