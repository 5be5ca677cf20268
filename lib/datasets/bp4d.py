"""BP4D-Spontaneous: 41 people x 8 tasks, 12 action units coded as present or absent, from the official label files."""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from lib.datasets.action_units import BP4D_UNITS
from lib.datasets.au_folds import BP4D_PARTS, BP4D_TEST_FRAMES, subject_folds
from lib.datasets.coded_frames import CodedClip, Findings, coded_table, fold_counts, image_folder
from lib.datasets.columns import AU_PRESENT_FROM
from lib.datasets.description import Description
from lib.datasets.errors import DatasetError, named
from lib.datasets.table import FaceTable

TASKS = tuple(f"T{number}" for number in range(1, 9))
LABELS = ("AUCoding/AU_OCC", "AU_OCC")
IMAGES = ("img_256x256", "img", "2D", ".")
UNKNOWN = 9

ABOUT = Description(
    name="bp4d",
    title="BP4D-Spontaneous, 41 people x 8 tasks, 12 action units coded in every frame",
    source="BP4D",
    licence="research only, after a signed agreement with Binghamton University; not redistributed here",
    credit="X. Zhang et al.: BP4D-Spontaneous: a high-resolution spontaneous 3D dynamic facial expression database, Image and"
           " Vision Computing 32 (2014)",
    where="ask Binghamton University for BP4D-Spontaneous (its 3D facial expression databases page); detect, align and crop"
          " the faces of the 2D video frames yourself, 256 x 256 pixels as published, and keep the frames' numbers",
    tree="AUCoding/AU_OCC/F001_T1.csv ... M018_T8.csv    (a header; column 1 the frame's number, the others named by the AU)\n"
         "img/F001/T1/643.jpg ...                        (or img_256x256/; the number zero-padded or not; .jpg or .png)",
    counts=f"{len(TASKS)} label files of each of 41 people, {sum(BP4D_TEST_FRAMES):,} coded frames; an AU is 1, 0 or 9 (unknown)",
)


def open_set(root: Path, image_size: tuple[int, int] | None = None, complete: bool = True) -> FaceTable:
    """Open the official tree; label files are read, images only named (and one header a clip).

    An AU that is present has intensity 2 in its column ``au_<n>``, the least that counts as present, an absent one 0, an
    unknown one NaN: the occurrence files know no strength. ``fold`` is the published fold that tests the person.

    Args:
        image_size: (H, W): read every image as its largest centred box of that shape, resized.
        complete: False works with what is there, and the table's ``notes`` name and count what is missing. Else a missing
            label file or AU column, or other than the published numbers of frames, is an error.

    Raises:
        DatasetError: names the path, what is missing or wrong, and where to get the set.
    """
    labels = next((root / name for name in LABELS if (root / name).is_dir()), None)
    if labels is None:
        raise DatasetError(f"{root}: expected the label files in {' or '.join(LABELS)}, there is no such folder\n{ABOUT.text()}")
    images, folds, findings = image_folder(root, IMAGES, ABOUT), subject_folds(BP4D_PARTS), Findings()
    matches = {path.name: re.fullmatch(r"([FM]\d{3})_(T\d)\.csv", path.name) for path in labels.glob("*.csv")}
    odd = sorted(name for name, match in matches.items() if not match)
    if odd:
        findings.notes.append(named(odd, "files not called <person>_<task>.csv"))
    known = sorted((match[1], match[2]) for match in matches.values() if match)
    missing = sorted({(subject, task) for subject in folds for task in TASKS} - set(known))
    if missing:
        findings.gaps.append(named([f"{subject}_{task}.csv" for subject, task in missing], "missing label files"))
    clips = []
    for subject, task in known:
        frames, occurrence = read_occurrence(labels / f"{subject}_{task}.csv", findings)
        intensity = np.where(occurrence == UNKNOWN, np.nan, occurrence * AU_PRESENT_FROM).astype(np.float32)
        folder = f"{subject}/{task}" if images == "." else f"{images}/{subject}/{task}"
        clips.append(CodedClip(subject, folder, frames, intensity))
    return coded_table(root, ABOUT, clips, BP4D_UNITS, folds, findings, image_size, complete,
                       lambda rows: fold_counts(rows, BP4D_TEST_FRAMES))  # fmt: skip


def read_occurrence(path: Path, findings: Findings) -> tuple[np.ndarray, np.ndarray]:
    """One AU_OCC file -> frame numbers [n] int64 and codes [n, 12] (0, 1 or 9) of the 12 AUs.

    A column that is missing is a gap, and unknown (9) in every frame.
    """
    try:
        names = pd.read_csv(path, nrows=0).columns
    except (ValueError, OSError) as error:  # pandas' parser errors are ValueErrors
        raise DatasetError(f"{path}: expected a comma-separated table with a header, cannot read it ({error})") from error
    at = {str(name).strip(): number for number, name in reversed(list(enumerate(names))[1:])}
    missing = [unit for unit in BP4D_UNITS if str(unit) not in at]
    if missing:
        findings.gaps.append(named(missing, f"AU columns missing in {path.name}", shown=12))
    chosen = [0, *(at[str(unit)] for unit in BP4D_UNITS if str(unit) in at)]
    cells = _numbers(path, chosen)
    frames, codes = cells[:, 0], cells[:, 1:]
    bad = ~(np.isin(codes, (0, 1, UNKNOWN)).all(1) & (frames >= 0) & (frames == np.round(frames)))
    if bad.any():
        lines = [f"line {row + 2}" for row in np.flatnonzero(bad)]
        findings.wrong.append(named(lines, f"lines of {path.name} without a frame number and codes 0, 1 or {UNKNOWN}"))
    frames = np.where(bad, -1, frames).astype(np.int64)
    repeated = pd.Series(frames[~bad])[lambda f: f.duplicated()].tolist()
    if repeated:
        findings.wrong.append(named(repeated, f"repeated frames in {path.name}"))
    out = np.full((len(cells), len(BP4D_UNITS)), UNKNOWN, np.int8)
    out[:, [k for k, unit in enumerate(BP4D_UNITS) if str(unit) in at]] = np.where(bad[:, None], UNKNOWN, codes)
    return frames, out


def _numbers(path: Path, columns: list[int]) -> np.ndarray:
    """The columns, in this order, as float64; what is no number is NaN."""
    order = np.argsort(np.argsort(columns))  # pandas returns them in the file's order
    try:
        return pd.read_csv(path, usecols=columns, dtype=np.int32).to_numpy(np.float64)[:, order]
    except (ValueError, OverflowError):  # an empty or odd cell: slower, to find out which
        cells = pd.read_csv(path, usecols=columns, dtype=str, keep_default_na=False)
        return cells.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)[:, order]
