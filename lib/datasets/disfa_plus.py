"""DISFA+: 9 people of DISFA pose facial actions in short trials, the intensity of 12 action units in every frame.

Reference:
    No description of the files came with the paper; the layout is that which py-feat and other readers in public agree on.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from lib.datasets.au_folds import DISFA_PARTS, subject_folds
from lib.datasets.coded_frames import CodedClip, Findings, coded_table, image_folder
from lib.datasets.description import Description
from lib.datasets.errors import DatasetError, named
from lib.datasets.table import FaceTable

LABELS = "Labels"
IMAGES = ("img_256x256", "img", "Aligned", "Images")
SUBJECTS = ("SN001", "SN003", "SN004", "SN007", "SN009", "SN010", "SN013", "SN025", "SN027")
UNITS = (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)

ABOUT = Description(
    name="disfa_plus",
    title="DISFA+, 9 people pose facial actions in short trials, 12 action units coded from 0 to 5 in every frame",
    source="DISFA+",
    licence="research only, after a signed agreement with the University of Denver; not redistributed here",
    credit="M. Mavadati, P. Sanger, M. H. Mahoor: Extended DISFA dataset: investigating posed and spontaneous facial expressions, CVPR"
           " workshops 2016",
    where="ask the University of Denver for DISFA+; the images come with it, faces that you crop go into img/ in the same tree",
    tree="Labels/SN001/<trial>/AU1.txt ... AU26.txt    (lines 000.jpg 0: image and intensity; other lines above them are heads)\n"
         "Images/SN001/<trial>/000.jpg ...             (or img_256x256/, img/, Aligned/)",
    counts=f"{len(SUBJECTS)} people, all of them in DISFA too, {len(UNITS)} label files each trial (AU {', '.join(map(str, UNITS))});"
           " how many frames there are is nowhere stated, so it is not checked",
)  # fmt: skip


def open_set(root: Path, image_size: tuple[int, int] | None = None, complete: bool = True) -> FaceTable:
    """Open the official tree; label files are read, images only named (and one header a clip).

    A trial is a clip. ``fold`` is the fold of DISFA that tests the person there, because these are people of DISFA: whoever
    learns from the one must not be tested by the other as unseen. No folds of DISFA+ itself are published.

    Args:
        image_size: (H, W): read every image as its largest centred box of that shape, resized.
        complete: False works with what is there, and the table's ``notes`` name and count what is missing. Else a missing person
            or label file is an error.

    Raises:
        DatasetError: names the path, what is missing or wrong, and where to get the set.
    """
    labels = root / LABELS
    if not labels.is_dir():
        raise DatasetError(f"{root}: expected the label files in {LABELS}, there is no such folder\n{ABOUT.text()}")
    images, findings = image_folder(root, IMAGES, ABOUT), Findings()
    folds = {subject: fold for subject, fold in subject_folds(DISFA_PARTS).items() if subject in SUBJECTS}
    there = {path.name for path in labels.iterdir() if re.fullmatch(r"SN\d{3}", path.name)}
    absent, missing, short, clips = sorted(set(SUBJECTS) - there), [], [], []
    if absent:
        findings.gaps.append(named(absent, "people without label files"))
    for subject in sorted(there):
        for trial in sorted(path.name for path in (labels / subject).iterdir() if path.is_dir()):
            levels, clip = {}, f"{subject}/{trial}"
            for unit in UNITS:
                path = labels / subject / trial / f"AU{unit}.txt"
                if path.is_file():
                    levels[unit] = read_trial(path, findings)
                else:
                    missing.append(f"{clip}/{path.name}")
            if levels:
                columns = pd.DataFrame({unit: levels.get(unit, pd.Series(dtype=float)) for unit in UNITS}).sort_index()
                holes = columns[list(levels)].isna().sum()
                short += [f"{clip}/AU{unit}.txt lacks {count}" for unit, count in holes.items() if count]
                frames = columns.index.to_numpy(np.int64)
                clips.append(CodedClip(subject, f"{images}/{clip}", frames, columns.to_numpy(np.float32)))
    if short:
        findings.gaps.append(named(short, "label files without some of the trial's frames"))
    if missing:
        findings.gaps.append(named(missing, "missing label files"))
    return coded_table(root, ABOUT, clips, UNITS, folds, findings, image_size, complete, lambda rows: [])


def read_trial(path: Path, findings: Findings) -> pd.Series:
    """One label file -> intensity 0..5 by frame number; lines before the first one that begins with a number are heads."""
    lines = path.read_text(errors="replace").splitlines()
    first = next((number for number, line in enumerate(lines) if re.match(r"\s*\d", line)), len(lines))
    found, wrong, repeated = {}, [], []
    for number, line in enumerate(lines[first:], first + 1):
        match = re.fullmatch(r"\s*(\d+)\.\w+[\s,]+([0-5])\s*", line)
        if not match:
            wrong += [f"line {number}: {line.strip()}"] if line.strip() else []
            continue
        frame = int(match[1])
        repeated += [frame] if frame in found else []
        found.setdefault(frame, float(match[2]))
    where = f"{path.parent.parent.name}/{path.parent.name}/{path.name}"
    if wrong or not found:
        findings.wrong.append(named(wrong or ["none"], f"lines of {where} that are no image and intensity 0..5"))
    if repeated:
        findings.wrong.append(named(repeated, f"repeated frames in {where}"))
    return pd.Series(found, dtype=float)
