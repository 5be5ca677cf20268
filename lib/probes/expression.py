"""Facial expression: multinomial logistic regression on clean features; accuracy, macro F1, recall of each class, confusions.

Seven classes; eight where contempt is among the images for fitting or testing (AffectNet, FER+).
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from lib.datasets.columns import ALL_EXPRESSIONS, CONTEMPT
from lib.degrade.objectives import cross_entropy, summed
from lib.probes.features import embed
from lib.probes.knn import NEIGHBOURS, knn_predict
from lib.probes.linear import fit_softmax
from lib.probes.selection import check_apart
from lib.probes.task import Task, TaskLeftOut, percent, percent_f1


def expression_task(encoder: nn.Module, table, rows, *, l2: float, batch_size: int, device: torch.device | str) -> Task:
    """Fit on the labelled images of split 'probe_train', test on ``rows``.

    The attacker raises the cross-entropy. 'knn' are the 5 nearest neighbours, which need no training.

    Raises:
        TaskLeftOut: no training images.
        ValueError: labels outside 0..7 in ``rows``, or a person on both sides.
    """
    label, person = table.column("expression"), table.column("identity")
    rows = np.asarray(rows)
    train = training_rows(table)
    for name, part in (("training", train), ("test", rows)):
        if label[part].min() < 0 or label[part].max() > CONTEMPT:
            raise ValueError(
                f"expression of the {name} images of {table.name!r} must be 0..{CONTEMPT}, got"
                f" {label[part].min()}..{label[part].max()}"
            )
    check_apart(table, train, rows)
    classes = class_count(label[train], label[rows])
    known = torch.as_tensor(label[train], dtype=torch.long, device=device)
    features = embed(encoder, table, train, batch_size, device)
    linear = fit_softmax(features, known, classes, l2)
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
        loss_fn=summed(cross_entropy),
        correct=lambda scores, items: scores.argmax(1) == truth[items],
        count=lambda scores, items: confusion_counts(scores.argmax(1), label[rows][items], classes),
        metrics={"accuracy": _accuracy, "macro_f1": _macro_f1(np.union1d(label[train], label[rows]))}
        | {f"recall_{name}": _share(k, k) for k, name in enumerate(ALL_EXPRESSIONS[:classes])},
        details={
            f"confused_{ALL_EXPRESSIONS[truth]}_as_{ALL_EXPRESSIONS[said]}": _share(truth, said)
            for truth in range(classes)
            for said in range(classes)
            if said != truth
        },
        clean_only={"knn": F.one_hot(neighbours, classes).cpu().numpy()},
        classes=classes,
    )


def expression_rows(table, rows) -> np.ndarray:
    """Those of the test images ``rows`` whose expression is known.

    Raises:
        TaskLeftOut: there is none, or none to fit on.
    """
    rows = np.asarray(rows)
    training_rows(table)
    rows = rows[table.column("expression")[rows] >= 0]
    if len(rows) == 0:
        raise TaskLeftOut("the expression of no test image is known")
    return rows


def training_rows(table) -> np.ndarray:
    """Rows of the split 'probe_train' with a known expression.

    Raises:
        TaskLeftOut: there is none.
    """
    for name in ("expression", "split"):
        if name not in table.columns:
            raise TaskLeftOut(f"there is no column {name!r}")
    train = np.flatnonzero((table.column("split") == "probe_train") & (table.column("expression") >= 0))
    if len(train) == 0:
        raise TaskLeftOut("the expression of no image of split 'probe_train' is known")
    return train


def class_count(*labels: np.ndarray) -> int:
    """8 where contempt is among the labels, else 7."""
    return CONTEMPT + int(any((part == CONTEMPT).any() for part in labels))


def confusion_counts(said: np.ndarray, truth: np.ndarray, classes: int) -> np.ndarray:
    """Classes [n] and [n] -> [n, classes^2]: a one at truth * classes + said."""
    cell = np.asarray(truth) * classes + np.asarray(said)
    return (cell[:, None] == np.arange(classes**2)).astype(float)


def macro_f1(said: np.ndarray, truth: np.ndarray, classes: int) -> float:
    """Mean F1 in percent of classes [n] and [n], over the classes that ``truth`` has."""
    return float(_macro_f1(np.unique(truth))(confusion_counts(said, truth, classes).sum(0)))


def _square(counts: np.ndarray) -> np.ndarray:
    """Summed counts [..., classes^2] -> [..., truth, said]."""
    classes = int(np.sqrt(counts.shape[-1]))
    return counts.reshape(*counts.shape[:-1], classes, classes)


def _accuracy(counts: np.ndarray) -> np.ndarray:
    return percent(np.trace(_square(counts), axis1=-2, axis2=-1), counts.sum(-1))


def _macro_f1(classes: np.ndarray):
    """Mean over the classes that the data have; a class that they never show would count as 0."""

    def f1(counts: np.ndarray) -> np.ndarray:
        matrix = _square(counts)
        hits = np.diagonal(matrix, axis1=-2, axis2=-1)
        return percent_f1(hits, matrix.sum(-2) - hits, matrix.sum(-1) - hits)[..., classes].mean(-1)

    return f1


def _share(truth: int, said: int):
    """Of the images of class ``truth``, how many are taken for ``said``; NaN where there are none."""

    def share(counts: np.ndarray) -> np.ndarray:
        matrix = _square(counts)
        return percent(matrix[..., truth, said], matrix[..., truth, :].sum(-1))

    return share
