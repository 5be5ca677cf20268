"""SSL-FER's table (AffectNet; 11 rows and the poster's supervised one, 6 columns): the published numbers, ours beside them.

The published protocol is full fine-tuning; with ``probe='linear'`` the columns hold the linear probe's numbers.

Reference:
    Shu, Gu, Yang, Lo, Revisiting Self-Supervised Contrastive Learning for Facial Expression Recognition, BMVC 2022: README of
    its code and poster, which agree; assets/ssl_fer_affectnet.csv has the numbers and where each row is from.
"""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from lib.report import names
from lib.report.summary import FEWEST, Scores
from lib.report.tables import FEW, INTERVALS, SEEDS, Cell, Table

PUBLISHED = Path(__file__).with_name("assets") / "ssl_fer_affectnet.csv"
# column: heading, task, metric in our results, factor from ours to theirs, decimals, sign of what is better
MEASURES = {
    "f1": ("F1 (%)", "expression", "macro_f1", 1.0, 1, 1),
    "accuracy": ("Acc (%)", "expression", "accuracy", 1.0, 1, 1),
    "ccc_valence": ("V-CCC", "valence_arousal", "ccc_valence", 0.01, 3, 1),
    "rmse_valence": ("V-RMSE", "valence_arousal", "rmse_valence", 1.0, 3, -1),
    "ccc_arousal": ("A-CCC", "valence_arousal", "ccc_arousal", 0.01, 3, 1),
    "rmse_arousal": ("A-RMSE", "valence_arousal", "rmse_arousal", 1.0, 3, -1),
}
READINGS = {
    "chosen": ("", "the epoch chosen on people held out from training"),
    "last": ("last_", "the last epoch"),
    "best_on_test": ("best_on_test_", "the epoch that is best on the images reported on: the published habit, which flatters"),
}
THEIRS = (
    "Published: AffectNet, single numbers without seeds or intervals, of the epoch with the best macro F1 on the images that are "
    "reported on. No published code computes the RMSE or can have run the valence and arousal columns."
)
OURS = {
    "rendered": "Ours: rendered faces of the demo, NOT AffectNet: other faces, smaller images, a smaller network, minutes of "
    "pre-training. The two halves of a column share a name, not a scale: no number of ours can be set beside a published one.",
    "affectnet": "Ours: AffectNet, as lib.datasets reads it; which images and classes, the captions of the other tables say.",
}
OTHER = "Ours: another data set than AffectNet, so no number of ours can be set beside a published one."


def published() -> pd.DataFrame:
    """The published table: row (key), group, pretraining, data, six numbers (F1 and accuracy in percent), source."""
    return pd.read_csv(PUBLISHED)


