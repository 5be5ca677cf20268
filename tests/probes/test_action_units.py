import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from lib.metrics import au_f1
from lib.probes.action_units import BP4D_UNITS, action_units_task, unit_counts
from lib.probes.features import embed
from lib.probes.linear import fit_binary
from lib.probes.selection import test_rows as rows_for_testing


@pytest.fixture(scope="module")
def task(synthetic_faces, pixel_encoder):
    table = synthetic_faces()
    rows = rows_for_testing(table, 0)[:60]
    return action_units_task(pixel_encoder(20), table, rows, l2=0.01, batch_size=64, device="cpu")


def test_each_image_is_scored_by_the_head_that_never_saw_its_person(task):
    table = task.table
    fold = table.column("fold")
    present = np.stack([table.column(f"au_{u}") >= 2 for u in BP4D_UNITS], axis=1)
    features = embed(task.encoder, table, np.arange(len(table)), 64, "cpu")
    scores = task.scores_fn(torch.arange(60))(task.images.float() / 255).detach()
    for f in range(3):
        head = fit_binary(features[fold != f], torch.tensor(present[fold != f]), l2=0.01)
        mine = fold[task.rows] == f
        assert torch.allclose(scores[mine], head(features[task.rows[mine]]), atol=1e-4)
    assert task.metrics["f1"](task.count(scores.numpy(), np.arange(60)).sum(0)) > 60


def test_f1_comes_from_pooled_counts(task):
    rng = np.random.default_rng(1)
    said, truth = rng.random((90, 12)) > 0.6, rng.random((90, 12)) > 0.7
    truth[:, 5] = False
    counts = unit_counts(said, truth).sum(0)
    wanted = [f1_score(truth[:, k], said[:, k], zero_division=0) for k in range(12)]
    assert [task.metrics[f"f1_au_{u}"](counts) / 100 for u in BP4D_UNITS] == pytest.approx(wanted)
    assert task.metrics["f1"](counts) == pytest.approx(100 * np.mean(au_f1(said, truth)))


def test_f1_by_hand(task):
    # AU 1 over both images: one hit, one false alarm -> 2 / (2 + 1); every other AU is absent and not found -> 0
    said, truth = np.zeros((2, 12), bool), np.zeros((2, 12), bool)
    said[:, 0], truth[0, 0] = True, True
    counts = unit_counts(said, truth).sum(0)
    assert task.metrics["f1_au_1"](counts) == pytest.approx(200 / 3)
    assert task.metrics["f1"](counts) == pytest.approx(200 / 3 / 12)


def test_bad_tables_are_named(synthetic_faces, pixel_encoder):
    def fit(table, rows):
        action_units_task(pixel_encoder(4), table, np.array(rows), l2=0.01, batch_size=64, device="cpu")

    table = synthetic_faces()
    table.rows.loc[0, "fold"] = 1
    with pytest.raises(ValueError, match="persons in more than one fold: \\[0\\]"):
        fit(table, [3])
    table = synthetic_faces()
    table.rows.loc[table.rows["identity"] == 2, "fold"] = -1
    with pytest.raises(ValueError, match="test images of 'rendered' must have a fold"):
        fit(table, [14])
    table.rows["fold"] = 0
    with pytest.raises(ValueError, match="at least two folds"):
        fit(table, [3])
