import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import f1_score

from lib.degrade.objectives import binary_cross_entropy
from lib.metrics import au_f1
from lib.probes.action_units import (
    BP4D_UNITS,
    action_unit_rows,
    action_units_task,
    listed,
    unit_counts,
    unscored_units,
)
from lib.probes.features import embed
from lib.probes.linear import fit_binary
from lib.probes.selection import test_rows as rows_for_testing
from lib.probes.task import TaskLeftOut


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
    counts = unit_counts(said, truth, np.ones_like(truth)).sum(0)
    wanted = [f1_score(truth[:, k], said[:, k]) for k in range(12)]
    assert [task.metrics[f"f1_au_{u}"](counts) / 100 for u in BP4D_UNITS] == pytest.approx(wanted)
    assert task.metrics["f1"](counts) == pytest.approx(100 * np.mean(au_f1(said, truth)))


def test_f1_by_hand(task):
    # AU 1 over both images: one hit, one false alarm -> 2 / (2 + 1); AU 2 is missed -> 0; nobody shows any other
    said, truth = np.zeros((2, 12), bool), np.zeros((2, 12), bool)
    said[:, 0], truth[0, 0], truth[1, 1] = True, True, True
    said[0, 5] = True
    counts = unit_counts(said, truth, np.ones_like(truth)).sum(0)
    assert task.metrics["f1_au_1"](counts) == pytest.approx(200 / 3) and task.metrics["f1_au_2"](counts) == 0
    assert np.isnan(task.metrics["f1_au_10"](counts))
    assert task.metrics["f1"](counts) == pytest.approx(200 / 3 / 2)


@pytest.fixture
def gaps(synthetic_faces):
    """Faces of which a third of the labels is unknown; AU 2 never known to be there, AU 4 unknown on all test images,
    AU 6 without a column; test image 140 with no known AU at all."""
    table = synthetic_faces()
    test = (table.rows["split"] == "probe_test").to_numpy()
    unknown = np.random.default_rng(2).random((len(table), 12)) < 1 / 3
    for k, unit in enumerate(BP4D_UNITS):
        table.rows.loc[unknown[:, k], f"au_{unit}"] = np.nan
        table.rows.loc[140, f"au_{unit}"] = np.nan
    table.rows.loc[table.rows["au_2"] >= 2, "au_2"] = np.nan
    table.rows.loc[test, "au_4"] = np.nan
    del table.rows["au_6"]
    return table


def test_unknown_labels_are_left_out_of_fit_loss_and_counts(gaps, pixel_encoder):
    rows = action_unit_rows(gaps, rows_for_testing(gaps, 0))
    assert 140 not in rows and len(rows) == 139
    task = action_units_task(pixel_encoder(20), gaps, rows, l2=0.01, batch_size=64, device="cpu")
    level = np.stack([gaps.rows.get(f"au_{u}", np.full(len(gaps), np.nan)) for u in BP4D_UNITS], axis=1).astype(float)
    fold, features = gaps.column("fold"), embed(task.encoder, gaps, np.arange(len(gaps)), 64, "cpu")
    items = torch.arange(len(rows))
    scores = task.scores_fn(items)(task.images.float() / 255).detach()
    loss, f1 = torch.zeros(len(rows)), []
    for k, unit in enumerate(BP4D_UNITS):
        if unit in (2, 4, 6):
            assert f"f1_au_{unit}" not in task.metrics
            continue
        known = np.isfinite(level[:, k])
        for f in range(3):
            head = fit_binary(
                features[fold != f], torch.tensor(level[fold != f, k : k + 1] >= 2), 0.01,
                known=torch.tensor(known[fold != f, None]),
            )  # fmt: skip
            mine = fold[rows] == f
            assert torch.allclose(scores[mine, k], head(features[rows[mine]])[:, 0], atol=5e-3)
        sure = known[rows]
        truth, said = level[rows, k] >= 2, scores[:, k].numpy() > 0
        f1.append(f1_score(truth[sure], said[sure], zero_division=0))
        logs = F.binary_cross_entropy_with_logits(scores[sure, k], torch.tensor(truth[sure]).float(), reduction="none")
        loss[torch.tensor(sure)] += logs
        counts = task.count(scores.numpy(), items.numpy()).sum(0)
        assert task.metrics[f"f1_au_{unit}"](counts) == pytest.approx(100 * f1[-1])
    assert task.metrics["f1"](counts) == pytest.approx(100 * np.mean(f1)) and len(f1) == 9
    assert task.losses(scores, items) == pytest.approx(loss, abs=1e-4)


def test_what_is_not_known_does_not_matter():
    scores = torch.randn(4, 12, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels = torch.randint(-1, 2, (4, 12), generator=torch.Generator().manual_seed(1)).float()
    (gradient,) = torch.autograd.grad(binary_cross_entropy(scores, labels).sum(), scores)
    assert torch.equal(gradient == 0, labels < 0)
    known = (labels >= 0).numpy()
    said = (scores > 0).numpy()
    counts = [unit_counts(s, (labels > 0).numpy(), known) for s in (said, said ^ ~known)]
    assert np.array_equal(*counts)


def test_units_that_cannot_be_scored_are_named(gaps):
    rows = rows_for_testing(gaps, 0)
    reasons = unscored_units(gaps, rows)
    assert set(reasons) == {2, 4, 6}
    assert "no image outside fold 0 is known to show it" in reasons[2] and reasons[6] == "no such column"
    said = listed(reasons | {7: reasons[4]})
    assert said.endswith("AU 4, 7: no test image is known to show it; AU 6: no such column")
    gaps.rows.loc[(gaps.rows["split"] == "probe_test") & (gaps.rows["au_10"] >= 2), "au_10"] = 0.0
    assert unscored_units(gaps, rows)[10] == reasons[4]
    gaps.rows.loc[(gaps.rows["fold"] != 1) & (gaps.rows["au_7"] >= 2), "au_7"] = 0.0
    assert "outside fold 1" in unscored_units(gaps, rows)[7]


def test_an_f1_of_what_nobody_is_known_to_show_is_no_number(task):
    known = np.ones((2, 12), bool)
    known[:, 3] = False
    said, truth = np.ones((2, 12), bool), np.ones((2, 12), bool)
    truth[:, 4] = False  # known, and nobody shows it
    counts = unit_counts(said, truth, known).sum(0)
    assert np.isnan(task.metrics["f1_au_6"](counts)) and np.isnan(task.metrics["f1_au_7"](counts))
    assert task.metrics["f1"](counts) == 100
    assert np.isnan(task.metrics["f1"](0 * counts))


def test_a_table_without_action_units_says_what_is_missing(synthetic_faces):
    def reason(change):
        table = synthetic_faces()
        change(table.rows)
        with pytest.raises(TaskLeftOut) as caught:
            action_unit_rows(table, [200, 201])
        return str(caught.value)

    units = [f"au_{unit}" for unit in BP4D_UNITS]
    assert reason(lambda rows: rows.drop(columns=units, inplace=True)).startswith("there are no columns au_1, au_2")
    assert reason(lambda rows: rows.drop(columns="fold", inplace=True)) == "there is no column 'fold'"
    assert "no action unit can be scored: AU 1, 2, 4" in reason(lambda rows: rows.__setitem__(units, np.nan))
    assert "at least two folds" in reason(lambda rows: rows.__setitem__("fold", 0))


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
