"""Tables of action units beside the attacks' and corruptions': each unit, each fold, and the published rows with ours below.

Reference:
    AUNCE: its tables of BP4D and DISFA and the logs of its folds, by lib.report.published. DAR-SFRL's third table has F1 and Drop
    F1 under attacks: its numbers are known as pictures only, so lib.report.tables has its columns for our encoders, no row of it.
"""

from lib.datasets.action_units import BP4D_UNITS, DISFA_UNITS
from lib.report import names
from lib.report.published import published_action_units
from lib.report.summary import FEWEST, Scores
from lib.report.tables import FEW, INTERVALS, READING, SEEDS, Cell, Table

TASK = "action_units"
PAPERS = {"BP4D": BP4D_UNITS, "DISFA": DISFA_UNITS}
CONDITIONS = {"clean": ("clean", "clean"), "corrupted": ("corruption", "mean"), "attacked": ("attack", "mean")}
SAID = {"clean": "clean", "corrupted": "mean over the corruptions", "attacked": "mean over the attacks"}
FIGURE = "F1: mean over the units of a fold, then over the folds, as AUNCE and ME-GraphAU publish it."
THEIRS = (
    "Published: AUNCE's README (in its history) and ME-GraphAU's, single numbers without seeds or intervals. How an epoch was chosen is "
    "not said; AUNCE's script looks at the test images after each. (!): the units do not average to the stated mean."
)
OURS = {
    "rendered": "Ours: rendered faces of the demo, NOT {paper}: other faces, smaller images, a smaller network, linear heads on frozen "
    "features, minutes of pre-training. No number of ours can be set beside a published one.",
    "bp4d": "Ours: BP4D as lib.datasets reads it, linear heads on frozen features; alignment and cropping decide much of the score.",
    "disfa": "Ours: DISFA as lib.datasets reads it, linear heads on frozen features; alignment and cropping decide much of the score.",
}
HEADS = (
    "A head of ours sees all features of an encoder, standardised; AUNCE's evaluation gives the head of a unit that unit's vector alone "
    "(lib.probes.au_linear, own_vectors)."
)
OTHER = "Ours: {faces}, linear heads on frozen features. Unless these are {paper}, no number of ours can be set beside a published one."
NONE = "No encoder of ours was measured on the units of {paper}."


def au_tables(scores: Scores) -> list[Table]:
    """For each data set on which single units were measured: each unit, each fold; then the published tables of BP4D and DISFA,
    with our encoders below those whose units they were measured on."""
    tables, papers = [], {}
    for dataset in [dataset for task, dataset in scores.blocks() if task == TASK]:
        if units := units_measured(scores, dataset):
            of_disfa = set(units) <= set(DISFA_UNITS) and not set(units) <= set(BP4D_UNITS)
            papers.setdefault("DISFA" if of_disfa else "BP4D", []).append(dataset)
            tables += [unit_table(scores, dataset), *([fold_table(scores, dataset)] if folds_measured(scores, dataset) else [])]
    for paper in PAPERS if papers else ():
        tables += [published_table(scores, paper, dataset) for dataset in papers.get(paper, [None])]
    return tables


def units_measured(scores: Scores, dataset: str) -> list[int]:
    """The units with an F1 of their own."""
    return _numbered(scores, dataset, "f1_au_")


def folds_measured(scores: Scores, dataset: str) -> list[int]:
    """The test folds, from 1."""
    return _numbered(scores, dataset, "f1_fold_")


