"""Valence and arousal: ridge regression on clean features; CCC and RMSE of each.

Main metric: the mean of the two concordance coefficients, in percent (an interval and a drop then read as those of the other
tasks; it can be negative). The attacker raises the squared error, which belongs to an image alone, as CCC does not. A decision
is right where its sign is (SAGR, the sign agreement of the AffectNet and Aff-Wild papers).
"""

import numpy as np
import torch
from torch import nn

from lib.degrade.objectives import squared_error, summed
from lib.probes.features import embed
from lib.probes.knn import NEIGHBOURS, knn_mean
from lib.probes.linear import fit_ridge
from lib.probes.selection import check_apart
from lib.probes.task import Task, TaskLeftOut

DIMENSIONS = ("valence", "arousal")
TINY = 1e-12  # of the mean square: a variance below is rounding


def affect_task(encoder: nn.Module, table, rows, *, l2: float, batch_size: int, device: torch.device | str) -> Task:
    """Fit on the rated images of split 'probe_train', test on ``rows``; scores [N,2], valence first.

    'knn' is the mean rating of the 5 nearest neighbours, which needs no training.

    Raises:
        TaskLeftOut: no training images.
        ValueError: a test image without rating, or a person on both sides.
    """
    rows, train = np.asarray(rows), affect_training_rows(table)
    rating = ratings(table)
    if not np.isfinite(rating[rows]).all():
        raise ValueError(f"valence and arousal of the test images of {table.name!r} must be known")
    check_apart(table, train, rows)
    known = torch.as_tensor(rating[train], device=device)
    truth = torch.as_tensor(rating[rows], device=device)
    features = embed(encoder, table, train, batch_size, device)
    linear = fit_ridge(features, known, l2)
    neighbours = knn_mean(features, known, embed(encoder, table, rows, batch_size, device), min(NEIGHBOURS, len(train)))
    return Task(
        name="valence_arousal",
        table=table,
        rows=torch.as_tensor(rows),
        subjects=table.column("identity")[rows],
        labels=truth,
        encoder=encoder,
        head=lambda features, items: linear(features.float()),
        loss_fn=summed(squared_error),
        correct=lambda scores, items: (scores > 0) == (truth[items] > 0),
        count=lambda scores, items: affect_counts(scores, rating[rows][items]),
        metrics={"ccc": lambda sums: np.mean([_ccc(sums, k) for k in range(2)], axis=0)}
        | {f"ccc_{name}": lambda sums, k=k: _ccc(sums, k) for k, name in enumerate(DIMENSIONS)}
        | {f"rmse_{name}": lambda sums, k=k: _rmse(sums, k) for k, name in enumerate(DIMENSIONS)},
        clean_only={"knn": neighbours.cpu().numpy()},
    )


def affect_rows(table, rows) -> np.ndarray:
    """Those of the test images ``rows`` whose valence and arousal are both known.

    Raises:
        TaskLeftOut: there is none, or none to fit on.
    """
    rows = np.asarray(rows)
    affect_training_rows(table)
    rows = rows[np.isfinite(ratings(table)[rows]).all(1)]
    if len(rows) == 0:
        raise TaskLeftOut("valence and arousal of no test image are known")
    return rows


def affect_training_rows(table) -> np.ndarray:
    """Rows of the split 'probe_train' whose valence and arousal are both known.

    Raises:
        TaskLeftOut: there is none.
    """
    for name in (*DIMENSIONS, "split"):
        if name not in table.columns:
            raise TaskLeftOut(f"there is no column {name!r}")
    train = np.flatnonzero((table.column("split") == "probe_train") & np.isfinite(ratings(table)).all(1))
    if len(train) == 0:
        raise TaskLeftOut("valence and arousal of no image of split 'probe_train' are known")
    return train


def ratings(table) -> np.ndarray:
    """float32 [len(table), 2], valence first; NaN is unknown."""
    return np.stack([table.column(name).astype(np.float32) for name in DIMENSIONS], axis=1)


def affect_counts(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Predictions p, clipped, and ratings t, [n,2] -> [n,11]: one, then p, t, p^2, t^2, p t of both dimensions in turn."""
    p, t = clipped(scores), np.asarray(truth, float)
    return np.concatenate([np.ones((len(p), 1)), p, t, p * p, t * t, p * t], axis=1)


def clipped(scores: np.ndarray) -> np.ndarray:
    """Predictions in the range of ratings, -1..1, as float64."""
    return np.clip(np.asarray(scores, float), -1, 1)


def _moments(sums: np.ndarray, k: int) -> list[np.ndarray]:
    """Means of p, t, p^2, t^2, p t of dimension k; NaN where a resample drew no item."""
    count = sums[..., 0]
    there = np.where(count > 0, count, np.nan)
    return [sums[..., 1 + 2 * part + k] / there for part in range(5)]


def _ccc(sums: np.ndarray, k: int) -> np.ndarray:
    """100 * CCC from sums, with population moments; 0 where nothing varies, as lib.metrics.ccc has it."""
    p, t, pp, tt, pt = _moments(sums, k)
    scale = (pp - p * p) + (tt - t * t) + (p - t) ** 2
    varies = ~(scale <= TINY * (pp + tt))  # NaN stays NaN
    return np.where(varies, 200.0 * (pt - p * t) / np.where(varies, scale, 1.0), 0.0)


def _rmse(sums: np.ndarray, k: int) -> np.ndarray:
    """Root mean squared error, in units of the rating, whose range is -1..1."""
    _, _, pp, tt, pt = _moments(sums, k)
    return np.sqrt(np.maximum(pp - 2 * pt + tt, 0.0))
