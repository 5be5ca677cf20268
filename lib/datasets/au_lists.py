"""The list files of ME-GraphAU: for each of three folds, which images train and test, and their action units.

Reference:
    The tools and lists of ME-GraphAU and AUNCE. The lists of images are published whole, those of the labels as stubs of 5
    lines: who has the labels makes them. Scores depend on these lists, so whoever has them can use them here as they are.
"""

from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from lib.datasets.action_units import BP4D_UNITS, DISFA_UNITS
from lib.datasets.coded_frames import Findings, image_folder
from lib.datasets.columns import AU_PRESENT_FROM
from lib.datasets.description import Description
from lib.datasets.errors import DatasetError, named
from lib.datasets.image_files import ImageFiles, image_sizes
from lib.datasets.table import FaceTable

LISTS, IMAGES = ("list", "list_256x256"), ("img", "img_256x256", ".")
FOLDS = (1, 2, 3)
WEIGHT_TOLERANCE = 0.01
UNKNOWN = 9  # BP4D's code of an AU that was not coded; lists that were made of its files can have it

ABOUT = Description(
    name="au_lists",
    title="a set of faces with action units in the list files of ME-GraphAU (BP4D, DISFA, or one's own)",
    source="the name of the lists",
    licence="that of the images and labels",
    credit="C. Luo et al.: Learning multi-dimensional edge feature-based AU relation graph for facial action unit recognition,"
           " IJCAI 2022 (the format)",
    where="the images and labels from the set's owners (see bp4d and disfa); the lists from the repositories of ME-GraphAU or"
          " AUNCE, whose label lists are stubs: write them from the official labels",
    tree="list/BP4D_train_img_path_fold1.txt, list/BP4D_test_img_path_fold1.txt ... fold3    (one image a line)\n"
         "list/BP4D_train_label_fold1.txt, list/BP4D_test_label_fold1.txt ... fold3          (0, 1 or 9: unknown; one column an AU)\n"
         "list/BP4D_weight_fold1.txt ... fold3                                               (optional; a line of weights)\n"
         "img/F001/T1/643.jpg ...                                                            (what the lists name)",
    counts="three folds; an image is tested by one fold, and the person on it is trained on only by the others",
)


def open_set(
    root: Path, image_size: tuple[int, int] | None = None, complete: bool = True, units: tuple[int, ...] | None = None
) -> FaceTable:
    """Open the lists below ``root``: one row an image, ``fold`` 0..2 the fold that tests it.

    The person is the first folder of an image's path, the clip all of its folders, the frame the number it is called.

    Args:
        image_size: (H, W): read every image as its largest centred box of that shape, resized.
        complete: False leaves out listed images that do not exist, and says so in ``notes``, instead of refusing.
        units: numbers of the AUs in the order of the columns; None knows 12 columns as BP4D's and 8 as DISFA's.

    Raises:
        DatasetError: names the list, what is wrong in it, and where to get it.
    """
    lists = next((root / name for name in LISTS if (root / name).is_dir()), root / LISTS[0])
    prefixes = sorted(path.name.removesuffix("_test_img_path_fold1.txt") for path in lists.glob("*_test_img_path_fold1.txt"))
    if len(prefixes) != 1:
        raise DatasetError(f"{lists}: expected one set of lists, <name>_test_img_path_fold1.txt, got"
                           f" {', '.join(prefixes) or 'none'}\n{ABOUT.text()}")  # fmt: skip
    (prefix,) = prefixes
    parts = {(side, fold): _read_pair(lists, prefix, side, fold) for fold in FOLDS for side in ("train", "test")}
    findings = Findings()
    _check_folds(parts, findings)
    rows = pd.concat([parts["test", fold].assign(fold=fold - 1) for fold in FOLDS], ignore_index=True)
    labels = np.stack(rows.pop("labels").tolist())
    units = _units(labels.shape[1], units, lists)
    for fold in FOLDS:
        _check_weights(lists, prefix, fold, np.stack(parts["train", fold]["labels"].tolist()), findings)
    folder = image_folder(root, IMAGES, ABOUT)
    if folder != ".":
        rows["file"] = [f"{folder}/{file}" for file in rows["file"]]
    there = np.array([(root / file).is_file() for file in rows["file"]])
    if not there.all():
        findings.gaps.append(named(rows["file"][~there].tolist(), "listed images that do not exist"))
    if not there.any():
        findings.wrong.append("none of the listed images exists")
    notes = findings.check(lists, ABOUT, complete)
    rows, labels = rows[there].reset_index(drop=True), labels[there]
    rows["identity"], rows["clip"] = (pd.factorize(rows[name], sort=True)[0] for name in ("person", "where"))
    rows["frame"] = _frames(rows)
    intensity = np.where(labels == UNKNOWN, np.nan, labels * AU_PRESENT_FROM).astype(np.float32)
    rows = rows[["file", "identity", "clip", "frame", "fold"]].assign(
        **{f"au_{unit}": intensity[:, k] for k, unit in enumerate(units)}
    )
    sizes = image_sizes(root, rows["file"][~rows["clip"].duplicated()].tolist())
    common = tuple(sizes[0].tolist()) if (sizes == sizes[0]).all() else None
    return FaceTable(name=prefix, source=prefix, licence=ABOUT.licence, credit=ABOUT.credit, rows=rows, notes=notes,
                     image_size=image_size or common, reader=ImageFiles(root, rows["file"].tolist(), image_size))  # fmt: skip


