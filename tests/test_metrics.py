import numpy as np
import pytest
import torch
from scipy.integrate import simpson
from sklearn import metrics as reference

from lib import metrics


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def slow_threshold(scores, same):
    best, kept = -1, None
    values = sorted(set(scores.tolist()))
    for t in [-np.inf, *[(a + b) / 2 for a, b in zip(values, values[1:])], np.inf]:
        right = sum((s > t) == bool(y) for s, y in zip(scores, same))
        if right > best:
            best, kept = right, t
    return kept


def test_verification_follows_the_slow_reference(rng):
    same = rng.integers(0, 2, 97)
    scores = np.round(rng.normal(size=97) + same, 1)  # rounded, so that there are ties
    parts = np.array_split(np.arange(97), 10)
    wanted = []
    for part in parts:
        rest = np.setdiff1d(np.arange(97), part)
        t = slow_threshold(scores[rest], same[rest])
        wanted.append(np.mean([(scores[i] > t) == bool(same[i]) for i in part]))
    mean, std = metrics.verification_10fold(scores, same)
    assert mean == pytest.approx(np.mean(wanted)) and std == pytest.approx(np.std(wanted))


def test_verification_threshold_comes_from_the_given_scores():
    same = np.tile([1, 0], 20)
    clean = np.where(same, 0.9, 0.1)
    attacked = np.where(same, 0.2, 0.3)  # a threshold chosen on these would still get half of them right
    assert metrics.verification_10fold(clean, same) == (1.0, 0.0)
    assert metrics.verification_10fold(attacked, same, threshold_scores=clean)[0] == 0.5
    assert metrics.verification_10fold(clean - 5, same, threshold_scores=clean)[0] == 0.5


def test_verification_threshold_does_not_depend_on_order(rng):
    same, scores = rng.integers(0, 2, 60), np.round(rng.normal(size=60), 1)
    order = rng.permutation(60)
    assert metrics.best_threshold(scores, same) == metrics.best_threshold(scores[order], same[order])


def test_tar_at_far_is_the_roc_curve_read_at_far(rng):
    same = rng.integers(0, 2, 400)
    scores = np.round(rng.normal(size=400) + 1.2 * same, 2)
    fpr, tpr, _ = reference.roc_curve(same, scores, drop_intermediate=False)
    for far in (0, 0.001, 0.01, 0.1, 0.29, 0.5, 1):
        assert metrics.tar_at_far(scores, same, far) == pytest.approx(tpr[fpr <= far + 1e-12].max()), far


def test_ccc_and_rmse(rng):
    a, b = rng.normal(size=(2, 50))
    wanted = 2 * np.cov(a, b, bias=True)[0, 1] / (np.var(a) + np.var(b) + (a.mean() - b.mean()) ** 2)
    assert metrics.ccc(a, b) == pytest.approx(wanted)
    assert metrics.ccc(a, a) == pytest.approx(1) and metrics.ccc(a, -a + 2 * a.mean()) == pytest.approx(-1)
    assert metrics.ccc(np.ones(4), np.ones(4)) == 0
    assert metrics.rmse(torch.tensor(a), b) == pytest.approx(reference.mean_squared_error(a, b) ** 0.5)


def test_au_f1_leaves_out_unknown_labels(rng):
    labels, pred = rng.choice([0, 1, 9, -1], size=(80, 4)), rng.integers(0, 2, (80, 4))
    labels[:, 3] = np.where(labels[:, 3] == 1, 0, labels[:, 3])
    for k, f1 in enumerate(metrics.au_f1(pred, labels)):
        known = np.isin(labels[:, k], (0, 1))
        assert f1 == pytest.approx(reference.f1_score(labels[known, k], pred[known, k], zero_division=0))
    assert metrics.au_f1(pred, labels)[3] == 0


def test_landmark_errors(rng):
    target = rng.uniform(0, 48, (7, 68, 2))
    pred, norm = target + rng.normal(size=target.shape), rng.uniform(10, 20, 7)
    errors = metrics.nme(pred, target, norm)
    for i in range(7):
        far = [((pred[i, j] - target[i, j]) ** 2).sum() ** 0.5 for j in range(68)]
        assert errors[i] == pytest.approx(sum(far) / 68 / norm[i])
    x = np.linspace(0, 0.1, 1001)
    curve = [np.mean(errors <= v) for v in x]
    auc, failures = metrics.auc_fr(errors, 0.1)
    assert auc == pytest.approx(simpson(curve, x=x) / 0.1)
    assert failures == pytest.approx(np.mean(errors > 0.1))
    assert metrics.auc_fr([0, 0], 0.07) == (pytest.approx(1), 0)


