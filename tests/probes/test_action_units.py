"""Action units as a task: the heads of the linear evaluation, its published figure, and everything that is left out."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from lib.au_metrics import fold_scores
from lib.datasets.action_units import BP4D_UNITS, DISFA_UNITS, au_labels
from lib.degrade.objectives import binary_cross_entropy
from lib.probes.action_units import SEED, action_unit_rows, action_units_task, left_out_of
from lib.probes.au_linear import CHOICES, Recipe, evaluate_action_units, fit_folds
from lib.probes.features import embed
from lib.probes.selection import test_rows as rows_for_testing
from lib.probes.task import TaskLeftOut
from lib.tally import tally

QUICK = Recipe(epochs=25, learning_rate=0.02, standardise=True)


def fit(encoder, table, rows, recipe=QUICK):
    return action_units_task(encoder, table, rows, batch_size=64, device="cpu", recipe=recipe)


def scores_of(task):
    return task.scores_fn(torch.arange(len(task)))(task.images.float() / 255).detach()


def details_of(task, scores):
    """Every metric of the unresampled items."""
    sums, items = task.count(scores, np.arange(len(scores))).sum(0), np.arange(len(scores))
    person = np.unique(task.subjects, return_inverse=True)[1]
    areas = task.curves(scores, items, person, np.ones((1, person.max() + 1)))
    return {name: float(metric(sums)) for name, metric in {**task.metrics, **task.details}.items()} | {k: v[0] for k, v in areas.items()}


@pytest.fixture(scope="module")
def task(synthetic_faces, pixel_encoder):
    table = synthetic_faces()
    return fit(pixel_encoder(20), table, rows_for_testing(table, 0)[:60])


def test_the_heads_are_those_of_the_linear_evaluation(task):
    table = task.table
    everything = np.arange(len(table))
    features, labels = embed(task.encoder, table, everything, 64, "cpu"), torch.as_tensor(au_labels(table))
    fold, person = table.column("fold"), table.column("identity")
    fitted = fit_folds(features, labels, fold, person, QUICK, SEED, tested=np.isin(everything, task.rows))
    scores = scores_of(task)
    for choice, found in {"validation": scores, **task.clean_only}.items():
        wanted = fitted.scores(features[task.rows], torch.as_tensor(fold[task.rows]), choice)
        assert torch.allclose(torch.as_tensor(found), wanted, atol=1e-4)
    assert set(task.clean_only) | {"validation"} == set(CHOICES)
    assert task.metrics["f1"](task.count(scores.numpy(), np.arange(60)).sum(0)) > 60


def test_where_all_images_are_tested_it_is_the_linear_evaluation(synthetic_faces, pixel_encoder):
    table, encoder = synthetic_faces(), pixel_encoder(20)
    task = fit(encoder, table, np.arange(len(table)))
    found = evaluate_action_units(encoder, table, recipe=QUICK, seed=SEED)
    mine = details_of(task, scores_of(task).numpy())
    wanted = found.scores["validation"]
    assert mine["f1"] == pytest.approx(100 * wanted.f1_macro) and mine["f1_pooled"] == pytest.approx(100 * wanted.pooled_f1_macro)
    assert [mine[f"f1_fold_{f}"] for f in (1, 2, 3)] == pytest.approx(100 * wanted.fold_f1)
    assert [mine[f"auc_au_{u}"] for u in BP4D_UNITS] == pytest.approx(100 * wanted.auc.mean(0))
    rows = tally(task, scores_of(task).numpy(), [], method="m", seed=0, resamples=2)
    rows = {row.metric: row.value for row in rows}
    for choice in ("last", "best_on_test"):
        assert rows[f"{choice}_f1"] == pytest.approx(100 * found.scores[choice].f1_macro)
    for name in ("auc", "auc_au_12", "support_au_12", "f1_pooled", "f1_au_12_fold_3"):
        assert rows[name] == pytest.approx(mine[name])


def test_every_number_is_scikit_learns(task):
    scores, table = scores_of(task).numpy(), task.table
    found, fold = details_of(task, scores), table.column("fold")[task.rows]
    truth = au_labels(table)[task.rows]
    said = scores >= 0
    f1 = np.array([[f1_score(truth[fold == f, k], said[fold == f, k], zero_division=0) for k in range(12)] for f in range(3)])
    assert found["f1"] == pytest.approx(100 * f1.mean())
    assert [found[f"f1_au_{u}"] for u in BP4D_UNITS] == pytest.approx(100 * f1.mean(0))
    assert [found[f"f1_fold_{f}"] for f in (1, 2, 3)] == pytest.approx(100 * f1.mean(1))
    pooled = [f1_score(truth[:, k], said[:, k]) for k in range(12)]
    assert found["f1_pooled"] == pytest.approx(100 * np.mean(pooled))
    for k, unit in enumerate(BP4D_UNITS):
        for f in range(3):
            assert found[f"f1_au_{unit}_fold_{f + 1}"] == pytest.approx(100 * f1[f, k])
        right = [accuracy_score(truth[fold == f, k], said[fold == f, k]) for f in range(3)]
        area = [roc_auc_score(truth[fold == f, k], scores[fold == f, k]) for f in range(3)]
        assert found[f"accuracy_au_{unit}"] == pytest.approx(100 * np.mean(right))
        assert found[f"auc_au_{unit}"] == pytest.approx(100 * np.mean(area))
        assert found[f"support_au_{unit}"] == truth[:, k].sum()
        assert found[f"hits_au_{unit}"] == (truth[:, k] * said[:, k]).sum()
        assert found[f"false_alarms_au_{unit}"] == ((1 - truth[:, k]) * said[:, k]).sum()


def test_a_metric_is_of_the_sums_it_is_asked_for(task):
    """Though those asked for last are kept."""
    scores, items = scores_of(task).numpy(), np.arange(60)
    one, other = (task.count(sign * scores, items).sum(0) for sign in (1, -1))
    asked = [metric(sums) for metric in {**task.metrics, **task.details}.values() for sums in (one, other, one)]
    fresh = [metric(sums.copy()) for metric in {**task.metrics, **task.details}.values() for sums in (one, other, one)]
    np.testing.assert_array_equal(asked, fresh)
    assert task.metrics["f1"](one) > task.metrics["f1"](other)


def test_heads_of_one_fold_never_see_its_people(synthetic_faces, pixel_encoder, monkeypatch):
    """One fold is tested: its other images are not even embedded."""
    table, encoder = synthetic_faces(), pixel_encoder(20)
    rows = np.flatnonzero((table.column("fold") == 1) & (table.column("split") == "probe_test"))
    seen = []
    monkeypatch.setattr("lib.probes.action_units.embed", lambda *args: seen.append(args[2]) or embed(*args))
    task = fit(encoder, table, rows)
    others = np.flatnonzero(table.column("fold") != 1)
    assert sorted(seen[0]) == sorted([*rows, *others])
    table.rows.loc[rows, [f"au_{u}" for u in BP4D_UNITS]] = 5 - table.rows.loc[rows, [f"au_{u}" for u in BP4D_UNITS]]
    again = fit(encoder, table, rows)  # other labels of the test images: the same heads
    assert torch.equal(scores_of(task), scores_of(again))
    names = {name for name in task.details if "fold" in name and "au" not in name}
    assert names == {"f1_fold_2"} and details_of(task, scores_of(task).numpy())["f1"] == pytest.approx(
        details_of(task, scores_of(task).numpy())["f1_fold_2"]
    )


def test_disfa_is_scored_on_its_own_units(synthetic_faces, pixel_encoder):
    table = synthetic_faces()
    names = dict(zip((f"au_{u}" for u in BP4D_UNITS), (f"au_{u}" for u in (*DISFA_UNITS, 5, 20, 15, 17))))
    table.rows.rename(columns=names, inplace=True)
    task = fit(pixel_encoder(20), table, action_unit_rows(table, rows_for_testing(table, 0)[:40]))
    assert [name for name in task.metrics if "au" in name] == [f"f1_au_{u}" for u in DISFA_UNITS]


@pytest.fixture
def gaps(synthetic_faces):
    """Faces of which a third of the labels is unknown; AU 2 never known to be there, AU 4 unknown on all test images,
    AU 6 without a column, AU 7 nowhere but in fold 0; test image 140 with no known AU at all."""
    table = synthetic_faces()
    test = (table.rows["split"] == "probe_test").to_numpy()
    unknown = np.random.default_rng(2).random((len(table), 12)) < 1 / 3
    for k, unit in enumerate(BP4D_UNITS):
        table.rows.loc[unknown[:, k], f"au_{unit}"] = np.nan
        table.rows.loc[140, f"au_{unit}"] = np.nan
    table.rows.loc[table.rows["au_2"] >= 2, "au_2"] = np.nan
    table.rows.loc[test, "au_4"] = np.nan
    table.rows.loc[(table.rows["au_7"] >= 2) & (table.rows["fold"] > 0), "au_7"] = 0.0
    del table.rows["au_6"]
    return table


def test_unknown_labels_are_left_out_of_fit_loss_and_counts(gaps, pixel_encoder):
    rows = action_unit_rows(gaps, rows_for_testing(gaps, 0))
    assert 140 not in rows and len(rows) == 139
    task = fit(pixel_encoder(20), gaps, rows)
    labels, fold = au_labels(gaps), gaps.column("fold")
    scores, items = scores_of(task), torch.arange(len(rows))
    learned = np.stack([(labels[(fold != f)] == 1).any(0) for f in range(3)])
    wanted = fold_scores(scores.numpy(), labels[rows], fold[rows], BP4D_UNITS, learned=learned)
    found = details_of(task, scores.numpy())
    assert found["f1"] == pytest.approx(100 * wanted.f1_macro)
    np.testing.assert_allclose([found[f"f1_au_{u}"] for u in BP4D_UNITS], 100 * wanted.mean_f1)
    assert [u for u in BP4D_UNITS if np.isnan(found[f"f1_au_{u}"])] == [2, 4, 6, 7]
    assert np.isfinite(wanted.f1).sum() == 8 * 3
    truth = torch.as_tensor(np.where(learned[fold[rows]], labels[rows], -1))
    each = F.binary_cross_entropy_with_logits(scores, (truth == 1).float(), reduction="none")
    assert task.losses(scores, items) == pytest.approx((each * (truth >= 0)).sum(1), abs=1e-4)
    metrics = {row.metric for row in tally(task, scores.numpy(), [], method="m", seed=0, resamples=5)}
    assert {"f1_au_1", "auc_au_1", "support_au_4", "accuracy_au_10"} <= metrics
    assert not {"f1_au_2", "f1_au_4", "auc_au_7", "accuracy_au_6"} & metrics  # what is no number has no row


def test_what_is_not_known_does_not_matter():
    scores = torch.randn(4, 12, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels = torch.randint(-1, 2, (4, 12), generator=torch.Generator().manual_seed(1)).float()
    (gradient,) = torch.autograd.grad(binary_cross_entropy(scores, labels).sum(), scores)
    assert torch.equal(gradient == 0, labels < 0)


def test_what_a_fold_leaves_out_is_named(gaps):
    rows = action_unit_rows(gaps, rows_for_testing(gaps, 0))
    assert left_out_of(gaps, rows) == (
        "AU 6: no such column",
        "fold 1 leaves out AU 2, 7: no training image is known to show it",
        "fold 1 leaves out AU 4: no test image is known to show it",
        "folds 2, 3 leave out AU 2: no training image is known to show it",
        "folds 2, 3 leave out AU 4, 7: no test image is known to show it",
    )


def test_a_table_without_action_units_says_what_is_missing(synthetic_faces):
    def reason(change):
        table = synthetic_faces()
        change(table.rows)
        with pytest.raises(TaskLeftOut) as caught:
            action_unit_rows(table, [200, 201])
        return str(caught.value)

    def one_other_person(rows):
        rows.loc[rows["fold"] != rows["fold"][200], "fold"] = -1
        rows.loc[rows["identity"] == 0, "fold"] = (rows["fold"][200] + 1) % 3

    units = [f"au_{unit}" for unit in BP4D_UNITS]
    assert reason(lambda rows: rows.drop(columns=units, inplace=True)).startswith("there are no columns au_1, au_2")
    assert reason(lambda rows: rows.drop(columns="fold", inplace=True)) == "there is no column 'fold'"
    assert reason(lambda rows: rows.__setitem__(units, np.nan)) == "no image is known to show an action unit"
    assert "at least two folds" in reason(lambda rows: rows.__setitem__("fold", 0))
    assert reason(lambda rows: rows.__setitem__("fold", -1)) == "no test image has a fold"
    assert "one person outside fold" in reason(one_other_person)
    assert reason(lambda rows: rows.loc.__setitem__(([200, 201], units), 0.0)).startswith("no test image is known to show")


def test_bad_tables_are_named(synthetic_faces, pixel_encoder):
    table = synthetic_faces()
    table.rows.loc[0, "fold"] = 1
    with pytest.raises(ValueError, match="persons in more than one fold: \\[0\\]"):
        fit(pixel_encoder(4), table, [3])
    table = synthetic_faces()
    table.rows.loc[table.rows["identity"] == 2, "fold"] = -1
    with pytest.raises(ValueError, match="test images of 'rendered' must have a fold"):
        fit(pixel_encoder(4), table, [14])