def unit_table(scores: Scores, dataset: str) -> Table:
    """F1 of each unit on clean, corrupted and attacked faces, then the means, accuracy and area under the ROC curve."""
    units, methods = units_measured(scores, dataset), names.ordered(scores.methods(TASK, dataset))
    columns = [("F1 of each action unit", f"f1_au_{unit}", f"AU {unit}", "F1") for unit in units]
    columns += [
        ("over the units", "f1", "mean over folds", "F1 / Drop"), ("over the units", "f1_pooled", "pooled counts", "F1"),
        ("over the units", "accuracy", "accuracy", "Acc"), ("over the units", "auc", "ROC area", "AUC"),
    ]  # fmt: skip
    rows, cells = [], {}
    for condition in CONDITIONS:
        key = f"support_{condition}"
        if not any(scores(m, dataset, TASK, *CONDITIONS[condition]) for m in methods) or condition == "corrupted":
            continue
        rows.append(("images that show it", key, "clean and corrupted" if condition == "clean" else "attacked", ""))
        for _, column, _, _ in columns:
            unit = column.removeprefix("f1_au_")
            found = [scores(m, dataset, TASK, *CONDITIONS[condition], f"support_au_{unit}") for m in methods]
            count = next((cell[0] for cell in found if cell), None)  # the same images for every encoder
            cells[key, column] = Cell(None if count is None else (count, float("nan"), float("nan")), decimals=0)
    for method in methods:
        for condition, (family, name) in CONDITIONS.items():
            if not scores(method, dataset, TASK, family, name):
                continue
            key = f"{method}_{condition}"
            rows.append((names.look(method).label, key, SAID[condition], ""))
            for _, column, _, _ in columns:
                drop = scores(method, dataset, TASK, family, name, "drop") if column == "f1" and family != "clean" else None
                cells[key, column] = Cell(scores(method, dataset, TASK, family, name, column), drop)
    return Table(
        name=f"units_{TASK}_{dataset}",
        title=f"{names.task_label(TASK, dataset)}: each unit",
        caption=f"Action units on {names.dataset_label(dataset)}, in percent. {_facts(scores, dataset, attacked=True)}",
        corner="Condition",
        columns=columns,
        rows=rows,
        cells=cells,
        notes=[
            FIGURE + " Pooled counts: F1 of the counts of all folds together, mean over the units.",
            READING + " Attacks see the first images only, and the drop is from the clean score of these. With few images that "
            "show a unit, its F1 under attack is of little worth.",
            *_left_out(scores, dataset),
            _origin(dataset),
        ],
        facts=_source(scores, dataset),
    )


def fold_table(scores: Scores, dataset: str) -> Table:
    """Clean F1 of each fold, and what another choice of the heads' epoch would have given."""
    folds, methods = folds_measured(scores, dataset), names.ordered(scores.methods(TASK, dataset))
    columns = [("each fold", f"f1_fold_{fold}", f"fold {fold}", "F1") for fold in folds]
    columns += [
        ("all folds", "f1", "mean", "F1"), ("all folds", "f1_pooled", "pooled counts", "F1"),
        ("mean, other epochs of the heads", "last_f1", "last", "F1"),
        ("mean, other epochs of the heads", "best_on_test_f1", "best on test", "F1"),
    ]  # fmt: skip
    cells = {(m, c[1]): Cell(scores(m, dataset, TASK, "clean", "clean", c[1])) for m in methods for c in columns}
    return Table(
        name=f"folds_{TASK}_{dataset}",
        title=f"{names.task_label(TASK, dataset)}: each fold",
        caption=f"Macro F1 of action units on {names.dataset_label(dataset)}, not degraded, in percent. {_facts(scores, dataset)}",
        corner="Encoder",
        columns=columns,
        rows=[(names.GROUPS[names.look(m).group], m, names.look(m).label, "") for m in methods],
        cells=cells,
        notes=[
            "Heads of a fold are fitted on the people of the other folds. Their epoch is chosen on people held out from these; the last "
            "epoch is free of any choice; the best on the test images is the published habit and flatters.",
            FIGURE,
            *_left_out(scores, dataset)[:1],
            _origin(dataset),
        ],
        facts=_source(scores, dataset),
    )