def _read_pair(lists: Path, prefix: str, side: str, fold: int) -> pd.DataFrame:
    """Images and labels of one side of one fold: columns file, person, where, labels ([K] arrays of 0, 1 and 9)."""
    images, labels = (lists / f"{prefix}_{side}_{kind}_fold{fold}.txt" for kind in ("img_path", "label"))
    for path in (images, labels):
        if not path.is_file():
            raise DatasetError(f"{path}: the list is not there\n{ABOUT.text()}")
    files = [PurePosixPath(line.strip().replace("\\", "/")) for line in images.read_text().splitlines() if line.strip()]
    try:
        values = np.loadtxt(labels, dtype=np.float64, ndmin=2)
    except ValueError as error:
        raise DatasetError(f"{labels}: expected 0, 1 or 9 separated by spaces, cannot read it ({error})") from error
    if len(values) != len(files):
        stub = "; the published label lists are stubs of 5 lines, write them from the official labels" if len(values) == 5 else ""
        raise DatasetError(f"{labels}: expected {len(files)} lines, one for each of {images.name}, got {len(values)}{stub}")
    odd = np.flatnonzero(~np.isin(values, (0, 1, UNKNOWN)).all(1))
    if len(odd):
        raise DatasetError(f"{labels}: {named([f'line {row + 1}' for row in odd], 'lines with other than 0, 1 and 9')}")
    where = [file.parent.as_posix() for file in files]
    return pd.DataFrame({"file": [file.as_posix() for file in files], "person": [file.parts[0] for file in files],
                         "where": where, "labels": list(values.astype(np.int8))})  # fmt: skip


def _check_folds(parts: dict[tuple[str, int], pd.DataFrame], findings: Findings) -> None:
    everything = pd.concat([parts["test", fold] for fold in FOLDS])
    twice = everything["file"][everything["file"].duplicated()].tolist()
    if twice:
        findings.wrong.append(named(twice, "images tested more than once"))
    truth = {file: labels.tobytes() for file, labels in zip(everything["file"], everything["labels"])}
    for fold in FOLDS:
        train, test = parts["train", fold], parts["test", fold]
        both = sorted(set(train["person"]) & set(test["person"]))
        if both:
            findings.wrong.append(named(both, f"people trained on and tested by fold {fold}"))
        apart = sorted((set(train["file"]) | set(test["file"])) ^ set(truth))
        if apart:
            findings.wrong.append(named(apart, f"images that only some lists have, found in fold {fold}"))
        pairs = ((file, labels.tobytes()) for file, labels in zip(train["file"], train["labels"]))
        differ = [file for file, labels in pairs if truth.get(file, labels) != labels]
        if differ:
            findings.wrong.append(named(differ, f"images whose labels differ between training in fold {fold} and testing"))


def _check_weights(lists: Path, prefix: str, fold: int, labels: np.ndarray, findings: Findings) -> None:
    """A weight file must be the inverse rates of its fold's training labels, normalised to sum K."""
    for name in (f"{prefix}_weight_fold{fold}.txt", f"{prefix}_train_weight_fold{fold}.txt"):
        if (lists / name).is_file():
            found = np.loadtxt(lists / name, ndmin=1)
            rate = np.maximum((labels == 1).sum(0) / np.maximum((labels != UNKNOWN).sum(0), 1), 1e-12)
            wanted = len(rate) / rate / (1 / rate).sum()
            if found.shape != wanted.shape or np.abs(found - wanted).max() > WEIGHT_TOLERANCE:
                findings.gaps.append(f"{name} does not hold the inverse rates of its fold's training labels")


def _units(columns: int, units: tuple[int, ...] | None, lists: Path) -> tuple[int, ...]:
    known = {len(BP4D_UNITS): BP4D_UNITS, len(DISFA_UNITS): DISFA_UNITS}
    if units is None and columns not in known:
        raise DatasetError(f"{lists}: {columns} label columns are neither BP4D's 12 nor DISFA's 8; say which AUs they are:"
                           " units=(...)")  # fmt: skip
    units = known[columns] if units is None else tuple(units)
    if len(units) != columns:
        raise DatasetError(f"{lists}: expected {len(units)} label columns, one for each of AU {units}, got {columns}")
    return units


def _frames(rows: pd.DataFrame) -> np.ndarray:
    """The numbers that the images are called, or, where one has no number, their places in the lists."""
    stems = [PurePosixPath(file).stem for file in rows["file"]]
    if all(stem.isdecimal() for stem in stems):
        return np.array(stems, dtype=np.int64)
    return rows.groupby("clip").cumcount().to_numpy()
