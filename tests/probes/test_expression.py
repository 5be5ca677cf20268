import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from lib.probes.expression import class_counts, expression_rows, expression_task
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
    assert right.float().mean() > 0.9 and task.training_free["knn_accuracy"].shape == (70,)
    assert (task.correct(scores, torch.arange(70)) == right).all()
    assert task.main_metric == "accuracy" and len(task) == 70 and set(task.subjects) == set(range(20, 40))


def test_macro_f1_from_counts_is_sklearns(task):
    rng = np.random.default_rng(0)
    said, truth = rng.integers(0, 7, (2, 200))
    counts = class_counts(said, truth).sum(0)
    assert task.metrics["macro_f1"](counts) == pytest.approx(100 * f1_score(truth, said, average="macro"))
    assert task.metrics["accuracy"](counts) == pytest.approx(100 * np.mean(said == truth))


def test_macro_f1_is_over_the_expressions_that_the_data_have(synthetic_faces, pixel_encoder):
    table = synthetic_faces()
    table = table.select(np.isin(table.column("expression"), (0, 2, 3)))
    rows = rows_for_testing(table, 0)
    task = expression_task(pixel_encoder(), table, rows, l2=0.01, batch_size=64, device="cpu")
    rng = np.random.default_rng(0)
    said, truth = rng.choice([0, 2, 3], (2, 200))
    counts = class_counts(said, truth).sum(0)
    assert task.metrics["macro_f1"](counts) == pytest.approx(100 * f1_score(truth, said, average="macro"))


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
    table.rows.loc[3, "expression"] = 7
    with pytest.raises(ValueError, match="expression of the training images of 'rendered' must be 0..6, got 0..7"):
        fit(table)
