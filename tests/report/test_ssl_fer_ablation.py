"""What is committed of SSL-FER's ablation is what the code makes of its committed results."""

from pathlib import Path

from lib.report import names, table_formats
from lib.report.ssl_fer import ssl_fer_table
from lib.report.summary import Scores
from lib.results import read_results
from tests.benchmarks.study_ssl_fer import BASE, COLUMNS, CONTROLS, ROWS, ablation, beyond, difference

REPORTS = Path(__file__).parents[2] / "reports/ssl_fer"


def test_the_committed_tables_are_those_of_the_committed_results():
    results = read_results(REPORTS / "results.csv")
    assert set(results["method"]) == {*ROWS, *CONTROLS}
    assert results[results["method"].isin(ROWS)].groupby("method")["seed"].nunique().eq(3).all()
    assert (REPORTS / "ablation.md").read_text() == ablation(results)
    table = ssl_fer_table(Scores(results), names.SSL_FER_ROWS, "rendered", "linear")
    for suffix, write in (("md", table_formats.markdown), ("csv", table_formats.csv_text), ("tex", table_formats.latex)):
        assert (REPORTS / f"table.{suffix}").read_text(encoding="utf-8") == write(table)


def test_a_difference_is_that_of_the_seeds():
    results = read_results(REPORTS / "results.csv")
    rows = results[(results.task == "expression") & (results.family == "clean") & (results.metric == "accuracy")]
    of = lambda name: rows[rows.method == name].sort_values("seed")["value"].to_numpy()  # noqa: E731
    apart = of("ssl_fer_g") - of(BASE)
    mean, low, high = difference(results, "ssl_fer_g", "Acc")
    assert len(apart) == 3 and abs(mean - apart.mean()) < 1e-9
    assert abs((high - low) / 2 - 4.302653 * apart.std(ddof=1) / 3**0.5) < 1e-4  # t of 2 degrees of freedom


def test_what_lies_beyond_the_interval_is_said_for_every_column():
    results = read_results(REPORTS / "results.csv")
    for column in COLUMNS:
        ends = {row: difference(results, row, column)[1:] for row in ROWS if row != BASE}
        said = {"higher": set(), "lower": set()}
        for part in filter(None, beyond(results, column).removeprefix(f"'{column}' is ").split("; ")):
            side, _, rows = part.partition(" for ")
            said[side] = set(rows.split(", "))
        label = {row: names.look(row).label.partition(":")[0] for row in ends}
        of = {"higher": {label[row] for row in ends if ends[row][0] > 0}, "lower": {label[row] for row in ends if ends[row][1] < 0}}
        assert said == ({"higher": set(), "lower": set()} if column == "Acc" else of)
    assert beyond(results, "V-CCC") == "" and "higher for SSL-FER d, " in beyond(results, "A-CCC")
