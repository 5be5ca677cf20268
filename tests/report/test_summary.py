import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lib.report.summary import Scores, over_seeds


def test_one_seed_keeps_its_interval(results):
    table = over_seeds(results)
    assert len(table) == len(results)
    row = table[(table["method"] == "simclr") & (table["task"] == "expression") & (table["family"] == "clean")].iloc[0]
    given = results[
        (results["method"] == "simclr") & (results["task"] == "expression") & (results["family"] == "clean")
    ].iloc[0]
    assert row[["value", "ci_low", "ci_high"]].to_list() == pytest.approx(
        given[["value", "ci_low", "ci_high"]].to_list(), abs=1e-4
    )
    assert row["seeds"] == 1


def test_seeds_are_averaged_and_widen_the_interval(make):
    results = make["results"](
        seeds=(0, 1, 2), blocks=(("expression", "rendered"),), encoders={"simclr": (0, 7.0, 0.05)}
    )
    table = over_seeds(results)

    def pick(f):
        return f[(f["family"] == "attack") & (f["condition"] == "bim") & (f["metric"] == "drop")]

    rows, row = pick(results), pick(table).iloc[0]
    values, low = rows["value"].to_numpy(), rows["ci_low"].to_numpy()
    mean = sum(values) / 3
    spread = stats.t.ppf(0.975, 2) * np.sqrt(sum((values - mean) ** 2) / 2) / np.sqrt(3)
    assert row["value"] == pytest.approx(mean, abs=1e-4)
    assert row["ci_low"] == pytest.approx(mean - np.sqrt(np.mean(values - low) ** 2 + spread**2), abs=1e-3)
    assert row["seeds"] == 3


def test_look_up_main_metric_summary_and_missing(results):
    scores = Scores(results)
    rows = results[
        (results["method"] == "blur")
        & (results["task"] == "action_units")
        & (results["family"] == "corruption")
        & (results["condition"] == "mean")
        & (results["metric"] == "f1")
        & results["severity"].isna()
    ]
    assert scores("blur", "rendered", "action_units", "corruption", "mean")[0] == pytest.approx(
        rows["value"].item(), abs=1e-4
    )
    assert scores("blur", "rendered", "action_units", "corruption", "no such") is None


def test_clean_of_attacks_is_that_of_the_attacked_items(results):
    given = results.copy()
    rows = (
        (given["family"] == "sweep")
        & (given["severity"] == 0)
        & (given["metric"] == "accuracy")
        & (given["method"] == "simclr")
        & (given["task"] == "expression")
    )
    given.loc[rows, "value"] = 81.25
    scores = Scores(given)
    assert scores.clean("simclr", "rendered", "expression", "attack")[0] == 81.25
    assert scores.clean("simclr", "rendered", "expression", "corruption")[0] != 81.25


def test_blocks_conditions_and_facts(results):
    scores = Scores(results)
    assert scores.blocks() == [
        ("expression", "rendered"),
        ("verification", "orl"),
        ("verification", "rendered"),
        ("action_units", "rendered"),
    ]
    assert scores.conditions("expression", "rendered", "attack") == [
        "pgd",
        "upgd",
        "bim",
        "mifgsm",
        "eotpgd",
        "difgsm",
        "nifgsm",
        "sinifgsm",
    ]
    assert scores.facts("verification", "orl", "attack") == "n = 1,200 pairs of 40 subjects, 1 seed"
    assert scores.facts("expression", "orl", "attack") == "" and scores.people("expression", "orl") == 0
    assert scores.people("action_units", "rendered") == 60


def test_facts_say_where_fewer_were_attacked(results):
    few = results.copy()
    few.loc[few["family"] == "attack", "n"] = 40
    assert Scores(few).all_facts("expression", "rendered") == (
        "n = 700 images of 40 subjects, 1 seed; under attack n = 40 images"
    )
    assert Scores(results).all_facts("expression", "rendered") == "n = 700 images of 40 subjects, 1 seed"
    one = few[few["family"] == "clean"].assign(subjects=1)
    assert Scores(one).all_facts("verification", "orl") == "n = 1,200 pairs of 1 subject, 1 seed"


def test_bad_results(results):
    with pytest.raises(ValueError, match="missing: ci_low"):
        over_seeds(results.drop(columns="ci_low"))
    with pytest.raises(ValueError, match="at least one row"):
        over_seeds(results.iloc[:0])
    with pytest.raises(ValueError, match="once"):
        over_seeds(pd.concat([results, results.iloc[:1]]))
