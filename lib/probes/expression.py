"""Facial expression: seven classes, multinomial logistic regression on clean features; accuracy and macro F1."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from lib.probes.features import embed
from lib.probes.knn import knn_predict
from lib.probes.linear import fit_softmax
from lib.probes.task import Task, TaskLeftOut, percent, percent_f1

CLASSES = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger")
NEIGHBOURS = 5


def expression_task(encoder: nn.Module, table, rows, *, l2: float, batch_size: int, device: torch.device | str) -> Task:
    """Fit on the labelled images of split 'probe_train', test on ``rows``.

    The attacker raises the cross-entropy. The training-free figure is the accuracy of 5 nearest neighbours.

    Raises:
        TaskLeftOut: no training images.
        ValueError: labels outside 0..6 in ``rows``, or a person on both sides.
    """
    label, person = table.column("expression"), table.column("identity")
    rows = np.asarray(rows)
    train = _training_rows(table)
    for name, part in (("training", train), ("test", rows)):
        if label[part].min() < 0 or label[part].max() >= len(CLASSES):
            raise ValueError(
                f"expression of the {name} images of {table.name!r} must be 0..{len(CLASSES) - 1}, got"
                f" {label[part].min()}..{label[part].max()}"
            )
    both = np.intersect1d(person[train], person[rows])
    if len(both):
        raise ValueError(
            f"table {table.name!r}: persons {both[:5].tolist()} are in 'probe_train' and among the test images"
        )
    known = torch.as_tensor(label[train], dtype=torch.long, device=device)
    features = embed(encoder, table, train, batch_size, device)
    linear = fit_softmax(features, known, len(CLASSES), l2)
    truth = torch.as_tensor(label[rows], dtype=torch.long, device=device)
    neighbours = knn_predict(
        features, known, embed(encoder, table, rows, batch_size, device), min(NEIGHBOURS, len(train))
    )
    return Task(
        name="expression",
        table=table,
        rows=torch.as_tensor(rows),
        subjects=person[rows],
        labels=truth,
        encoder=encoder,
        head=lambda features, items: linear(features.float()),
        loss_fn=lambda scores, labels: F.cross_entropy(scores, labels, reduction="sum"),
        correct=lambda scores, items: scores.argmax(1) == truth[items],
        count=lambda scores, items: class_counts(scores.argmax(1), label[rows][items]),
        metrics={"accuracy": _accuracy, "macro_f1": _macro_f1(np.union1d(label[train], label[rows]))},
        training_free={"knn_accuracy": (neighbours == truth).cpu().numpy()},
    )


def expression_rows(table, rows) -> np.ndarray:
    """Those of the test images ``rows`` whose expression is known.

    Raises:
        TaskLeftOut: there is none, or none to fit on.
    """
    rows = np.asarray(rows)
    _training_rows(table)
    rows = rows[table.column("expression")[rows] >= 0]
    if len(rows) == 0:
        raise TaskLeftOut("the expression of no test image is known")
    return rows


def _training_rows(table) -> np.ndarray:
    for name in ("expression", "split"):
        if name not in table.columns:
            raise TaskLeftOut(f"there is no column {name!r}")
    train = np.flatnonzero((table.column("split") == "probe_train") & (table.column("expression") >= 0))
    if len(train) == 0:
        raise TaskLeftOut("the expression of no image of split 'probe_train' is known")
    return train


def class_counts(said: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Classes [n] and [n] -> [n, 3 * 7]: per image and class whether it is a hit, a false alarm, a miss."""
    said, truth = (np.asarray(x)[:, None] == np.arange(len(CLASSES)) for x in (said, truth))
    return np.concatenate([said & truth, said & ~truth, ~said & truth], axis=1).astype(float)


def _accuracy(counts: np.ndarray) -> np.ndarray:
    hits, _, misses = np.split(counts, 3, axis=-1)
    return percent(hits.sum(-1), (hits + misses).sum(-1))


def _macro_f1(classes: np.ndarray):
    """Mean over the classes that the data have; a class that they never show would count as 0."""
    return lambda counts: percent_f1(*np.split(counts, 3, axis=-1))[..., classes].mean(-1)
