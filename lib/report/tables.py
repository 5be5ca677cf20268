"""What each table says: rows, columns, numbers, caption and notes. ``table_formats`` writes it down.

The three published tables (expression, verification, action units under the eight attacks of the published code, each as
`score / Drop`), one corruption table a task and one overview.
"""

from dataclasses import dataclass, field

import pandas as pd

from lib.report import names
from lib.report.checks import has_checks
from lib.report.summary import FEWEST, Scores
from lib.strong_attacks import PARTS_OF_M

READING = (
    "Drop = clean score minus score under the condition, in points; this reading is ours, the authors' README gives no "
    "formula."
)
INTERVALS = "± is half the width of the 95% interval: bootstrap over subjects{seeds}. The CSV file has both ends."
SEEDS = ", joined with Student's t over seeds"
TWINS = (
    "† For a model without randomness UPGD is the same iteration as MIFGSM, and EOTPGD is PGD with other random "
    "starts: eight names, six different attacks. The mean counts all eight, as the published code lists them."
)
THIRD = (
    "The columns are those of the third published table, F1 and Drop F1 of action units. Its numbers are known as pictures only, so none "
    "stands here. F1 here is the mean over the units of a fold, then over the folds."
)
BOLD = (
    "Bold: best of baselines and methods. ‡: a control that is better than that (a score near chance has little to "
    "lose)."
)
RENDERED = "Rendered faces are a demonstration of the pipeline. These are not the published data and not the published numbers."
REAL = "These are real photographs, but not the published data set: the numbers are not the published ones."
OWN = "A data set of one's own: these are not the published data and not the published numbers."
FEW = " With so few subjects the intervals are too narrow: they say nothing about other people."


@dataclass
class Cell:
    """A score (or a loss) and its drop as (value, low, high), either may be None; ``*_mark`` is '', 'bold' or '‡'."""

    score: tuple | None = None
    drop: tuple | None = None
    score_mark: str = ""
    drop_mark: str = ""
    decimals: int = 1


@dataclass
class Table:
    """``rows`` and ``columns`` are (group, key, label, note); ``cells[row key, column key]`` is a Cell."""

    name: str
    title: str
    caption: str
    corner: str
    columns: list[tuple[str, str, str, str]]
    rows: list[tuple[str, str, str, str]]
    cells: dict = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    facts: dict = field(default_factory=dict)


def all_tables(results: pd.DataFrame, seen: tuple[str, ...] = (), eps: float = 8.0) -> list[Table]:
    """Every table the results can fill.

    ``seen``: corruption types of the training mixture; ``eps``: the attacks' budget in 255ths.
    """
    scores = Scores(results)
    tables = [overview_table(scores, eps)]
    for family, make, more in (("attack", attack_table, eps), ("corruption", corruption_table, tuple(seen))):
        tables += [make(scores, *block, more) for block in scores.blocks() if scores.conditions(*block, family)]
    tables += [strong_table(scores, *block, eps) for block in scores.blocks() if scores.conditions(*block, "strong")]
    tables += [checks_table(scores, *block, eps) for block in scores.blocks() if has_checks(scores, *block)]
    return tables


def attack_table(scores: Scores, task: str, dataset: str, eps: float = 8.0) -> Table:
    """The published layout: a row an encoder; clean, then `score / Drop` under each attack, their mean and the worst."""
    attacks = scores.conditions(task, dataset, "attack")
    methods = names.ordered(scores.methods(task, dataset))
    metric = names.METRIC_LABEL[names.MAIN_METRIC[task]]
    pair = f"{metric} / Drop"
    columns = [("", "clean", "clean", metric)]
    columns += [
        ("attack", a, names.condition_label(a) + ("†" if a in ("upgd", "eotpgd") else ""), pair) for a in attacks
    ]
    columns += [("over the attacks", s, names.condition_label(s), pair) for s in ("mean", "worst")]
    rows = _encoder_rows(methods)
    cells = {(m, c[1]): _cell(scores, m, task, dataset, "attack", c[1]) for m in methods for c in columns}
    _mark(cells, methods, [c[1] for c in columns], transposed=False)
    caption = (
        f"{names.TASKS[task]} on {names.dataset_label(dataset)} under white-box L∞ attacks at {eps:g}/255 through "
        f"the whole model: {pair} in percent and points. {_facts(scores, task, dataset, 'attack')}"
    )
    notes = (
        [READING + " Clean is measured on the attacked items."]
        + ([TWINS] if {"upgd", "eotpgd"} & set(attacks) else [])
        + names.neighbours_note([task])
        + ([THIRD] if task == "action_units" else [])
        + [BOLD, _origin(dataset)]
    )
    return Table(
        f"attacks_{task}_{dataset}",
        f"{names.task_label(task, dataset)}: attacks",
        caption,
        "Encoder",
        columns,
        rows,
        cells,
        notes,
        _source(scores, task, dataset, "attack"),
    )


