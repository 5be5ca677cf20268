"""FER+: the faces of FER2013 with the votes of ten people each, and the majority rule of its authors."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd

from lib.datasets.columns import ALL_EXPRESSIONS, CONTEMPT
from lib.datasets.completeness import expect_counts
from lib.datasets.description import Description
from lib.datasets.errors import DatasetError, named
from lib.datasets.fer2013 import CONVENTIONS, CSV, SIDE, GreyArray, read_csv
from lib.datasets.fer2013 import COUNTS as FER_COUNTS
from lib.datasets.table import FaceTable

VOTES = "fer2013new.csv"
PARTS = {"FER2013Train": "Training", "FER2013Valid": "PublicTest", "FER2013Test": "PrivateTest"}
CODES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF")
CLASSES = 8  # the first eight of CODES are expressions
LINES = {"Training": 28558, "PublicTest": 3579, "PrivateTest": 3573}  # of the three label.csv
MAJORITY = {  # images that the majority rule keeps, by label source: the published counts are those of label.csv
    "label": {"Training": 25045, "PublicTest": 3191, "PrivateTest": 3137},
    "fer2013new": {"Training": 25060, "PublicTest": 3199, "PrivateTest": 3153},
}

ABOUT = Description(
    name="ferplus",
    title="FER+: FER2013 with new labels, ten votes an image",
    source="FER+",
    licence="labels MIT (Microsoft); the images are FER2013's, under its terms",
    credit="E. Barsoum, C. Zhang, C. Canton Ferrer, Z. Zhang: Training Deep Networks for Facial Expression Recognition with"
           " Crowd-Sourced Label Distribution, ICMI 2016",
    where=f"labels: https://github.com/microsoft/FERPlus ({VOTES} and the folder data); images: {CSV} as for fer2013;"
          " all into data/ferplus",
    tree=f"{CSV}                     (of FER2013)\n{VOTES}                  (Usage, Image name, ten vote columns)\n"
         "data/FER2013Train/label.csv     (or Labels/...; no header: image name, box, ten votes)\n"
         "data/FER2013Valid/label.csv\ndata/FER2013Test/label.csv",
    counts="kept by the majority rule: train 25,045; validation 3,191; test 3,137 images, from "
           + ", ".join(f"{name} {count:,}" for name, count in LINES.items()) + " lines of label.csv",
)


def majority(votes: np.ndarray) -> np.ndarray:
    """The authors' majority rule: votes [N,10] in the order of ``CODES`` -> class [N] int64, -1 where there is none.

    Single votes are outliers and count as none; the class with the most votes must then have more than half of those
    that are left, and be one of the eight expressions, not 'unknown' or 'NF' (no face). Of label.csv this keeps
    25,045 / 3,191 / 3,137 images of train / validation / test, the published counts.
    """
    votes = np.asarray(votes)
    if votes.ndim != 2 or votes.shape[1] != len(CODES) or votes.dtype.kind not in "iu":
        raise ValueError(f"votes: expected integers [N,{len(CODES)}], got {votes.dtype} {list(votes.shape)}")
    kept = np.where(votes > 1, votes, 0)
    best = kept.argmax(1) if len(kept) else np.zeros(0, np.int64)
    clear = 2 * kept.max(1, initial=0) > kept.sum(1)
    return np.where(clear & (best < CLASSES), best, -1)


def open_set(root: Path, image_size: tuple[int, int] | None = None, labels: str = "label", classes: int = 8,
             complete: bool = True) -> FaceTable:
    """Open the set: the images that the majority rule keeps; how many it leaves out is in the table's notes.

    PublicTest is validation (split probe_val), PrivateTest is test (probe_test). Who is on an image is not known: every
    image counts as a person of its own.

    Args:
        labels: 'label' reads the three label.csv, which the published counts belong to; 'fer2013new' the votes of
            fer2013new.csv, which differ in 1,602 images and give 25,060 / 3,199 / 3,153.
        classes: 8, or 7 without contempt.
        complete: the official counts are required; False opens a part of the set.
    Raises:
        DatasetError: missing files, files of different releases, votes that are no numbers.
        ValueError: an unknown option.
    """
    if labels not in MAJORITY:
        raise ValueError(f"labels: expected one of {', '.join(MAJORITY)}, got {labels!r}")
    if classes not in (7, 8):
        raise ValueError(f"classes: expected 7 or 8, got {classes!r}")
    pixels, _, usage = read_csv(root, ABOUT)
    row, votes, same = read_votes(root, labels, complete)
    _expect_same_usage(root, usage, same)
    label = majority(votes)
    kept = label >= 0
    counts = pd.Series(usage[row[kept]]).value_counts().to_dict()
    if complete:
        expect_counts(root, counts, MAJORITY[labels], ABOUT)
    notes = [f"{(~kept).sum():,} of {len(label):,} images left out: no majority, unknown or no face"]
    if len(label) < len(usage):
        notes.insert(0, f"{len(usage) - len(label):,} of {len(usage):,} rows of {CSV} left out: no label.csv names them")
    expression = np.array([ALL_EXPRESSIONS.index(name) for name in CODES[:CLASSES]])[label]
    if classes == 7:
        contempt = kept & (expression == CONTEMPT)
        kept &= ~contempt
        notes.append(f"{contempt.sum():,} images of contempt left out (classes=7)")
    row, expression = row[kept], expression[kept]
    rows = pd.DataFrame({"identity": row, "split": pd.Series(usage[row]).map(CONVENTIONS["kaggle"]),
                         "expression": expression})
    return FaceTable(name=ABOUT.name, source=ABOUT.source, licence=ABOUT.licence, credit=ABOUT.credit,
                     image_size=image_size or (SIDE, SIDE), rows=rows, reader=GreyArray(pixels[row], image_size),
                     notes=notes)


def read_votes(root: Path, labels: str = "label", complete: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The official label files -> (row of fer2013.csv [N] ascending, votes [N,10], Usage of all rows of fer2013.csv).

    fer2013new.csv goes row by row with fer2013.csv. A line of label.csv says an image's name, which is *not* the row's
    number (in spite of the official README; images without a face have no name): fer2013new.csv tells the row.
    """
    table = _read_new(root / VOTES)
    if complete:
        expect_counts(root / VOTES, table["Usage"].value_counts().to_dict(), FER_COUNTS, ABOUT)
    usage_of = table["Usage"].to_numpy(dtype=object)
    if labels == "fer2013new":
        return np.arange(len(table)), table[list(CODES)].to_numpy(), usage_of
    row_of = _rows_by_name(table)
    rows, votes, lines, problems = [], [], {}, []
    for part, usage in PARTS.items():
        path = next((root / top / part / "label.csv" for top in ("data", "Labels") if (root / top / part / "label.csv")
                     .is_file()), None)
        if path is None:
            raise DatasetError(f"{root / 'data' / part / 'label.csv'}: expected FER+'s label file, it is missing\n"
                               f"{ABOUT.text()}")
        names, counts = _read_label(path)
        lines[usage] = len(names)
        unknown = [name for name in names if name not in row_of]
        elsewhere = [name for name in names if name in row_of and usage_of[row_of[name]] != usage]
        problems += [f"{path}: {named(items, what)}" for items, what in
                     ((unknown, f"images that {VOTES} does not know"), (elsewhere, f"images that are not in {usage}"))
                     if items]
        rows += [row_of.get(name, -1) for name in names]
        votes.append(counts)
    if problems:
        raise DatasetError("; ".join(problems) + "; the label files must be of one release: get them again")
    if complete:
        expect_counts(root / "data/*/label.csv", lines, LINES, ABOUT)
    order = np.argsort(rows, kind="stable")
    return np.asarray(rows, np.int64)[order], np.concatenate(votes)[order], usage_of


