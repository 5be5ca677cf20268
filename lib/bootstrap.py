"""Intervals over subjects: images of one face are not independent, so persons are resampled, not images.

A metric that depends on the test items only through sums (of hits, of true and false positives, ...) needs no item
again: with W [R,S] the number of times each of S subjects is drawn in each of R resamples, and C [S,m] the sums of
each subject, W @ C holds the sums of every resample at once. Using one W for all conditions of a task pairs them: the
interval of a drop compares the same persons before and after.
"""

import numpy as np

LEVEL = 0.95


def subject_draws(subjects: int, resamples: int, seed: int) -> np.ndarray:
    """[1 + resamples, subjects] float64: how often each subject counts. Row 0 is the sample itself: each once."""
    if subjects < 1:
        raise ValueError(f"subjects must be at least 1, got {subjects}")
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}")
    drawn = np.random.default_rng(seed).multinomial(subjects, np.full(subjects, 1 / subjects), size=resamples)
    return np.concatenate([np.ones((1, subjects)), drawn])


def subject_sums(counts: np.ndarray, subject: np.ndarray, subjects: int) -> np.ndarray:
    """Sum the counts [n, ...] of items by their subject [n] in 0..subjects-1 -> [subjects, ...] float64."""
    sums = np.zeros((subjects, *counts.shape[1:]))
    np.add.at(sums, subject, counts)
    return sums


def interval(values: np.ndarray, level: float = LEVEL) -> tuple[float, float, float]:
    """(value, low, high) from [1 + R] values, the first being that of the sample itself.

    A resample that drew none of the persons that a metric needs is NaN and left out; without any other the interval
    is the value itself.
    """
    usable = values[1:][np.isfinite(values[1:])]
    if len(usable) == 0:
        return float(values[0]), float(values[0]), float(values[0])
    low, high = np.quantile(usable, [(1 - level) / 2, (1 + level) / 2])
    return float(values[0]), float(low), float(high)
