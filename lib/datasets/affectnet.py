"""AffectNet: faces from the web with an expression, valence and arousal, in its two layouts on disk."""

import os
import re
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from lib.datasets.columns import ALL_EXPRESSIONS, CONTEMPT, VALIDATION
from lib.datasets.completeness import expect_counts, expect_files
from lib.datasets.description import Description
from lib.datasets.errors import DatasetError, named
from lib.datasets.image_files import ImageFiles, common_size, fit_landmarks, image_sizes
from lib.datasets.natural import natural
from lib.datasets.table import LANDMARKS, FaceTable
from lib.progress import Progress

CODES = (*ALL_EXPRESSIONS, "none", "uncertain", "non-face")  # the set's own codes 0..10; the first eight are ours too
NO_AFFECT = -2  # valence and arousal of a face that was not rated
CLASS_COUNTS = {  # images of the release, in the order of CODES
    "train_set": (74874, 134415, 25459, 14090, 6378, 3803, 24882, 3750),
    "val_set": (500, 500, 500, 500, 500, 500, 500, 499),
}
_PARTS = ("train_set", "val_set", "test_set")
_CSV_COLUMNS = ("image_id", "labels_aro", "labels_val", "labels_exp")

ABOUT = Description(
    name="affectnet",
    title="AffectNet, manually annotated part, cropped faces",
    source="AffectNet",
    licence="research only, by agreement with the authors; may not be passed on",
    credit="A. Mollahosseini, B. Hasani, M. H. Mahoor: AffectNet: A Database for Facial Expression, Valence, and Arousal"
           " Computing in the Wild, IEEE Transactions on Affective Computing 2019",
    where="request at http://mohammadmahoor.com/affectnet, unpack into data/affectnet",
    tree="train_set/images/<id>.jpg\ntrain_set/annotations/<id>_exp.npy, <id>_val.npy, <id>_aro.npy, <id>_lnd.npy\n"
         "val_set/...  (and test_set/..., where it is there)\n"
         "(or, instead of annotations: train_set_data.csv, val_set_data.csv with the columns"
         f" {', '.join(_CSV_COLUMNS)}; train_data.csv is read too)",
    counts="; ".join(f"{part} {sum(counts):,}" for part, counts in CLASS_COUNTS.items()) + " images; expressions "
           + ", ".join(f"{code} {name}" for code, name in enumerate(CODES)) + ", of which 8 to 10 are left out",
)


def open_set(root: Path, image_size: tuple[int, int] | None = None, classes: int = 8, annotations: str | None = None,
             complete: bool = True) -> FaceTable:
    """Open the set. Who is on an image is not known: every image counts as a person of its own.

    ``train_set`` becomes the split probe_train. Where ``test_set`` is there it becomes probe_test and ``val_set``
    probe_val; else ``val_set``, which publications report on, is probe_test.

    Codes 8 to 10 (none, uncertain, non-face) and images without valence or arousal (-2) are left out; the table's notes
    count them. The csv form has no landmarks.

    Args:
        image_size: (H, W): every image is fitted to it, the landmarks with it.
        classes: 8, or 7 without contempt.
        annotations: 'npy' or 'csv'; None takes the npy files where there are any, else the csv files.
        complete: the official counts are required; False opens a part of the set.
    Raises:
        DatasetError: missing or unreadable files, images and labels that do not match, unknown codes, another release.
        ValueError: an unknown option.
    """
    if classes not in (7, 8):
        raise ValueError(f"classes: expected 7 or 8, got {classes!r}")
    if annotations not in (None, "npy", "csv"):
        raise ValueError(f"annotations: expected 'npy', 'csv' or None, got {annotations!r}")
    parts = [part for part in _PARTS if (root / part / "images").is_dir()]
    if not parts or (complete and not set(CLASS_COUNTS) <= set(parts)):
        raise DatasetError(f"{root}: expected the folders {', '.join(f'{part}/images' for part in CLASS_COUNTS)}, got"
                           f" {', '.join(parts) or 'none of them'}\n{ABOUT.text()}")
    form = annotations or ("npy" if (root / parts[0] / "annotations").is_dir() else "csv")
    read = [_read_npy(root, part) if form == "npy" else (_read_csv(root, part), None) for part in parts]
    rows = pd.concat([labels for labels, _ in read], ignore_index=True)
    points = None if form == "csv" else np.concatenate([points for _, points in read])
    test = "test_set" if "test_set" in parts else "val_set"
    rows["split"] = rows.pop("part").map({"train_set": "probe_train", "val_set": VALIDATION} | {test: "probe_test"})
    rows, kept, notes = _drop(rows, classes)
    points = None if points is None else points[kept]
    if complete:
        came = (rows["file"].str.partition("/")[0] + ", " + rows["expression"].map(dict(enumerate(CODES)))).value_counts()
        expect_counts(root, came.to_dict(), {f"{part}, {CODES[code]}": counts[code] for part, counts in
                                             CLASS_COUNTS.items() for code in range(classes)}, ABOUT)
    files = rows["file"].tolist()
    sizes = image_sizes(root, files)
    if image_size is not None and points is not None:
        points = fit_landmarks(points, sizes, image_size)
    rows.insert(1, "identity", np.arange(len(rows)))
    return FaceTable(name=ABOUT.name, source=ABOUT.source, licence=ABOUT.licence, credit=ABOUT.credit,
                     image_size=image_size or common_size(sizes), rows=rows, reader=ImageFiles(root, files, image_size),
                     landmarks=points, notes=notes)


