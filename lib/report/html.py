"""The report as one page: everything inlined, nothing loaded from anywhere."""

import base64
import re
from pathlib import Path

import jinja2
import pandas as pd

from lib.files import write_aside
from lib.report import table_formats
from lib.report.answer import answer
from lib.report.claim import Claim
from lib.report.claims import DEFINITIONS
from lib.report.seeds import of_this_run

TEMPLATE = Path(__file__).with_name("template.html")
FIRST = ("headline", "restoration")  # figures shown beside the answer


PANEL_TITLES = {
    "corruptions": "the gallery of corruptions",
    "attacks": "the gallery of attacks",
    "strong_attacks": "the gallery of stronger attacks",
    "restoration": "what DAFR restores",
    "moving": "where faces move",
    "face_swap": "the gallery of swapped faces",
    "embeddings": "the map of the features",
}


def write_html(
    results: pd.DataFrame,
    tables: list,
    figures: list,
    claims: list[Claim],
    run: dict,
    left_out: dict[str, str],
    several: pd.DataFrame | None,
    out: Path,
) -> Path:
    """``out``/report.html from tables, drawn figures (their files lie in ``out``/figures), claims and run facts.

    ``left_out``: panel that is not among the figures -> why. ``several``: as in :func:`lib.report.build.build_report`.
    """
    over_seeds, seed_details = of_this_run(results, several)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATE.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown = [
        {
            "name": f.name,
            "title": f.title,
            "caption": f.caption,
            "picture": f.picture,
            "data": inline(out / "figures" / f.name, f.picture),
        }
        for f in figures
    ]
    stages = [(name, float(seconds)) for name, seconds in run["stages"]]
    longest = max((seconds for _, seconds in stages), default=1.0)
    page = environment.get_template(TEMPLATE.name).render(
        answer=answer(results),
        over_seeds=over_seeds,
        seed_details=seed_details,
        only_seed=int(results["seed"].iloc[0]) if results["seed"].nunique() == 1 else None,
        claims=claims,
        definitions=DEFINITIONS,
        top=[f for f in shown if f["name"] in FIRST],
        figures=[f for f in shown if f["name"] not in FIRST],
        tables=[
            {"table": t, "rows": table_formats.html_rows(t), "groups": table_formats.column_groups(t)} for t in tables
        ],
        rows=f"{len(results):,}",
        versions=run["versions"],
        machine=run["machine"],
        params=list(flatten(run["params"])),
        stages=[(name, duration(seconds), round(100 * seconds / longest, 1)) for name, seconds in stages],
        total=duration(sum(seconds for _, seconds in stages)),
        rendered=bool((results["source"] == "rendered").any()),
        others=sorted({source for source in results["source"] if source != "rendered"}),
        unmeasured=run["left_out"],
        undrawn=reasons(left_out),
    )
    page = re.sub(r"\n\s*\n+", "\n", page)
    with write_aside(out / "report.html") as aside:
        aside.write_text(page, encoding="utf-8")
    return out / "report.html"


def reasons(left_out: dict[str, str]) -> list[str]:
    """A sentence for each reason, with all panels that it kept out."""
    sentences = []
    for why in dict.fromkeys(left_out.values()):
        titles = [PANEL_TITLES[panel] for panel in PANEL_TITLES if left_out.get(panel) == why]
        listed = titles[0] if len(titles) == 1 else f"{', '.join(titles[:-1])} and {titles[-1]}"
        sentences.append(f"{listed[0].upper()}{listed[1:]}: {why}.")
    return sentences


def inline(path: Path, picture: bool) -> str:
    """A figure's file as a data URI: PNG for pictures, SVG for charts."""
    suffix, kind = (".png", "image/png") if picture else (".svg", "image/svg+xml")
    return f"data:{kind};base64,{base64.b64encode(path.with_name(path.name + suffix).read_bytes()).decode()}"


def flatten(tree: dict, prefix: str = ""):
    """('pretrain.epochs', '8') for each leaf of a nested dict."""
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            yield from flatten(value, f"{name}.")
        else:
            yield name, ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def duration(seconds: float) -> str:
    """'41 s', '3 min 05 s', '1 h 02 min'."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
