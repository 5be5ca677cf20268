"""From coded frames and numbered image files to one table: what the readers of FACS-coded videos share."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from lib.datasets.columns import NO_LABEL
from lib.datasets.description import Description
from lib.datasets.errors import DatasetError, named
from lib.datasets.image_files import SUFFIXES, ImageFiles, image_sizes
from lib.datasets.table import FaceTable


@dataclass(frozen=True)
class CodedClip:
    """One coded video. ``frames`` [n] int64 as its label file numbers them, ``intensity`` [n, K] float32, NaN unknown;
    its images lie in ``folder`` (relative to the data set's), that of frame f having the number f + ``shift``."""

    subject: str
    folder: str
    frames: np.ndarray
    intensity: np.ndarray
    shift: int = 0


@dataclass
class Findings:
    """What is wrong with a data set (always an error), what is missing (an error unless one asks for a part), what else
    is not in the table (said, no error)."""

    wrong: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def check(self, root: Path, about: Description, complete: bool) -> tuple[str, ...]:
        """Raise what is to be raised; return the rest, which the table's ``notes`` says."""
        if self.wrong or (self.gaps and complete):
            parts = self.wrong + (self.gaps + self.notes if complete else [])
            remedy = " To use what is there, open it with complete=False; scores then say what they leave out."
            remedy = "" if self.wrong else remedy
            raise DatasetError(f"{root}: {'; '.join(parts)}.{remedy}\n{about.text()}")
        return tuple(self.gaps + self.notes)


def image_folder(root: Path, names: tuple[str, ...], about: Description) -> str:
    """The first of ``names`` that is a folder below ``root``."""
    for name in names:
        if (root / name).is_dir():
            return name
    raise DatasetError(f"{root}: expected the images in a folder {' or '.join(names)}, there is none\n{about.text()}")


def numbered_images(folder: Path, findings: Findings) -> dict[int, str]:
    """Number -> name of the image files in ``folder`` that are called by a number, zero-padded or not.

    Two files with one number (7.jpg and 0007.jpg) are wrong: nothing says which of them was coded.
    """
    found = {}
    if not folder.is_dir():
        return found
    with os.scandir(folder) as entries:
        for name in sorted(entry.name for entry in entries):
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in SUFFIXES and re.fullmatch("[0-9]+", stem):
                if int(stem) in found:
                    findings.wrong.append(f"{folder}: {found[int(stem)]} and {name} have one number")
                found[int(stem)] = name
    return found


def coded_table(
    root: Path, about: Description, clips: list[CodedClip], units: tuple[int, ...], folds: dict[str, int], findings: Findings,
    image_size: tuple[int, int] | None, complete: bool, check_counts,
) -> FaceTable:  # fmt: skip
    """Match frames and images of all clips, in the given order, and make the table.

    Columns: file, identity (place among the sorted subjects of ``folds``, others behind), clip, frame, fold (-1 for a
    subject that is in none), au_<n>. Only the header of each clip's first image is read here.

    Args:
        check_counts: (rows) -> list of sentences on counts that are not the official ones.
    """
    subjects = sorted(folds) + sorted({clip.subject for clip in clips} - set(folds))
    identity = {subject: number for number, subject in enumerate(subjects)}
    parts, lonely_frames, lonely_images, first = [], [], [], []
    for number, clip in enumerate(clips):
        images = numbered_images(root / clip.folder, findings)
        wanted = (clip.frames + clip.shift).tolist()
        there = np.array([frame in images for frame in wanted], bool)
        lonely_frames += [f"{clip.folder}/{frame}" for frame, found in zip(wanted, there) if not found]
        lonely_images += [f"{clip.folder}/{images[image]}" for image in sorted(set(images) - set(wanted))]
        if not there.any():
            continue
        files = [f"{clip.folder}/{images[frame]}" for frame, found in zip(wanted, there) if found]
        first.append(files[0])
        part = {"file": files, "identity": identity[clip.subject], "clip": number, "frame": clip.frames[there],
                "fold": folds.get(clip.subject, NO_LABEL)}  # fmt: skip
        parts.append(pd.DataFrame(part | {f"au_{unit}": clip.intensity[there, k] for k, unit in enumerate(units)}))
    for items, what in ((lonely_frames, "coded frames without an image"), (lonely_images, "images without a coded frame")):
        if items:
            findings.notes.append(named(items, what))
    outside = [subject for subject in subjects[len(folds) :]]
    if outside:
        findings.notes.append(named(outside, "subjects outside the published folds"))
    if not parts:
        findings.wrong.append("no coded frame has an image")
        findings.wrong += findings.notes
        findings.check(root, about, complete)
    rows = pd.concat(parts, ignore_index=True)
    findings.gaps += check_counts(rows)
    notes = findings.check(root, about, complete)
    sizes = image_sizes(root, first)
    common = tuple(sizes[0].tolist()) if (sizes == sizes[0]).all() else None
    files = rows["file"].tolist()
    return FaceTable(name=about.name, source=about.source, licence=about.licence, credit=about.credit, rows=rows,
                     image_size=image_size or common, reader=ImageFiles(root, files, image_size), notes=notes)  # fmt: skip


def fold_counts(rows: pd.DataFrame, expected: tuple[int, ...]) -> list[str]:
    """What differs from the number of frames that each published fold tests."""
    found = [int((rows["fold"] == fold).sum()) for fold in range(len(expected))]
    if found == list(expected):
        return []
    return [f"expected {', '.join(f'{n:,}' for n in expected)} coded frames with an image in folds 1, 2, 3, got"
            f" {', '.join(f'{n:,}' for n in found)}"]