def ssl_fer_table(
    scores: Scores, rows: Mapping[str, str], dataset: str, probe: str = "finetuned", reading: str = "chosen"
) -> Table:
    """Published and our numbers on clean faces, side by side.

    Args:
        rows: our encoder -> row of the published table (column ``row`` of :func:`published`): which of ours is like which of
            theirs is the caller's word.
        dataset: whose results are ours.
        probe: 'finetuned' or 'linear'. reading: one of ``READINGS``; the linear probe has 'chosen' alone (nothing is chosen).
    Raises:
        ValueError: an unknown row, two encoders for one row, an unknown probe or reading.
    """
    table = published()
    if unknown := sorted(set(rows.values()) - set(table["row"])):
        raise ValueError(f"rows: expected rows of the published table ({', '.join(table['row'])}), got {', '.join(unknown)}")
    if len(set(rows.values())) < len(rows):
        raise ValueError(f"rows: expected one encoder a row, got {dict(rows)}")
    if probe not in ("finetuned", "linear"):
        raise ValueError(f"probe: expected 'finetuned' or 'linear', got {probe!r}")
    if reading not in READINGS or (probe == "linear" and reading != "chosen"):
        raise ValueError(f"reading: expected one of {', '.join(READINGS)} ('chosen' for the linear probe), got {reading!r}")
    suffix, (prefix, which) = "_finetuned" if probe == "finetuned" else "", READINGS[reading]
    method_of = {row: method for method, row in rows.items()}
    columns, cells = [], {}
    data = names.DATASET_SHORT.get(dataset, dataset)
    for key, (heading, task, metric, factor, decimals, sign) in MEASURES.items():
        columns += [(heading, f"{key}_published", "published", "AffectNet"), (heading, f"{key}_ours", "ours", data)]
        for entry in table.itertuples():
            value = float(getattr(entry, key))
            cells[entry.row, f"{key}_published"] = Cell((value, float("nan"), float("nan")), decimals=decimals)
            found = scores(method_of.get(entry.row), dataset, task + suffix, "clean", "clean", prefix + metric)
            cells[entry.row, f"{key}_ours"] = Cell(found and tuple(factor * x for x in found), decimals=decimals)
        for side in ("published", "ours"):
            _mark_best([cells[row, f"{key}_{side}"] for row in table["row"]], sign)
    measured = [task + suffix for task in ("expression", "valence_arousal") if scores.facts(task + suffix, dataset, "clean")]
    facts = "; ".join(f"{names.TASKS[task]}: {scores.facts(task, dataset, 'clean')}" for task in measured)
    few = FEW if any(scores.people(task, dataset) < FEWEST for task in measured) else ""
    how = f"full fine-tuning, {which}" if probe == "finetuned" else "linear probe on frozen features, where theirs fine-tune"
    return Table(
        name=f"ssl_fer_{dataset}" if (probe, reading) == ("finetuned", "chosen") else f"ssl_fer_{probe}_{reading}_{dataset}",
        title="SSL-FER's table, published numbers and ours",
        caption=(
            f"Published numbers (AffectNet) beside ours ({names.dataset_label(dataset)}; {how}). "
            f"{facts or 'Nothing of ours was measured'}. "
            f"{INTERVALS.format(seeds=SEEDS if scores.frame['seeds'].max() > 1 else '')}{few}"
        ),
        corner="Pretraining",
        columns=columns,
        rows=[(e.group, e.row, f"{e.pretraining} ({e.data})" + _ours(method_of.get(e.row)), "") for e in table.itertuples()],
        cells=cells,
        notes=[
            OURS.get(dataset, OTHER),
            THEIRS,
            "Valence and arousal lie in -1..1; CCC: concordance; RMSE: lower is better. Bold: best of its half of a column.",
            "A dash: no encoder of ours stands for that row, or it was not measured.",
        ],
        facts={"data": data, "facts": facts},
    )


def ssl_fer_tables(scores: Scores, rows: Mapping[str, str] = names.SSL_FER_ROWS) -> list[Table]:
    """One table a data set on which valence and arousal, or a fine-tuned task, was measured for one of ``rows``."""
    found = []
    for dataset in dict.fromkeys(dataset for _, dataset in scores.blocks()):
        tasks = {task for task, of in scores.blocks() if of == dataset}
        tuned = {task for task in tasks if task.endswith("_finetuned")}
        here = {method: row for method, row in rows.items() if any(method in scores.methods(t, dataset) for t in tasks)}
        if here and (tuned or "valence_arousal" in tasks):
            found.append(ssl_fer_table(scores, here, dataset, "finetuned" if tuned else "linear"))
    return found


def _ours(method: str | None) -> str:
    return "" if method is None else f"; ours: {names.look(method).label}"


def _mark_best(cells: list[Cell], sign: int) -> None:
    """Bold where a score is best as printed; a single one is no best."""
    shown = [sign * round(cell.score[0], cell.decimals) for cell in cells if cell.score]
    for cell in cells:
        if cell.score and len(shown) > 1 and sign * round(cell.score[0], cell.decimals) == max(shown):
            cell.score_mark = "bold"
