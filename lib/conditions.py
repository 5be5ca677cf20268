"""The jobs of an evaluation: one for each condition, each giving the scores of one task or of several that share images."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lib.degrade.attacks import RECIPES, attack
from lib.degrade.corruptions import corrupt
from lib.probes.features import to_float
from lib.probes.task import Task

DRAW_SEED = 0  # of corruptions and random starts: the same for every encoder and training seed


@dataclass(frozen=True)
class Job:
    """``run()`` gives for each of ``tasks`` its scores [n,...]; ``cost`` is in forward passes of one image."""

    tasks: Sequence[Task]
    family: str
    condition: str
    severity: float
    cost: int
    run: Callable[[], list[np.ndarray]]

    @property
    def name(self) -> str:
        """What no other job of the evaluation is called; fit for a file name."""
        tasks = "+".join(task.name for task in self.tasks)
        return f"{self.tasks[0].table.name}-{tasks}-{self.family}-{self.condition}-{self.severity:g}"


def corruption_jobs(tasks: Sequence[Task], names: Sequence[str], severities: Sequence[int], batch_size: int,
                    device) -> Iterator[Job]:
    """One job for each corruption and severity of the tasks of *one* table: each image is corrupted and embedded once."""
    rows = torch.unique(torch.cat([task.rows for task in tasks]))
    places = [torch.searchsorted(rows, task.rows).to(device) for task in tasks]
    table, encoder = tasks[0].table, tasks[0].encoder

    @torch.no_grad()
    def run(name: str, severity: int) -> list[np.ndarray]:
        generator = generator_for(device, table.name, name, severity)
        features = torch.cat([
            encoder(corrupt(to_float(table.images(part), device), name, severity, generator))
            for part in rows.split(batch_size)
        ])
        scores = [task.head(features[place], torch.arange(len(task), device=device)) for task, place in zip(tasks, places)]
        return [to_numpy(s) for s in scores]

    for name in names:
        for severity in severities:
            yield Job(tasks, "corruption", name, severity, len(rows), lambda n=name, s=severity: run(n, s))


def attack_jobs(task: Task, names: Sequence[str], eps: float, alpha: float, steps: int, sweep: Sequence[float],
                items: int, batch_size: int, device) -> Iterator[Job]:
    """Each attack on the first ``items`` test items, then pgd at the ``sweep`` budgets.

    ``eps``, ``alpha`` and ``sweep`` are in 255ths. A sweep's step size is alpha * its eps / eps, so that a larger ball
    can be crossed in the same number of steps.
    """
    chosen = torch.arange(min(items, len(task)), device=device)

    def run(family: str, name: str, budget: float) -> list[np.ndarray]:
        generator = generator_for(device, task.table.name, task.name, family, name, budget)
        scores = []
        for part in chosen.split(batch_size):
            model = task.scores_fn(part)
            images = to_float(task.table.images(task.rows[part.cpu()]), device)
            attacked = attack(name, model, images, task.labels[part], task.loss_fn, eps=budget / 255,
                              alpha=alpha * budget / eps / 255, steps=steps, generator=generator)
            with torch.no_grad():
                scores.append(model(attacked))
        return [to_numpy(torch.cat(scores))]

    for name in names:
        yield Job([task], "attack", name, 0, _passes(name, steps) * len(chosen), lambda n=name: run("attack", n, eps))
    for budget in sorted(sweep):
        yield Job([task], "sweep", "pgd", budget, _passes("pgd", steps) * len(chosen), lambda b=budget: run("sweep", "pgd", b))


def generator_for(device, *key) -> torch.Generator:
    """A generator on ``device`` whose draws depend on what they are for and on nothing else."""
    digest = hashlib.sha256(repr((DRAW_SEED, *key)).encode()).digest()
    return torch.Generator(device=device).manual_seed(int.from_bytes(digest[:7], "big"))


def to_numpy(scores: Tensor) -> np.ndarray:
    """Scores for the tally; an error if one is not finite: NaN would count as a wrong answer without a word."""
    scores = scores.float().cpu().numpy()
    if not np.isfinite(scores).all():
        raise ValueError("the model gave scores that are not finite under this condition")
    return scores


def _passes(name: str, steps: int) -> int:
    """Cost of an attack in forward passes; to go back to the pixels costs about one more."""
    recipe = RECIPES[name]
    return 2 * recipe.samples * recipe.scales * (1 if recipe.single_step else steps)
