"""The numbers in README.md, written between markers from reports/: `python -m lib.report.readme` after a run.

    <!-- results: written by python -m lib.report.readme -->
    ...
    <!-- end of results -->

Nobody types a result into the README, so none can be out of date; a test compares the committed block with the
committed results.
"""

import json
import re
import sys
from pathlib import Path

from lib.files import write_aside
from lib.report import names
from lib.report.answer import METHODS, answer
from lib.report.claim import OURS
from lib.report.claims import DEFINITIONS, main_blocks
from lib.report.html import duration
from lib.report.seeds import of_this_run
from lib.report.summary import Scores
from lib.report.wording import joined
from lib.results import read_results
from lib.workplace import DEMO

MAKER = "written by python -m lib.report.readme"
RESULTS, RUN, SEEDS = "results.csv", "run.json", "seeds/results.csv"
SHOWN = (*METHODS, "dar_sfrl_released", "raw_pixels", "untrained", "pixel_readout")  # all others are in the report
TERM = "the comparisons of a task"
COLUMNS = (  # heading, family, condition, metric
    ("clean", "clean", "clean", None), ("drop, corruptions", "corruption", "mean", "drop"),
    ("drop, unseen types", "corruption", "mean_unseen", "drop"), ("drop, attacks", "attack", "mean", "drop"),
)  # fmt: skip


def blocks(reports: Path) -> dict[str, str]:
    """Marker name -> Markdown, from ``reports``/results.csv and run.json.

    Raises:
        FileNotFoundError: one of them is not there; says which command makes it.
    """
    for name in (RESULTS, RUN):
        if not (reports / name).is_file():
            raise FileNotFoundError(f"{reports / name} is not there: `dvc repro` makes it")
    results, run = read_results(reports / RESULTS), json.loads((reports / RUN).read_text(encoding="utf-8"))
    several = read_results(reports / SEEDS) if (reports / SEEDS).is_file() else None
    return {"results": _results(results, run, several), "demo": _demo(results, run)}


def _results(results, run: dict, several) -> str:
    scores = Scores(results)
    shown = main_blocks(scores)
    head = ["Encoder"] + [
        f"{names.task_label(*block)}:<br>{what}" if i == 0 else what for block in shown for i, (what, *_) in enumerate(COLUMNS)
    ]
    lines = [" | ".join(head), " | ".join([":--"] + ["--:"] * (len(head) - 1))]
    for method in names.ordered([method for method in scores.methods() if method in SHOWN]):
        row = [_bold(names.look(method).label, method == OURS)]
        for task, dataset in shown:
            row += [_cell(scores(method, dataset, task, *cell)) for _, *cell in COLUMNS]
        lines.append(" | ".join(row))
    facts = "; ".join(f"{names.task_label(*b)}: {scores.all_facts(*b)}" for b in shown)
    said, (over, details) = answer(results), of_this_run(results, several)
    verdict = [f"**{said.verdict}**"]
    if over:
        seeds = joined(sorted(map(str, results["seed"].unique())))
        verdict = [f"**{over}** {details} See [seeds.md](reports/seeds/seeds.md).", "", f"The committed run, seed {seeds}: {said.verdict}"]
    listed = [said.lead, "", *(f"- {point}" for point in said.points), ""] if said.points else []
    return "\n".join(
        [*verdict, "", *listed, *(f"| {line} |" for line in lines), "",
         f"Accuracy in percent; drops in points: means over corruption types and severities (*unseen*: those that are not in"
         f" DAR-SFRL's training mixture; the SimCLR encoders saw no type as such), and over the attacks at {run['attack_eps']:g}/255,"
         f" of the attacked images. In brackets 95% intervals over people. {facts}.", "",
         f"*The comparisons of a task*: {dict(DEFINITIONS)[TERM]} (*clearly*: the 95% intervals do not overlap)."]
    )  # fmt: skip


def _demo(results, run: dict) -> str:
    """The size of the committed run in a table, so that nobody takes the demo for the published experiment."""
    scores, params = Scores(results), run["params"]
    demo, size, schedule = params["demo"], params["prepare"]["image_size"], params["schedule"]
    rendered = params["prepare"]["dataset"] == DEMO
    people, clips, frames = (demo[name] for name in ("pretrain_identities", "clips_per_identity", "frames_per_clip"))
    epochs = [f"{names.look(name).label} {entry['epochs']}" for name, entry in params["methods"].items() if entry.get("epochs")]
    kinds = {family: {c for block in scores.blocks() for c in scores.conditions(*block, family)} for family in ("corruption", "attack")}
    severities = results[(results["family"] == "corruption") & results["severity"].gt(0)]["severity"].nunique()
    learnt = f"{people} rendered people, {clips} clips of {frames} frames each: {people * clips * frames:,} images of {size} px"
    measured = f"{len(kinds['corruption'])} corruption types at {severities} severities, {len(kinds['attack'])} attacks"
    seconds = duration(sum(float(seconds) for _, seconds in run["stages"]))
    rows = (
        ("learnt from", learnt if rendered else params["prepare"]["dataset"]),
        ("tested on", "; ".join(f"{names.task_label(*block)}: {scores.all_facts(*block)}" for block in scores.blocks())),
        ("backbone", f"{params['network']['backbone']}, the same for all methods (`network` in params.yaml)"),
        ("training", f"{schedule['epochs']} epochs{f' ({joined(epochs)})' if epochs else ''}, {schedule['batch_size']} images a step"),
        ("measured under", f"{measured} of {run['attack_eps']:g}/255"),
        ("took", f"{seconds} for training and probing ({len(run['stages'])} stages) on {run['machine']}"),
    )  # fmt: skip
    return "\n".join(["| the committed run | |", "|:--|:--|", *(f"| {what} | {text} |" for what, text in rows)])


def _cell(cell: tuple[float, float, float] | None) -> str:
    return "-" if cell is None else f"{cell[0]:.1f} [{cell[1]:.1f}, {cell[2]:.1f}]"


def _bold(text: str, bold: bool) -> str:
    return f"**{text}**" if bold else text


def fill(text: str, wanted: dict[str, str]) -> str:
    """``text`` with each block put between its markers.

    Raises:
        ValueError: a marker is missing or there twice.
    """
    for name, block in wanted.items():
        begin, end = f"<!-- {name}: {MAKER} -->", f"<!-- end of {name} -->"
        if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
            raise ValueError(f"README: expected the lines {begin!r} and {end!r} once each, in this order")
        between = re.compile(f"{re.escape(begin)}.*{re.escape(end)}", re.DOTALL)
        text = between.sub(lambda _: f"{begin}\n{block}\n{end}", text)
    return text


def main(root: Path = Path(".")) -> None:
    """Fill README.md of the checkout at ``root``."""
    readme = root / "README.md"
    filled = fill(readme.read_text(encoding="utf-8"), blocks(root / "reports"))
    with write_aside(readme) as aside:
        aside.write_text(filled, encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except (FileNotFoundError, ValueError) as error:
        sys.exit(str(error))
