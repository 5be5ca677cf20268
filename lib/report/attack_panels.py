"""Rendered faces under every attack of the package, for the two galleries of attacks."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from lib.conditions import seeds_for
from lib.degrade.attacks import ATTACKS, attack
from lib.degrade.autoattack import autoattack
from lib.degrade.objectives import away, summed, towards
from lib.evaluation import tasks_of
from lib.items import items_of
from lib.models.encoder import Encoder
from lib.probe_params import ProbeParams
from lib.probes.features import embed, held_still, to_float
from lib.probes.task import Task
from lib.strong_attacks import ATTACK, STRONG

PARTS = ("apgd_t", "fab_t", "square")  # of AutoAttack, shown by themselves; its first is Auto-PGD


def attack_panels(encoder: Encoder, name: str, faces, params: ProbeParams, device: torch.device, seed: int, count: int) -> dict:
    """{'attacks': the iterations of lib.degrade.attacks, 'strong_attacks': all others}, each on ``count`` test items.

    Of the first items those are shown that the model gets right: AutoAttack leaves the others as they are. Through ``encoder``
    (called ``name``) and the probe of the first task that ``faces`` allow: expression, where it is known. Those that need classes
    are shown where the task has some, dodging where each person has another picture. ``params`` give the budget and the steps;
    what is shown does not depend on which attacks are measured.
    """
    with held_still(encoder):
        first = next(iter(items_of(faces, params)[0]))
        (task,) = tasks_of(encoder, faces, replace(params, tasks=[first]), device)
        items = _right_first(task, count, device)
        clean = to_float(task.table.images(task.rows[items]), device)
        made = {
            "attacks": _steps(task, items, clean, params, device, seed),
            "strong_attacks": _strong(task, items.to(device), clean, params) | _faces(task, items, clean, params, device),
        }
    about = {"encoder": name, "task": task.name, "clean": clean.cpu(), "eps": params.eps / 255}
    return {
        panel: {"names": list(images), "images": torch.stack(list(images.values())).cpu(), **about} for panel, images in made.items()
    }


def _right_first(task: Task, count: int, device) -> Tensor:
    """``count`` items [n] long, on the CPU: out of the first four times as many, those with most right decisions, in order."""
    items = torch.arange(min(4 * count, len(task)))
    with torch.no_grad():
        scores = task.scores_fn(items)(to_float(task.table.images(task.rows[items]), device))
    right = task.correct(scores, items.to(device)).view(len(items), -1).float().mean(1).cpu()
    return items[right.argsort(descending=True, stable=True)[:count]]


def _steps(task: Task, items: Tensor, clean: Tensor, params: ProbeParams, device, seed: int) -> dict[str, Tensor]:
    scores, labels = task.scores_fn(items), task.labels[items.to(device)]
    budget = {"eps": params.eps / 255, "alpha": params.alpha / 255, "steps": params.steps}

    def made(kind: str) -> Tensor:
        generator = torch.Generator(device).manual_seed(seed)
        return attack(kind, scores, clean, labels, task.loss_fn, **budget, generator=generator)

    return {kind: made(kind) for kind in sorted(ATTACKS, key=lambda kind: kind != "fgsm")}  # one step before many


def _strong(task: Task, items: Tensor, clean: Tensor, params: ProbeParams) -> dict[str, Tensor]:
    """What the evaluation makes beyond the published eight, and AutoAttack's parts one by one."""
    eps, strong = params.eps / 255, params.strong
    found = {}
    for kind in STRONG:
        if kind == "autoattack" and task.classes is None:
            continue
        found[kind] = ATTACK[kind](task, clean, items, eps, strong, seeds_for(items, kind))
        if kind == "apgd" and task.classes is not None:
            for part in PARTS:
                # the heads of expression do not depend on the item
                found[part] = autoattack(
                    lambda x: task.head(task.encoder(x), items[: len(x)]), clean, task.labels[items], eps,
                    steps=strong.steps, queries=strong.queries, parts=[part], seeds=seeds_for(items, part),
                )  # fmt: skip
    return found


def _faces(task: Task, items: Tensor, clean: Tensor, params: ProbeParams, device) -> dict[str, Tensor]:
    """Dodging: away from the person's other picture. Impersonation: towards the next person shown."""
    person, rows = task.table.column("identity"), task.rows[items].numpy()
    same = [np.setdiff1d(np.flatnonzero(person == person[row]), row) for row in rows]
    after = [np.roll(rows, -1 - place) for place in range(len(rows))]
    others = [following[person[following] != person[row]] for row, following in zip(rows, after)]
    wanted = {
        kind: (objective, [pictures[0] for pictures in found])
        for kind, objective, found in (("dodging", away, same), ("impersonation", towards, others))
        if all(len(pictures) for pictures in found)
    }
    found, steps = {}, params.strong.steps
    for kind, (objective, shown) in wanted.items():
        target = embed(task.encoder, task.table, torch.as_tensor(shown), params.batch_size, device)
        found[kind] = attack(
            "pgd", lambda x: task.encoder(x), clean, target, summed(objective), params.eps / 255, 2.5 * params.eps / 255 / steps,
            steps, seeds=seeds_for(items.to(device), kind),
        )  # fmt: skip
    return found
