"""From results, histories and picture panels to everything under reports/."""

import json
from pathlib import Path

import pandas as pd

from lib.files import write_aside
from lib.report import names, table_formats
from lib.report.au_tables import au_tables
from lib.report.claim import write_claims
from lib.report.claims import compute_claims
from lib.report.draw import draw_all
from lib.report.figures import style
from lib.report.html import write_html
from lib.report.ssl_fer import ssl_fer_tables
from lib.report.summary import Scores
from lib.report.tables import Table, all_tables

PANELS = {
    "corruptions": ("names", "images"),
    "attacks": ("names", "encoder", "task", "clean", "images", "eps"),
    "strong_attacks": ("names", "encoder", "task", "clean", "images", "eps"),
    "restoration": ("encoder", "labels", "seen", "degraded", "restored", "clean"),
    "moving": ("encoder", "images", "pixels"),
    "face_swap": ("head", "expression", "swapped"),
    "embeddings": ("features", "expression", "identity"),
}
FACES = ("corruptions", "attacks", "strong_attacks", "restoration", "moving", "face_swap")  # the panels that show faces
RUN = ("params", "versions", "machine", "stages", "seen_corruptions", "attack_eps", "left_out")


def build_report(
    results: pd.DataFrame, histories: dict[str, pd.DataFrame], panels: dict, run: dict, out: str | Path,
    several: pd.DataFrame | None = None,
) -> Path:  # fmt: skip
    """Write tables/*.{md,tex,csv}, figures/*.{svg,png}, claims.json, metrics.json, run.json and report.html into ``out``.

    Args:
        results: tidy results (``lib.results``); the caller writes them to ``out``/results.csv, where the page links to.
        histories: encoder -> its training history; one for each pre-trained encoder in ``results``.
        panels: {'source': 'rendered' or what else the faces are,
            'corruptions': {'names', 'images' [C,6,3,H,W]: clean and severities 1..5},
            'attacks': {'names', 'encoder' and 'task' attacked, 'clean' [F,3,H,W], 'images' [A,F,3,H,W], 'eps'},
            'strong_attacks': the same of the attacks beyond the published ones,
            'restoration': {'encoder', 'labels', 'seen' and 'degraded' [N,3,H,W], 'restored' [N,k,3,H,W], 'clean' [N,3,H,W]},
            'moving': {'encoder', 'images' [N,3,S,S], 'pixels' bool [S,S]},
            'face_swap': {'head', 'expression', 'swapped' [N,3,H,W]},
            'embeddings': {'features': {encoder: [M,D]}, 'expression' [M], 'identity' [M]},
            'left_out': {panel that is not there: why}}.
            Pictures are float in [0,1] or uint8, of faces that no encoder was trained on; eps is in [0,1] too. The
            panels of ``FACES`` show faces, so they are for rendered faces only.
        run: {'params': nested dict, 'versions': {name: version}, 'machine': text, 'stages': [(name, seconds)],
            'seen_corruptions': types in the training mixture, 'attack_eps': the budget of all attacks in 255ths,
            'left_out': sentences, one for each task that was not measured}.
        several: results of several seeds (reports/seeds); spoken of where this run is one of them.

    Returns:
        The page's path.
    Raises:
        ValueError: something of the above is missing or does not fit, or photographs are among the panels.
    """
    out, scores = Path(out), Scores(results)
    _check(scores, histories, panels, run)
    seen, eps = tuple(run["seen_corruptions"]), float(run["attack_eps"])
    tables = report_tables(results, seen, eps)
    claims = compute_claims(results)
    drawn = draw_all(scores, histories, panels, seen, eps)
    table_formats.write_tables(tables, out / "tables")
    with write_aside(out / "figures", folder=True) as folder:
        for entry in drawn:
            style.save(entry.figure, folder / entry.name)
    write_claims(claims, out / "claims.json")
    with write_aside(out / "metrics.json") as aside:
        aside.write_text(json.dumps(metrics(scores), indent=1) + "\n", encoding="utf-8")
    record = {name: run[name] for name in RUN}
    with write_aside(out / "run.json") as aside:
        aside.write_text(
            json.dumps(record, indent=1, default=str, ensure_ascii=False) + "\n",
            encoding="utf-8",
        )
    return write_html(results, tables, drawn, claims, run, panels["left_out"], several, out)


def report_tables(results: pd.DataFrame, seen: tuple[str, ...], eps: float) -> list[Table]:
    """Every table of the report: of each task and family, of action units, and the papers' tables with ours beside."""
    scores = Scores(results)
    return all_tables(results, seen, eps) + au_tables(scores) + ssl_fer_tables(scores)


def metrics(scores: Scores) -> dict:
    """{task and data set: {encoder: {clean, drop_corruptions, drop_attacks}}}, one decimal: what `dvc exp show` lists."""
    found = {}
    for task, dataset in scores.blocks():
        for method in names.ordered(scores.methods(task, dataset)):
            cells = {
                "clean": scores(method, dataset, task, "clean", "clean"),
                "drop_corruptions": scores(method, dataset, task, "corruption", "mean", "drop"),
                "drop_attacks": scores(method, dataset, task, "attack", "mean", "drop"),
            }
            numbers = {name: round(cell[0], 1) for name, cell in cells.items() if cell is not None}
            found.setdefault(f"{task}_{dataset}", {})[method] = numbers
    return found


def _check(scores: Scores, histories: dict, panels: dict, run: dict) -> None:
    lacking = [name for name in RUN if name not in run]
    if lacking:
        raise ValueError(f"run: expected the keys {', '.join(RUN)}, missing {', '.join(lacking)}")
    lacking = [key for key in ("source", "left_out") if key not in panels]
    if lacking:
        raise ValueError(f"panels: missing {', '.join(lacking)}")
    shown = [panel for panel in FACES if panel in panels]
    if panels["source"] != "rendered" and shown:
        raise ValueError(
            f"panels: expected no {', '.join(shown)} of the source {panels['source']!r} (photographs are never put "
            "into figures)"
        )
    for panel, keys in PANELS.items():
        if panel not in panels:
            if panel in panels["left_out"]:
                continue
            raise ValueError(
                f"panels: missing {panel!r}, which has the keys {', '.join(keys)}, or why it is missing in 'left_out'"
            )
        lacking = [key for key in keys if key not in panels[panel]]
        if lacking:
            raise ValueError(f"panels[{panel!r}]: expected the keys {', '.join(keys)}, missing {', '.join(lacking)}")
    methods = scores.methods()
    trained = [m for m in names.ordered(methods) if m in names.ENCODERS and names.look(m).group != "control"]
    lacking = [m for m in trained if m not in histories]
    if lacking:
        raise ValueError(
            f"histories: expected one for each pre-trained encoder in results, missing {', '.join(lacking)}"
        )