def strong_table(scores: Scores, task: str, dataset: str, eps: float = 8.0) -> Table:
    """Beyond the published eight: a row a pre-trained encoder, a column an attack, `score / Drop`."""
    attacks = scores.conditions(task, dataset, "strong")
    blur, gain, occluder = (PARTS_OF_M[name] for name in ("m_blur", "m_gain", "m_occluder"))
    title = f"{names.task_label(task, dataset)}: stronger attacks"
    said = {
        "apgd": f"Auto-PGD at {eps:g}/255",
        "autoattack": f"AutoAttack at {eps:g}/255",
        "ssp": f"the label-free attack on the features (SSP) at {eps:g}/255",
        "m_blur": f"the worst {blur.kernel} x {blur.kernel} blur kernel that spreads up to {blur.spread:.0%} of the light",
        "m_gain": f"the worst gain of each channel up to exp(±{gain.gain:g})",
        "m_occluder": f"the worst place of a black square of {occluder.square:.0%} of the side",
    }
    on_m = " (the last ones on M, of each image, searched by gradient, eps = 0)" if set(attacks) & set(PARTS_OF_M) else ""
    caption = (
        f"{names.TASKS[task]} on {names.dataset_label(dataset)} under further attacks: "
        f"{', '.join(said.get(name, names.condition_label(name)) for name in attacks)}{on_m}. {_facts(scores, task, dataset, 'strong')}"
    )
    notes = [READING + " Clean is measured on the attacked items.", _origin(dataset)]
    metric = names.METRIC_LABEL[names.MAIN_METRIC[task]]
    methods = _measured_methods(scores, task, dataset, "strong")
    columns = [("", c, names.condition_label(c), f"{metric} / Drop") for c in attacks]
    cells = {(m, c): _cell(scores, m, task, dataset, "strong", c) for m in methods for c in attacks}
    name, rows = f"strong_{task}_{dataset}", _encoder_rows(methods)
    return Table(name, title, caption, "Encoder", columns, rows, cells, notes, _source(scores, task, dataset, "strong"))


