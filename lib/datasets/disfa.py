"""DISFA: 27 people, one video each, the intensity of 8 (of 12 coded) action units, from the official label files."""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from lib.datasets.action_units import DISFA_UNITS
from lib.datasets.au_folds import DISFA_PARTS, subject_folds
from lib.datasets.coded_frames import CodedClip, Findings, coded_table, image_folder
from lib.datasets.columns import AU_PRESENT_FROM
from lib.datasets.description import Description
from lib.datasets.errors import DatasetError, named
from lib.datasets.table import FaceTable

LABELS = "ActionUnit_Labels"
IMAGES = ("img_256x256", "img", ".")
FRAMES = {subject: 4844 if subject == "SN010" else 4845 for part in DISFA_PARTS for subject in part}

ABOUT = Description(
    name="disfa",
    title="DISFA, 27 people, one video each, action units coded from 0 to 5 in every frame",
    source="DISFA",
    licence="research only, after a signed agreement with the University of Denver; not redistributed here",
    credit="S. M. Mavadati et al.: DISFA: a spontaneous facial action intensity database, IEEE Transactions on Affective"
           " Computing 4 (2013)",
    where="ask the University of Denver for DISFA; take the frames of the left camera's videos (LeftVideoSN001_comp.avi ...),"
          " detect, align and crop the faces yourself, 256 x 256 pixels as published, and number them from 0",
    tree="ActionUnit_Labels/SN001/SN001_au1.txt ... SN032/SN032_au26.txt    (lines frame,intensity; frames from 1)\n"
         "img/SN001/0.png ... 4844.png                                      (or img_256x256/; image 0 shows frame 1)",
    counts=f"{len(FRAMES)} people, {len(DISFA_UNITS)} label files each (AU {', '.join(map(str, DISFA_UNITS))}),"
           f" {sum(FRAMES.values()):,} frames: 4845 a person, SN010 4844; an AU is present from intensity {AU_PRESENT_FROM} on",
)


def open_set(root: Path, image_size: tuple[int, int] | None = None, complete: bool = True, first_image: int = 0) -> FaceTable:
    """Open the official tree; label files are read, images only named (and one header a clip).

    The files of a person's AUs are matched by their frame column, never by line; a frame that one of them lacks is unknown
    for that AU. ``fold`` is the published fold that tests the person.

    Args:
        image_size: (H, W): read every image as its largest centred box of that shape, resized.
        complete: False works with what is there, and the table's ``notes`` name and count what is missing. Else a missing
            label file, or other than the official number of frames of a person, is an error.
        first_image: the number of the image that shows frame 1; 0 as published, 1 where a tool numbered from 1.

    Raises:
        DatasetError: names the path, what is missing or wrong, and where to get the set.
    """
    if not (root / LABELS).is_dir():
        raise DatasetError(f"{root}: expected the label files in {LABELS}, there is no such folder\n{ABOUT.text()}")
    images, folds, findings = image_folder(root, IMAGES, ABOUT), subject_folds(DISFA_PARTS), Findings()
    there = {path.name for path in (root / LABELS).iterdir() if re.fullmatch(r"SN\d{3}", path.name)}
    missing, clips = [], []
    for subject in sorted(there | set(folds)):
        intensities = {}
        for unit in DISFA_UNITS:
            path = root / LABELS / subject / f"{subject}_au{unit}.txt"
            if path.is_file():
                intensities[unit] = read_intensity(path, findings)
            else:
                missing.append(path.name)
        if intensities:
            columns = pd.DataFrame({unit: intensities.get(unit, pd.Series(dtype=float)) for unit in DISFA_UNITS}).sort_index()
            holes = columns[list(intensities)].isna().sum()
            short = [f"{subject}_au{unit}.txt lacks {count}" for unit, count in holes.items() if count]
            if short:
                findings.gaps.append(named(short, "label files without some of the person's frames"))
            folder = subject if images == "." else f"{images}/{subject}"
            frames = columns.index.to_numpy(np.int64)
            clips.append(CodedClip(subject, folder, frames, columns.to_numpy(np.float32), first_image - 1))
    if missing:
        findings.gaps.append(named(missing, "missing label files"))
    return coded_table(root, ABOUT, clips, DISFA_UNITS, folds, findings, image_size, complete,
                       lambda rows: _wrong_counts(rows, sorted(folds)))  # fmt: skip


def read_intensity(path: Path, findings: Findings) -> pd.Series:
    """One label file -> intensity 0..5 by frame number."""
    try:
        cells = pd.read_csv(path, header=None, dtype=str, keep_default_na=False, skipinitialspace=True)
    except (ValueError, OSError) as error:  # pandas' parser errors are ValueErrors
        raise DatasetError(f"{path}: expected lines 'frame,intensity', cannot read it ({error})") from error
    if cells.shape[1] != 2:
        raise DatasetError(f"{path}: expected lines 'frame,intensity', got {cells.shape[1]} columns")
    frame, level = (pd.to_numeric(cells[column], errors="coerce").to_numpy(np.float64) for column in cells)
    bad = ~(np.isin(level, range(6)) & (frame >= 0) & (frame == np.round(frame)))
    if bad.any():
        lines = [f"line {row + 1}: {cells[0][row]},{cells[1][row]}" for row in np.flatnonzero(bad)]
        findings.wrong.append(named(lines, f"lines of {path.name} that are no frame and intensity 0..5"))
    series = pd.Series(level[~bad], index=frame[~bad].astype(np.int64))
    repeated = series.index[series.index.duplicated()].tolist()
    if repeated:
        findings.wrong.append(named(repeated, f"repeated frames in {path.name}"))
    return series[~series.index.duplicated()]


def _wrong_counts(rows: pd.DataFrame, subjects: list[str]) -> list[str]:
    found = rows["identity"].value_counts()
    differ = [f"{subject} {found.get(number, 0)} for {FRAMES[subject]}" for number, subject in enumerate(subjects)
              if found.get(number, 0) != FRAMES[subject]]  # fmt: skip
    return [named(differ, "people with other than the official number of frames (first_image is right?)")] if differ else []