def published_table(scores: Scores, paper: str, dataset: str | None) -> Table:
    """The published rows of ``paper`` ('BP4D' or 'DISFA'), AUNCE's single folds, and our encoders on ``dataset`` (None: none)."""
    units = PAPERS[paper]
    columns = [("F1 of each action unit", f"au_{unit}", f"AU {unit}", "F1") for unit in units]
    columns.append(("over the units", "mean", "mean", "F1"))
    rows, cells, remarks = [], {}, {}
    for fold in (None, 1, 2, 3):
        group = f"published, {paper}, mean over three folds" if fold is None else f"published, {paper}, one fold (the authors' logs)"
        for entry in published_action_units(paper, fold).to_dict("records"):
            key = entry["method"] if fold is None else f"{entry['method']}, fold {fold}"
            rows.append((group, key, key + (" (!)" if entry["inconsistent"] else ""), ""))
            cells |= {(key, f"au_{unit}"): _plain(entry[f"au_{unit}"]) for unit in units}
            cells[key, "mean"] = _plain(entry["stated_mean"])
            if entry["note"] and fold is None:
                remarks.setdefault(entry["note"], []).append(key)
    notes = [NONE.format(paper=paper)]
    if dataset is not None:
        faces, folds = names.dataset_label(dataset), folds_measured(scores, dataset)
        for method in names.ordered(scores.methods(TASK, dataset)):
            rows.append((f"ours, {names.DATASET_SHORT.get(dataset, dataset)}", method, names.look(method).label, ""))
            for _, column, _, _ in columns:
                metric = "f1" if column == "mean" else f"f1_{column}"
                cells[method, column] = Cell(scores(method, dataset, TASK, "clean", "clean", metric))
        notes = [OURS.get(dataset, OTHER).format(paper=paper, faces=faces), HEADS]
        if len(folds) == 1:
            notes.append(f"Ours: fold {folds[0]} alone. Runs of all three folds are joined by `python -m lib.report.three_folds`.")
    return Table(
        name=f"published_{paper.lower()}" + ("" if dataset is None else f"_{dataset}"),
        title=f"Action units on {paper}: published numbers" + ("" if dataset is None else " and ours"),
        caption=f"Published F1 on {paper}, in percent."
        + ("" if dataset is None else f" Below, ours on {faces}, not degraded. {_facts(scores, dataset)}"),
        corner="Method",
        columns=columns,
        rows=rows,
        cells=cells,
        notes=[
            *notes, THEIRS, *[f"{', '.join(of)}: {note}." for note, of in remarks.items()],
            "A published number has no interval. A dash: not measured, or nobody is known to show the unit.",
        ],
        facts={} if dataset is None else _source(scores, dataset),
    )  # fmt: skip


def _left_out(scores: Scores, dataset: str) -> list[str]:
    """Which units the scores of which folds say nothing about: on the clean images, and on the attacked ones."""
    folds, units, said = folds_measured(scores, dataset), _numbered(scores, dataset, "support_au_"), []
    for condition, where in (("clean", ""), ("attacked", " among the attacked ones")):
        methods = [m for m in names.ordered(scores.methods(TASK, dataset)) if scores(m, dataset, TASK, *CONDITIONS[condition])]
        gone = {
            unit: [f for f in folds if not any(scores(m, dataset, TASK, *CONDITIONS[condition], f"f1_au_{unit}_fold_{f}") for m in methods)]
            for unit in (units if methods else ())
        }
        each = [f"AU {unit} (fold{'s' if len(of) > 1 else ''} {', '.join(map(str, of))})" for unit, of in gone.items() if of]
        if each:
            said.append(f"Left out, because no test image{where} or no training image is known to show it: {', '.join(each)}.")
    return said


def _origin(dataset: str) -> str:
    known = {"rendered": "Rendered faces are a demonstration of the pipeline, NOT BP4D or DISFA."}
    return known.get(dataset, f"The faces are those of '{dataset}', in the folds that it comes with.")


def _plain(value: float) -> Cell:
    return Cell((float(value), float("nan"), float("nan")))


def _numbered(scores: Scores, dataset: str, prefix: str) -> list[int]:
    frame = scores.frame
    found = frame.loc[(frame["task"] == TASK) & (frame["dataset"] == dataset), "metric"].unique()
    return sorted(int(rest) for rest in (name.removeprefix(prefix) for name in found if name.startswith(prefix)) if rest.isdecimal())


def _facts(scores: Scores, dataset: str, attacked: bool = False) -> str:
    facts = scores.all_facts(TASK, dataset) if attacked else scores.facts(TASK, dataset, "clean")
    few = FEW if scores.people(TASK, dataset) < FEWEST else ""
    seeds = SEEDS if scores.frame["seeds"].max() > 1 else ""
    return f"{facts}. {INTERVALS.format(seeds=seeds)}{few}"


def _source(scores: Scores, dataset: str) -> dict:
    return {"data": names.DATASET_SHORT.get(dataset, dataset), "facts": scores.facts(TASK, dataset, "clean")}
