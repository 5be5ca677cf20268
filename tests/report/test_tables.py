import re

import numpy as np
import pandas as pd
import pytest

from lib.report.tables import all_tables


def slow_value(results, method, dataset, task, family, condition, metric):
    """The number of one cell, found by walking through the rows."""
    found = [
        row.value
        for row in results.itertuples()
        if (row.method, row.dataset, row.task, row.family, row.condition, row.metric)
        == (method, dataset, task, family, condition, metric)
        and (np.isnan(row.severity) or row.severity == 0)
    ]
    assert len(found) == 1
    return found[0]


@pytest.fixture(scope="module")
def tables(results, run):
    return {table.name: table for table in all_tables(results, run["seen_corruptions"])}


def test_there_is_a_table_for_every_task_and_family(tables):
    blocks = ("expression_rendered", "verification_orl", "verification_rendered", "action_units_rendered")
    assert set(tables) == {
        "overview",
        *(f"{family}_{block}" for family in ("attacks", "corruptions", "checks") for block in blocks),
    }


@pytest.mark.parametrize(
    "task, dataset, metric",
    [("expression", "rendered", "accuracy"), ("verification", "orl", "accuracy"), ("action_units", "rendered", "f1")],
)
def test_numbers_are_those_of_the_results(tables, results, task, dataset, metric):
    few = results[
        (results["task"] == task) & (results["dataset"] == dataset) & results["method"].isin(["dar_sfrl", "raw_pixels"])
    ]
    attacks, corruptions = tables[f"attacks_{task}_{dataset}"], tables[f"corruptions_{task}_{dataset}"]
    for method in ("dar_sfrl", "raw_pixels"):
        for condition in ("pgd", "sinifgsm", "mean", "worst"):
            cell = attacks.cells[method, condition]
            assert cell.score[0] == pytest.approx(
                slow_value(few, method, dataset, task, "attack", condition, metric), abs=1e-4
            )
            assert cell.drop[0] == pytest.approx(
                slow_value(few, method, dataset, task, "attack", condition, "drop"), abs=1e-4
            )
        for condition in ("fog", "mean_seen", "mean_unseen", "mean", "worst"):
            cell = corruptions.cells[condition, method]
            assert cell.score[0] == pytest.approx(
                slow_value(few, method, dataset, task, "corruption", condition, metric), abs=1e-4
            )
            assert cell.drop[0] == pytest.approx(
                slow_value(few, method, dataset, task, "corruption", condition, "drop"), abs=1e-4
            )


def test_captions_name_data_size_and_seeds(tables):
    assert "rendered faces" in tables["attacks_expression_rendered"].caption
    assert "ORL faces" in tables["attacks_verification_orl"].caption
    for table in tables.values():
        assert re.search(r"n = [\d,]+ (images|pairs) of \d+ subjects, 1 seed", table.caption)
        assert "95% interval" in table.caption
        assert any("clean score minus score" in note for note in table.notes)
    assert any("not the published data" in note for note in tables["attacks_expression_rendered"].notes)


def test_few_people_and_other_data_are_said(make):
    results = make["results"](blocks=(("expression", "rendered"),)).assign(dataset="mine", source="mine")
    for subjects, said in ((9, True), (10, False)):
        for table in all_tables(results.assign(subjects=subjects)):
            assert ("so few subjects" in table.caption) == said
    assert "the faces of 'mine'" in table.caption and any("of one's own" in note for note in table.notes)


def test_several_seeds_are_said(make):
    results = make["results"](seeds=(0, 1), blocks=(("verification", "orl"),))
    table = next(t for t in all_tables(results) if t.name == "attacks_verification_orl")
    assert "2 seeds" in table.caption and "Student" in table.caption


def test_twins_note_only_where_the_twins_are(tables, results):
    assert any("EOTPGD is PGD" in note for note in tables["attacks_expression_rendered"].notes)
    without = results[~results["condition"].isin(["upgd", "eotpgd"])]
    table = next(t for t in all_tables(without) if t.name == "attacks_expression_rendered")
    assert not any("EOTPGD" in note for note in table.notes)


