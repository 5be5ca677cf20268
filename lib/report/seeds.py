"""What other seeds change: each encoder with the interval over people and seeds, and the report's comparisons on each seed.

The results are those of reports/seeds (tests/benchmarks/study_seeds.py): the summaries of several seeds, the committed run's among them.
"""

import re

import pandas as pd
from scipy import stats

from lib.report import names
from lib.report.answer import answer
from lib.report.claim import ADVERSARIAL, OURS, PLAIN
from lib.report.claims import compared_blocks
from lib.report.drop_claims import drop_claims
from lib.report.summary import FEWEST, Scores
from lib.report.wording import joined
from lib.results import KEY_COLUMNS

UNTRAINED, READOUT, PIXELS = "untrained", "pixel_readout", "raw_pixels"
PAIRS = ((OURS, PLAIN), (OURS, ADVERSARIAL), (PLAIN, UNTRAINED))  # compared seed by seed
CELLS = (  # heading, family, condition, metric
    ("clean", "clean", "clean", None), ("drop, corruptions", "corruption", "mean", "drop"), ("drop, attacks", "attack", "mean", "drop"),
)  # fmt: skip


def summaries(results: pd.DataFrame, methods: list[str]) -> pd.DataFrame:
    """The rows that say something over all conditions of a family, of some encoders."""
    whole = results["severity"].fillna(0) == 0
    wanted = results["family"].isin(["clean", "corruption", "attack"]) & results["condition"].isin(["clean", "mean", "worst"]) & whole
    return results[wanted & results["method"].isin(methods) & results["metric"].isin(["accuracy", "f1", "drop"])]


def report(results: pd.DataFrame, eps: float, own: int) -> str:
    """seeds.md: every encoder with the interval over people and seeds, each seed, and the comparisons of the report.

    ``own``: the seed of the committed run.
    """
    scores, seeds = Scores(results), sorted(results["seed"].unique())
    drawn = [m for m in names.ordered(scores.methods()) if results.loc[results["method"] == m, "seed"].nunique() > 1]
    blocks = [block for block in scores.blocks() if scores.people(*block) >= FEWEST]
    lines = [
        "# Seeds", "",
        f"The demo's encoders trained with the seeds {', '.join(map(str, seeds))} on the same faces; seed {own} is the committed"
        f" run. Scores in percent, drops in points: mean over all corruptions and severities, and over the eight attacks of {eps:g}/255."
        f" In brackets 95% intervals: people, joined with Student's t over seeds; behind them each seed's value. {len(seeds)} seeds make"
        f" wide intervals: t with {len(seeds) - 1} degrees of freedom is {stats.t.ppf(0.975, len(seeds) - 1):.1f}. Minutes of training on"
        " rendered faces, not the published experiment. Written by `python -m tests.benchmarks.study_seeds`.",
    ]  # fmt: skip
    for block in blocks:
        lines += ["", f"## {names.task_label(*block)}", "", f"{scores.all_facts(*block)}.", ""]
        lines += ["| Encoder | " + " | ".join(what for what, *_ in CELLS) + " |", "|:--|" + "--:|" * len(CELLS)]
        for method in (*drawn, *(m for m in (PIXELS, READOUT) if m in scores.methods())):
            cells = (_cell(scores, results, method, block, *cell) for _, *cell in CELLS)
            lines.append(f"| {names.look(method).label} | {' | '.join(cells)} |")
        lines += ["", *(f"- {sentence}" for sentence in comparisons(results, *block))]
    if said := in_a_sentence(results):
        lines[3:3] = ["", f"{verdict_over_seeds(results)} {said}"]
    return "\n".join([*lines, ""])


def _cell(scores: Scores, results: pd.DataFrame, method: str, block: tuple[str, str], *which: str | None) -> str:
    value, low, high = scores(method, block[1], block[0], *which)
    each = of_each_seed(results, method, block, *which)
    said = f"{value:.1f} [{low:.1f}, {high:.1f}]"
    return f"{said}: {', '.join(f'{v:.1f}' for v in each)}" if len(each) > 1 else said


def of_each_seed(results: pd.DataFrame, method: str, block: tuple[str, str], family: str, condition: str, metric: str | None) -> pd.Series:
    """One number of an encoder, seed by seed (the index)."""
    wanted = {"method": method, "task": block[0], "dataset": block[1], "family": family, "condition": condition,
              "metric": metric or names.MAIN_METRIC[block[0]]}  # fmt: skip
    rows = results[(results[list(wanted)] == pd.Series(wanted)).all(axis=1)]
    return rows.set_index("seed")["value"].sort_index()


