"""The jobs of an evaluation: each measures one condition, for one task or for several that share images."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lib.degrade.attacks import attack
from lib.degrade.corruptions import corrupt
from lib.degrade.draws import derive
from lib.degrade.masking import Suspect
from lib.degrade.recipes import RECIPES
from lib.files import write_aside
from lib.kept import digest, source_of
from lib.probes.features import to_float
from lib.probes.task import Task

# what corrupted images depend on
CORRUPTION_CODE = (
    "conditions.py", "kept.py", *(f"degrade/{name}.py" for name in (
        "corruptions", "levels", "separable", "noise", "blur", "weather", "digital", "elastic", "jpeg", "occluders", "spatter", "video",
    )),
)  # fmt: skip
RESTARTS = 5  # of pgd, in the checks for masked gradients
DRAW_SEED = 0  # of corruptions and random starts: the same for every encoder and training seed


@dataclass(frozen=True)
class Cell:
    """One condition of one task; ``severity`` as in :class:`lib.results.Result`."""

    task: Task
    family: str
    condition: str
    severity: float


@dataclass(frozen=True)
class Job:
    """``run()`` gives scores [n,...] of each cell. ``cost`` counts forward passes of images, ``name`` is unique."""

    name: str
    cells: Sequence[Cell]
    cost: int
    run: Callable[[], list[np.ndarray]]


def corruption_jobs(
    tasks: Sequence[Task],
    names: Sequence[str],
    severities: Sequence[int],
    batch_size: int,
    device,
    shared: Path | None = None,
    rows: Tensor | None = None,
) -> Iterator[Job]:
    """One job for each corruption and severity of tasks of *one* table and encoder: each image is corrupted and embedded once.

    ``rows``: the images to corrupt, those of the tasks among them; None: those of the tasks. What is drawn depends on it, so the
    tasks of another encoder (a fine-tuned one) see the same corrupted images if they have the same ``rows``.

    Corrupted images are rounded to 8 bits, as an image file would hold them. What is worn is put where the table's
    landmarks are; an image whose landmarks are not all known has it in the usual place. With ``shared`` they are kept in that
    folder, where the evaluation of the next encoder finds them. Batch after batch goes through, so memory holds one.
    """
    rows = torch.unique(torch.cat([task.rows for task in tasks])) if rows is None else torch.unique(rows)
    places = [torch.searchsorted(rows, task.rows).to(device) for task in tasks]
    table, encoder = tasks[0].table, tasks[0].encoder
    if any(task.table is not table or task.encoder is not encoder for task in tasks):
        raise ValueError(f"tasks: expected those of one table and one encoder, got {', '.join(task.name for task in tasks)}")
    label = "-".join([table.name, *(task.name for task in tasks if task.name.endswith("_finetuned"))])
    landmarks = torch.as_tensor(table.column("landmarks")) if "landmarks" in table.columns else None

    def corrupted(name: str, severity: int) -> Iterator[Tensor]:
        """Batch after batch, uint8 on the CPU."""
        generator = generator_for(device, table.name, name, severity)
        for part in rows.split(batch_size):
            places = landmarks if landmarks is None else landmarks[part].to(device).float()
            images = corrupt(to_float(table.images(part), device), name, severity, generator, places)
            yield images.mul(255).round().byte().cpu()

    def kept(folder: Path, name: str, severity: int) -> Iterator[Tensor]:
        """The same batches, out of a file that is written first if it is not there."""
        path = folder / table.name / key / f"{name}-{severity}.npy"
        if not path.exists():
            for other in (folder / table.name).glob("*"):
                if other.name != key:  # of other code or images: nobody will ask for them again
                    shutil.rmtree(other, ignore_errors=True)
            with write_aside(path) as aside, open(aside, "wb") as file:
                for images in corrupted(name, severity):
                    if not file.tell():
                        about = {"descr": "|u1", "fortran_order": False, "shape": (len(rows), *images.shape[1:])}
                        np.lib.format.write_array_header_1_0(file, about)
                    file.write(images.numpy().tobytes())
        file = np.load(path, mmap_mode="r")
        for start in range(0, len(rows), batch_size):
            yield torch.from_numpy(file[start : start + batch_size].copy())

    @torch.no_grad()
    def run(name: str, severity: int) -> list[np.ndarray]:
        found: list[np.ndarray | None] = [None] * len(tasks)
        start = 0
        for images in kept(shared, name, severity) if shared else corrupted(name, severity):
            features = encoder(to_float(images, device))
            for number, (task, place) in enumerate(zip(tasks, places)):
                items = ((place >= start) & (place < start + len(images))).nonzero()[:, 0]  # that show images of this batch
                if not len(items):
                    continue
                scores = to_numpy(task.head(features[place[items] - start], items))
                if found[number] is None:
                    found[number] = np.empty((len(task), *scores.shape[1:]), scores.dtype)
                found[number][items.cpu().numpy()] = scores
            start += len(images)
        return found

    if shared:
        key = digest(
            table.name, torch.device(device).type, batch_size, torch.__version__,
            np.array([]) if landmarks is None else landmarks[rows].numpy(), *source_of(*CORRUPTION_CODE),
            (table.images(part).numpy() for part in rows.split(batch_size)),  # a batch at a time
        )
    for name in names:
        for severity in severities:
            cells = [Cell(task, "corruption", name, severity) for task in tasks]
            yield Job(f"{label}-{name}-{severity}", cells, len(rows), lambda n=name, s=severity: run(n, s))


def attack_jobs(
    task: Task,
    names: Sequence[str],
    eps: float,
    alpha: float,
    steps: int,
    sweep: Sequence[float],
    items: int,
    batch_size: int,
    device,
) -> Iterator[Job]:
    """Each attack on the first ``items`` test items, then pgd at the ``sweep`` budgets.

    Attacks are made on ``task.made_on`` where there is one; its images are then those of that task's own attacks.
    ``eps``, ``alpha`` and ``sweep`` are in 255ths. The step of a sweep grows with its eps, so that a larger ball can be
    crossed in the same number of steps.
    """

    def run(cell: Cell, budget: float) -> list[np.ndarray]:
        scores, source = [], task.made_on or task
        for part, images in items_in_batches(task, items, batch_size, device):
            model = source.scores_fn(part)
            attacked = attack(
                with_one_sample(cell.condition, model, images),
                model,
                images,
                source.labels[part],
                source.loss_fn,
                eps=budget / 255,
                alpha=alpha * budget / eps / 255,
                steps=steps,
                seeds=seeds_for(part, task.table.name, source.name, cell.family, cell.condition, budget),
            )
            with torch.no_grad():
                scores.append(task.scores_fn(part)(attacked))
        return [to_numpy(torch.cat(scores))]

    planned: dict[object, list[Cell]] = {}
    for name in names:
        recipe = RECIPES[name]
        drawn = recipe.random_start or recipe.diverse
        # without draws one recipe is one attack, whatever its names (upgd is mifgsm): it is made once
        planned.setdefault(name if drawn else recipe, []).append(Cell(task, "attack", name, 0))
    jobs = [(cells, eps) for cells in planned.values()]
    jobs += [([Cell(task, "sweep", "pgd", budget)], budget) for budget in sorted(sweep)]
    for cells, budget in jobs:
        first = cells[0]
        name = f"{task.table.name}-{task.name}-{first.family}-{first.condition}-{budget:g}"
        cost = passes(first.condition, steps) * min(items, len(task))
        yield Job(name, cells, cost, lambda c=first, b=budget, n=len(cells): run(c, b) * n)


def check_jobs(
    task: Task,
    surrogates: Mapping[str, Task],
    eps: float,
    alpha: float,
    steps: Sequence[int],
    queries: int,
    items: int,
    batch_size: int,
    device,
) -> Iterator[Job]:
    """Is the gradient masked? (see :mod:`lib.degrade.masking`) Measured on the first ``items`` test items:

    pgd after each number of ``steps`` (the severity), of which the longest is also the 'white_box' score. None of these
    may be below it: 'gradient_free', a random search of ``queries`` passes; 'noise', random signs of size eps;
    'transfer_<name>', pgd made on the same task of another encoder, after max(steps). 'restarts', the best of as many
    random starts of pgd as the severity says, of median(steps) steps, may be lower, but not by much.
    """
    longest, middle = max(steps), sorted(steps)[len(steps) // 2]

    def scores(make: Callable[[Suspect], Iterator[Tensor]], made_on: Task, purpose: str) -> list[np.ndarray]:
        """The task's scores of each of the images [B,3,H,W] that ``make`` yields, made on the model of ``made_on``."""
        found: list[list[Tensor]] = []
        for part, images in items_in_batches(task, items, batch_size, device):
            seeds = seeds_for(part, task.table.name, task.name, "check", purpose)
            model, labels = made_on.scores_fn(part), task.labels[part]
            suspect = Suspect(model, images, labels, task.loss_fn, seeds, eps / 255, alpha / 255)
            with torch.enable_grad():
                made = list(make(suspect))
            with torch.no_grad():
                found.append([task.scores_fn(part)(point) for point in made])
        return [to_numpy(torch.cat(one)) for one in zip(*found, strict=True)]

    def by_steps(suspect: Suspect) -> Iterator[Tensor]:
        points = [point for _, point in suspect.after_steps(steps)]
        return iter([*points, points[-1]])  # the longest once more, as the white box

    def by_restarts(suspect: Suspect) -> Iterator[Tensor]:
        return (point for _, point in suspect.after_restarts(RESTARTS, middle))

    def longest_only(suspect: Suspect) -> Iterator[Tensor]:
        return (point for _, point in suspect.after_steps([longest]))

    for name, surrogate in surrogates.items():
        if not torch.equal(surrogate.rows, task.rows):
            raise ValueError(f"surrogates: task {task.name} of {name!r} must have the same test items")
    size = min(items, len(task))
    pgd_cells = [Cell(task, "check", "pgd", count) for count in sorted(steps)] + [Cell(task, "check", "white_box", 0)]
    restart_cells = [Cell(task, "check", "restarts", count) for count in range(1, RESTARTS + 1)]
    planned = [
        (pgd_cells, 2 * longest, by_steps, task, "pgd"),
        (restart_cells, RESTARTS * (2 * middle + 1), by_restarts, task, "restarts"),
        ([Cell(task, "check", "gradient_free", 0)], queries, lambda s: iter([s.searched(queries)]), task, "gradient_free"),
        ([Cell(task, "check", "noise", 0)], 1, lambda s: iter([s.shaken()]), task, "noise"),
    ]
    planned += [
        ([Cell(task, "check", f"transfer_{name}", 0)], 2 * longest, longest_only, surrogate, "pgd")
        for name, surrogate in surrogates.items()
    ]
    for cells, cost, make, made_on, purpose in planned:
        name = f"{task.table.name}-{task.name}-check-{cells[-1].condition}"
        yield Job(name, cells, cost * size, lambda m=make, t=made_on, p=purpose: scores(m, t, p))