def test_best_is_bold_and_better_controls_are_flagged(make):
    encoders = {
        "simclr": (0, 5.0, 0.1),
        "dar_sfrl": (-6, 2.0, 0.7),
        "untrained": (-40, 0.5, 0.9),
        "raw_pixels": (20, 9.0, 0.05),
    }
    results = make["results"](blocks=(("expression", "rendered"),), encoders=encoders)
    cells = next(t for t in all_tables(results) if t.name == "attacks_expression_rendered").cells
    assert cells["simclr", "clean"].score_mark == "bold"
    assert cells["dar_sfrl", "clean"].score_mark == ""
    assert cells["raw_pixels", "clean"].score_mark == "‡"
    assert cells["dar_sfrl", "mean"].drop_mark == "bold"
    assert cells["untrained", "mean"].drop_mark == "‡"


def test_seen_and_unseen_types_are_apart(tables, run):
    groups = {key: group for group, key, _, _ in tables["corruptions_expression_rendered"].rows}
    for name in run["seen_corruptions"]:
        assert groups[name] == "types seen in training"
    assert groups["fog"] == "types not seen in training"
    assert groups["mean"] == "over the corruptions"


def test_an_encoder_that_was_not_run_is_left_out(make):
    results = make["results"](blocks=(("expression", "rendered"),), encoders={"simclr": (0, 5.0, 0.1)})
    for table in all_tables(results):
        keys = {row[1] for row in table.rows} | {column[1] for column in table.columns}
        assert "dar_sfrl" not in keys


@pytest.mark.parametrize("task, dataset, metric", [("expression", "rendered", "accuracy"), ("verification", "orl", "accuracy")])
def test_the_table_of_checks_holds_every_check(tables, results, task, dataset, metric):
    table = tables[f"checks_{task}_{dataset}"]
    here = results[(results["task"] == task) & (results["dataset"] == dataset)]

    def value(method, family, condition, severity, name):
        rows = here[(here["method"] == method) & (here["family"] == family) & (here["condition"] == condition)]
        (found,) = rows[(rows["severity"] == severity) & (rows["metric"] == name)]["value"]
        return found

    assert [column[1] for column in table.columns] == [
        *(f"loss_{steps}" for steps in (1, 2, 5, 10, 20, 50)), *(f"eps_{eps}" for eps in (2, 8, 16, 64)),
        *(f"restarts_{count}" for count in range(1, 6)), "white_box", "gradient_free", "noise", "transfer_raw_pixels",
    ]  # fmt: skip
    assert {row[1] for row in table.rows} == {"simclr", "dar_sfrl"}
    for method in ("simclr", "dar_sfrl"):
        shown = lambda key, m=method: table.cells[m, key].score[0]  # noqa: E731
        assert shown("loss_50") == pytest.approx(value(method, "check", "pgd", 50, "loss"), abs=1e-3)
        assert shown("eps_64") == pytest.approx(value(method, "sweep", "pgd", 64, metric), abs=1e-3)
        assert shown("restarts_5") == pytest.approx(value(method, "check", "restarts", 5, metric), abs=1e-3)
        assert shown("noise") == pytest.approx(value(method, "check", "noise", 0, metric), abs=1e-3)
    assert table.cells["simclr", "loss_1"].decimals == 2


def test_neighbours_are_said_to_be_attacked_through_the_linear_probe(results):
    few = results[(results["method"] == "simclr") & (results["task"] == "expression")]
    found = {table.name: table for table in all_tables(pd.concat([few, few.assign(task="expression_knn")]))}
    for name in ("attacks_expression_knn_rendered", "overview"):
        assert any("made against the linear probe" in note for note in found[name].notes)
    assert not any("linear probe" in note for note in found["attacks_expression_rendered"].notes)
