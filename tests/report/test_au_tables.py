"""Tables of action units: our numbers where they belong, the published ones to the digit, and what is said about the two."""

import csv
import io

import numpy as np
import pandas as pd
import pytest

from lib.datasets.action_units import BP4D_UNITS, DISFA_UNITS
from lib.report.au_tables import au_tables, fold_table, published_table, unit_table
from lib.report.summary import Scores
from lib.report.table_formats import csv_text, latex, markdown
from lib.report.tables import attack_table


def value_of(method, family, metric, unit=None):
    """An invented number that says what it is of."""
    base = {"simclr": 50.0, "mine": 60.0}[method] - {"clean": 0, "corruption": 10, "attack": 30}[family]
    return base + {"f1": 0, "f1_pooled": 1, "accuracy": 2, "auc": 3, "last_f1": 4, "best_on_test_f1": 5}.get(metric, 0) + (unit or 0) / 100


def results_of(dataset="rendered", units=BP4D_UNITS, folds=(1, 2, 3), missing=14):
    rows = []

    def add(method, family, condition, metric, value):
        rows.append(dict(method=method, seed=1, dataset=dataset, source=dataset, task="action_units", family=family, condition=condition,
                         severity=0.0 if family == "clean" else np.nan, metric=metric, value=value, n=30 if family == "attack" else 210,
                         subjects=30, ci_low=value - 2, ci_high=value + 4))  # fmt: skip

    for method in ("simclr", "mine"):
        for family, condition in (("clean", "clean"), ("corruption", "mean"), ("attack", "mean")):
            for metric in ("f1", "f1_pooled", "accuracy", "auc", *(("last_f1", "best_on_test_f1") if family == "clean" else ())):
                add(method, family, condition, metric, value_of(method, family, metric))
            for unit in units:
                add(method, family, condition, f"support_au_{unit}", 0.0 if unit == missing else float(unit))
                if unit != missing:
                    add(method, family, condition, f"f1_au_{unit}", value_of(method, family, "f1", unit))
            for fold in folds:
                add(method, family, condition, f"f1_fold_{fold}", value_of(method, family, "f1") + fold)
                for unit in set(units) - {missing, 17 if family == "attack" and fold > 1 else None}:
                    add(method, family, condition, f"f1_au_{unit}_fold_{fold}", 50.0)
            if family != "clean":
                add(method, family, condition, "drop", value_of(method, "clean", "f1") - value_of(method, family, "f1"))
    return Scores(pd.DataFrame(rows))


def test_each_unit_under_each_condition():
    table = unit_table(results_of(), "rendered")
    assert [key for _, key, _, _ in table.columns] == [f"f1_au_{u}" for u in BP4D_UNITS if u != 14] + ["f1", "f1_pooled", "accuracy", "auc"]
    assert [(group, label) for group, _, label, _ in table.rows] == [
        ("images that show it", "clean and corrupted"), ("images that show it", "attacked"),
        *((name, label) for name in ("SimCLR", "mine") for label in ("clean", "mean over the corruptions", "mean over the attacks")),
    ]  # fmt: skip
    assert table.cells["mine_attacked", "f1_au_12"].score == pytest.approx((30.12, 28.12, 34.12))
    assert table.cells["mine_attacked", "f1"].drop[0] == 30 and table.cells["simclr_corrupted", "f1"].drop[0] == 10
    assert table.cells["simclr_clean", "f1"].drop is None and table.cells["simclr_clean", "auc"].score[0] == 53
    assert table.cells["support_attacked", "f1_au_23"].score[0] == 23
    line = next(line for line in markdown(table).splitlines() if line.startswith("| attacked |"))
    assert line.startswith("| attacked | 1 | 2 | 4 |") and line.endswith("| – | – | – | – |")
    said = " ".join([table.caption, *table.notes])
    for part in ("rendered faces", "n = 210 images of 30 subjects", "under attack n = 30", "NOT BP4D or DISFA"):
        assert part in said
    left_out = [note.split(": ")[1] for note in table.notes if note.startswith("Left out")]
    assert left_out == ["AU 14 (folds 1, 2, 3).", "AU 14 (folds 1, 2, 3), AU 17 (folds 2, 3)."]