def checks_table(scores: Scores, task: str, dataset: str, eps: float = 8.0) -> Table:
    """Are gradients masked? A row a pre-trained encoder; the loss by PGD's steps, the score by eps and by random starts, and
    `score / Drop` under attacks with and without the model's own gradient."""
    metric = names.METRIC_LABEL[names.MAIN_METRIC[task]]
    methods = _measured_methods(scores, task, dataset, "check")
    columns, cells = [], {}

    def add(group: str, condition: str, severity: float, label: str, note: str, made) -> None:
        key = f"{condition}_{severity:g}" if severity else condition
        columns.append((group, key, label, note))
        cells.update({(m, key): made(m) for m in methods})

    for steps in _severities_of(scores, task, dataset, "check", "pgd"):
        add("loss after steps of PGD", "loss", steps, f"{steps:g}", "loss", lambda m, s=steps: Cell(
            scores(m, dataset, task, "check", "pgd", "loss", s), decimals=2))  # fmt: skip
    for budget in _severities_of(scores, task, dataset, "sweep", "pgd"):
        add("score under PGD, eps in 255ths", "eps", budget, f"{budget:g}", metric, lambda m, s=budget: Cell(
            scores(m, dataset, task, "sweep", "pgd", None, s)))  # fmt: skip
    for count in _severities_of(scores, task, dataset, "check", "restarts"):
        add("best of random starts", "restarts", count, f"{count:g}", metric, lambda m, s=count: Cell(
            scores(m, dataset, task, "check", "restarts", None, s)))  # fmt: skip
    order = ("white_box", "gradient_free", "noise")  # then the transfers, by name
    rank = lambda name: (order.index(name) if name in order else len(order), name)  # noqa: E731
    for name in sorted((n for n in scores.conditions(task, dataset, "check") if n not in ("pgd", "restarts")), key=rank):
        add("with its own gradient, and without", name, 0, names.condition_label(name), f"{metric} / Drop",
            lambda m, n=name: _cell(scores, m, task, dataset, "check", n))  # fmt: skip
    caption = (
        f"{names.TASKS[task]} on {names.dataset_label(dataset)} at {eps:g}/255. The loss must rise with the steps, the score "
        "fall to about zero as eps grows, more random starts (of a shorter PGD) take little more, and attacks that do not use "
        "the model's own gradient (a random search, noise of the same norm, images made on another encoder) not score lower "
        f"than the longest PGD, the white box. {_facts(scores, task, dataset, 'check')}"
    )
    notes = [
        READING,
        "With few items the intervals are wide, and a check can find strong masking only. The scores by eps are those of all "
        "attacked items.",
        _origin(dataset),
    ]
    return Table(
        f"checks_{task}_{dataset}", f"{names.task_label(task, dataset)}: are the gradients masked?", caption, "Encoder", columns,
        _encoder_rows(methods), cells, notes, _source(scores, task, dataset, "check"),
    )  # fmt: skip


def _measured_methods(scores, task, dataset, family) -> list[str]:
    frame = scores.frame
    rows = frame[(frame["family"] == family) & (frame["task"] == task) & (frame["dataset"] == dataset)]
    return names.ordered(rows["method"].unique())


def _severities_of(scores, task, dataset, family, condition) -> list[float]:
    """The settings above 0 of one condition, rising."""
    frame = scores.frame
    rows = frame[(frame["family"] == family) & (frame["task"] == task) & (frame["dataset"] == dataset)]
    found = rows.loc[rows["condition"] == condition, "severity"]
    return sorted(found[found > 0].unique())


def corruption_table(scores: Scores, task: str, dataset: str, seen: tuple[str, ...] = ()) -> Table:
    """A row a corruption (mean over its severities), a column an encoder: `score / Drop`."""
    corruptions = scores.conditions(task, dataset, "corruption")
    methods = names.ordered(scores.methods(task, dataset))
    metric = names.METRIC_LABEL[names.MAIN_METRIC[task]]
    pair = f"{metric} / Drop"
    rows = [("", "clean", "clean", metric)]
    for group, wanted in (("types seen in training", True), ("types not seen in training", False)):
        title = group if seen else "corruption"
        rows += [(title, c, names.condition_label(c), pair) for c in corruptions if (c in seen) == wanted]
    summaries = [
        s
        for s in ("mean_seen", "mean_unseen", "mean", "worst")
        if any(scores(m, dataset, task, "corruption", s) for m in methods)
    ]
    rows += [("over the corruptions", s, names.condition_label(s), pair) for s in summaries]
    columns = [(names.GROUPS[names.look(m).group], m, names.look(m).short, pair) for m in methods]
    keys = [r[1] for r in rows]
    cells = {(k, m): _cell(scores, m, task, dataset, "corruption", k) for m in methods for k in keys}
    _mark(cells, methods, keys, transposed=True)
    caption = (
        f"{names.TASKS[task]} on {names.dataset_label(dataset)} under corruptions, each the mean over "
        f"{_severities(scores)}: {pair} in percent and points. {_facts(scores, task, dataset, 'corruption')}"
    )
    notes = [READING, "Worst: the worst single corruption and severity.", BOLD, _origin(dataset)]
    return Table(
        f"corruptions_{task}_{dataset}",
        f"{names.task_label(task, dataset)}: corruptions",
        caption,
        "Corruption",
        columns,
        rows,
        cells,
        notes,
        _source(scores, task, dataset, "corruption"),
    )


