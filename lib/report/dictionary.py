"""What stands in reports/: a dictionary of results.csv and of the files, `python -m lib.report.dictionary > reports/README.md`.

A test holds it against the committed results: a column, family, condition or metric that is not explained here, or that stands
where this page says it does not, is an error, and so is a committed file that it does not list.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from lib.datasets.columns import ALL_EXPRESSIONS
from lib.degrade.attacks import ATTACKS
from lib.degrade.corruptions import CORRUPTIONS
from lib.probe_params import ProbeParams
from lib.probes.verification import FAR
from lib.report import names
from lib.results import FAMILIES, RESULT_COLUMNS
from lib.strong_attacks import STRONG

COLUMNS = {  # name: (meaning, unit or values)
    "method": ("whose encoder: an entry of `methods`, `continued` or `controls` in params.yaml", "text"),
    "seed": ("the run's `seed`", "whole number"),
    "dataset": ("the set of test images", "`rendered`, `orl`, or the name of a folder under data/"),
    "source": ("what these images are; printed beside every number", "`rendered`, `ORL`, ..."),
    "task": ("what the encoder is used for", ", ".join(f"`{task}`" for task in names.TASKS)),
    "family": ("kind of condition, see below", ", ".join(f"`{family}`" for family in FAMILIES)),
    "condition": ("what was done to the test images, see below", "text"),
    "severity": ("how strong or how long; its meaning depends on the family, see below", "number; empty: over several severities"),
    "metric": ("which number it is, see below", "text"),
    "value": ("the number", "the metric's unit"),
    "n": ("test items behind it: pairs of images in verification, else images", "whole number"),
    "subjects": ("people whom these items show (of a pair, those of its first image)", "whole number"),
    "ci_low": ("lower end of its 95% interval: bootstrap over the people, of this seed alone", "the metric's unit"),
    "ci_high": ("upper end of the interval", "the metric's unit"),
}
OVER = {  # conditions that sum up others of their family
    "mean": "mean over all of the family; of corruptions over types and severities (with a severity: over the types at that one)",
    "mean_seen": "mean over the corruption types that `views.corruptions` has, with which degraded views are made in training",
    "mean_unseen": "mean over the other corruption types",
    "worst": "the one condition (and severity) with the lowest main metric",
}
CHECKS = {  # condition of the family 'check': (meaning, severity)
    "pgd": ("PGD after so many steps: the attacker's loss alone", "steps"),
    "white_box": ("PGD after the most of these steps", "0"),
    "restarts": ("the best of so many random starts of a shorter PGD", "starts"),
    "gradient_free": ("a random search that sees scores only", "0"),
    "noise": ("random signs of the same size", "0"),
    "transfer_<encoder>": ("the longest PGD, made on that encoder instead", "0"),
}


def _several(words) -> str:
    return ", ".join(f"`{word}`" for word in words)


MEANINGS = {  # family: (meaning, its conditions, its severity, its items)
    "clean": ("nothing is done", "`clean`", "0", "all test items"),
    "corruption": (
        "corruptions, [their levels](corruption_levels.md)", f"one of {len(CORRUPTIONS)} types, {_several(OVER)}",
        "1 to 5; empty: the mean over all of them", "all test items",
    ),
    "attack": (
        "white-box attacks within `probe.eps` 255ths of a pixel's range", f"{_several(ProbeParams().attacks)}, `mean`, `worst`",
        "0; empty: over the attacks", "the first `probe.attacked`",
    ),
    "sweep": ("PGD with other budgets", "`pgd`", "eps in 255ths; 0: the clean score of the attacked items", "as under attack"),
    "check": ("is a gradient masked?", _several(CHECKS), "as below", "the first `probe.checked`"),
    "strong": ("stronger attacks, and those on M", _several(STRONG), "0", "the first `probe.strong.items`"),
}  # fmt: skip

# Where a metric has rows. Single: one corruption at one severity, or `mean` at one.
ALWAYS = "everywhere but in the check `pgd`"
DROPS = "everywhere but on clean images and in the check `pgd`"
OFTEN = "clean, attacks, and corruptions but for those of one severity"
SUMMED = "clean, and `mean` (over all) of corruptions and attacks"
CLEAN = "clean"
LOSS = "the check `pgd`"


@dataclass(frozen=True)
class Metric:
    """``pattern``: a name, in which <n> is an action unit, <k> a fold from 1, <class> an expression, <metric> another metric."""

    pattern: str
    unit: str
    where: str
    meaning: str


METRICS = (
    Metric("accuracy", "percent", ALWAYS, "share of right answers, main metric of expression and verification; of action units the"
           " mean over units and folds, which has the rows of `f1_pooled` alone"),
    Metric("f1", "percent", ALWAYS, "action units, main metric: F1, mean over the units of a fold, then over the folds"),
    Metric("ccc", "percent", ALWAYS, "valence and arousal, main metric: concordance correlation, mean of both; from -100"),
    Metric("drop", "points", DROPS, "main metric on the same items when clean, minus here; below 0: it gained"),
    Metric("relative_drop", "percent", DROPS, "drop as a share of the clean score"),
    Metric("loss", "the loss's own", LOSS, "what the attacker raises, mean over the items: "
           + "; ".join(f"{names.TASKS[task].lower()}: {words}" for task, words in names.ATTACK_LOSSES.items())),
    Metric("macro_f1", "percent", OFTEN, "expression: F1, mean over the classes"),
    Metric("recall_<class>", "percent", OFTEN, "expression: share of a class that is recognised"),
    Metric("confused_<class>_as_<class>", "percent", SUMMED, "expression: share of the first class that is taken for the second"),
    Metric(f"tar_at_far_{FAR:g}", "percent", OFTEN, f"verification: share of one person's pairs accepted at the threshold that lets"
           f" {100 * FAR:g}% of the clean impostor pairs of the other folds pass"),
    Metric("f1_au_<n>", "percent", OFTEN, "F1 of an action unit, mean over the folds"),
    Metric("f1_fold_<k>", "percent", SUMMED, "F1 of a test fold, mean over its units; folds from 1 as published"),
    Metric("f1_au_<n>_fold_<k>", "percent", SUMMED, "F1 of an action unit in a fold"),
    Metric("f1_pooled", "percent", SUMMED, "F1 of the counts of all folds together, mean over the units"),
    Metric("accuracy_au_<n>", "percent", SUMMED, "share of images on which an action unit is judged rightly, mean over the folds"),
    Metric("support_au_<n>", "images", SUMMED, "images of all folds that show the unit; under `mean` the mean over the conditions, as"
           " of the next two"),
    Metric("hits_au_<n>", "images", SUMMED, "those of them on which it is found"),
    Metric("false_alarms_au_<n>", "images", SUMMED, "images on which it is found and is not there"),
    Metric("auc", "percent", SUMMED, "area under the ROC curve, mean over the units of a fold, then over the folds"),
    Metric("auc_au_<n>", "percent", SUMMED, "the same of an action unit, mean over the folds"),
    Metric("ccc_<rating>", "percent", OFTEN, "concordance correlation of valence or of arousal"),
    Metric("rmse_<rating>", "units of the rating, -1 to 1", OFTEN, "root mean squared error of valence or of arousal"),
    Metric("knn_<metric>", "as that metric", CLEAN, "the metric by the 5 nearest neighbours instead of the linear probe"),
    Metric("last_<metric>", "as that metric", CLEAN, "action units, by the heads of the last epoch instead of the one chosen on held-out"
           " people"),
    Metric("best_on_test_<metric>", "as that metric", CLEAN, "action units, by the heads of the epoch that is best on the test images"),
)  # fmt: skip
PLACES = {"<n>": r"\d+", "<k>": r"[1-9]\d*", "<class>": f"({'|'.join(ALL_EXPRESSIONS)})", "<rating>": "(valence|arousal)"}

BENCH = "python -m tests.benchmarks."
FILES = (  # (which files, what they are, what writes them)
    ("README.md", "this page", "`python -m lib.report.dictionary > reports/README.md`"),
    ("report.html", "the report: answer, statements, tables, figures with their captions, what was run; one file", "`dvc repro`"),
    ("results.csv", "every number, a row each: what tables, figures and statements are made from", "`dvc repro`"),
    ("tables/*", "the report's tables as Markdown, LaTeX and CSV (with both ends of the intervals)", "`dvc repro`"),
    ("figures/*", "the report's figures, SVG and PNG; their captions are in report.html", "`dvc repro`"),
    ("claims.json", "the statements that were checked, with their numbers and whether they hold", "`dvc repro`"),
    ("metrics.json", "clean score and mean drops of every encoder, for `dvc exp show`", "`dvc repro`"),
    ("run.json", "parameters, versions, machine and seconds of every stage of the run", "`dvc repro`"),
    ("run.log", "what `make repro` printed, from an empty clone", "`make repro`, kept by hand"),
    ("corruption_levels.md", "what severity 1 to 5 of each corruption means",
     "`python -m lib.degrade.levels > reports/corruption_levels.md`"),
    ("corruption_psnr.*", "how far corrupted images are from clean ones, beside imagecorruptions", f"`{BENCH}bench_corruptions`"),
    ("corruption_speed*", "corruptions: images a second, beside imagecorruptions and kornia; `_cuda`: on a GPU",
     f"`{BENCH}bench_corruptions`, `--device cuda`"),
    ("attack_speed*", "attacks: strength and seconds, beside torchattacks; `_cuda`: on a GPU", f"`{BENCH}bench_attacks`, `--device cuda`"),
    ("expression_under_attack.*", "what can be kept of expressions under attack", f"`{BENCH}study_expression_attack`"),
    ("aunce/*", "AUNCE beside weighted cross-entropy, with and without label noise", f"`{BENCH}study_aunce`; tuning.csv: `--tune`"),
    ("ssl_fer/*", "SSL-FER's ablation, and its table with the published numbers; results.csv has the columns below",
     f"`{BENCH}study_ssl_fer`"),
    ("seeds/*", "the demo's encoders with further seeds: summaries (columns as below), and the comparisons on each seed; log.txt: of two starts",
     "`python -m tests.benchmarks.study_seeds`"),
    ("gpu/*", "results (columns as below) and logs of runs on an NVIDIA H200",
     f"`{BENCH}bench_device`, `bench_aunce`, `bench_nt_xent_memory`, `bench_ssl_step`, each with `--device cuda`"),
    ("benchmarks.md", "what all these measurements say, and what was aimed at", "by hand; it names the script of each number"),
)  # fmt: skip


@lru_cache
def metric_of(name: str) -> Metric | None:
    """The entry that explains a metric of results.csv; None where none does."""
    for entry in METRICS:
        head, _, inner = entry.pattern.partition("<metric>")
        if entry.pattern != head:  # a prefix before the name of another metric
            if name.startswith(head) and metric_of(name.removeprefix(head)):
                return entry
            continue
        pattern = re.escape(entry.pattern)
        for place, wanted in PLACES.items():
            pattern = pattern.replace(re.escape(place), wanted)
        if re.fullmatch(pattern, name):
            return entry
    return None


def conditions_of(family: str) -> set[str]:
    """The conditions that a family may have; 'transfer_<encoder>' stands for one of each encoder."""
    return {
        "clean": {"clean"},
        "corruption": {*CORRUPTIONS, *OVER},
        "attack": {*ATTACKS, "mean", "worst"},
        "sweep": {"pgd"},
        "check": set(CHECKS),
        "strong": set(STRONG),
    }[family]


def page() -> str:
    """The dictionary as Markdown."""
    lines = [
        "# What is in this folder", "",
        "Written by `python -m lib.report.dictionary > reports/README.md`; a test holds it against the committed files.", "",
        *_table(("file", "what it is", "made by"), [(f"`{files}`", what, made) for files, what, made in FILES]),
        "", "## results.csv", "",
        "One row is one number: an encoder, on a task, under a condition. The first nine columns say which number it is; no two rows"
        " have all nine alike. Numbers have four decimals.", "",
        *_table(("column", "meaning", "values or unit"), [(f"`{name}`", *COLUMNS[name]) for name in RESULT_COLUMNS]),
        "", "### Families and conditions", "",
        *_table(("family", "what is done to the test images", "conditions", "severity", "items"),
                [(f"`{family}`", *MEANINGS[family]) for family in FAMILIES]),
        "", "Conditions over several others:", "",
        *(f"- `{name}`: {meaning}." for name, meaning in OVER.items()),
        "", "Conditions of the family `check`:", "",
        *_table(("condition", "what it is", "severity"), [(f"`{name}`", *entry) for name, entry in CHECKS.items()]),
        "",
        f"Attacks by name: {', '.join(f'`{name}` {names.ATTACKS[name]}' for name in (*ATTACKS, *STRONG))}. What they do:"
        " [recipes.py](../lib/degrade/recipes.py), [strong_attacks.py](../lib/strong_attacks.py).",
        "", "### Metrics", "",
        "`<n>` is the number of an action unit, `<k>` a fold from 1, `<class>` an expression, `<rating>` valence or arousal, `<metric>`"
        " another metric of the table. A metric that does not exist on the items (an action unit that nobody shows) has no row.", "",
        *_table(("metric", "unit", "meaning", "rows"), [(f"`{m.pattern}`", m.unit, m.meaning, m.where) for m in METRICS]),
    ]  # fmt: skip
    return "\n".join([*lines, ""])


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, (":--",) * len(head), *rows)]


if __name__ == "__main__":
    print(page(), end="")
