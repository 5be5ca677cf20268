"""Scores of action units in subject-exclusive folds, as published, and what they leave out. Fractions in [0, 1].

The figure that AUNCE and ME-GraphAU publish is the mean over the folds of each fold's F1: AUNCE's logs of the folds average
to its table. F1 of pooled counts is another number; both are here, so that nobody has to guess which one a table holds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lib.metrics import UNKNOWN_LABELS


@dataclass(frozen=True)
class AuCounts:
    """Known labels by decision and truth, each int64 [K]."""

    hits: np.ndarray
    false_alarms: np.ndarray
    misses: np.ndarray
    rejections: np.ndarray

    def __add__(self, other: "AuCounts") -> "AuCounts":
        return AuCounts(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    @property
    def support(self) -> np.ndarray:
        """How many images show each AU."""
        return self.hits + self.misses

    @property
    def f1(self) -> np.ndarray:
        """2 tp / (2 tp + fp + fn); NaN for an AU that nobody shows (published: 0)."""
        return _ratio(2 * self.hits, 2 * self.hits + self.false_alarms + self.misses, self.support > 0)

    @property
    def accuracy(self) -> np.ndarray:
        """Share of right decisions; NaN for an AU of which nothing is known."""
        known = self.support + self.false_alarms + self.rejections
        return _ratio(self.hits + self.rejections, known, known > 0)


def au_counts(pred, labels) -> AuCounts:
    """Decisions [N, K] in {0, 1} against labels [N, K] in {0, 1}, -1 and 9 unknown: counts of each AU.

    Raises:
        ValueError: other shapes or values.
    """
    pred, labels = np.asarray(pred), _labels(labels)
    if pred.shape != labels.shape:
        raise ValueError(f"pred and labels must have one shape [N, K], got {pred.shape} and {labels.shape}")
    if not np.isin(pred, (0, 1)).all():
        raise ValueError(f"pred must be decisions 0 or 1, got {np.unique(pred)[:8].tolist()}")
    said, present, absent = pred == 1, labels == 1, labels == 0
    return AuCounts(*(part.sum(0) for part in (said & present, said & absent, ~said & present, ~said & absent)))


def au_auc(scores, labels) -> np.ndarray:
    """Area under the ROC curve of each AU, [K]; NaN where the known labels are all alike. Ties count half.

    Raises:
        ValueError: other shapes or values, or scores that are not finite.
    """
    from scipy.stats import rankdata  # half a second to import

    scores, labels = np.asarray(scores, float), _labels(labels)
    if scores.shape != labels.shape or not np.isfinite(scores).all():
        raise ValueError(f"scores must be finite and of shape {labels.shape} like labels, got {scores.shape}")
    out = np.full(labels.shape[1], np.nan)
    for k, truth in enumerate(labels.T):
        known, positive = ~np.isin(truth, UNKNOWN_LABELS), (truth == 1).sum()
        negative = known.sum() - positive
        if positive and negative:
            ranks = rankdata(scores[known, k])[truth[known] == 1].sum()
            out[k] = (ranks - positive * (positive + 1) / 2) / (positive * negative)
    return out


@dataclass(frozen=True)
class FoldScores:
    """Scores of all test folds; F folds, K units.

    Attributes:
        units: numbers of the AUs. folds: names of the folds.
        f1, accuracy, auc: [F, K] of each fold's test images; NaN where there is no such number.
        support: [F, K] int, images that show the AU.
        pooled_f1: [K], of the counts of all folds together.
        left_out: sentences on what is not in the means.
    """

    units: tuple[int, ...]
    folds: tuple[int, ...]
    f1: np.ndarray
    accuracy: np.ndarray
    auc: np.ndarray
    support: np.ndarray
    pooled_f1: np.ndarray
    left_out: tuple[str, ...]

    @property
    def mean_f1(self) -> np.ndarray:
        """[K]: mean over the folds that have a number for the AU."""
        return _mean(self.f1, 0)

    @property
    def fold_f1(self) -> np.ndarray:
        """[F]: macro F1 of each fold over the AUs that have a number there."""
        return _mean(self.f1, 1)

    @property
    def f1_macro(self) -> float:
        """The published figure: mean over the folds of their macro F1."""
        return float(_mean(self.fold_f1, 0))

    @property
    def pooled_f1_macro(self) -> float:
        return float(_mean(self.pooled_f1, 0))


def fold_scores(scores, labels, fold, units: Sequence[int], threshold: float = 0.0, learned=None) -> FoldScores:
    """Score every fold's test images: scores [N, K] (present from ``threshold`` on), labels [N, K], fold [N] ints.

    Args:
        learned: [F, K] bool, False where the heads of a fold could not be fitted for an AU (None: all were). Such an AU is
            left out of that fold, as is one that no test image of the fold is known to show.

    Raises:
        ValueError: other shapes or values.
    """
    scores, labels, fold = np.asarray(scores, float), _labels(labels), np.asarray(fold)
    if scores.shape != labels.shape or fold.shape != labels.shape[:1] or len(units) != labels.shape[1]:
        raise ValueError(
            f"scores, labels [N, K], fold [N] and units [K] must fit, got {scores.shape}, {labels.shape}, {fold.shape} and"
            f" {len(units)} units"
        )
    names = np.unique(fold)
    learned = np.ones((len(names), len(units)), bool) if learned is None else np.asarray(learned, bool)
    if learned.shape != (len(names), len(units)):
        raise ValueError(f"learned must have shape {(len(names), len(units))}, folds x units, got {learned.shape}")
    counts, auc, reasons = [], [], {}
    for f, name in enumerate(names):
        rows = fold == name
        truth = np.where(learned[f], labels[rows], -1)  # what was not learned is not scored
        counts.append(au_counts(scores[rows] >= threshold, truth))
        auc.append(au_auc(scores[rows], truth))
        for k, unit in enumerate(units):
            if not learned[f, k]:
                reasons.setdefault((name, "no training image is known to show it"), []).append(unit)
            elif not counts[f].support[k]:
                reasons.setdefault((name, "no test image is known to show it"), []).append(unit)
    pooled = sum(counts[1:], counts[0])
    return FoldScores(
        units=tuple(units), folds=tuple(names.tolist()), auc=np.stack(auc), pooled_f1=pooled.f1,
        f1=np.stack([c.f1 for c in counts]), accuracy=np.stack([c.accuracy for c in counts]),
        support=np.stack([c.support for c in counts]),
        left_out=tuple(f"fold {name} leaves out AU {', '.join(map(str, left))}: {why}" for (name, why), left in reasons.items()),
    )  # fmt: skip


def _labels(labels) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.ndim != 2 or not labels.size:
        raise ValueError(f"labels must be [N, K] with N, K >= 1, got {labels.shape}")
    if not np.isin(labels, (0, 1, *UNKNOWN_LABELS)).all():
        raise ValueError(f"labels must be 0, 1 or unknown (-1, 9), got {np.unique(labels)[:8].tolist()}")
    return labels


def _ratio(part: np.ndarray, whole: np.ndarray, there: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=there)


def _mean(values: np.ndarray, axis: int) -> np.ndarray:
    """Mean of what is a number; NaN where nothing is."""
    there = np.isfinite(values)
    return _ratio(np.nansum(values, axis), there.sum(axis), there.any(axis))