def overview_table(scores: Scores, eps: float = 8.0) -> Table:
    """Each task in three columns: clean, mean over corruptions, mean over attacks."""
    methods = names.ordered(scores.methods())
    columns, cells, described = [], {}, []
    for task, dataset in scores.blocks():
        metric = names.METRIC_LABEL[names.MAIN_METRIC[task]]
        for family, condition, label in (
            ("clean", "clean", "clean"),
            ("corruption", "mean", "corrupted"),
            ("attack", "mean", "attacked"),
        ):
            if not any(scores(m, dataset, task, family, condition) for m in methods):
                continue
            key = f"{task}_{dataset}_{family}"
            note = metric if family == "clean" else f"{metric} / Drop"
            columns.append((names.task_label(task, dataset), key, label, note))
            for m in methods:
                cells[m, key] = _cell(scores, m, task, dataset, family, condition)
        described.append(f"{names.task_label(task, dataset)}: {scores.facts(task, dataset, 'clean')}")
    _mark(cells, methods, [c[1] for c in columns], transposed=False)
    caption = (
        "Every task in one view: clean score, mean over all corruptions and severities, mean over the attacks at "
        f"{eps:g}/255, in percent and points. {'; '.join(described)} (clean). {_intervals(scores)}"
        f"{FEW if any(scores.people(*block) < FEWEST for block in scores.blocks()) else ''}"
    )
    notes = [READING + " Attacks see the first items only, and their drop is from these items' clean score.", BOLD]
    notes += names.neighbours_note(task for task, _ in scores.blocks())
    if any(dataset == "rendered" for _, dataset in scores.blocks()):
        notes.append(RENDERED)
    return Table("overview", "Overview", caption, "Encoder", columns, _encoder_rows(methods), cells, notes, {})


def _encoder_rows(methods):
    return [(names.GROUPS[names.look(m).group], m, names.look(m).label, "") for m in methods]


def _cell(scores, method, task, dataset, family, condition) -> Cell:
    if condition == "clean":
        return Cell(scores.clean(method, dataset, task, family))
    return Cell(*(scores(method, dataset, task, family, condition, metric) for metric in (None, "drop")))


def _mark(cells, methods, conditions, transposed):
    """Best trained encoder of each condition in bold; a control that beats it gets ‡. Compared as printed."""
    for condition in conditions:
        row = {m: cells[(condition, m) if transposed else (m, condition)] for m in methods}
        for part, sign in (("score", 1), ("drop", -1)):
            shown = {m: sign * round(getattr(c, part)[0], 1) for m, c in row.items() if getattr(c, part) is not None}
            trained = [value for m, value in shown.items() if names.look(m).group != "control"]
            if not trained:
                continue
            for m, value in shown.items():
                control = names.look(m).group == "control"
                best = max(trained)
                mark = "‡" if control and value > best else "bold" if value == best and not control else ""
                setattr(row[m], f"{part}_mark", mark)


def _facts(scores, task, dataset, family) -> str:
    few = FEW if scores.people(task, dataset, family) < FEWEST else ""
    return f"{scores.facts(task, dataset, family)}. {_intervals(scores)}{few}"


def _intervals(scores) -> str:
    return INTERVALS.format(seeds=SEEDS if scores.frame["seeds"].max() > 1 else "")


def _severities(scores) -> str:
    frame = scores.frame
    levels = sorted({int(s) for s in frame.loc[frame["family"] == "corruption", "severity"]} - {0})
    if len(levels) > 2 and levels == list(range(levels[0], levels[-1] + 1)):
        return f"severities {levels[0]} to {levels[-1]}"
    return f"severit{'y' if len(levels) == 1 else 'ies'} {' and '.join(map(str, levels))}"


def _origin(dataset) -> str:
    return {"rendered": RENDERED, "orl": REAL}.get(dataset, OWN)


def _source(scores, task, dataset, family) -> dict:
    return {"data": names.DATASET_SHORT.get(dataset, dataset), "facts": scores.facts(task, dataset, family)}
