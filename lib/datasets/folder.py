"""Any folder of photographs: sub-folders are people, an optional labels.csv says the rest."""

import os
from pathlib import Path

import numpy as np
import pandas as pd

from lib.datasets.columns import NO_LABEL, known_columns
from lib.datasets.description import Description
from lib.datasets.errors import DatasetError, named
from lib.datasets.image_files import SUFFIXES, ImageFiles, check_sides, common_size, fit_landmarks, image_sizes
from lib.datasets.labels import read_labels
from lib.datasets.natural import natural
from lib.datasets.table import FaceTable

LABELS = "labels.csv"
_OTHER_IMAGES = (".gif", ".heic", ".heif", ".tif", ".tiff", ".avif", ".jp2", ".raw", ".dng", ".cr2", ".nef")

ABOUT = Description(
    name="folder",
    title="any folder of photographs",
    source="the folder's name",
    licence="yours",
    credit="yours",
    where="put photographs into data/<name>/ and set the data set's name in params.yaml",
    tree="<person>/<photograph>\n<person>/<clip>/<frame>      (frames of a clip, in the order of their names)\n"
         "<photograph>                  (no sub-folder: every photograph is a person of its own)\n"
         f"{LABELS}                    (optional: a column 'file', and any of {known_columns()})",
    counts=f"at least one image ({', '.join(SUFFIXES)})",
)


def _find(root: Path) -> list[str]:
    """All image files below ``root`` as relative paths with '/', in natural order; links to folders are followed."""
    found, other, seen = [], [], set()
    for folder, below, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            below.clear()  # a link that leads back
            continue
        seen.add(real)
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in files:
            path = (Path(folder) / name).relative_to(root).as_posix()
            suffix = os.path.splitext(name)[1].lower()
            if not name.startswith(".") and suffix in SUFFIXES:
                found.append(path)
            elif not name.startswith(".") and suffix in _OTHER_IMAGES:
                other.append(path)
    if other:
        raise DatasetError(f"{root}: {len(other)} images of a kind that is not read ({', '.join(sorted(other)[:5])}"
                           f"{' ...' if len(other) > 5 else ''}); convert them to {', '.join(SUFFIXES)}"
                           " or take them out")
    return sorted(found, key=lambda path: [natural(part) for part in path.split("/")])


def _rows(files: list[str]) -> pd.DataFrame:
    """Identity, clip and frame from the paths alone."""
    people, clips, frames = {}, {}, {}
    identity, clip, frame = [], [], []
    for file in files:
        parts = file.split("/")
        person = parts[0] if len(parts) > 1 else file
        where = "/".join(parts[:-1]) if len(parts) > 1 else file
        identity.append(people.setdefault(person, len(people)))
        clip.append(clips.setdefault(where if len(parts) > 2 else file, len(clips)))  # a single photograph is no clip
        frame.append(frames.setdefault(where, 0))
        frames[where] += 1
    rows = pd.DataFrame({"file": files, "identity": identity, "frame": frame})
    if any(file.count("/") > 1 for file in files):
        rows.insert(2, "clip", clip)
    return rows


def _with_clips(rows: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Images whose cell in the column clip is empty are of no clip: each gets a number of its own, as single photographs do.

    Else they all would be frames of one clip, whoever is on them. The frames of a clip of which no number is known follow each other
    by their names.
    """
    none = rows["clip"] == NO_LABEL
    rows.loc[none, "clip"] = rows["clip"].max() + 1 + np.arange(none.sum())
    by_clip = rows.groupby("clip")
    nameless = by_clip["frame"].transform("max") == NO_LABEL
    rows.loc[nameless, "frame"] = by_clip.cumcount()[nameless]
    unknown = rows["file"][rows["frame"] == NO_LABEL].tolist()
    if unknown:
        raise DatasetError(f"{path}: {named(unknown, 'images of a clip without a number in the column frame')}, where others of it have"
                           " one; fill these cells, or leave all of the clip empty: its frames then follow each other by their names")
    return rows


def open_set(root: Path, image_size: tuple[int, int] | None = None) -> FaceTable:
    """Open the folder ``root``; only the headers of the images are read.

    ``image_size`` (H, W): read every image as its largest centred box of that shape, resized. Without it images keep
    their own sizes, and the table's ``image_size`` is None when these differ.

    Raises:
        DatasetError: no images, some of a kind or size that is not taken, or labels that do not match; all counted.
    """
    if not root.is_dir():
        raise DatasetError(f"{root}: expected a folder of photographs, there is none\n{ABOUT.text()}")
    files = _find(root)
    if not files:
        raise DatasetError(f"{root}: expected at least one image, found none\n{ABOUT.text()}")
    rows, landmarks = _rows(files), None
    if (root / LABELS).is_file():
        labels, landmarks = read_labels(root / LABELS, files)
        rows = rows.drop(columns=labels.columns, errors="ignore").join(labels)
        if "clip" in rows:
            rows = _with_clips(rows, root / LABELS)
    sizes = image_sizes(root, files)
    notes = check_sides(root, files, sizes)
    if image_size is not None and landmarks is not None:
        landmarks = fit_landmarks(landmarks, sizes, image_size)
    return FaceTable(name=root.name, source=root.name, licence=ABOUT.licence, credit=ABOUT.credit,
                     image_size=image_size or common_size(sizes), rows=rows, reader=ImageFiles(root, files, image_size), notes=notes,
                     landmarks=None if landmarks is None else np.ascontiguousarray(landmarks, np.float32))
