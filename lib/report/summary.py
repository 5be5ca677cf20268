"""One number with its interval for each cell of a table or point of a figure: the seeds of an encoder put together."""

import numpy as np
import pandas as pd
from scipy import stats

from lib.report.names import MAIN_METRIC
from lib.results import check_results

FEWEST = 10  # people from which on an interval over them says something about others
KEYS = ["method", "dataset", "task", "family", "condition", "severity", "metric"]


def over_seeds(results: pd.DataFrame) -> pd.DataFrame:
    """Mean over seeds: one row per ``KEYS`` with value, ci_low, ci_high, n, subjects, seeds.

    One seed keeps its subject bootstrap interval. With S seeds each side of the interval is
    sqrt(a^2 + t^2): a = mean distance from the value to that end of the bootstrap interval (all seeds are tested on
    the same subjects, so this part does not shrink), t = Student's 97.5% quantile times the standard error over seeds.

    Raises:
        ValueError: ``results`` is empty or does not fit the schema of ``lib.results``.
    """
    tidy = check_results(results)
    if tidy.empty:
        raise ValueError("results: expected at least one row, got an empty table")
    tidy["severity"] = tidy["severity"].fillna(0.0)  # a summary's empty severity, so that it can be looked up
    tidy["below"] = tidy["value"] - tidy["ci_low"]
    tidy["above"] = tidy["ci_high"] - tidy["value"]
    grouped = tidy.groupby(KEYS, sort=False, dropna=False)
    table = grouped.agg(
        value=("value", "mean"),
        below=("below", "mean"),
        above=("above", "mean"),
        sd=("value", "std"),
        seeds=("seed", "nunique"),
        n=("n", "min"),
        subjects=("subjects", "min"),
    ).reset_index()
    count = table["seeds"].to_numpy()
    spread = np.zeros(len(table))
    several = count > 1
    spread[several] = (
        stats.t.ppf(0.975, count[several] - 1) * table.loc[several, "sd"] / np.sqrt(count[several])
    ).to_numpy()
    # One seed's interval is kept as it is: that of a worst case need not contain its value.
    table["ci_low"] = table["value"] - np.where(several, np.hypot(table["below"], spread), table["below"])
    table["ci_high"] = table["value"] + np.where(several, np.hypot(table["above"], spread), table["above"])
    return table.drop(columns=["below", "above", "sd"])


class Scores:
    """Look-ups in results put together over seeds.

    ``Scores(results)(method, dataset, task, family, condition, metric, severity)`` -> (value, low, high), or None where
    nothing was measured. ``metric`` None stands for the task's main metric, severity 0 for rows without one and for
    those over several severities.
    """

    def __init__(self, results: pd.DataFrame):
        self.frame = over_seeds(results)
        rows = self.frame[KEYS + ["value", "ci_low", "ci_high"]].itertuples(index=False)
        self._cells = {tuple(row[: len(KEYS)]): tuple(float(x) for x in row[len(KEYS) :]) for row in rows}

    def __call__(self, method, dataset, task, family, condition, metric=None, severity=0.0):
        metric = metric or MAIN_METRIC[task]
        return self._cells.get((method, dataset, task, family, condition, float(severity), metric))

    def blocks(self) -> list[tuple[str, str]]:
        """The (task, dataset) pairs present, expression first, real faces before rendered ones."""
        pairs = set(zip(self.frame["task"], self.frame["dataset"]))
        tasks = list(MAIN_METRIC)
        return sorted((p for p in pairs if p[0] in tasks), key=lambda p: (tasks.index(p[0]), p[1] == "rendered", p[1]))

    def methods(self, task=None, dataset=None) -> list[str]:
        """Encoders measured (on this task and data set), in no particular order."""
        frame = self.frame
        if task is not None:
            frame = frame[(frame["task"] == task) & (frame["dataset"] == dataset)]
        return list(dict.fromkeys(frame["method"]))

    def conditions(self, task, dataset, family) -> list[str]:
        """Named conditions of a family in the order measured, summaries ('mean', 'worst', ...) left out."""
        frame = self.frame
        rows = frame[(frame["task"] == task) & (frame["dataset"] == dataset) & (frame["family"] == family)]
        return [name for name in dict.fromkeys(rows["condition"]) if not name.startswith(("mean", "worst"))]

    def clean(self, method, dataset, task, family):
        """The clean score on the items of a family.

        Attacks may see only the first ones, whose clean score is the sweep's row with eps 0.
        """
        subset = self(method, dataset, task, "sweep", "pgd") if family == "attack" else None
        return subset or self(method, dataset, task, "clean", "clean")

    def people(self, task, dataset, family="clean") -> int:
        """The least number of subjects behind a main metric of this task and data set; 0 where it was not measured."""
        rows = self._main(task, dataset, family)
        return 0 if rows.empty else int(rows["subjects"].min())

    def facts(self, task, dataset, family) -> str:
        """'n = 300 images of 40 subjects, 1 seed' for a caption, 'low to high' where rows differ; '' without rows."""
        rows = self._main(task, dataset, family)
        if rows.empty:
            return ""
        n, subjects, seeds = (_range(rows[name]) for name in ("n", "subjects", "seeds"))
        unit = "pairs" if task == "verification" else "images"
        return (
            f"n = {n} {unit} of {subjects} subject{'' if subjects == '1' else 's'}, "
            f"{seeds} seed{'' if seeds == '1' else 's'}"
        )

    def all_facts(self, task, dataset) -> str:
        """``facts`` of the clean images, and how many were attacked where these are fewer."""
        clean, attacked = self.facts(task, dataset, "clean"), self.facts(task, dataset, "attack")
        return clean if attacked in ("", clean) else f"{clean}; under attack {attacked.split(' of ')[0]}"

    def _main(self, task, dataset, family) -> pd.DataFrame:
        frame = self.frame
        return frame[
            (frame["task"] == task)
            & (frame["dataset"] == dataset)
            & (frame["metric"] == MAIN_METRIC[task])
            & (frame["family"] == family)
        ]


def _range(values: pd.Series) -> str:
    low, high = int(values.min()), int(values.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
