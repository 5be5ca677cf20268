"""labels.csv of a user's folder: checked against the images line by line, every problem counted and named at once."""

from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from lib.datasets.columns import ALL_EXPRESSIONS, KNOWN_SPLITS, NO_LABEL, Column, column, known_columns
from lib.datasets.errors import DatasetError, named
from lib.datasets.table import LANDMARKS

_UNKNOWN_AU = ("9", "-1")  # how the published action unit sets write 'not coded'


def _read(path: Path) -> pd.DataFrame:
    try:
        cells = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", skipinitialspace=True)
    except (ValueError, OSError) as error:  # pandas' parser errors are ValueErrors
        raise DatasetError(f"{path}: expected a comma-separated table in UTF-8, cannot read it ({error})") from error
    cells.columns = [str(name).strip() for name in cells.columns]
    if "file" not in cells:
        raise DatasetError(f"{path}: expected a column 'file' (path relative to the folder), got"
                           f" {', '.join(cells.columns)}; separate the columns by commas")
    unknown = [name for name in cells.columns if name not in ("file", "landmarks") and column(name) is None]
    if unknown:
        raise DatasetError(f"{path}: {named(unknown, 'unknown columns')}; known are file, {known_columns()}")
    cells = cells.apply(lambda cell: cell.str.strip())
    cells["file"] = [PurePosixPath(file.replace("\\", "/")).as_posix() for file in cells["file"]]
    return cells


def read_labels(path: Path, files: list[str]) -> tuple[pd.DataFrame, np.ndarray | None]:
    """Labels in the order of ``files``.

    An empty cell means 'unknown': NaN in a float column, -1 in an integer one. ``expression`` may be a number or a
    name; ``landmarks`` is 136 numbers separated by spaces, x0 y0 x1 y1 ... in pixels of the upright image; an empty cell
    is 136 NaN.

    Returns:
        (DataFrame with one row a file, without ``file`` and ``landmarks``; landmarks float32 [n,68,2], None where no
        row has any).

    Raises:
        DatasetError: rows without an image, images without a row, repeated rows, cells that are no number or out of
            range: all of them counted, the first five of each kind named.
    """
    cells = _read(path)
    problems = []
    at = {file: row for row, file in enumerate(cells["file"])}
    known = set(files)
    repeated = cells["file"][cells["file"].duplicated()].tolist()
    lacking = [file for file in files if file not in at]
    for items, what in ((repeated, "repeated rows"),
                        ([file for file in at if file not in known], "rows without an image"), (lacking, "images without a row")):
        if items:
            problems.append(named(items, what))
    columns = {}
    for name in cells.columns.drop(["file", "landmarks"], errors="ignore"):
        columns[name], wrong = _parse(name, column(name), cells[name])
        if wrong:
            problems.append(named(wrong, f"wrong cells in {name} ({column(name).meaning})"))
    landmarks = None
    if "landmarks" in cells:
        landmarks, wrong = _parse_landmarks(cells["landmarks"])
        if wrong:
            problems.append(named(wrong, f"wrong cells in landmarks ({2 * LANDMARKS} numbers separated by spaces)"))
    if problems:
        remedy = ". Every image needs one row (leave a cell empty where a label is unknown)" if repeated or lacking else ""
        raise DatasetError(f"{path}: the labels do not match the {len(files)} images: {'; '.join(problems)}{remedy}")
    order = [at[file] for file in files]
    rows = pd.DataFrame(columns, index=cells.index).iloc[order].reset_index(drop=True)
    if landmarks is None or np.isnan(landmarks).all():
        return rows, None
    return rows, landmarks[order]


def _parse(name: str, kind: Column, cells: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Values of one column, and what is wrong as ``line: cell`` (line 1 is the header)."""
    text = cells.to_numpy(dtype=object)
    empty = text == ""
    if kind.kind == "split":
        wrong = ~np.isin(text.astype(str), KNOWN_SPLITS)
        return text, _lines(wrong, text)
    if name == "expression":
        number = {name: str(i) for i, name in enumerate(ALL_EXPRESSIONS)}
        text = np.array([number.get(cell.lower(), cell) for cell in text], object)
    if name.startswith("au_"):
        empty = empty | np.isin(text.astype(str), _UNKNOWN_AU)
    values = pd.to_numeric(pd.Series(text), errors="coerce").to_numpy(np.float64)
    wrong = ~empty & ~((values >= kind.low) & (values <= kind.high) & np.isfinite(values))
    if kind.kind in ("int", "bit"):
        wrong |= ~empty & ~wrong & (values != np.round(values))
    if not kind.may_be_empty:
        wrong |= empty
    if kind.kind == "float":
        return np.where(empty | wrong, np.nan, values).astype(np.float32), _lines(wrong, text)
    return np.where(empty | wrong, NO_LABEL, values).astype(np.int64), _lines(wrong, text)


def _parse_landmarks(cells: pd.Series) -> tuple[np.ndarray, list[str]]:
    points, wrong = np.full((len(cells), 2 * LANDMARKS), np.nan, np.float32), np.zeros(len(cells), bool)
    for row, cell in enumerate(cells):
        if not cell:
            continue  # no face was found: unknown, as in the other columns
        try:
            numbers = np.array(cell.split(), np.float32)
        except ValueError:
            numbers = np.empty(0, np.float32)
        wrong[row] = numbers.shape != (2 * LANDMARKS,) or not np.isfinite(numbers).all()
        if not wrong[row]:
            points[row] = numbers
    return points.reshape(-1, LANDMARKS, 2), _lines(wrong, cells.str.slice(0, 30).to_numpy(dtype=object))


def _lines(wrong: np.ndarray, text: np.ndarray) -> list[str]:
    return [f"line {row + 2}: {text[row]!r}" for row in np.flatnonzero(wrong)]
