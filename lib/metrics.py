"""The scores of the downstream tasks: array-like in, Python floats or numpy arrays out.

Accuracies, rates and F1 are fractions in [0, 1]; the results file turns them into percent. Standard deviations and
moments are population ones (divided by N).
"""

from collections.abc import Sequence

import numpy as np
import torch

UNKNOWN_LABELS = (-1, 9)  # how FACS label files mark "not coded" (9, as in BP4D) and this package's own mark (-1)


def verification_10fold(scores, same, folds: int = 10, threshold_scores=None) -> tuple[float, float]:
    """Accuracy of same / different decisions with the threshold of the other folds (LFW's protocol).

    Args:
        scores: [N] similarities, higher = more alike; folds are contiguous (the first N % folds get one pair more).
        same: [N] 0/1 or bool, 1 = one person.
        folds: number of folds, 2..N.
        threshold_scores: [N] similarities from which the thresholds are chosen instead of ``scores``: under an attack
            the defender has only the clean pairs to choose from.
    Returns:
        (mean, population standard deviation) over the folds.
    """
    scores, same = _pairs(scores, same)
    if not 2 <= folds <= len(scores):
        raise ValueError(f"folds must be 2..{len(scores)} (the number of pairs), got {folds}")
    basis = scores
    if threshold_scores is not None:
        basis = _finite("threshold_scores", threshold_scores)
        if basis.shape != scores.shape:
            raise ValueError(f"threshold_scores must have the shape of scores {scores.shape}, got {basis.shape}")
    accuracies = []
    for fold in np.array_split(np.arange(len(scores)), folds):
        others = np.ones(len(scores), bool)
        others[fold] = False
        threshold = best_threshold(basis[others], same[others])
        accuracies.append(np.mean((scores[fold] > threshold) == same[fold]))
    return float(np.mean(accuracies)), float(np.std(accuracies))


def best_threshold(scores, same) -> float:
    """The threshold t for which "same if score > t" is right most often.

    Candidates are the mid-points between neighbouring distinct scores, and -inf (all same) and +inf (all different);
    of equally good ones the lowest is taken, so that the choice does not depend on the order of the pairs.
    """
    scores, same = _pairs(scores, same)
    values, group = np.unique(scores, return_inverse=True)
    genuine = np.bincount(group, same, len(values))
    impostor = np.bincount(group, ~same, len(values))
    # with the threshold just above the i-th value: impostors up to i and genuine pairs beyond i are right
    right = np.cumsum(np.r_[0, impostor]) + genuine.sum() - np.cumsum(np.r_[0, genuine])
    candidates = np.r_[-np.inf, (values[:-1] + values[1:]) / 2, np.inf]
    return float(candidates[np.argmax(right)])


def tar_at_far(scores, same, far: float) -> float:
    """Share of genuine pairs accepted at the lowest threshold that accepts at most the share ``far`` of impostors."""
    scores, same = _pairs(scores, same)
    if not same.any():
        raise ValueError("same must hold at least one genuine pair, got none")
    return float(np.mean(scores[same] > far_threshold(scores, same, far)))


def far_threshold(scores, same, far: float) -> float:
    """The lowest t among the impostors' scores (or -inf) for which "score > t" accepts at most ``far`` of them."""
    scores, same = _pairs(scores, same)
    if not 0 <= far <= 1:
        raise ValueError(f"far must be in [0, 1], got {far}")
    impostors = np.sort(scores[~same])[::-1]
    if len(impostors) == 0:
        raise ValueError("same must hold at least one impostor pair, got none")
    allowed = int(np.floor(far * len(impostors) + 1e-9))  # 0.29 * 100 is 28.999...
    return float(impostors[allowed]) if allowed < len(impostors) else -np.inf


def ccc(pred, target) -> float:
    """Lin's concordance correlation coefficient of two [N] arrays, with population moments.

    2 cov / (var + var + (mean - mean)^2); 0 if both are constant (nothing varies, so nothing agrees).
    """
    pred, target = _alike("pred", pred, "target", target, ndim=1)
    covariance = np.mean((pred - pred.mean()) * (target - target.mean()))
    scale = pred.var() + target.var() + (pred.mean() - target.mean()) ** 2
    return float(2 * covariance / scale) if scale > 0 else 0.0


def rmse(pred, target) -> float:
    """Root of the mean squared difference of two arrays of one shape."""
    pred, target = _alike("pred", pred, "target", target)
    return float(np.sqrt(np.mean((pred - target) ** 2)))


def au_f1(pred, labels) -> np.ndarray:
    """F1 of each action unit.

    Args:
        pred: [N, K] decisions in {0, 1}.
        labels: [N, K] in {0, 1}; -1 and 9 mean unknown and are left out, AU by AU.
    Returns:
        [K] of 2 tp / (2 tp + fp + fn); 0 for an AU without positives.
    """
    pred, labels = _alike("pred", pred, "labels", labels, ndim=2)
    known = ~np.isin(labels, UNKNOWN_LABELS)
    if not np.isin(labels[known], (0, 1)).all():
        raise ValueError(f"labels must be 0, 1 or unknown (-1, 9), got {np.unique(labels)[:8].tolist()}")
    if not np.isin(pred, (0, 1)).all():
        raise ValueError(f"pred must be decisions 0 or 1, got {np.unique(pred)[:8].tolist()}")
    present, said = known & (labels == 1), known & (pred == 1)
    hits = (present & said).sum(0)
    return 2.0 * hits / np.maximum(present.sum(0) + said.sum(0), 1)


