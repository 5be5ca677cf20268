"""Scores of action units in subject-exclusive folds, as published, and what they leave out. Fractions in [0, 1].

The figure that AUNCE and ME-GraphAU publish is the mean over the folds of each fold's F1: AUNCE's logs of the folds average
to its table. F1 of pooled counts is another number; both are here, so that nobody has to guess which one a table holds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lib.metrics import UNKNOWN_LABELS


@dataclass(frozen=True)
class AuCounts:
    """Known labels by decision and truth, each [..., K]; every property has that shape too."""

    hits: np.ndarray
    false_alarms: np.ndarray
    misses: np.ndarray
    rejections: np.ndarray

    @cached_property
    def support(self) -> np.ndarray:
        """How many images show each AU."""
        return self.hits + self.misses

    @cached_property  # of thousands of resamples, and asked for once an AU and fold
    def f1(self) -> np.ndarray:
        """2 tp / (2 tp + fp + fn); NaN for an AU that nobody shows (published: 0)."""
        return _ratio(2 * self.hits, 2 * self.hits + self.false_alarms + self.misses, self.support > 0)

    @cached_property
    def accuracy(self) -> np.ndarray:
        """Share of right decisions; NaN for an AU of which nothing is known."""
        known = self.support + self.false_alarms + self.rejections
        return _ratio(self.hits + self.rejections, known, known > 0)


def au_cells(pred, labels) -> np.ndarray:
    """Decisions [N, K] in {0, 1} against labels [N, K] in {0, 1}, -1 and 9 unknown -> bool [N, 4, K]: which of them are
    hits, false alarms, misses, rejections (the order of :class:`AuCounts`); none of them where the label is not known.

    Raises:
        ValueError: other shapes or values.
    """
    pred, labels = np.asarray(pred), _labels(labels)
    if pred.shape != labels.shape:
        raise ValueError(f"pred and labels must have one shape [N, K], got {pred.shape} and {labels.shape}")
    if not np.isin(pred, (0, 1)).all():
        raise ValueError(f"pred must be decisions 0 or 1, got {np.unique(pred)[:8].tolist()}")
    said, present, absent = pred == 1, labels == 1, labels == 0
    return np.stack([said & present, said & absent, ~said & present, ~said & absent], axis=1)


def au_counts(pred, labels) -> AuCounts:
    """The sums of :func:`au_cells` over the images, each int64 [K]."""
    return AuCounts(*au_cells(pred, labels).sum(0))


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


def au_auc_resampled(scores, labels, person, draws) -> np.ndarray:
    """:func:`au_auc` of many resamples of the people at once, [R, K].

    An image of person s counts as often as s is drawn. So the area is a quadratic form in the draws: with U[s, t] how many
    pairs of a positive image of s and a negative one of t are in order, it is w'Uw over (w'p)(w'n), p and n the numbers of
    positive and negative images of each person. No image is looked at again.

    Args:
        scores, labels: [N, K]. person: [N] in 0..S-1. draws: [R, S], how often each person counts.
    """
    scores, labels, draws = np.asarray(scores, float), _labels(labels), np.asarray(draws, float)
    people, place = np.unique(person, return_inverse=True)
    drawn, who = draws[:, people], np.arange(len(people)) == place[:, None]  # [R, P], [N, P]
    pairs, number = [], []
    for k, truth in enumerate(labels.T):
        known = np.flatnonzero((truth == 0) | (truth == 1))
        order = known[np.argsort(scores[known, k], kind="stable")]
        value, present, mine = scores[order, k], truth[order] == 1, who[order].astype(float)
        below = np.concatenate([np.zeros((1, len(people))), np.cumsum(mine * ~present[:, None], 0)])  # negatives, by person
        first, behind = (np.searchsorted(value, value[present], side=side) for side in ("left", "right"))
        pairs.append(mine[present].T @ ((below[first] + below[behind]) / 2))  # ties count half
        number.append((mine[present].sum(0), below[-1]))
    in_order = ((drawn @ np.concatenate(pairs, 1)).reshape(len(drawn), len(pairs), -1) * drawn[:, None]).sum(2)
    positive, negative = np.moveaxis(number, 1, 0) @ drawn.T  # [K, R]
    return _ratio(in_order, (positive * negative).T, (positive * negative).T > 0)


@dataclass(frozen=True)
class FoldScores:
    """Scores of all test folds; F folds, K units.

    Attributes:
        units: numbers of the AUs. folds: of the column ``fold``, so 0 is the published fold 1.
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
        return mean_of_known(self.f1, 0)

    @property
    def fold_f1(self) -> np.ndarray:
        """[F]: macro F1 of each fold over the AUs that have a number there."""
        return mean_of_known(self.f1, 1)

    @property
    def f1_macro(self) -> float:
        """The published figure: mean over the folds of their macro F1."""
        return float(mean_of_known(self.fold_f1, 0))

    @property
    def pooled_f1_macro(self) -> float:
        return float(mean_of_known(self.pooled_f1, 0))


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
    cells, auc = [], []
    for f, name in enumerate(names):
        rows = fold == name
        truth = np.where(learned[f], labels[rows], -1)  # what was not learned is not scored
        cells.append(au_cells(scores[rows] >= threshold, truth).sum(0))
        auc.append(au_auc(scores[rows], truth))
    counts = AuCounts(*np.stack(cells, axis=1))  # [F, K]
    return FoldScores(
        units=tuple(units), folds=tuple(names.tolist()), f1=counts.f1, accuracy=counts.accuracy, auc=np.stack(auc),
        support=counts.support, pooled_f1=AuCounts(*np.sum(cells, axis=0)).f1,
        left_out=left_out(units, (names + 1).tolist(), learned, counts.support),
    )  # fmt: skip


def left_out(units: Sequence[int], folds: Sequence, learned: np.ndarray, support: np.ndarray) -> tuple[str, ...]:
    """Which AUs the scores of which folds say nothing about, and why; learned, support: [F, K]."""
    said = {}
    for f, name in enumerate(folds):
        for why, missing in (
            ("no training image is known to show it", ~learned[f]),
            ("no test image is known to show it", learned[f] & (support[f] == 0)),
        ):
            if missing.any():
                which = ", ".join(str(unit) for unit, is_missing in zip(units, missing) if is_missing)
                said.setdefault((which, why), []).append(name)
    return tuple(
        f"fold{'s' if len(of) > 1 else ''} {', '.join(map(str, of))} leave{'' if len(of) > 1 else 's'} out AU {which}: {why}"
        for (which, why), of in said.items()
    )


def mean_of_known(values: np.ndarray, axis: int) -> np.ndarray:
    """Mean along an axis of what is a number; NaN where nothing is."""
    there = np.isfinite(values)
    return _ratio(np.nansum(values, axis), there.sum(axis), there.any(axis))


def _labels(labels) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.ndim != 2 or not labels.size:
        raise ValueError(f"labels must be [N, K] with N, K >= 1, got {labels.shape}")
    if not np.isin(labels, (0, 1, *UNKNOWN_LABELS)).all():
        raise ValueError(f"labels must be 0, 1 or unknown (-1, 9), got {np.unique(labels)[:8].tolist()}")
    return labels


def _ratio(part: np.ndarray, whole: np.ndarray, there: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=there)

