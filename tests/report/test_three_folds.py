"""Runs of three folds put together: against the same images scored in one run, and by hand."""

import numpy as np
import pandas as pd
import pytest

from lib.datasets.action_units import BP4D_UNITS
from lib.evaluation import evaluate
from lib.probe_params import ProbeParams
from lib.report.three_folds import join_folds, main
from lib.results import read_results, write_results
from lib.splits import by_folds


@pytest.fixture(scope="module")
def runs(synthetic_faces, pixel_encoder, tmp_path_factory):
    """Results of runs that test fold 1, 2, 3, and of one that tests all of them."""
    table = synthetic_faces()
    table = table.with_rows(table.rows.drop(columns="split"))
    params = ProbeParams(
        tasks=["action_units"], images=1000, au_epochs=15, corruptions=["contrast"], severities=[3], attacks=["pgd"], steps=1, sweep=[],
        resamples=40,
    )  # fmt: skip
    found = []
    for folds in ([1], [2], [3], [1, 2, 3]):
        part = by_folds(table, "", folds, False)
        found.append(evaluate(pixel_encoder(20), [part], params, method="mine", seed=0, device="cpu", work=tmp_path_factory.mktemp("work")))
    return found


def number(results, metric, family="clean", condition="clean", column="value"):
    rows = results[(results["metric"] == metric) & (results["family"] == family) & (results["condition"] == condition)]
    return rows[column].item()


def test_joined_runs_are_the_run_of_all_folds(runs):
    joined, whole = join_folds(runs[2::-1]), runs[3]
    for metric in ["f1", "f1_pooled", "accuracy", "auc", "f1_fold_1", "f1_fold_3", "last_f1", "best_on_test_f1"] + [
        f"{name}_au_{unit}" for unit in BP4D_UNITS for name in ("f1", "accuracy", "auc", "support", "hits", "false_alarms")
    ]:
        assert number(joined, metric) == pytest.approx(number(whole, metric), abs=1e-3), metric
    assert number(joined, "f1", column="n") == 280 and number(joined, "f1", column="subjects") == 40
    mine, theirs = (run[(run["family"] == "corruption") & run["severity"].isna()] for run in (joined, whole))  # contrast: no randomness
    for metric in ("f1", "drop", "f1_au_4"):
        assert number(mine, metric, "corruption", "contrast") == pytest.approx(number(theirs, metric, "corruption", "contrast"), abs=1e-3)
    assert "f1_pooled" not in set(mine["metric"]) and "f1_pooled" in set(theirs["metric"])  # mean counts do not say it


def test_what_is_joined_by_hand(runs):
    joined = join_folds(runs[:3])
    for family, condition in (("corruption", "contrast"), ("attack", "pgd")):
        rows = [run[(run["family"] == family) & (run["condition"] == condition) & (run["metric"] == "drop")].iloc[-1] for run in runs[:3]]
        mine = joined[(joined["family"] == family) & (joined["condition"] == condition) & (joined["metric"] == "drop")].iloc[-1]
        assert mine["value"] == pytest.approx(np.mean([row["value"] for row in rows]), abs=1e-3)
        below = np.sqrt(sum((row["value"] - row["ci_low"]) ** 2 for row in rows)) / 3
        assert mine["value"] - mine["ci_low"] == pytest.approx(below, abs=1e-3)


def test_a_check_that_a_fold_has_no_score_of_is_left_out_and_a_missing_attack_is_an_error(runs):
    few = [run.assign(family=run["family"].replace("attack", "check")) for run in runs[:3]]
    assert "f1" in set(join_folds(few).query("family == 'check'")["metric"])
    few[1] = few[1][~((few[1]["family"] == "check") & few[1]["metric"].isin(("f1", "drop", "relative_drop")))]
    joined = join_folds(few)
    assert "check" not in set(joined["family"]) and {"clean", "corruption"} <= set(joined["family"])
    assert number(joined, "f1") == number(join_folds(runs[:3]), "f1")
    with pytest.raises(ValueError, match="the same encoders, data and conditions in all"):
        join_folds([runs[0], runs[1][runs[1]["family"] != "attack"], runs[2]])


def test_the_worst_attack_is_the_worst_over_all_folds_not_in_each(runs):
    changed = []
    for run, more in zip(runs[:3], (9.0, -6.0, 0.0)):  # bim is weaker by a point over the folds, stronger in one
        pgd = run[(run["family"] == "attack") & (run["condition"] == "pgd")]
        bim = pgd.assign(condition="bim", **{name: pgd[name] + more for name in ("value", "ci_low", "ci_high")})
        worst = (bim if more < 0 else pgd).assign(condition="worst", severity=np.nan)
        same = run[(run["family"] != "attack") | ~run["condition"].isin(("worst", "mean"))]
        changed.append(pd.concat([same, bim, worst[worst["metric"] != "auc"]], ignore_index=True))
    joined = join_folds(changed)
    for metric in ("f1", "drop", "f1_au_4"):
        for column in ("value", "ci_low", "ci_high", "n"):
            got, wanted = (number(joined, metric, "attack", name, column) for name in ("worst", "pgd"))
            assert got == wanted
    assert joined.loc[joined["condition"] == "worst", "severity"].isna().all()
    assert not ((joined["condition"] == "worst") & (joined["metric"] == "auc")).any()


def test_the_command_writes_results_and_tables(runs, tmp_path, capsys):
    paths = [str(write_results(run, tmp_path / f"{number}.csv")) for number, run in enumerate(runs[:3])]
    main([*paths, "--out", str(tmp_path / "out")])
    again = read_results(tmp_path / "out" / "results.csv")
    assert number(again, "f1") == pytest.approx(number(join_folds(runs[:3]), "f1"))
    names = {path.name for path in (tmp_path / "out" / "tables").iterdir()}
    assert {"attacks_action_units_rendered.md", "units_action_units_rendered.csv", "folds_action_units_rendered.tex"} <= names
    assert f"mine: F1 {number(again, 'f1'):.1f}, mean over three folds" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="error: runs: expected one run for each fold, fold 1 is there twice"):
        main([paths[0], paths[0], paths[1], "--out", str(tmp_path / "none")])
    assert not (tmp_path / "none").exists()


def test_runs_that_do_not_belong_together(runs):
    one, two, three, whole = runs
    cases = [
        ([one, two], "expected one run for each of the folds 1, 2, 3, got 1, 2"),
        ([one, two, whole], "expected the action units of one test fold in each .*, run 3 has 1, 2, 3"),
        ([one, two, three[three["task"] != "action_units"]], "run 3 has none"),
        ([one, two, three.assign(method="other")], "expected the same encoders, data and conditions in all, .* not in all of them"),
        ([one, two, three[three["family"] != "attack"]], "not in all of them, such as .* attack"),
    ]
    for given, message in cases:
        with pytest.raises(ValueError, match=message):
            join_folds(given)


def test_a_unit_that_one_fold_lacks_is_the_mean_of_the_others(runs):
    one, two, three = runs[:3]
    lacking = two[two["metric"] != "f1_au_4"]
    assert number(join_folds([one, lacking, three]), "f1_au_4") == pytest.approx(
        (number(one, "f1_au_4") + number(three, "f1_au_4")) / 2, abs=1e-3
    )