def with_one_sample(name: str, model: Callable[[Tensor], Tensor], images: Tensor) -> str:
    """The attack that is ``name`` with one gradient a step where it sums several of the same, as eotpgd does, else ``name``.

    A ``model`` that gives these ``images`` the same scores twice is taken for one that draws nothing: it would give the same
    gradients too, and what an attack follows is the sign of their sum. Then eotpgd is pgd, bit for bit where the backward pass is
    deterministic, at half the cost.
    """
    recipe = RECIPES[name]
    twin = next((other for other, one in RECIPES.items() if one == replace(recipe, samples=1)), name)
    if recipe.samples == 1 or recipe.diverse or twin == name:
        return name
    with torch.no_grad():
        return twin if torch.equal(model(images), model(images)) else name


def passes(name: str, steps: int) -> int:
    """Cost of an attack on a model that draws nothing, in forward passes of an image; the way back to the pixels costs about
    one more."""
    recipe = RECIPES[name]
    return 2 * recipe.scales * (1 if recipe.single_step else steps)


def generator_for(device, *purpose) -> torch.Generator:
    """A generator on ``device`` whose draws depend on what they are for and on nothing else."""
    return torch.Generator(device=device).manual_seed(int(digest(DRAW_SEED, *purpose), 16) >> 1)


def seeds_for(items: Tensor, *purpose) -> Tensor:
    """[B] long: seeds of the test items [B] whose draws depend on the item and on what they are for alone."""
    return derive(items, int(digest(DRAW_SEED, *purpose), 16))


def to_numpy(scores: Tensor) -> np.ndarray:
    """Scores for the tally; an error if one is not finite: NaN would count as a wrong answer without a word."""
    scores = scores.float().cpu().numpy()
    if not np.isfinite(scores).all():
        raise ValueError("the model gave scores that are not finite under this condition")
    return scores


def items_in_batches(task: Task, items: int, batch_size: int, device) -> Iterator[tuple[Tensor, Tensor]]:
    """The first ``items`` test items in batches: (items [B] long, clean images [B,3,H,W])."""
    for part in torch.arange(min(items, len(task))).split(batch_size):
        yield part.to(device), to_float(task.table.images(task.rows[part]), device)
