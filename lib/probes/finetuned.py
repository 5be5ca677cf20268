"""Expression, valence and arousal by full fine-tuning: the linear probe's task with another encoder and head.

Test images, labels, metrics, and what an attacker raises are those of the linear probe, so the two stand side by side under
every condition. Attacks go through all of the fine-tuned model.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from lib import metrics
from lib.losses.balanced_softmax import balanced_softmax
from lib.losses.ccc import ccc_loss
from lib.probes import affect, expression
from lib.probes.finetune import Goal, Recipe, finetune
from lib.probes.selection import held_out
from lib.probes.task import Task
from lib.progress import Progress

FINETUNED = {"expression_finetuned": "expression", "valence_arousal_finetuned": "valence_arousal"}  # task -> its linear probe


def finetuned_task(
    base: Task,
    encoder: nn.Module,
    recipe: Recipe,
    *,
    seed: int,
    batch_size: int,
    device: torch.device | str,
    checkpoint: Path | None = None,
    progress: Callable[..., Progress] = Progress,
) -> Task:
    """``base`` (expression, valence_arousal) with a fine-tuned copy of ``encoder``.

    The scores are those of the epoch chosen on held-out people (:func:`lib.probes.selection.held_out`); 'last' and
    'best_on_test' stand beside them for the clean images.

    Raises:
        TaskLeftOut: nobody to hold out. FineTuningError: a loss that is not finite.
    """
    table = base.table
    name = next(name for name, of in FINETUNED.items() if of == base.name)
    fit, validation = rows_for(name, table)
    goal = GOALS[base.name](base, fit, recipe, device)
    run = finetune(
        encoder, table, goal, (fit, validation, base.rows.numpy()), recipe, seed=seed, batch_size=batch_size, device=device,
        label=f"{table.name} {name}", checkpoint=checkpoint, progress=progress,
    )  # fmt: skip
    return replace(
        base,
        name=name,
        encoder=run.model.body,
        head=lambda features, items: run.model.head(features.float()),
        clean_only={"last": run.last, "best_on_test": run.best_on_test},
    )


def rows_for(name: str, table) -> tuple[np.ndarray, np.ndarray]:
    """Rows to fit a fine-tuned task on, and rows to choose its epoch by.

    Raises:
        TaskLeftOut: no labels, or nobody to hold out.
    """
    if FINETUNED[name] == "expression":
        return held_out(table, expression.training_rows(table), table.column("expression") >= 0, seed=0)
    train = affect.affect_training_rows(table)
    return held_out(table, train, np.isfinite(affect.ratings(table)).all(1), seed=0)


def _expression(base: Task, fit: np.ndarray, recipe: Recipe, device) -> Goal:
    label = base.table.column("expression")
    counts = torch.as_tensor(np.bincount(label[fit], minlength=base.classes), device=device)
    return Goal(
        outputs=base.classes,
        labels=torch.tensor(label, dtype=torch.long, device=device),
        loss=partial(balanced_softmax, counts=counts) if recipe.balanced else F.cross_entropy,
        score=lambda scores, truth: expression.macro_f1(scores.argmax(1), truth.astype(int), base.classes),
    )


def _affect(base: Task, fit: np.ndarray, recipe: Recipe, device) -> Goal:
    return Goal(
        outputs=len(affect.DIMENSIONS),
        labels=torch.as_tensor(affect.ratings(base.table), device=device),
        loss=ccc_loss,
        score=lambda scores, truth: float(np.mean([metrics.ccc(affect.clipped(scores)[:, k], truth[:, k]) for k in range(2)])),
    )


GOALS = {"expression": _expression, "valence_arousal": _affect}
