"""Valence and arousal: metrics from sums against the plain metrics, the fit, the losses, what is left out, bad tables."""

import numpy as np
import pytest
import torch

from lib import metrics
from lib.bootstrap import subject_draws, subject_sums
from lib.probes.affect import affect_counts, affect_rows, affect_task, ratings
from lib.probes.selection import test_rows as rows_for_testing
from lib.probes.task import TaskLeftOut


@pytest.fixture(scope="module")
def task(synthetic_faces, pixel_encoder):
    table = synthetic_faces()
    return affect_task(pixel_encoder(), table, rows_for_testing(table, 0)[:70], l2=0.01, batch_size=64, device="cpu")


def test_ratings_of_new_persons_are_told(task):
    scores = task.scores_fn(torch.arange(70))(task.images.float() / 255)
    sums = task.count(scores.numpy(), np.arange(70)).sum(0)
    assert scores.shape == (70, 2) and task.main_metric == "ccc" and 85 < task.metrics["ccc"](sums) <= 100
    assert task.metrics["rmse_valence"](sums) < 0.25
    assert task.clean_only["knn"].shape == (70, 2) and set(task.subjects) == set(range(20, 40)) and task.classes is None


def test_metrics_from_sums_are_the_plain_ones(task):
    rng = np.random.default_rng(0)
    truth = rng.uniform(-1, 1, (200, 2))
    pred = 0.5 * truth + 0.6 * rng.normal(size=(200, 2)) + [0.2, -0.1]
    sums = affect_counts(pred, truth).sum(0)
    assert (abs(pred) > 1).sum() > 20
    pred = pred.clip(-1, 1)
    for k, name in enumerate(("valence", "arousal")):
        assert task.metrics[f"ccc_{name}"](sums) == pytest.approx(100 * metrics.ccc(pred[:, k], truth[:, k]))
        assert task.metrics[f"rmse_{name}"](sums) == pytest.approx(metrics.rmse(pred[:, k], truth[:, k]))
    assert task.metrics["ccc"](sums) == pytest.approx(50 * sum(metrics.ccc(pred[:, k], truth[:, k]) for k in range(2)))
    assert list(task.metrics) == ["ccc", "ccc_valence", "ccc_arousal", "rmse_valence", "rmse_arousal"]


def test_a_resample_is_what_its_persons_give(task):
    rng = np.random.default_rng(1)
    truth, person = rng.uniform(-1, 1, (60, 2)), rng.integers(0, 6, 60)
    pred = 0.6 * truth + 0.1 * rng.normal(size=(60, 2))
    draws = subject_draws(6, 20, 3)
    found = task.metrics["ccc_arousal"](draws @ subject_sums(affect_counts(pred, truth), person, 6))
    for times, value in zip(draws, found):
        items = np.repeat(np.arange(60), times[person].astype(int))
        assert value == pytest.approx(100 * metrics.ccc(pred[items, 1], truth[items, 1]))


@pytest.mark.parametrize("value", [0.3, 0.1, -0.7, 0.0])
def test_constants_and_nobody(task, value):
    flat = np.full((7, 2), value)
    both = affect_counts(flat, flat).sum(0)
    assert task.metrics["ccc"](both) == 0 and task.metrics["rmse_valence"](both) == pytest.approx(0, abs=1e-8)
    one = affect_counts(flat, np.random.default_rng(0).uniform(-1, 1, (7, 2))).sum(0)
    assert task.metrics["ccc"](one) == pytest.approx(0, abs=1e-6)
    assert np.isnan(task.metrics["ccc"](np.zeros((3, 11)))).all() and np.isnan(task.metrics["rmse_arousal"](np.zeros(11)))


def test_the_attackers_loss_is_each_images_own(task):
    scores = torch.randn(70, 2, generator=torch.Generator().manual_seed(0))
    each = task.losses(scores[10:30], torch.arange(10, 30))
    assert torch.allclose(each, (scores[10:30] - task.labels[10:30]).square().sum(1))
    assert each.sum().item() == pytest.approx(task.loss_fn(scores[10:30], task.labels[10:30]).item(), rel=1e-5)
    signs = task.correct(scores, torch.arange(70))
    assert signs.shape == (70, 2) and signs[0, 0] == ((scores[0, 0] > 0) == (task.labels[0, 0] > 0))


def test_scores_reach_back_to_the_pixels(task):
    pixels = (task.images[:3].float() / 255).requires_grad_()
    task.loss_fn(task.scores_fn(torch.arange(3))(pixels), task.labels[:3]).backward()
    assert (pixels.grad.flatten(1).abs().sum(1) > 0).all()


def test_a_stronger_attack_is_not_forgiven(task):
    """Squared error grows without end; unclipped, predictions far off would have a CCC of about 0 again."""
    truth = task.labels.numpy()
    found = [task.metrics["ccc"](affect_counts(truth - s * np.sign(truth), truth).sum(0)) for s in (0, 0.5, 1, 2, 100)]
    assert all(a >= b for a, b in zip(found, found[1:])) and found[0] == pytest.approx(100) and found[-1] < -60


def test_rows_are_those_with_both_ratings(synthetic_faces):
    table = synthetic_faces()
    table.rows.loc[200, "valence"] = np.nan
    table.rows.loc[205, "arousal"] = np.nan
    assert affect_rows(table, [199, 200, 205, 206]).tolist() == [199, 206]
    assert np.isnan(ratings(table)[200, 0]) and ratings(table).dtype == np.float32
    with pytest.raises(TaskLeftOut, match="valence and arousal of no test image are known"):
        affect_rows(table, [200, 205])
    table.rows.loc[table.rows["split"] == "probe_train", "arousal"] = np.nan
    with pytest.raises(TaskLeftOut, match="of no image of split 'probe_train' are known"):
        affect_rows(table, [199])
    del table.rows["arousal"]
    with pytest.raises(TaskLeftOut, match="there is no column 'arousal'"):
        affect_rows(table, [199])


def test_bad_tables_are_named(synthetic_faces, pixel_encoder):
    table = synthetic_faces()
    fit = lambda rows: affect_task(pixel_encoder(), table, rows, l2=0.01, batch_size=64, device="cpu")  # noqa: E731
    with pytest.raises(ValueError, match="persons \\[0\\] are in 'probe_train' and among the test"):
        fit([0, 200])
    table.rows.loc[200, "valence"] = np.nan
    with pytest.raises(ValueError, match="valence and arousal of the test images of 'rendered' must be known"):
        fit([200, 201])