def comparisons(results: pd.DataFrame, task: str, dataset: str) -> list[str]:
    """The report's comparisons on one task: on how many seeds each holds, and what is left between the encoders over seeds."""
    said = [
        f"{title}: holds on {sum(holds)} of {len(holds)} seeds, {'holds' if on_mean else 'does not hold'} on their mean."
        for title, (holds, on_mean) in _held(results, [(task, dataset)]).items()
    ]
    for one, other in PAIRS:
        parts = []
        for what, family, condition, metric in CELLS:
            apart = [of_each_seed(results, m, (task, dataset), family, condition, metric) for m in (one, other)]
            if min(map(len, apart)) > 1:
                mean, low, high = t_interval(apart[0] - apart[1])
                parts.append(f"{what} {mean:+.1f} [{low:+.1f}, {high:+.1f}]")
        if parts:
            pair = f"{names.look(one).label} minus {names.look(other).label}"
            said.append(f"{pair}, seed by seed, Student's t over seeds: {'; '.join(parts)}.")
    return said


def _held(results: pd.DataFrame, blocks: list[tuple[str, str]]) -> dict[str, tuple[list[bool], bool]]:
    """Title of a comparison -> whether it holds on each seed, and on their mean; of those that every seed has."""
    each = [Scores(results[results["seed"] == seed]) for seed in sorted(results["seed"].unique())]
    found = [{claim.title: claim.holds for block in blocks for claim in drop_claims(scores, *block)} for scores in (*each, Scores(results))]
    return {title: ([held[title] for held in found[:-1]], on_mean) for title, on_mean in found[-1].items() if all(title in h for h in found)}


def of_this_run(results: pd.DataFrame, several: pd.DataFrame | None) -> tuple[str, str]:
    """The verdict over the seeds of ``several`` and what stands behind it, two sentences; empty unless ``results`` is one of its seeds:
    has all that ``several`` has of that seed, with the same values."""
    if several is None or results["seed"].nunique() != 1:
        return "", ""
    keys = [name for name in KEY_COLUMNS if name != "severity"]
    of_seed = several[several["seed"] == results["seed"].iloc[0]]
    both = of_seed.merge(results[results["severity"].fillna(0).eq(0)], on=keys, suffixes=("", "_run"))
    same = len(both) == len(of_seed) > 0 and both["value"].eq(both["value_run"]).all()
    details = in_a_sentence(several) if same else ""
    return (verdict_over_seeds(several), details) if details else ("", "")


def verdict_over_seeds(results: pd.DataFrame) -> str:
    """'In part better than SimCLR, over 3 seeds (yes on seed 1, in part on seeds 2 and 3).'"""
    seeds = sorted(results["seed"].unique())
    on = {}
    for seed in seeds:
        on.setdefault(verdict_in_short(results[results["seed"] == seed]), []).append(str(seed))
    said = ", ".join(f"{verdict} on seed{'s' if len(numbers) > 1 else ''} {joined(numbers)}" for verdict, numbers in on.items())
    plain = names.look(PLAIN).label
    begin = {"yes": f"Better than {plain}", "in part": f"In part better than {plain}", "no": f"Not better than {plain}"}
    return f"{begin[verdict_in_short(results)]}, over {len(seeds)} seeds ({said})."


def in_a_sentence(results: pd.DataFrame) -> str:
    """Which of the report's comparisons on the main tasks hold on every seed, and which do not; empty where nothing was compared."""
    seeds, blocks = sorted(results["seed"].unique()), compared_blocks(Scores(results))
    held = _held(results, blocks)
    if not held or not all(verdict_in_short(part) for part in (results, *(results[results["seed"] == seed] for seed in seeds))):
        return ""
    failed = [
        f"{title} (holds on {sum(holds)} of {len(seeds)}{'' if on_mean else ', not on their mean'})"
        for title, (holds, on_mean) in held.items() if not all(holds)
    ]  # fmt: skip
    tasks = joined([names.task_label(*block) for block in blocks])
    said = f"Of the {len(held)} comparisons on {tasks} {len(held) - len(failed)} hold on every seed"
    return f"{said}. Not on every seed: {'; '.join(failed)}." if failed else f"{said}."


def verdict_in_short(results: pd.DataFrame) -> str:
    """What the report's verdict begins with: 'yes', 'in part' or 'no'; empty where it says that not enough was compared."""
    found = re.match(r"(yes|in part|no)\b", answer(results).verdict.lower())
    return found.group() if found else ""


def t_interval(values: pd.Series) -> tuple[float, float, float]:
    """Mean and its 95% interval by Student's t over seeds: for these people, not for others."""
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return values.mean(), values.mean() - half, values.mean() + half