def _drop(rows: pd.DataFrame, classes: int) -> tuple[pd.DataFrame, np.ndarray, list[str]]:
    """Rows that can be used, which these are [n] bool, and what was left out, counted."""
    code = rows["expression"]
    unrated = (rows["valence"] == NO_AFFECT) | (rows["arousal"] == NO_AFFECT)
    notes = []
    for reason, left_out in [(f"labelled {CODES[number]} ({number})", code == number) for number in (8, 9, 10)] + [
            ("with an expression but without valence or arousal (-2)", unrated & (code <= CONTEMPT)),
            ("of contempt (classes=7)", (code == CONTEMPT) & ~unrated if classes == 7 else code < 0)]:
        if left_out.any():
            notes.append(f"{left_out.sum():,} images {reason} left out")
    kept = ((code < classes) & ~unrated).to_numpy()
    return rows[kept].reset_index(drop=True), kept, notes


def _read_npy(root: Path, part: str) -> tuple[pd.DataFrame, np.ndarray]:
    """Labels and 68 landmarks of one part from its .npy files, images in the order of their numbers."""
    folder = root / part / "annotations"
    if not folder.is_dir():
        raise DatasetError(f"{folder}: expected the annotations of {part}, they are missing; unpack the set again, or use"
                           f" the csv files with annotations='csv'\n{ABOUT.text()}")
    ids = sorted({match[1] for match in map(re.compile(r"(.+)_(?:exp|aro|val|lnd)\.npy").fullmatch, os.listdir(folder))
                  if match}, key=natural)
    expect_files(root / part / "images", [f"{name}.jpg" for name in ids], f"{part}/annotations")
    values, points = np.zeros((len(ids), 3)), np.zeros((len(ids), LANDMARKS, 2), np.float32)
    broken, progress = [], Progress(len(ids), f"reading annotations of {part}, images")
    for row, name in enumerate(ids):
        for column, kind in enumerate(("exp", "val", "aro", "lnd")):
            path = folder / f"{name}_{kind}.npy"
            try:
                # The release stores numbers as text in some files and as floats in others.
                numbers = np.load(path, allow_pickle=False).astype(np.float64).reshape(-1)
                if kind == "lnd":
                    points[row] = numbers.reshape(LANDMARKS, 2)
                else:
                    values[row, column] = numbers.item()
            except Exception as error:  # a truncated file makes numpy raise many kinds
                broken.append(f"{path.name} ({type(error).__name__}: {error})")
        progress.step()
    if broken:
        raise DatasetError(f"{folder}: {named(broken, 'annotations that are missing or cannot be read')}; unpack the set"
                           " again")
    rows = pd.DataFrame({"file": [f"{part}/images/{name}.jpg" for name in ids], "part": part})
    wrong = _check(rows, *values.T)
    not_points = [name for name, finite in zip(ids, np.isfinite(points).all((1, 2))) if not finite]
    wrong += [f"{name}_lnd.npy" for name in not_points]
    if wrong:
        raise DatasetError(f"{folder}: {named(wrong, 'values out of range')}; another release, or damaged\n{ABOUT.text()}")
    return rows, points


def _read_csv(root: Path, part: str) -> pd.DataFrame:
    """Labels of one part from its csv file, in the order of the file; ``image_id`` may be a path, a name or a number."""
    names = (f"{part}_data.csv", f"{part.removesuffix('_set')}_data.csv")
    path = next((root / name for name in names if (root / name).is_file()), None)
    if path is None:
        raise DatasetError(f"{root / names[0]}: expected the labels of {part} (or {part}/annotations), the file is missing\n"
                           f"{ABOUT.text()}")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (ValueError, OSError) as error:
        raise DatasetError(f"{path}: expected a comma-separated table, cannot read it ({error})") from error
    absent = [name for name in _CSV_COLUMNS if name not in table]
    if absent:
        remedy = ("; SSL-FER's affectnet_create_csv.py writes 'labels_ex' by mistake: rename that column to 'labels_exp'"
                  if "labels_ex" in table and absent == ["labels_exp"] else "")
        raise DatasetError(f"{path}: expected the columns {', '.join(_CSV_COLUMNS)}, {', '.join(absent)} is missing; got"
                           f" {', '.join(table.columns)}{remedy}")
    image = [PurePosixPath(name.strip().replace("\\", "/")).name for name in table["image_id"]]
    image = [name if "." in name else f"{name}.jpg" for name in image]
    repeated = pd.Series(image, dtype=object)[pd.Series(image).duplicated()].tolist()
    if repeated:
        raise DatasetError(f"{path}: {named(repeated, 'images stand in several rows')}; write the file again")
    expect_files(root / part / "images", image, path.name)
    rows = pd.DataFrame({"file": [f"{part}/images/{name}" for name in image], "part": part})
    cells = [pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64) for name in
             ("labels_exp", "labels_val", "labels_aro")]
    wrong = _check(rows, *cells)
    if wrong:
        raise DatasetError(f"{path}: {named(wrong, 'values out of range')}; another release, or damaged\n{ABOUT.text()}")
    return rows


def _check(rows: pd.DataFrame, code: np.ndarray, valence: np.ndarray, arousal: np.ndarray) -> list[str]:
    """Put the three labels into ``rows``; what is out of range comes back as 'image: label value'."""
    wrong = [(~np.isin(code, range(len(CODES))), "expression", code)]
    wrong += [(~((np.abs(value) <= 1) | (value == NO_AFFECT)), name, value)
              for name, value in (("valence", valence), ("arousal", arousal))]
    told = [f"{rows['file'].iloc[row]}: {name} {value[row]:g}" for where, name, value in wrong
            for row in np.flatnonzero(where)]
    rows["expression"] = np.nan_to_num(code, nan=-1).astype(np.int64)
    rows["valence"], rows["arousal"] = valence.astype(np.float32), arousal.astype(np.float32)
    return told
