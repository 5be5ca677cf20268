"""SSL-FER's table: the published numbers to the digit, ours where they belong, and what is said about the two."""

import csv
import io

import pandas as pd
import pytest

from lib.report.ssl_fer import MEASURES, published, ssl_fer_table, ssl_fer_tables
from lib.report.summary import Scores
from lib.report.table_formats import csv_text, latex, markdown

OURS = {
    "macro_f1": 41.25, "accuracy": 44.5, "ccc": 45.6, "ccc_valence": 51.23, "ccc_arousal": 40.04, "rmse_valence": 0.4321,
    "rmse_arousal": 0.3987,
}  # fmt: skip
ROWS = {"simclr": "simclr", "mine": "g"}


def results_of(dataset="rendered", suffix="_finetuned", prefixes=("", "last_", "best_on_test_")):
    rows = []
    for m, method in enumerate(ROWS):
        for p, prefix in enumerate(prefixes):
            for metric, value in OURS.items():
                task = ("expression" if metric in ("macro_f1", "accuracy") else "valence_arousal") + suffix
                value = value + (0.01 if metric.startswith("rmse") else 1.0) * (m + 10 * p)
                rows.append(dict(
                    method=method, seed=1, dataset=dataset, source=dataset, task=task, family="clean", condition="clean",
                    severity=0.0, metric=prefix + metric, value=value, n=140, subjects=20, ci_low=value - 0.02,
                    ci_high=value + 0.04,
                ))  # fmt: skip
    return Scores(pd.DataFrame(rows))


@pytest.fixture(scope="module")
def table():
    return ssl_fer_table(results_of(), ROWS, "rendered")


def test_the_published_table(table):
    theirs = published()
    assert len(theirs) == 12 and (theirs["source"] == "README and poster").sum() == 11 and len(MEASURES) == 6
    last = theirs.set_index("row").loc["g"]
    assert (last["f1"], last["ccc_valence"], last["rmse_arousal"]) == (59.3, 0.595, 0.372)
    assert theirs.set_index("row").loc["cycleface", list(MEASURES)].tolist() == [48.8, 49.7, 0.534, 0.492, 0.436, 0.383]
    assert theirs["f1"].sum() == pytest.approx(685.9) and theirs["accuracy"].sum() == pytest.approx(687.6)
    assert [round(theirs[name].sum(), 3) for name in list(MEASURES)[2:]] == [6.882, 5.403, 5.834, 4.503]
    marks = {key: {row: table.cells[row, f"{key}_published"].score_mark for _, row, _, _ in table.rows} for key in MEASURES}
    bold = {key: [row for row, mark in marked.items() if mark == "bold"] for key, marked in marks.items()}
    assert bold == {"f1": ["g"], "accuracy": ["g"], **dict.fromkeys(list(MEASURES)[2:], ["e"])}  # as the README has it


def test_ours_stand_beside_theirs(table):
    line = next(line for line in markdown(table).splitlines() if "g all four" in line)
    assert line.startswith("| g all four (Vox1); ours: mine | **59.3** | **42.2**") and "| 0.595 | **0.522**" in line
    assert "**0.432**" in next(line for line in markdown(table).splitlines() if line.startswith("| SimCLR"))  # less error
    assert table.cells["simclr", "ccc_arousal_ours"].score == pytest.approx((0.4004, 0.4002, 0.4008))
    assert table.cells["g", "rmse_valence_ours"].score[0] == pytest.approx(0.4421) and table.cells["a", "f1_ours"].score is None
    assert [group for group, *_ in table.rows] == ["poster only"] + ["baselines"] * 4 + ["SSL-FER"] * 7


def test_rendered_faces_are_not_affectnet(table):
    said = " ".join(table.notes)
    assert "NOT AffectNet" in said and "no number of ours can be set beside" in said and "without seeds" in said
    assert "rendered faces" in table.caption and "n = 140 images of 20 subjects" in table.caption
    real = ssl_fer_table(results_of("affectnet"), ROWS, "affectnet")
    assert not any("NOT AffectNet" in note for note in real.notes) and "AffectNet" in real.notes[0]
    assert "another data set" in ssl_fer_table(results_of("mine"), ROWS, "mine").notes[0]


@pytest.mark.parametrize("reading, f1, words", [("last", 51.25, "the last epoch"), ("best_on_test", 61.25, "flatters")])
def test_other_readings_of_the_run(reading, f1, words):
    table = ssl_fer_table(results_of(), ROWS, "rendered", reading=reading)
    assert table.cells["simclr", "f1_ours"].score[0] == f1 and words in table.caption and reading in table.name


def test_linear_probes_say_so():
    scores = results_of(suffix="", prefixes=("",))
    table = ssl_fer_table(scores, ROWS, "rendered", "linear")
    assert table.cells["simclr", "f1_ours"].score[0] == 41.25 and "linear probe on frozen features" in table.caption
    with pytest.raises(ValueError, match="reading: expected one of"):
        ssl_fer_table(scores, ROWS, "rendered", "linear", "last")


def test_written_down(table):
    lines = list(csv.DictReader(io.StringIO(csv_text(table))))
    assert len(lines) == 12 and lines[-1]["f1_published_score"] == "59.3" and lines[-1]["f1_published_score_low"] == ""
    assert float(lines[-1]["ccc_valence_ours_score"]) == pytest.approx(0.5223) and lines[0]["f1_ours_score"] == ""
    assert "nan" not in csv_text(table) + markdown(table) + latex(table)
    body = latex(table).split(r"\midrule", 1)[1].split(r"\bottomrule")[0]
    assert {line.count("&") for line in body.splitlines() if "&" in line} == {12}
    assert latex(table).isascii()


def test_the_report_has_it_where_it_was_measured(results):
    assert ssl_fer_tables(Scores(results)) == []  # the three tasks of the demo
    assert ssl_fer_tables(results_of()) == []  # the demo's SimCLR learns from single faces: it is none of the rows
    (tuned,) = ssl_fer_tables(results_of(), ROWS)
    assert tuned.name == "ssl_fer_rendered" and tuned.cells["simclr", "f1_ours"].score
    (linear,) = ssl_fer_tables(results_of("affectnet", suffix="", prefixes=("",)), ROWS)
    assert linear.name == "ssl_fer_linear_chosen_affectnet"
    assert ssl_fer_tables(results_of(), {"other": "g"}) == []


@pytest.mark.parametrize(
    "rows, more, message",
    [
        ({"simclr": "h"}, {}, "rows: expected rows of the published table .*supervised, byol.*, got h"),
        ({"simclr": "g", "mine": "g"}, {}, "rows: expected one encoder a row"),
        (ROWS, {"probe": "knn"}, "probe: expected 'finetuned' or 'linear', got 'knn'"),
        (ROWS, {"reading": "best"}, "reading: expected one of chosen, last, best_on_test"),
    ],
)
def test_bad_arguments(rows, more, message):
    with pytest.raises(ValueError, match=message):
        ssl_fer_table(results_of(), rows, "rendered", **more)
