"""Three runs, each with another fold tested (prepare.test_folds), put together: the published figure of BP4D and DISFA.

    python -m lib.report.three_folds fold1.csv fold2.csv fold3.csv --out reports/three_folds

writes results.csv and the tables of action units there. The files are the reports/results.csv of the three runs.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lib.report.au_tables import TASK, au_tables
from lib.report.summary import Scores
from lib.report.table_formats import write_tables
from lib.report.tables import attack_table, corruption_table
from lib.results import KEY_COLUMNS, check_results, read_results, write_results

COUNTS = ("support_au_", "hits_au_", "false_alarms_au_")
NEEDED = ("f1", "drop", "relative_drop")
OF_FEW = ("check", "sweep", "strong")  # families measured on few images: where none of them shows a unit there is no F1
SEVERAL = -1.0  # stands for the severity of a row over several


def join_folds(runs: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Results of three runs that tested fold 1, 2 and 3 -> results of action units over all of them.

    A metric is the mean over the folds that have it, counts are sums; F1 of pooled counts is computed from these for clean images,
    and left out for means over conditions, which mean counts do not determine. The folds' people are others, so the interval's
    half-widths go together as the root of their squares, over the number of folds; that of the pooled F1 likewise, around its
    own value. Of the checks, sweeps and strong attacks, which are made on few images, those are left out that some fold has no F1 of.
    'worst' is the condition with the smallest F1 over all folds, which need not be the worst of each.

    Raises:
        ValueError: not one run for each fold, other encoders, seeds or data sets, or a condition that only some runs measured.
    """
    parts = {}
    for number, run in enumerate(runs, 1):
        rows = run[run["task"] == TASK]
        folds = sorted({int(name.removeprefix("f1_fold_")) for name in rows["metric"].unique() if name.startswith("f1_fold_")})
        if len(folds) != 1:
            raise ValueError(f"runs: expected the action units of one test fold in each (prepare.test_folds), run {number} has"
                             f" {', '.join(map(str, folds)) or 'none'}")  # fmt: skip
        if folds[0] in parts:
            raise ValueError(f"runs: expected one run for each fold, fold {folds[0]} is there twice")
        parts[folds[0]] = rows
    if sorted(parts) != [1, 2, 3]:
        raise ValueError(f"runs: expected one run for each of the folds 1, 2, 3, got {', '.join(map(str, sorted(parts)))}")
    keys = list(KEY_COLUMNS)
    wanted = [
        set(map(tuple, part.loc[part["metric"].isin(NEEDED) & ~part["family"].isin(OF_FEW), keys].fillna(SEVERAL).to_numpy()))
        for part in parts.values()
    ]
    apart = set.union(*wanted) - set.intersection(*wanted)
    if apart:
        raise ValueError(f"runs: expected the same encoders, data and conditions in all, {len(apart)} numbers are not in all of them, such"
                         f" as {' '.join(map(str, sorted(apart, key=str)[0]))}")  # fmt: skip
    rows = pd.concat(parts.values(), ignore_index=True)
    rows["severity"] = rows["severity"].fillna(SEVERAL)  # pandas groups by no NaN
    with_f1 = rows["metric"].eq("f1").groupby([rows[name] for name in keys if name != "metric"]).transform("sum")
    rows = rows[~rows["family"].isin(OF_FEW) | (with_f1 == len(parts))]
    rows["below"], rows["above"] = (rows["value"] - rows["ci_low"]) ** 2, (rows["ci_high"] - rows["value"]) ** 2
    grouped = rows.groupby(keys, sort=False)
    joined = grouped.agg(
        value=("value", "mean"), total=("value", "sum"), folds=("value", "size"), below=("below", "sum"), above=("above", "sum"),
        n=("n", "sum"), subjects=("subjects", "sum"),
    ).reset_index()  # fmt: skip
    counts = joined["metric"].str.startswith(COUNTS)
    joined.loc[counts, "value"] = joined.loc[counts, "total"]
    joined = joined[(joined["metric"] != "f1_pooled") | (joined["family"] == "clean")]
    pooled, counts = joined["metric"] == "f1_pooled", counts[joined.index]
    joined.loc[pooled, "value"] = _pooled(joined, joined[pooled])
    over = np.where(counts, 1, joined["folds"])
    joined["ci_low"] = joined["value"] - np.sqrt(joined["below"]) / over
    joined["ci_high"] = joined["value"] + np.sqrt(joined["above"]) / over
    joined = _with_worst(joined)
    joined["severity"] = joined["severity"].replace(SEVERAL, np.nan)
    return check_results(joined)


def _pooled(joined: pd.DataFrame, rows: pd.DataFrame) -> np.ndarray:
    """Macro F1 in percent of the summed counts that belong to the ``rows`` of f1_pooled."""
    where = [name for name in KEY_COLUMNS if name != "metric"]
    parts = joined["metric"].str.extract(r"^(support|hits|false_alarms)_au_(\d+)$")
    counts = joined[where].assign(part=parts[0], unit=parts[1], value=joined["value"]).dropna(subset="part")
    table = counts.pivot_table(index=[*where, "unit"], columns="part", values="value").reset_index()
    table = table[table["support"] > 0]
    table["f1"] = 200 * table["hits"] / (table["support"] + table["hits"] + table["false_alarms"])
    means = table.groupby(where)["f1"].mean().rename("pooled").reset_index()
    return rows[where].merge(means, on=where, how="left")["pooled"].to_numpy()


def _with_worst(joined: pd.DataFrame) -> pd.DataFrame:
    """The rows of 'worst' anew: those of the single measurement of the family that has the smallest F1."""
    old = joined["condition"] == "worst"
    single = joined[(joined["severity"] != SEVERAL) & joined["family"].isin(joined.loc[old, "family"])]
    family = [name for name in KEY_COLUMNS if name not in ("condition", "severity", "metric")]
    f1 = single[single["metric"] == "f1"]
    lowest = f1.loc[f1.groupby(family)["value"].idxmin(), [*family, "condition", "severity"]]
    worst = single[single["metric"].isin(joined.loc[old, "metric"])].merge(lowest)
    return pd.concat([joined[~old], worst.assign(condition="worst", severity=SEVERAL)], ignore_index=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("results", nargs=3, type=Path, help="results.csv of the runs of fold 1, 2 and 3, in any order")
    parser.add_argument("--out", type=Path, default=Path("reports/three_folds"))
    parser.add_argument("--eps", type=float, default=8.0, help="largest change of a pixel by the attacks, in 255ths (probe.eps)")
    given = parser.parse_args(arguments)
    try:
        joined = join_folds([read_results(path) for path in given.results])
    except ValueError as error:
        raise SystemExit(f"error: {error}") from None
    scores = Scores(joined)
    tables = []
    for block in scores.blocks():
        tables += [attack_table(scores, *block, given.eps)] if scores.conditions(*block, "attack") else []
        tables += [corruption_table(scores, *block)] if scores.conditions(*block, "corruption") else []
    write_results(joined, given.out / "results.csv")
    write_tables(tables + au_tables(scores), given.out / "tables")
    for method, value in joined.loc[(joined["family"] == "clean") & (joined["metric"] == "f1"), ["method", "value"]].to_numpy():
        print(f"{method}: F1 {value:.1f}, mean over three folds")
    print(given.out / "tables")


if __name__ == "__main__":
    main()
