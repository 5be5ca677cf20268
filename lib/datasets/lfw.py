"""Labeled Faces in the Wild: 13,233 photographs of 5,749 people, and its official pairs."""

import math
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from lib.datasets.completeness import expect_counts
from lib.datasets.description import Description
from lib.datasets.errors import DatasetError, named
from lib.datasets.image_files import ImageFiles, common_size, image_sizes
from lib.datasets.pairs import Pairs
from lib.datasets.table import FaceTable

VARIANTS = ("lfw", "lfw_funneled", "lfw-funneled", "lfw-deepfunneled")  # folders of the official archives
COUNTS = {"people": 5749, "images": 13233}
TEST_SHARE = 0.3
SSL_FER = {"min_faces_per_person": 200, "split_seed": 0}  # options of SSL-FER's 1-NN experiment; it fixed no seed
_NAME = re.compile(r"(.+)_(\d{4})\.jpg")

ABOUT = Description(
    name="lfw",
    title="Labeled Faces in the Wild, press photographs of 250 x 250 pixels",
    source="LFW",
    licence="for research; the photographs belong to the press agencies",
    credit="G. B. Huang, M. Ramesh, T. Berg, E. Learned-Miller: Labeled Faces in the Wild, University of Massachusetts"
           " Amherst, Technical Report 07-49, 2007",
    where="http://vis-www.cs.umass.edu/lfw (lfw.tgz, lfw-funneled.tgz or lfw-deepfunneled.tgz; pairs.txt), unpack into"
          " data/lfw",
    tree="lfw/<Person_Name>/<Person_Name>_0001.jpg ...   (or lfw_funneled/..., or lfw-deepfunneled/...)\n"
         "pairs.txt, pairsDevTrain.txt, pairsDevTest.txt   (for read_pairs)",
    counts=f"{COUNTS['images']:,} images of {COUNTS['people']:,} people",
)


def open_set(root: Path, image_size: tuple[int, int] | None = None, variant: str | None = None,
             min_faces_per_person: int = 1, split_seed: int | None = None, complete: bool = True) -> FaceTable:
    """Open one variant; ``identity`` numbers the people by name (among all 5,749), ``frame`` is the photograph - 1.

    Args:
        image_size: (H, W) to resize to; None keeps 250 x 250.
        variant: one of ``VARIANTS``; None takes the only one that is there.
        min_faces_per_person: people with fewer images are left out; the notes count them. 200 leaves two people.
        split_seed: deal 70 % of the images at random to probe_train, 30 % to probe_test, whoever is on them: the split
            of a recognition experiment (``SSL_FER``). None: no column ``split``.
        complete: the official counts are required; False opens a part of the set.
    Raises:
        DatasetError: missing folder, files not named after their person, wrong counts.
        ValueError: an option out of range.
    """
    if min_faces_per_person < 1:
        raise ValueError(f"min_faces_per_person: expected at least 1, got {min_faces_per_person}")
    folder = _variant(root, variant)
    rows = _rows(root, folder)
    if complete:
        expect_counts(root / folder, {"people": rows["identity"].nunique(), "images": len(rows)}, COUNTS, ABOUT)
    faces = rows["identity"].map(rows["identity"].value_counts())
    kept, notes = rows[faces >= min_faces_per_person].reset_index(drop=True), []
    if len(kept) < len(rows):
        notes.append(f"{rows['identity'].nunique() - kept['identity'].nunique():,} people with fewer than"
                     f" {min_faces_per_person} images left out ({len(rows) - len(kept):,} images)")
    if len(kept) == 0:
        raise DatasetError(f"{root / folder}: nobody has {min_faces_per_person} images; the most are {faces.max()}; lower"
                           " min_faces_per_person")
    if split_seed is not None:
        test = torch.randperm(len(kept), generator=torch.Generator().manual_seed(split_seed))
        kept["split"] = "probe_train"
        kept.loc[test[:math.ceil(TEST_SHARE * len(kept))].numpy(), "split"] = "probe_test"
    files = kept["file"].tolist()
    sizes = image_sizes(root, files)
    return FaceTable(name=ABOUT.name, source=ABOUT.source, licence=ABOUT.licence, credit=ABOUT.credit,
                     image_size=image_size or common_size(sizes), rows=kept, reader=ImageFiles(root, files, image_size),
                     notes=notes)


