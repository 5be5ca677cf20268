import csv
import io
import shutil
import subprocess

import pytest

from lib.report.table_formats import column_groups, csv_text, escape_latex, html_rows, latex, markdown, number
from lib.report.tables import Cell, Table, all_tables


@pytest.fixture
def table():
    """Two encoders, one of them unmeasured under the attack; names with characters that need escaping."""
    return Table(
        name="t",
        title="A table",
        caption="100% of a_b & c",
        corner="Encoder",
        columns=[("", "clean", "clean", "Acc"), ("attack", "pgd", "PGD", "Acc / Drop")],
        rows=[("Baselines", "one", "one_1", ""), ("Controls", "two", "two|2", "")],
        cells={
            ("one", "clean"): Cell((80.04, 78.0, 82.0), None, "bold"),
            ("two", "clean"): Cell((50.0, 50.0, 50.0), None),
            ("one", "pgd"): Cell((20.0, 18.0, 23.0), (60.04, 57.0, 62.0), "bold", "bold"),
            ("two", "pgd"): Cell(),
        },
        notes=["± and ‡"],
        facts={"data": "rendered", "facts": "n = 3"},
    )


def test_markdown(table):
    lines = markdown(table).splitlines()
    assert lines[0] == "### A table"
    assert "| one_1 | **80.0**<br><sub>±2.0</sub> | **20.0** / **60.0**<br><sub>±2.5 / ±2.5</sub> |" in lines
    assert "| two\\|2 | 50.0<br><sub>±0.0</sub> | – |" in lines
    assert "| **Controls** | | |" in lines
    cells = [line.replace("\\|", "").count("|") for line in lines if line.startswith("|")]
    assert set(cells) == {4}


def test_latex_escapes(table):
    text = latex(table)
    assert r"\caption{100\% of a\_b \& c}" in text
    assert r"one\_1" in text and r"\textbf{20.0} / \textbf{60.0}" in text
    assert r"$\pm$ and $^\ddagger$" in text
    assert r"\toprule" in text and r"\bottomrule" in text
    assert escape_latex("\\{}~^#$") == r"\textbackslash{}\{\}\textasciitilde{}\textasciicircum{}\#\$"


def test_latex_rows_have_as_many_cells_as_columns(results):
    for table in all_tables(results):
        body = latex(table).split(r"\midrule", 1)[1].split(r"\bottomrule")[0]
        for line in body.splitlines():
            if "&" in line:
                assert line.replace(r"\&", "").count("&") == len(table.columns), line


def test_latex_is_ascii(results):
    for table in all_tables(results):
        latex(table).encode("ascii")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX here")
def test_latex_compiles(results, tmp_path):
    inputs = "\n".join(latex(table) + r"\clearpage" for table in all_tables(results))
    (tmp_path / "t.tex").write_text(
        r"\documentclass[twocolumn]{article}\usepackage{booktabs,graphicx}\begin{document}.\clearpage"
        + inputs
        + r"\end{document}"
    )
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:]


def test_csv_has_the_numbers_and_their_ends(table):
    one, two = csv.DictReader(io.StringIO(csv_text(table)))
    assert one["encoder"] == "one" and one["encoder_label"] == "one_1" and one["group"] == "Baselines"
    assert (
        float(one["pgd_drop"]) == 60.04 and float(one["pgd_drop_low"]) == 57.0 and float(one["pgd_score_high"]) == 23.0
    )
    assert two["pgd_score"] == "" and two["data"] == "rendered" and two["sample"] == "n = 3"
    assert "clean_drop" not in one


def test_html_rows_and_groups(table):
    groups = html_rows(table)
    assert [g["group"] for g in groups] == ["Baselines", "Controls"]
    assert groups[0]["rows"][0]["cells"][1] == {
        "parts": [("20.0", "bold"), ("60.0", "bold")],
        "spread": "±2.5 / ±2.5",
        "sort": 20.0,
    }
    assert column_groups(table) == [("", 1), ("attack", 1)]


def test_number_has_no_negative_zero():
    assert number(-0.04) == "0.0" and number(-1.26) == "-1.3"
