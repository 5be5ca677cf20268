"""A ``Table`` written as Markdown (GitHub's), LaTeX (booktabs), CSV, or rows for the HTML report."""

import csv
import io
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from lib.files import write_aside
from lib.report.tables import Cell, Table

LATEX_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "≡": r"$\equiv$",
    "†": r"$^\dagger$",
    "‡": r"$^\ddagger$",
    "∞": r"$_\infty$",
    "–": "--",
    "−": "$-$",
    "×": r"$\times$",
    "<": "$<$",
    ">": "$>$",
}


def markdown(table: Table) -> str:
    """A heading, the caption, a pipe table (groups as bold rows) and the notes."""
    head = [table.corner] + [_escape_md(label) + (f"<br>{note}" if note else "") for _, _, label, note in table.columns]
    spans = [group for group, *_ in table.columns]
    if _spanning(table):  # Markdown has no spanning cells: the group is said once, above its first column
        firsts = [spans[i] if i == 0 or spans[i] != spans[i - 1] else "" for i in range(len(spans))]
        head = [head[0]] + [f"*{group}*<br>{text}" if group else text for group, text in zip(firsts, head[1:])]
    lines = [
        f"### {table.title}",
        "",
        _escape_md(table.caption),
        "",
        "| " + " | ".join(head) + " |",
        "|" + "|".join([":---"] + ["---:"] * len(table.columns)) + "|",
    ]
    for group, rows in groupby(table.rows, key=lambda row: row[0]):
        if group:
            lines.append("| **" + _escape_md(group) + "** |" + " |" * len(table.columns))
        for _, key, label, _ in rows:
            cells = [_markdown_cell(table.cells[key, column[1]]) for column in table.columns]
            lines.append("| " + " | ".join([_escape_md(label)] + cells) + " |")
    lines += [""] + [f"- {_escape_md(note)}" for note in table.notes]
    return "\n".join(lines) + "\n"


def latex(table: Table) -> str:
    r"""A `table*` for \usepackage{booktabs,graphicx}; scaled down to the line where it is wider."""
    columns = "l" + "".join(("@{\\hskip 1.6em}" if start else "") + "c" for start in _starts(table))
    out = [
        r"% needs \usepackage{booktabs,graphicx}",
        r"\begin{table*}[t]",
        r"\centering",
        r"\caption{" + escape_latex(table.caption) + r"}",
        r"\label{tab:" + table.name + "}",
        r"\footnotesize",
        r"\setlength{\tabcolsep}{3.5pt}",
        r"\resizebox{\linewidth}{!}{%",
        r"\begin{tabular}{" + columns + "}",
        r"\toprule",
    ]
    if _spanning(table):
        spans, rules, at = [""], [], 2
        for group, members in groupby(table.columns, key=lambda column: column[0]):
            width = len(list(members))
            spans.append(rf"\multicolumn{{{width}}}{{c}}{{{escape_latex(group)}}}")
            if group:
                rules.append(rf"\cmidrule(lr){{{at}-{at + width - 1}}}")
            at += width
        out += [" & ".join(spans) + r" \\", " ".join(rules)]
    out.append(" & ".join([escape_latex(table.corner)] + [escape_latex(c[2]) for c in table.columns]) + r" \\")
    out.append(" & ".join([""] + [r"{\scriptsize " + escape_latex(c[3]) + "}" for c in table.columns]) + r" \\")
    for group, rows in groupby(table.rows, key=lambda row: row[0]):
        out.append(r"\midrule")
        if group:
            out.append(rf"\multicolumn{{{len(table.columns) + 1}}}{{l}}{{\itshape {escape_latex(group)}}} \\")
        for _, key, label, _ in rows:
            cells = [table.cells[key, column[1]] for column in table.columns]
            out.append(" & ".join([escape_latex(label)] + [_latex_numbers(cell) for cell in cells]) + r" \\")
            spread = [_spread(cell) for cell in cells]
            if any(spread):
                small = [r"{\tiny " + escape_latex(text) + "}" if text else "" for text in spread]
                out.append(" & ".join([""] + small) + r" \\[1.5pt]")
    out += [r"\bottomrule", r"\end{tabular}}", "", r"\vspace{2pt}\begin{minipage}{\linewidth}\scriptsize"]
    out += [escape_latex(note) + r"\par" for note in table.notes]
    out += [r"\end{minipage}", r"\end{table*}"]
    return "\n".join(out) + "\n"