def nme(pred, target, norm) -> np.ndarray:
    """Normalised mean error of landmarks, a sample.

    Args:
        pred, target: [N, L, 2] pixels.
        norm: [N] > 0, the length that the error is divided by (inter-ocular distance, box size), pixels.
    Returns:
        [N] mean Euclidean distance over the landmarks / norm.
    """
    pred, target = _alike("pred", pred, "target", target, ndim=3)
    norm = _finite("norm", norm)
    if norm.shape != pred.shape[:1]:
        raise ValueError(f"norm must have shape ({len(pred)},), one length a sample, got {norm.shape}")
    if not (norm > 0).all():
        raise ValueError(f"norm must be positive, got {norm.min()}")
    return np.linalg.norm(pred - target, axis=-1).mean(1) / norm


def auc_fr(nme, threshold: float, step: float = 1e-4) -> tuple[float, float]:
    """Area under the cumulative error curve up to ``threshold`` (divided by it), and the share of samples beyond it.

    The curve is sampled at whole multiples of ``step`` and integrated by Simpson's rule, as landmark papers do.
    """
    from scipy.integrate import simpson  # half a second to import, and only landmarks need it

    errors = _finite("nme", nme)
    if errors.ndim != 1:
        raise ValueError(f"nme must have shape (N,), got {errors.shape}")
    if not 0 < step <= threshold:
        raise ValueError(f"step must be in (0, threshold = {threshold}], got {step}")
    count = round(threshold / step)
    if abs(count * step - threshold) > 1e-6 * threshold:
        raise ValueError(f"threshold must be a whole number of steps of {step}, got {threshold}")
    x = np.arange(count + 1) * (threshold / count)
    curve = np.searchsorted(np.sort(errors), x, side="right") / len(errors)
    return float(simpson(curve, x=x) / threshold), float(np.mean(errors > x[-1]))


def pose_mae(pred, target, convention: str = "strict") -> float:
    """Mean absolute error over the three angles of [N, 3] poses in degrees.

    ``strict`` is the plain absolute difference; ``min180`` takes the least of |e|, |e +- 360| and |e +- 180|, as some
    published scripts do: it forgives a head taken for its mirror image, so it flatters.
    """
    pred, target = _alike("pred", pred, "target", target, ndim=2)
    if pred.shape[1] != 3:
        raise ValueError(f"pred must have shape (N, 3): yaw, pitch, roll in degrees, got {pred.shape}")
    error = pred - target
    if convention == "strict":
        return float(np.abs(error).mean())
    if convention == "min180":
        return float(np.min([np.abs(error + turn) for turn in (0, 360, -360, 180, -180)], axis=0).mean())
    raise ValueError(f"convention must be 'strict' or 'min180', got {convention!r}")


def parsing_f1(confusion, ignore: Sequence[int] = (0,)) -> np.ndarray:
    """F1 of each class from a [C, C] matrix of pixel counts; the classes in ``ignore`` (background) are left out.

    Rows may be the truth and columns the prediction or the other way round: F1 is the same. 0 for an absent class.
    """
    confusion = _finite("confusion", confusion)
    if confusion.ndim != 2 or confusion.shape[0] != confusion.shape[1]:
        raise ValueError(f"confusion must be a square matrix of counts, got shape {confusion.shape}")
    if (confusion < 0).any():
        raise ValueError(f"confusion must hold counts >= 0, got {confusion.min()}")
    if any(not 0 <= c < len(confusion) for c in ignore):
        raise ValueError(f"ignore must hold classes 0..{len(confusion) - 1}, got {tuple(ignore)}")
    total = confusion.sum(0) + confusion.sum(1)
    f1 = np.divide(2 * np.diag(confusion), total, out=np.zeros(len(confusion)), where=total > 0)
    return np.delete(f1, list(ignore))


def bootstrap_ci(
    values, level: float = 0.95, generator: torch.Generator | None = None, resamples: int = 2000
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of independent values [N].

    Images of one person are not independent: resample persons for those (:mod:`lib.bootstrap`). Without a generator a
    fixed seed is used, so the interval is the same in every run.
    """
    values = _finite("values", values)
    if values.ndim != 1:
        raise ValueError(f"values must have shape (N,), got {values.shape}")
    if not 0 < level < 1:
        raise ValueError(f"level must be in (0, 1), got {level}")
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}")
    if generator is None:
        generator = torch.Generator().manual_seed(0)
    values = torch.from_numpy(values).to(generator.device)
    chunk = max(1, 2**22 // len(values))  # at most 32 MiB of drawn indices at a time
    means = [
        values[
            torch.randint(
                len(values), (min(chunk, resamples - begun), len(values)), generator=generator, device=generator.device
            )
        ].mean(1)
        for begun in range(0, resamples, chunk)
    ]
    low, high = np.quantile(torch.cat(means).cpu().numpy(), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _finite(name: str, values) -> np.ndarray:
    """``values`` as a float64 array; an error if it is empty or holds NaN or infinity."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        raise ValueError(f"{name} must not be empty, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {np.count_nonzero(~np.isfinite(array))} values that are not")
    return array


def _alike(name_a: str, a, name_b: str, b, ndim: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    a, b = _finite(name_a, a), _finite(name_b, b)
    if a.shape != b.shape:
        raise ValueError(f"{name_a} and {name_b} must have one shape, got {a.shape} and {b.shape}")
    if ndim is not None and a.ndim != ndim:
        raise ValueError(f"{name_a} must have {ndim} dimensions, got shape {a.shape}")
    return a, b


def _pairs(scores, same) -> tuple[np.ndarray, np.ndarray]:
    scores, same = _alike("scores", scores, "same", same, ndim=1)
    if not np.isin(same, (0, 1)).all():
        raise ValueError(f"same must be 0 or 1, got {np.unique(same)[:8].tolist()}")
    return scores, same == 1
