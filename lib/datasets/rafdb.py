"""RAF-DB, the single-label subset: seven basic expressions on 15,339 aligned photographs."""

from pathlib import Path

import numpy as np
import pandas as pd

from lib.datasets.columns import EXPRESSIONS
from lib.datasets.completeness import expect_counts, expect_files
from lib.datasets.description import Description
from lib.datasets.errors import DatasetError, named
from lib.datasets.image_files import ImageFiles, common_size, image_sizes
from lib.datasets.table import FaceTable

COUNTS = {"train": 12271, "test": 3068}
CODES = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")  # the set's own codes 1..7
SPLIT_OF = {"train": "probe_train", "test": "probe_test"}
_LISTS = ("list_patition_label.txt", "list_partition_label.txt")  # the release spells it the first way
_IMAGES = "basic/Image/aligned"

ABOUT = Description(
    name="rafdb",
    title="RAF-DB (Real-world Affective Faces), single-label subset, aligned images of 100 x 100 pixels",
    source="RAF-DB",
    licence="non-commercial research and education only; the photographs belong to others and may not be passed on",
    credit="S. Li, W. Deng, J. Du: Reliable Crowdsourcing and Deep Locality-Preserving Learning for Expression Recognition"
           " in the Wild, CVPR 2017",
    where="request by e-mail at http://www.whdeng.cn/RAF/model1.html, unpack into data/rafdb",
    tree="basic/EmoLabel/list_patition_label.txt         (<name>.jpg <code 1..7>, a line an image)\n"
         "basic/Image/aligned/train_00001_aligned.jpg ...\n"
         "basic/Image/aligned/test_0001_aligned.jpg ...\n"
         "(basic/Image/original and basic/Annotation/{auto,manual,boundingbox} are not read)",
    counts="; ".join(f"{name} {count:,}" for name, count in COUNTS.items()) + " images; expressions "
           + ", ".join(f"{code} {name}" for code, name in enumerate(CODES, 1)),
)


def open_set(root: Path, image_size: tuple[int, int] | None = None, complete: bool = True) -> FaceTable:
    """Open the set; ``train`` becomes the split probe_train, ``test`` probe_test.

    Who is on an image is not known: every image counts as a person of its own. The 37 or 5 landmarks of the release
    belong to the original images and are not the 68 that this package knows.

    Args:
        image_size: (H, W) to resize to; None keeps 100 x 100.
        complete: the official counts are required; False opens a part of the set.
    Raises:
        DatasetError: missing files, another release's list, unknown codes, images and list that do not match.
    """
    path = next((root / "basic/EmoLabel" / name for name in _LISTS if (root / "basic/EmoLabel" / name).is_file()), None)
    if path is None:
        raise DatasetError(f"{root}: expected RAF-DB's label list {root / 'basic/EmoLabel' / _LISTS[0]}, it is missing\n"
                           f"{ABOUT.text()}")
    rows = _read_list(path)
    if complete:
        expect_counts(path, rows["part"].value_counts().to_dict(), COUNTS, ABOUT)
    expect_files(root / _IMAGES, rows["image"], path.name)
    files = (_IMAGES + "/" + rows["image"]).tolist()
    sizes = image_sizes(root, files)
    table = pd.DataFrame({"file": files, "identity": np.arange(len(files)), "split": rows["part"].map(SPLIT_OF),
                          "expression": rows["expression"]})
    return FaceTable(name=ABOUT.name, source=ABOUT.source, licence=ABOUT.licence, credit=ABOUT.credit,
                     image_size=image_size or common_size(sizes), rows=table, reader=ImageFiles(root, files, image_size))


def _read_list(path: Path) -> pd.DataFrame:
    """Columns image (name of the aligned file), part (train/test), expression, in the order of the list."""
    expression = {str(code): EXPRESSIONS.index(name) for code, name in enumerate(CODES, 1)}
    rows, malformed, unknown = [], [], []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if not line.strip():
            continue
        name, _, code = line.strip().partition(" ")
        part = name.partition("_")[0]
        if part not in COUNTS or not name.endswith(".jpg") or not code.strip().lstrip("-").isdigit():
            malformed.append(f"line {number}: {line.strip()!r}")
        elif code.strip() not in expression:
            unknown.append(f"line {number}: {line.strip()!r}")
        else:
            rows.append((f"{name.removesuffix('.jpg')}_aligned.jpg", part, expression[code.strip()]))
    table = pd.DataFrame(rows, columns=["image", "part", "expression"])
    repeated = table["image"][table["image"].duplicated()].tolist()
    problems = [named(items, what) for items, what in
                ((malformed, "lines that are not '<train|test>_<number>.jpg <code>'"), (unknown, "codes outside 1..7"),
                 (repeated, "repeated images")) if items]
    if problems or not rows:
        raise DatasetError(f"{path}: expected the label list of RAF-DB's basic set, got"
                           f" {'; '.join(problems) or 'an empty file'}; the compound set and other releases have other"
                           f" lists\n{ABOUT.text()}")
    return table