def test_pose_conventions():
    pred, target = [[170, 10, 0], [0, 0, 5]], [[-170, 20, 0], [0, 0, 0]]
    assert metrics.pose_mae(pred, target) == pytest.approx((340 + 10 + 0 + 0 + 0 + 5) / 6)
    assert metrics.pose_mae(pred, target, convention="min180") == pytest.approx((20 + 10 + 5) / 6)


def test_parsing_f1_from_counts(rng):
    truth, pred = rng.integers(0, 5, (2, 500))
    truth[truth == 4] = 3
    pred[pred == 4] = 3
    confusion = reference.confusion_matrix(truth, pred, labels=range(5))
    wanted = reference.f1_score(truth, pred, labels=range(1, 5), average=None, zero_division=0)
    assert metrics.parsing_f1(confusion) == pytest.approx(wanted)
    assert metrics.parsing_f1(confusion.T, ignore=())[1:] == pytest.approx(wanted)


def test_bootstrap_interval_has_the_size_of_the_normal_one(rng):
    values = rng.normal(2, 3, 400)
    low, high = metrics.bootstrap_ci(values)
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.05) and high == pytest.approx(
        values.mean() + half, abs=0.05
    )
    assert metrics.bootstrap_ci(values) == (low, high)
    narrow = metrics.bootstrap_ci(values, level=0.5, generator=torch.Generator().manual_seed(1))
    assert low < narrow[0] < narrow[1] < high
    assert metrics.bootstrap_ci([5.0]) == (5, 5)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: metrics.verification_10fold([1, 2], [1]), "scores and same must have one shape"),
        (lambda: metrics.verification_10fold([1, 2], [1, 0]), "folds must be 2..2"),
        (lambda: metrics.verification_10fold([1, 2], [1, 0], 2, [1]), "threshold_scores must have the shape"),
        (lambda: metrics.verification_10fold([1, np.nan], [1, 0], 2), "scores must be finite"),
        (lambda: metrics.verification_10fold([1, 2], [1, -1], 2), "same must be 0 or 1"),
        (lambda: metrics.tar_at_far([1, 2], [1, 1], 0.1), "at least one impostor"),
        (lambda: metrics.tar_at_far([1, 2], [0, 0], 0.1), "at least one genuine"),
        (lambda: metrics.tar_at_far([1, 2], [1, 0], 2), "far must be in"),
        (lambda: metrics.ccc([], []), "pred must not be empty"),
        (lambda: metrics.ccc([[1]], [[1]]), "pred must have 1 dimensions"),
        (lambda: metrics.rmse([1, 2], [1]), "pred and target must have one shape"),
        (lambda: metrics.au_f1([[0.5]], [[1]]), "pred must be decisions 0 or 1"),
        (lambda: metrics.au_f1([[0]], [[3]]), "labels must be 0, 1 or unknown"),
        (lambda: metrics.nme(np.ones((2, 3, 2)), np.ones((2, 3, 2)), [1]), "norm must have shape"),
        (lambda: metrics.nme(np.ones((1, 3, 2)), np.ones((1, 3, 2)), [0]), "norm must be positive"),
        (lambda: metrics.auc_fr([0.1], 0.1, 0.03), "whole number of steps"),
        (lambda: metrics.auc_fr([0.1], 0), "step must be in"),
        (lambda: metrics.pose_mae(np.ones((2, 2)), np.ones((2, 2))), "yaw, pitch, roll"),
        (lambda: metrics.pose_mae(np.ones((2, 3)), np.ones((2, 3)), "loose"), "convention must be"),
        (lambda: metrics.parsing_f1(np.ones((2, 3))), "square matrix"),
        (lambda: metrics.parsing_f1(np.ones((2, 2)), (2,)), "ignore must hold classes"),
        (lambda: metrics.bootstrap_ci([1, 2], level=95), "level must be in"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
