"""The strongest attacks of an evaluation: beyond the published eight, on fewer items.

    apgd        Auto-PGD on the task's own loss: no step size that could be badly chosen
    autoattack  APGD, APGD-T, FAB-T and Square one after the other; where the task has classes (expression, fine-tuned too)
    ssp         without labels and without the probe: away from the clean features, as far as they go
    m_blur, m_gain, m_occluder  on M instead of eps: the worst blur, gain, occluder within its bounds, eps = 0

The three parts of M are searched apart: together they leave nothing of any encoder here, which tells none from another. All
go through the whole model but ssp, which ends at the features.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor

from lib.conditions import Cell, Job, items_in_batches, seeds_for, to_numpy
from lib.degrade.apgd import apgd
from lib.degrade.attacks import attack
from lib.degrade.autoattack import autoattack
from lib.degrade.objectives import away, summed
from lib.degrade.structured import Bounds, structured_attack
from lib.probes.task import Task

PARTS_OF_M = {
    "m_blur": Bounds(kernel=5, spread=0.7, gain=0, square=0),
    "m_gain": Bounds(kernel=1, spread=0, gain=0.3, square=0),
    "m_occluder": Bounds(kernel=1, spread=0, gain=0, square=0.2),
}
STRONG = ("apgd", "autoattack", "ssp", *PARTS_OF_M)


@dataclass(frozen=True)
class Strong:
    """Which of them, on how many of a task's first items, how long."""

    attacks: list[str] = field(default_factory=lambda: list(STRONG))
    items: int = 40
    steps: int = 20  # of apgd, ssp and the attacks on M, and of each part of autoattack
    queries: int = 200  # of autoattack's random search

    def __post_init__(self):
        if unknown := [name for name in self.attacks if name not in STRONG]:
            raise ValueError(f"attacks must be among {', '.join(STRONG)}, got {', '.join(map(str, unknown))}")
        if len(set(self.attacks)) != len(self.attacks):
            raise ValueError(f"attacks must hold each entry once, got {self.attacks}")
        for name in ("items", "steps", "queries"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


def strong_jobs(task: Task, strong: Strong, eps: float, batch_size: int, device) -> Iterator[Job]:
    """One job an attack; ``eps`` in 255ths. Of AutoAttack a job there is only where the scores are logits of classes."""
    cost = {
        "apgd": 2 * strong.steps,
        "autoattack": 2 * strong.steps * (1 + 2 * ((task.classes or 1) - 1)) + strong.queries,
        "ssp": 2 * strong.steps,
        **dict.fromkeys(PARTS_OF_M, 2 * 2 * strong.steps),
    }

    def run(name: str) -> list[np.ndarray]:
        scores = []
        for part, images in items_in_batches(task, strong.items, batch_size, device):
            seeds = seeds_for(part, task.table.name, task.name, "strong", name)
            attacked = ATTACK[name](task, images, part, eps / 255, strong, seeds)
            with torch.no_grad():
                scores.append(task.scores_fn(part)(attacked))
        return [to_numpy(torch.cat(scores))]

    for name in strong.attacks:
        if name == "autoattack" and task.classes is None:
            continue
        yield Job(
            f"{task.table.name}-{task.name}-strong-{name}", [Cell(task, "strong", name, 0)],
            cost[name] * min(strong.items, len(task)), lambda n=name: run(n),
        )  # fmt: skip


# Each: (task, images [B,3,H,W], items [B] long, eps, settings, seeds [B]) -> attacked images. The items are the labels, so
# that an attack may drop images out of its batch. The encoder is called by a function: several threads share the Module.


def _features(task: Task) -> Callable[[Tensor], Tensor]:
    return lambda images: task.encoder(images)


def _losses(task: Task) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda features, items: task.losses(task.head(features, items), items)


def _apgd(task: Task, images: Tensor, items: Tensor, eps: float, strong: Strong, seeds: Tensor) -> Tensor:
    return apgd(_features(task), images, items, _losses(task), eps, strong.steps, seeds=seeds)


def _autoattack(task: Task, images: Tensor, items: Tensor, eps: float, strong: Strong, seeds: Tensor) -> Tensor:
    # the heads of expression do not depend on the item
    return autoattack(
        lambda x: task.head(task.encoder(x), items[: len(x)]), images, task.labels[items], eps,
        steps=strong.steps, queries=strong.queries, seeds=seeds,
    )  # fmt: skip


def _ssp(task: Task, images: Tensor, items: Tensor, eps: float, strong: Strong, seeds: Tensor) -> Tensor:
    with torch.no_grad():
        clean = task.encoder(images)
    alpha = 2.5 * eps / strong.steps
    return attack("pgd", _features(task), images, clean, summed(away), eps, alpha, strong.steps, seeds=seeds)


def _on_m(bounds: Bounds, task: Task, images: Tensor, items: Tensor, eps: float, strong: Strong, seeds: Tensor) -> Tensor:
    return structured_attack(_features(task), images, items, _losses(task), bounds, strong.steps, seeds=seeds)[0]


ATTACK = {"apgd": _apgd, "autoattack": _autoattack, "ssp": _ssp}
ATTACK |= {name: partial(_on_m, bounds) for name, bounds in PARTS_OF_M.items()}
