"""Action units: 12 binary logistic regressions in three subject-exclusive folds; macro F1 from pooled counts.

An AU is present from FACS intensity 2 on, as in BP4D. Present and absent images are weighed by the inverse of their
rate in training, so the decision is "logit > 0" and no threshold is tuned. The attacker raises the plain binary
cross-entropy summed over all AUs.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.probes.features import embed
from lib.probes.linear import fit_binary
from lib.probes.task import Task, percent_f1

BP4D_UNITS = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)
PRESENT_FROM = 2


def action_units_task(
    encoder: nn.Module, table, rows, *, l2: float, batch_size: int, device: torch.device | str
) -> Task:
    """Each of the test images ``rows`` is scored by the heads whose training folds did not show its person.

    The heads of fold f are fitted on all rows with ``fold`` >= 0 other than f, so test images of one fold are training
    images of the others.

    Raises:
        ValueError: a person in two folds, a test image without fold, or fewer than two folds.
    """
    rows = np.asarray(rows)
    fold, person = table.column("fold"), table.column("identity")
    usable = np.flatnonzero(fold >= 0)
    pairs = np.unique(np.stack([person[usable], fold[usable]]), axis=1)
    twice = pairs[0][:-1][np.diff(pairs[0]) == 0]
    if len(twice):
        raise ValueError(f"fold: table {table.name!r} has persons in more than one fold: {twice[:5].tolist()}")
    folds = np.unique(fold[usable])
    if len(folds) < 2:
        raise ValueError(f"fold: table {table.name!r} needs at least two folds >= 0, got {folds.tolist()}")
    if (fold[rows] < 0).any():
        raise ValueError(f"fold: test images of {table.name!r} must have a fold >= 0")
    present = np.stack([table.column(f"au_{unit}") >= PRESENT_FROM for unit in BP4D_UNITS], axis=1)
    features = embed(encoder, table, usable, batch_size, device)
    known = torch.as_tensor(present[usable], device=device)
    weight, bias = [], []
    for f in folds:
        others = torch.as_tensor(fold[usable] != f, device=device)
        head = fit_binary(features[others], known[others], l2)
        weight.append(head.weight)
        bias.append(head.bias)
    weight, bias = torch.stack(weight), torch.stack(bias)  # [folds,K,D], [folds,K]
    head_of = torch.as_tensor(np.searchsorted(folds, fold[rows]), device=device)
    truth = torch.as_tensor(present[rows], device=device)

    def scores(features: Tensor, items: Tensor) -> Tensor:
        every = torch.einsum("bd,fkd->bfk", features.float(), weight) + bias
        return every[torch.arange(len(items), device=items.device), head_of[items]]

    return Task(
        name="action_units",
        table=table,
        rows=torch.as_tensor(rows),
        subjects=person[rows],
        labels=truth.float(),
        encoder=encoder,
        head=scores,
        loss_fn=lambda scores, labels: F.binary_cross_entropy_with_logits(scores, labels, reduction="sum"),
        correct=lambda scores, items: (scores > 0) == truth[items],
        count=lambda scores, items: unit_counts(scores > 0, present[rows][items]),
        metrics={"f1": _macro_f1} | {f"f1_au_{unit}": _unit_f1(k) for k, unit in enumerate(BP4D_UNITS)},
    )


def unit_counts(said: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Decisions and truth [n,K] bool -> [n, 3 K]: hits, false alarms, misses of each image and AU."""
    return np.concatenate([said & truth, said & ~truth, ~said & truth], axis=1).astype(float)


def _macro_f1(counts: np.ndarray) -> np.ndarray:
    return percent_f1(*np.split(counts, 3, axis=-1)).mean(-1)


def _unit_f1(k: int):
    units = len(BP4D_UNITS)
    return lambda counts: percent_f1(counts[..., k], counts[..., units + k], counts[..., 2 * units + k])
