"""From results, histories and picture panels to everything under reports/."""

import json
from pathlib import Path

import pandas as pd

from lib.files import write_aside
from lib.report import names, table_formats
from lib.report.claims import compute_claims, write_claims
from lib.report.draw import draw_all
from lib.report.figures import style
from lib.report.html import write_html
from lib.report.summary import Scores
from lib.report.tables import all_tables

PANELS = {
    "corruptions": ("names", "images"),
    "attacks": ("names", "encoder", "clean", "images", "eps"),
    "restoration": ("encoder", "labels", "degraded", "restored", "clean"),
    "embeddings": ("features", "expression", "identity"),
}
RESTORERS = ("dar_sfrl", "dar_sfrl_released")  # methods whose stages can be shown
RUN = ("params", "versions", "machine", "stages", "seen_corruptions")


def build_report(
    results: pd.DataFrame, histories: dict[str, pd.DataFrame], panels: dict, run: dict, out: str | Path
) -> Path:
    """Write tables/*.{md,tex,csv}, figures/*.{svg,png}, claims.json, run.json and report.html into ``out``.

    Args:
        results: tidy results (``lib.results``); the caller writes them to ``out``/results.csv, where the page links to.
        histories: encoder -> its training history; one for each pre-trained encoder in ``results``.
        panels: {'source': 'rendered',
            'corruptions': {'names', 'images' [C,6,3,H,W]: clean and severities 1..5},
            'attacks': {'names', 'encoder' attacked, 'clean' [F,3,H,W], 'images' [A,F,3,H,W], 'eps'},
            'restoration': {'encoder', 'labels', 'degraded' [N,3,H,W], 'restored' [N,k,3,H,W], 'clean' [N,3,H,W]},
            'embeddings': {'features': {encoder: [M,D]}, 'expression' [M], 'identity' [M]}}.
            Pictures are float in [0,1] or uint8, of faces that no encoder was trained on; eps, the budget of all
            attacks, in [0,1] too. 'restoration' is left out only where no method with a restorer was run.
        run: {'params': nested dict, 'versions': {name: version}, 'machine': text, 'stages': [(name, seconds)],
            'seen_corruptions': types in the training mixture}.

    Returns:
        The page's path.
    Raises:
        ValueError: something of the above is missing or does not fit, or the panels are not of rendered faces.
    """
    out, scores = Path(out), Scores(results)
    _check(scores, histories, panels, run)
    seen, eps = tuple(run["seen_corruptions"]), round(255 * float(panels["attacks"]["eps"]), 4)
    tables = all_tables(results, seen, eps)
    claims = compute_claims(results)
    drawn = draw_all(scores, histories, panels, seen, eps)
    with write_aside(out / "tables", folder=True) as folder:
        for table in tables:
            for suffix, text in (
                ("md", table_formats.markdown(table)),
                ("tex", table_formats.latex(table)),
                ("csv", table_formats.csv_text(table)),
            ):
                (folder / f"{table.name}.{suffix}").write_text(text, encoding="utf-8")
    with write_aside(out / "figures", folder=True) as folder:
        for entry in drawn:
            style.save(entry.figure, folder / entry.name)
    write_claims(claims, out / "claims.json")
    record = {name: run[name] for name in RUN} | {"attack_eps": eps}
    with write_aside(out / "run.json") as aside:
        aside.write_text(
            json.dumps(record, indent=1, default=str, ensure_ascii=False) + "\n",
            encoding="utf-8",
        )
    return write_html(results, tables, drawn, claims, run, out)


def _check(scores: Scores, histories: dict, panels: dict, run: dict) -> None:
    lacking = [name for name in RUN if name not in run]
    if lacking:
        raise ValueError(f"run: expected the keys {', '.join(RUN)}, missing {', '.join(lacking)}")
    if panels.get("source") != "rendered":
        raise ValueError(
            "panels['source']: expected 'rendered' (photographs are never put into figures), got "
            f"{panels.get('source')!r}"
        )
    methods = scores.methods()
    for panel, keys in PANELS.items():
        if panel not in panels:
            if panel == "restoration" and not set(RESTORERS) & set(methods):
                continue
            raise ValueError(f"panels: missing {panel!r}, which has the keys {', '.join(keys)}")
        lacking = [key for key in keys if key not in panels[panel]]
        if lacking:
            raise ValueError(f"panels[{panel!r}]: expected the keys {', '.join(keys)}, missing {', '.join(lacking)}")
    trained = [m for m in names.ordered(methods) if m in names.ENCODERS and names.look(m).group != "control"]
    lacking = [m for m in trained if m not in histories]
    if lacking:
        raise ValueError(
            f"histories: expected one for each pre-trained encoder in results, missing {', '.join(lacking)}"
        )
