"""The tidy results file: one row a number, the only thing that tables and figures read."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd

from lib.files import write_aside

FAMILIES = ("clean", "corruption", "attack", "sweep", "check", "strong")
DIGITS = 4  # of value and interval, in percent or points: far below any interval, far above float noise


@dataclass(frozen=True)
class Result:
    """One number.

    Attributes:
        method, seed: whose encoder.
        dataset, source: table name and what its images are ('rendered', 'ORL'); source is printed beside the number.
        task: 'expression', 'verification', 'action_units', 'valence_arousal', or one of these and '_knn' or '_finetuned'.
        family: one of ``FAMILIES``: 'sweep' is pgd over eps, 'check' the tests for masked gradients, 'strong' the attacks of
            lib.strong_attacks.
        condition: 'clean', the name of a corruption or attack, or 'mean', 'worst', 'mean_seen', 'mean_unseen'.
        severity: 1..5 of a corruption or of the mean over all of them, eps * 255 of a sweep, 0 elsewhere; NaN (an empty
            cell) where the row sums up several severities.
        metric: main metric of the task ('accuracy', 'f1', 'ccc') in percent, 'drop' = clean - value in points,
            'relative_drop' = drop in percent of clean, and the task's further metrics (percent too, but 'rmse_...', which is in
            units of the label, and 'support_...', 'hits_...', 'false_alarms_...', which count images). 'knn_...', 'last_...',
            'best_on_test_...': the same metric by another reader of the clean images.
        value, ci_low, ci_high: the number and its 95% interval over subjects.
        n, subjects: test items (images or pairs) and the persons they show.
    """

    method: str
    seed: int
    dataset: str
    source: str
    task: str
    family: str
    condition: str
    severity: float
    metric: str
    value: float
    n: int
    subjects: int
    ci_low: float
    ci_high: float


RESULT_COLUMNS = tuple(field.name for field in fields(Result))
KEY_COLUMNS = ("method", "seed", "dataset", "source", "task", "family", "condition", "severity", "metric")
TEXT_COLUMNS = tuple(field.name for field in fields(Result) if field.type is str)
WHOLE_COLUMNS = ("seed", "n", "subjects")
NUMBER_COLUMNS = ("value", "ci_low", "ci_high")


def results_frame(results: Sequence[Result]) -> pd.DataFrame:
    """A checked DataFrame with ``RESULT_COLUMNS``, rounded as it is written, in the order given."""
    return check_results(pd.DataFrame([asdict(r) for r in results], columns=list(RESULT_COLUMNS)))


def check_results(frame: pd.DataFrame, where: str = "results") -> pd.DataFrame:
    """A copy with ``RESULT_COLUMNS`` of the right types, rounded to ``DIGITS``.

    Raises:
        ValueError: names ``where`` and the missing columns, the unknown family, the number that is not one, the row
            that is there twice.
    """
    missing = [name for name in RESULT_COLUMNS if name not in frame.columns]
    if missing:
        raise ValueError(
            f"{where}: results need the columns {', '.join(RESULT_COLUMNS)}; missing: {', '.join(missing)}"
        )
    tidy = frame[list(RESULT_COLUMNS)].reset_index(drop=True)
    for names, kind in ((TEXT_COLUMNS, str), (WHOLE_COLUMNS, np.int64), (("severity", *NUMBER_COLUMNS), np.float64)):
        for name in names:
            try:
                tidy[name] = tidy[name].astype(kind)
            except (TypeError, ValueError) as error:
                raise ValueError(f"{where}: column {name} must hold {kind.__name__} values ({error})") from None
    unknown = sorted(set(tidy["family"]) - set(FAMILIES))
    if unknown:
        raise ValueError(f"{where}: family must be one of {', '.join(FAMILIES)}, got {', '.join(unknown)}")
    for name in NUMBER_COLUMNS:
        bad = ~np.isfinite(tidy[name])
        if bad.any():
            raise ValueError(f"{where}: {name} must be finite, got {_row(tidy[bad])}")
    tidy[list(NUMBER_COLUMNS)] = tidy[list(NUMBER_COLUMNS)].round(DIGITS) + 0.0  # no -0.0
    twice = tidy.duplicated(list(KEY_COLUMNS))
    if twice.any():
        raise ValueError(f"{where}: each number must be there once, got two of {_row(tidy[twice])}")
    return tidy


def write_results(frame: pd.DataFrame, path: str | os.PathLike) -> Path:
    """Write a CSV file whose bytes depend on the numbers alone: rounded, sorted by encoder, data set and task.

    Within one encoder and task the rows keep their order, which is that of the conditions. Nothing half-written is
    ever seen under ``path``.
    """
    tidy = check_results(frame).sort_values(["method", "seed", "dataset", "task"], kind="stable")
    tidy["severity"] = [("" if np.isnan(s) else f"{s:g}") for s in tidy["severity"]]
    for name in NUMBER_COLUMNS:
        tidy[name] = [f"{v:.{DIGITS}f}" for v in tidy[name]]
    with write_aside(path) as aside:
        tidy.to_csv(aside, index=False, lineterminator="\n")
    return Path(path)


def read_results(*paths: str | os.PathLike) -> pd.DataFrame:
    """One checked DataFrame from one or several results files; ``ValueError`` names the file that is not one."""
    if not paths:
        raise ValueError("paths: expected at least one results file, got none")
    frames = []
    for path in paths:
        try:
            frame = pd.read_csv(path, keep_default_na=False, na_values={"severity": [""]})
        except FileNotFoundError:
            raise ValueError(f"{path}: there is no such results file: run the probe stage that writes it") from None
        except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: not a readable CSV file ({error})") from None
        frames.append(check_results(frame, str(path)))
    return check_results(pd.concat(frames, ignore_index=True), ", ".join(map(str, paths)))


def family_groups(conditions: Sequence[str], seen: Sequence[str] | None = None) -> dict[str, list[int]]:
    """Which measurements each summary row averages.

    ``conditions`` names the condition of each measurement (a corruption stands there once a severity). -> positions
    by summary: 'mean' of all and, with ``seen`` given, 'mean_seen' and 'mean_unseen' of the conditions that training
    did / did not use. An empty group is left out.
    """
    groups = {"mean": list(range(len(conditions)))}
    if seen is not None:
        groups["mean_seen"] = [i for i, name in enumerate(conditions) if name in seen]
        groups["mean_unseen"] = [i for i, name in enumerate(conditions) if name not in seen]
    return {name: members for name, members in groups.items() if members}


def _row(rows: pd.DataFrame) -> str:
    return ", ".join(f"{k} {v}" for k, v in rows.iloc[0][list(KEY_COLUMNS)].items())