def test_each_fold_and_each_choice_of_the_epoch():
    table = fold_table(results_of(), "rendered")
    assert [table.cells["mine", key].score[0] for _, key, _, _ in table.columns] == [61, 62, 63, 60, 61, 64, 65]
    assert [label for _, _, label, _ in table.columns] == ["fold 1", "fold 2", "fold 3", "mean", "pooled counts", "last", "best on test"]
    assert "flatters" in " ".join(table.notes)


def test_published_rows_stand_above_ours():
    table = published_table(results_of(), "BP4D", "rendered")
    groups = [group for group, *_ in table.rows]
    assert groups.count("published, BP4D, mean over three folds") == 27 and groups.count("ours, rendered") == 2
    assert groups.count("published, BP4D, one fold (the authors' logs)") == 3
    assert [table.cells["AUNCE", f"au_{u}"].score[0] for u in (1, 24)] == [53.6, 58.0] and table.cells["AUNCE", "mean"].score[0] == 66.1
    assert table.cells["AUNCE, fold 2", "mean"].score[0] == 67.14
    assert table.cells["mine", "au_6"].score[0] == pytest.approx(60.06) and table.cells["mine", "mean"].score[0] == 60
    assert table.cells["mine", "au_14"].score is None
    assert [label for _, _, label, _ in table.rows if label.endswith("(!)")] == ["EAC-Net (!)"]
    said = " ".join(table.notes)
    assert "NOT BP4D" in said and "EAC-Net: the units average 55.6 and not the stated 55.9." in said and "fold 1 alone" not in said
    lines = list(csv.DictReader(io.StringIO(csv_text(table))))
    assert len(lines) == 32 and lines[0]["mean_score"] == "49.8" and lines[0]["mean_score_low"] == ""
    assert "nan" not in csv_text(table) + markdown(table) + latex(table) and latex(table).isascii()


def test_disfa_s_table_marks_two_rows():
    table = published_table(results_of(), "DISFA", None)
    assert len(table.rows) == 26 + 3 and table.name == "published_disfa"
    assert [label for _, _, label, _ in table.rows if label.endswith("(!)")] == ["EAC-Net (!)", "ROI (!)"]
    assert table.notes[0] == "No encoder of ours was measured on the units of DISFA."
    latex(table), markdown(table), csv_text(table)


def test_the_report_has_them_where_units_were_measured(results):
    names = [table.name for table in au_tables(results_of())]
    assert names == ["units_action_units_rendered", "folds_action_units_rendered", "published_bp4d_rendered", "published_disfa"]
    disfa = au_tables(results_of("disfa", DISFA_UNITS, missing=None))
    assert [table.name for table in disfa][2:] == ["published_bp4d", "published_disfa_disfa"]
    assert disfa[3].notes[0].startswith("Ours: DISFA as lib.datasets reads it")
    assert disfa[3].cells["mine", "au_26"].score[0] == pytest.approx(60.26)
    assert au_tables(Scores(results[results["task"] != "action_units"])) == []
    other = au_tables(results_of("mine"))
    assert "Unless these are BP4D" in other[2].notes[0]


def test_one_fold_says_so():
    table = published_table(results_of("bp4d", folds=(2,)), "BP4D", "bp4d")
    assert "Ours: fold 2 alone. Runs of all three folds are joined by `python -m lib.report.three_folds`." in table.notes


def test_the_third_table_of_the_paper_says_that_no_number_of_it_is_known(results):
    notes = attack_table(Scores(results), "action_units", "rendered").notes
    assert any("known as pictures only, so none stands here" in note for note in notes)
    assert not any("pictures" in note for note in attack_table(Scores(results), "expression", "rendered").notes)