def _read_new(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise DatasetError(f"{path}: expected FER+'s votes, the file is missing\n{ABOUT.text()}")
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    expected = ["Usage", "Image name", *CODES]
    if table.columns.tolist() != expected:
        raise DatasetError(f"{path}: expected the columns {', '.join(expected)}, got {', '.join(table.columns)}; get"
                           " the official file again")
    odd = table["Image name"][~table["Image name"].str.fullmatch(r"(fer\d{7}\.png)?")].tolist()
    if odd:
        raise DatasetError(f"{path}: {named(odd, 'image names that are not fer<7 digits>.png')}; get the official file again")
    return table.drop(columns=list(CODES)).join(_numbers(table[list(CODES)], path, 2))


def _read_label(path: Path) -> tuple[list[str], np.ndarray]:
    with open(path, newline="", encoding="utf-8-sig") as file:
        lines = [line for line in csv.reader(file) if line]
    wrong = [f"line {number}: {len(line)} fields" for number, line in enumerate(lines, 1) if len(line) != 2 + len(CODES)]
    if wrong:
        raise DatasetError(f"{path}: expected an image name, a box and {len(CODES)} votes in each line, got"
                           f" {named(wrong, 'other lines')}; get the official file again")
    table = pd.DataFrame(lines, columns=["Image name", "box", *CODES])
    # The box is the face in the image; it is the whole image in all 35,710 lines of the release.
    cropped = table["Image name"][table["box"] != f"(0, 0, {SIDE}, {SIDE})"].tolist()
    repeated = table["Image name"][table["Image name"].duplicated()].tolist()
    problems = [named(items, what) for items, what in
                ((cropped, f"boxes that are not (0, 0, {SIDE}, {SIDE})"), (repeated, "repeated images")) if items]
    if problems:
        raise DatasetError(f"{path}: {'; '.join(problems)}; get the official file again")
    return table["Image name"].tolist(), _numbers(table[list(CODES)], path, 1).to_numpy()


def _numbers(cells: pd.DataFrame, path: Path, first_line: int) -> pd.DataFrame:
    wrong = ~cells.apply(lambda cell: cell.str.fullmatch(r"\s*\d+\s*")).all(axis=1)
    if wrong.any():
        lines = (np.flatnonzero(wrong) + first_line).tolist()
        raise DatasetError(f"{path}: {named(lines, 'lines with votes that are no counts')}; get the official file again")
    return cells.astype(np.int64)


def _rows_by_name(table: pd.DataFrame) -> dict[str, int]:
    """Image name -> row. Names ascend with the rows, but four of the release stand at a second, stray row as well."""
    rows = {}
    nameless = int((table["Image name"] == "").sum())
    for row, name in enumerate(table["Image name"]):
        # A row's number minus its name's is at most the number of nameless rows before it; a stray's is not.
        if name and (name not in rows or 0 <= row - int(name[3:10]) <= nameless):
            rows[name] = row
    return rows


def _expect_same_usage(root: Path, usage: np.ndarray, expected: np.ndarray) -> None:
    """fer2013.csv and fer2013new.csv go row by row: their column Usage must be the same."""
    if len(usage) != len(expected):
        raise DatasetError(f"{root / VOTES}: expected a row for each of the {len(usage):,} rows of {CSV}, got"
                           f" {len(expected):,}; the two files must be of one release")
    other = (np.flatnonzero(usage != expected) + 2).tolist()
    if other:
        raise DatasetError(f"{root / VOTES}: {named(other, f'lines whose Usage differs from that of {CSV}')}; the two files"
                           " must be of one release")
