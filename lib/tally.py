"""From the scores of all conditions of a task to result rows: metrics, drops, means, worst, and their intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from lib.bootstrap import interval, subject_draws, subject_sums
from lib.probes.task import Task, percent
from lib.results import Result, family_groups

DRAW_SEED = 0  # the same persons are drawn for every encoder


@dataclass(frozen=True)
class Measured:
    """Scores of a task's first n test items under one condition; ``severity`` as in :class:`lib.results.Result`."""

    family: str
    condition: str
    severity: float
    scores: np.ndarray


def tally(
    task: Task,
    clean: np.ndarray,
    measured: Sequence[Measured],
    *,
    method: str,
    seed: int,
    resamples: int,
    seen: Sequence[str] | None = None,
) -> list[Result]:
    """All rows of one task.

    A drop compares the same items: where a condition was measured on the first n items only, its clean score is that
    of these n (the sweep's row with severity 0). 'mean' averages all measurements of a family, 'worst' is the one
    with the lowest main metric. A corruption's own row without severity averages its severities, 'mean' with a severity
    all corruptions at that one. An average is taken in each resample, so its interval is that of the average.

    Rows of one severity and checks hold the main metric and its drops only, to keep the file small. The check 'pgd' has
    the metric 'loss' instead: the attacker's loss, mean over the items, after as many steps as its severity says. A
    metric that is NaN (an AU that nobody shows on these items) has no row. A task's details stand beside the clean score and
    the means over the corruptions and the attacks.

    Args:
        clean: scores [N,...] of all test items. measured: the other conditions, in the order in which they are listed.
        seen: corruption types used in training, for 'mean_seen' and 'mean_unseen'; None leaves these rows out.
    """
    people, person = np.unique(task.subjects, return_inverse=True)
    draws = subject_draws(len(people), resamples, DRAW_SEED)
    resampled: dict[int, dict[str, np.ndarray]] = {}
    first = np.unique(person, return_index=True)[1]  # the first item of each person

    def sums_of(scores: np.ndarray) -> np.ndarray:
        items = np.arange(len(scores))
        return draws @ subject_sums(task.count(scores, items), person[items], len(people))

    def metrics_of(scores: np.ndarray) -> dict[str, np.ndarray]:
        sums = sums_of(scores)
        return {name: metric(sums) for name, metric in task.metrics.items()}

    def all_of(scores: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """The metrics and the details, from the same sums."""
        sums = sums_of(scores)
        metrics, details = ({name: metric(sums) for name, metric in asked.items()} for asked in (task.metrics, task.details))
        if task.curves:
            details |= task.curves(scores, np.arange(len(scores)), person[: len(scores)], draws)
        return metrics, details

    def clean_of(n: int) -> dict[str, np.ndarray]:
        if n not in resampled:
            resampled[n] = metrics_of(clean[:n])
        return resampled[n]

    def row(family, condition, severity, n, metric, values) -> Result:
        value, low, high = interval(values)
        return Result(
            method,
            seed,
            task.table.name,
            task.table.source,
            task.name,
            family,
            condition,
            severity,
            metric,
            value,
            n,
            int((first < n).sum()),
            low,
            high,
        )

    def rows(family, condition, severity, n, metrics, brief=False) -> list[Result]:
        main = task.main_metric
        shown = {k: v for k, v in metrics.items() if (k == main or not brief) and not np.isnan(v[0])}
        out = [row(family, condition, severity, n, k, v) for k, v in shown.items()]
        if family != "clean" and main in shown:  # no score, as of action units that none of few images shows: no drop either
            drop = clean_of(n)[main] - metrics[main]
            relative = percent(drop, clean_of(n)[main])
            relative[0] = np.nan_to_num(relative[0])  # nothing to lose: no loss
            out += [
                row(family, condition, severity, n, "drop", drop),
                row(family, condition, severity, n, "relative_drop", relative),
            ]
        return out

    def mean_of(values: np.ndarray) -> np.ndarray:
        """Mean over the first items of one number an item, in each resample."""
        counts = np.stack([values, np.ones(len(values))], axis=1)
        total, count = (draws @ subject_sums(counts, person[: len(values)], len(people))).T
        return np.divide(total, count, out=np.full(len(draws), np.nan), where=count > 0)

    def loss_of(scores: np.ndarray) -> np.ndarray:
        items = torch.arange(len(scores), device=task.labels.device)
        return mean_of(task.losses(torch.as_tensor(scores, device=items.device), items).double().cpu().numpy())

    def detail_rows(family, condition, severity, n, details: dict[str, np.ndarray]) -> list[Result]:
        return [row(family, condition, severity, n, k, v) for k, v in details.items() if not np.isnan(v[0])]

    resampled[len(clean)], details = all_of(clean)
    results = rows("clean", "clean", 0, len(clean), clean_of(len(clean))) + detail_rows("clean", "clean", 0, len(clean), details)
    for prefix, scores in task.clean_only.items():
        found = metrics_of(scores).items()
        results += [row("clean", "clean", 0, len(scores), f"{prefix}_{k}", v) for k, v in found if not np.isnan(v[0])]

    for family in dict.fromkeys(m.family for m in measured):
        cells = [m for m in measured if m.family == family]
        sizes = {len(m.scores) for m in cells}
        if len(sizes) != 1:
            raise ValueError(f"measured: all of family {family} must have one number of items, got {sorted(sizes)}")
        n = sizes.pop()
        metrics, details = [], {}
        for m in cells:
            values, others = all_of(m.scores) if family in ("corruption", "attack") else (metrics_of(m.scores), {})
            metrics.append(values)
            details |= {name: details.get(name, 0.0) + other / len(cells) for name, other in others.items()}  # their means
        for m, values in zip(cells, metrics):
            if (family, m.condition) == ("check", "pgd"):
                results.append(row(family, m.condition, m.severity, n, "loss", loss_of(m.scores)))
            else:
                results += rows(family, m.condition, m.severity, n, values, brief=family != "attack")
        if family not in ("corruption", "attack"):
            continue
        names = [m.condition for m in cells]
        groups = {}
        if family == "corruption":
            groups = {name: [i for i, c in enumerate(names) if c == name] for name in dict.fromkeys(names)}
        groups |= family_groups(names, seen if family == "corruption" else None)
        groups["worst"] = [int(np.argmin([values[task.main_metric][0] for values in metrics]))]

        def average(members: Sequence[int]) -> dict[str, np.ndarray]:
            return {k: np.mean([metrics[i][k] for i in members], axis=0) for k in task.metrics}

        for name, members in groups.items():
            results += rows(family, name, np.nan, n, average(members))
        results += detail_rows(family, "mean", np.nan, n, details)
        for severity in sorted({m.severity for m in cells} - {0}):
            members = [i for i, m in enumerate(cells) if m.severity == severity]
            results += rows(family, "mean", severity, n, average(members), brief=True)
    return results