def csv_text(table: Table) -> str:
    """One line a row of the table; six numbers a cell (score, drop and their interval ends), full precision."""
    handle = io.StringIO()
    writer = csv.writer(handle, lineterminator="\n")
    parts = [
        (c[1], part, end)
        for c in table.columns
        for part in ("score", "drop")
        for end in ("", "_low", "_high")
        if part == "score" or any(table.cells[row[1], c[1]].drop for row in table.rows)
    ]
    kind = table.corner.lower()
    writer.writerow(
        ["group", kind, f"{kind}_label", *(f"{key}_{part}{end}" for key, part, end in parts), "data", "sample"]
    )
    for group, key, label, _ in table.rows:
        numbers = []
        for column, part, end in parts:
            triple = getattr(table.cells[key, column], part)
            value = None if triple is None else triple[("", "_low", "_high").index(end)]
            numbers.append("" if value is None or value != value else f"{value:.6g}")  # a published number has no interval
        writer.writerow([group, key, label, *numbers, table.facts.get("data", ""), table.facts.get("facts", "")])
    return handle.getvalue()


def write_tables(tables: Sequence[Table], folder: Path) -> None:
    """Every table as <name>.md, .tex and .csv in ``folder``, in the place of all that was there."""
    with write_aside(folder, folder=True) as aside:
        for table in tables:
            for suffix, text in (("md", markdown(table)), ("tex", latex(table)), ("csv", csv_text(table))):
                (aside / f"{table.name}.{suffix}").write_text(text, encoding="utf-8")


def html_rows(table: Table) -> list[dict]:
    """Groups of rows for the template.

    [{'group', 'rows': [{'label', 'cells': [{'parts': [(text, mark)], 'spread', 'sort'}]}]}]
    """
    groups = []
    for group, rows in groupby(table.rows, key=lambda row: row[0]):
        shown = []
        for _, key, label, _ in rows:
            cells = [table.cells[key, column[1]] for column in table.columns]
            shown.append(
                {
                    "label": label,
                    "cells": [
                        {"parts": _parts(cell), "spread": _spread(cell), "sort": cell.score[0] if cell.score else ""}
                        for cell in cells
                    ],
                }
            )
        groups.append({"group": group, "rows": shown})
    return groups


def column_groups(table: Table) -> list[tuple[str, int]]:
    """[(group, width)] for a spanning header; empty where the table has none."""
    if not _spanning(table):
        return []
    return [(group, len(list(members))) for group, members in groupby(table.columns, key=lambda column: column[0])]


def escape_latex(text: str) -> str:
    """``text`` with LaTeX's special characters and the few symbols of our captions replaced."""
    return "".join(LATEX_SPECIAL.get(letter, letter) for letter in text)


def _escape_md(text: str) -> str:
    return text.replace("|", r"\|").replace("*", r"\*")


def number(value: float, decimals: int = 1) -> str:
    """Never '-0.0'."""
    return f"{round(value, decimals) + 0.0:.{decimals}f}"


def _parts(cell: Cell) -> list[tuple[str, str]]:
    pairs = ((cell.score, cell.score_mark), (cell.drop, cell.drop_mark))
    return [(number(triple[0], cell.decimals), mark) for triple, mark in pairs if triple is not None] or [("–", "")]


def _spread(cell: Cell) -> str:
    triples = [triple for triple in (cell.score, cell.drop) if triple is not None]
    if not triples or any(triple[1] != triple[1] for triple in triples):
        return ""
    return " / ".join(f"±{number((high - low) / 2, cell.decimals)}" for _, low, high in triples)


def _markdown_cell(cell: Cell) -> str:
    shown = [f"**{text}**" if mark == "bold" else text + mark for text, mark in _parts(cell)]
    spread = _spread(cell)
    return " / ".join(shown) + (f"<br><sub>{spread}</sub>" if spread else "")


def _latex_numbers(cell: Cell) -> str:
    shown = [rf"\textbf{{{text}}}" if mark == "bold" else escape_latex(text + mark) for text, mark in _parts(cell)]
    return " / ".join(shown)


def _spanning(table: Table) -> bool:
    return any(group for group, *_ in table.columns)


def _starts(table: Table) -> list[bool]:
    groups = [column[0] for column in table.columns]
    return [i > 0 and groups[i] != groups[i - 1] for i in range(len(groups))]