def read_pairs(path: str | Path, table: FaceTable) -> Pairs:
    """An official list of pairs (pairs.txt: ten folds, "View 2"; pairsDevTrain.txt, pairsDevTest.txt: one) as ``Pairs``.

    Args:
        path: the list. Its first line says the folds (none: one) and the pairs of each kind in a fold; three fields are
            a genuine pair (person, photograph, photograph), four an impostor pair (person, photograph, twice).
        table: of ``open_set``; positions are into its rows.
    Raises:
        DatasetError: a malformed line, a count that the first line does not announce, an image that is not in ``table``.
    """
    path = Path(path)
    if not path.is_file():
        raise DatasetError(f"{path}: expected LFW's list of pairs, it is missing\n{ABOUT.text()}")
    head, *lines = [line.split() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()] or [[]]
    if len(head) not in (1, 2) or not all(field.isdigit() for field in head):
        raise DatasetError(f"{path}: expected '<folds> <pairs>' or '<pairs>' in the first line, got {' '.join(head)!r};"
                           f" people.txt and peopleDevTest.txt are no lists of pairs\n{ABOUT.text()}")
    folds, each = (1, int(head[0])) if len(head) == 1 else (int(head[0]), int(head[1]))
    if len(lines) != 2 * folds * each:
        raise DatasetError(f"{path}: expected {folds} x 2 x {each} pairs after the first line, got {len(lines)}; get the"
                           " list again")
    at = {(Path(file).parent.name, frame + 1): row
          for row, (file, frame) in enumerate(zip(table.column("file"), table.column("frame")))}
    first, second, wrong, absent = [], [], [], []
    for number, line in enumerate(lines):
        genuine = number // each % 2 == 0  # in each fold first the genuine half
        if len(line) != (3 if genuine else 4) or not all(field.isdigit() for field in (line[1], line[-1])):
            wrong.append(f"{' '.join(line)!r} (expected {'a genuine' if genuine else 'an impostor'} pair)")
            continue
        keys = [(line[0], int(line[1])), (line[0] if genuine else line[2], int(line[-1]))]
        absent += [f"{person}_{photograph:04d}" for person, photograph in keys if (person, photograph) not in at]
        first.append(at.get(keys[0], -1))
        second.append(at.get(keys[1], -1))
    problems = [named(items, what) for items, what in
                ((wrong, "malformed pairs"), (absent, f"images that {table.name} does not have")) if items]
    if problems:
        raise DatasetError(f"{path}: {'; '.join(problems)}; the list needs the whole set, opened without"
                           " min_faces_per_person")
    number = np.arange(len(lines))
    return Pairs(np.array(first, np.int64), np.array(second, np.int64), number // each % 2 == 0, number // (2 * each))


def _variant(root: Path, variant: str | None) -> str:
    if variant is not None and variant not in VARIANTS:
        raise ValueError(f"variant: expected one of {', '.join(VARIANTS)}, got {variant!r}")
    there = [name for name in ((variant,) if variant else VARIANTS) if (root / name).is_dir()]
    if not there:
        raise DatasetError(f"{root}: expected a folder {' or '.join((variant,) if variant else VARIANTS)}, there is none\n"
                           f"{ABOUT.text()}")
    if len(there) > 1:
        raise DatasetError(f"{root}: {', '.join(there)} are all there; say which one with variant={there[0]!r}")
    return there[0]


def _rows(root: Path, folder: str) -> pd.DataFrame:
    """Columns file, identity, frame in the order of names; only the folders of people count."""
    files, identity, frame, odd, gaps = [], [], [], [], []
    with os.scandir(root / folder) as entries:
        people = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    for number, person in enumerate(people):
        photographs = []
        for name in sorted(name for name in os.listdir(root / folder / person) if not name.startswith(".")):
            match = _NAME.fullmatch(name)
            if match is None or match[1] != person:
                odd.append(f"{person}/{name}")
                continue
            photographs.append(int(match[2]) - 1)
            files.append(f"{folder}/{person}/{name}")
        if photographs != list(range(len(photographs))):
            gaps.append(person)
        identity += [number] * len(photographs)
        frame += photographs
    problems = [named(items, what) for items, what in
                ((odd, "files that are not <Person>/<Person>_<4 digits>.jpg"), (gaps, "people with a photograph missing in"
                                                                                       " their numbers")) if items]
    if problems or not files:
        raise DatasetError(f"{root / folder}: {'; '.join(problems) or 'no photographs'}; unpack the official archive again\n"
                           f"{ABOUT.text()}")
    return pd.DataFrame({"file": files, "identity": identity, "frame": frame})
