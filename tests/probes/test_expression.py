import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, f1_score

from lib.probes.expression import class_count, confusion_counts, expression_rows, expression_task, macro_f1
from lib.probes.selection import test_rows as rows_for_testing
from lib.probes.task import TaskLeftOut


@pytest.fixture(scope="module")
def task(synthetic_faces, pixel_encoder):
    table = synthetic_faces()
    return expression_task(
        pixel_encoder(), table, rows_for_testing(table, 0)[:70], l2=0.01, batch_size=64, device="cpu"
    )


def test_expressions_of_new_persons_are_told(task):
    model = task.scores_fn(torch.arange(70))
    scores = model(task.images.float() / 255)
    counts = task.count(scores.numpy(), np.arange(70))
    right = scores.argmax(1) == task.labels
    assert task.metrics["accuracy"](counts.sum(0)) == pytest.approx(100 * right.float().mean().item())
    assert right.float().mean() > 0.9 and task.clean_only["knn"].shape == (70, 7) and (task.clean_only["knn"].sum(1) == 1).all()
    assert (task.correct(scores, torch.arange(70)) == right).all()
    assert task.main_metric == "accuracy" and len(task) == 70 and set(task.subjects) == set(range(20, 40))


def test_macro_f1_from_counts_is_sklearns(task):
    rng = np.random.default_rng(0)
    said, truth = rng.integers(0, 7, (2, 200))
    counts = confusion_counts(said, truth, 7).sum(0)
    assert task.metrics["macro_f1"](counts) == pytest.approx(100 * f1_score(truth, said, average="macro"))
    assert macro_f1(said, truth, 7) == pytest.approx(100 * f1_score(truth, said, average="macro"))
    assert task.metrics["accuracy"](counts) == pytest.approx(100 * np.mean(said == truth))


def test_macro_f1_is_over_the_expressions_that_the_data_have(synthetic_faces, pixel_encoder):
    table = synthetic_faces()
    table = table.select(np.isin(table.column("expression"), (0, 2, 3)))
    rows = rows_for_testing(table, 0)
    task = expression_task(pixel_encoder(), table, rows, l2=0.01, batch_size=64, device="cpu")
    rng = np.random.default_rng(0)
    said, truth = rng.choice([0, 2, 3], (2, 200))
    counts = confusion_counts(said, truth, 7).sum(0)
    assert task.metrics["macro_f1"](counts) == pytest.approx(100 * f1_score(truth, said, average="macro"))


def test_recalls_and_confusions_are_sklearns_matrix(task):
    rng = np.random.default_rng(1)
    said, truth = rng.integers(0, 7, (2, 300))
    sums = np.stack([confusion_counts(s, t, 7).sum(0) for s, t in ((said, truth), (truth, said))])  # as of two resamples
    matrix = 100 * confusion_matrix(truth, said, normalize="true")
    assert task.metrics["recall_sadness"](sums)[0] == pytest.approx(matrix[2, 2])
    assert task.details["confused_fear_as_surprise"](sums)[0] == pytest.approx(matrix[4, 3])
    shares = [share(sums)[0] for name, share in task.details.items() if name.startswith("confused_fear_as_")]
    assert len(task.details) == 42 and sum(shares) + matrix[4, 4] == pytest.approx(100)
    none = confusion_counts(said[truth != 5], truth[truth != 5], 7).sum(0)
    assert np.isnan(task.metrics["recall_disgust"](none)) and np.isfinite(task.metrics["recall_anger"](none))


@pytest.mark.parametrize("where", ["probe_train", "probe_test"])
def test_contempt_is_an_eighth_class(synthetic_faces, pixel_encoder, where):
    table = synthetic_faces()
    some = (table.rows["expression"] == 6) & (table.rows["identity"] % 2 == 0) & (table.rows["split"] == where)
    table.rows.loc[some, "expression"] = 7
    rows = rows_for_testing(table, 0)
    task = expression_task(pixel_encoder(), table, rows, l2=0.01, batch_size=64, device="cpu")
    scores = task.scores_fn(torch.arange(len(rows)))(task.images.float() / 255).numpy()
    assert task.classes == 8 and scores.shape == (140, 8) and len(task.details) == 56
    truth = table.column("expression")[rows]
    sums = task.count(scores, np.arange(140)).sum(0)
    expected = f1_score(truth, scores.argmax(1), average="macro", labels=range(8), zero_division=0)
    assert task.metrics["macro_f1"](sums) == pytest.approx(100 * expected)
    assert class_count(np.array([6, 0])) == 7 and class_count(np.array([0]), np.array([7])) == 8


def test_rows_are_those_with_a_known_expression(synthetic_faces):
    table = synthetic_faces()
    table.rows.loc[[200, 205], "expression"] = -1
    assert expression_rows(table, [199, 200, 205, 206]).tolist() == [199, 206]
    with pytest.raises(TaskLeftOut, match="the expression of no test image is known"):
        expression_rows(table, [200, 205])
    table.rows.loc[table.rows["split"] == "probe_train", "expression"] = -1
    with pytest.raises(TaskLeftOut, match="no image of split 'probe_train' is known"):
        expression_rows(table, [199])
    del table.rows["split"]
    with pytest.raises(TaskLeftOut, match="there is no column 'split'"):
        expression_rows(table, [199])


def test_scores_reach_back_to_the_pixels(task):
    pixels = (task.images[:3].float() / 255).requires_grad_()
    task.loss_fn(task.scores_fn(torch.arange(3))(pixels), task.labels[:3]).backward()
    assert (pixels.grad.flatten(1).abs().sum(1) > 0).all()
    assert len(task.scores_fn(torch.arange(3))(pixels.repeat(2, 1, 1, 1))) == 6
    with pytest.raises(ValueError, match="pixels must be 3 images or a multiple"):
        task.scores_fn(torch.arange(3))(pixels[:2])


def test_losses_of_items_sum_up_to_the_loss(task):
    scores = torch.randn(70, 7, generator=torch.Generator().manual_seed(0))
    each = task.losses(scores[10:30], torch.arange(10, 30))
    assert each.shape == (20,) and each.sum().item() == pytest.approx(
        task.loss_fn(scores[10:30], task.labels[10:30]).item()
    )


def test_bad_tables_are_named(synthetic_faces, pixel_encoder):
    def fit(table, rows=(200, 201)):
        expression_task(pixel_encoder(), table, np.array(rows), l2=0.01, batch_size=64, device="cpu")

    table = synthetic_faces()
    with pytest.raises(ValueError, match="persons \\[0\\] are in 'probe_train' and among the test"):
        fit(table, (0, 200))
    with pytest.raises(ValueError, match="no image of split 'probe_train' is known"):
        fit(table.select(np.arange(140, 280)), (0, 1))
    table.rows.loc[3, "expression"] = 8
    with pytest.raises(ValueError, match="expression of the training images of 'rendered' must be 0..7, got 0..8"):
        fit(table)
