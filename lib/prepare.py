"""From a data set as it lies on disk to the packed set that training and probes read: one size, split and checked.

Memory stays flat: a batch is read, fitted and appended, whatever the size of the set.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from lib.datasets import DatasetError, FaceTable, open_dataset, reader_of
from lib.datasets.columns import ALL_EXPRESSIONS, AU_PRESENT_FROM, EXPRESSIONS, KNOWN_SPLITS, NO_LABEL, SPLITS
from lib.datasets.errors import named
from lib.faces.framing import cut_faces, fit_faces
from lib.faces.shards import PackedWriter, open_packed
from lib.files import write_aside
from lib.progress import Progress
from lib.splits import by_folds, check_nobody_twice, check_other_people, check_used, with_split
from lib.workplace import DEMO, DEMO_SETS

PEOPLE_TO_VERIFY = 20  # two in each of the ten folds of face verification
_BATCH_VALUES = 500_000  # source values (pixel x channel) in one batch: 2 MB as floats


def prepare(source_root: str | Path, out_root: str | Path, dataset: str, image_size: int, shard_rows: int = 4096,
            options: dict | None = None, test_folds: Sequence[int] = (), learnt: bool = True) -> dict:
    """Pack the data set at ``source_root`` into ``out_root``/<name>, one folder a set, and write summary.json there.

    ``dataset`` 'demo': ``source_root`` has the sub-folders rendered and orl. Any other name is the user's: a packed
    set, one of the registered data sets of that name, or any folder of images; there, without a column ``split``,
    people are dealt 80/10/10 by a hash of their name, without ``fold`` the probes' people go into 3 folds. Faces with
    landmarks are aligned (lib.faces.framing; the column ``roll``, no longer true then, goes), those of a set without are cut
    to the central square. All faces of a set are framed alike: where the landmarks of some are not known, these are left out,
    counted and named; where they are more than half, none is aligned. ``options`` are those of the data set's own reader, such
    as ``{"classes": 7}`` of affectnet. With ``test_folds`` the people are dealt by the set's own folds instead: see
    :func:`lib.splits.by_folds`; ``learnt``: whether encoders learn from the others.

    Returns:
        The summary: for each set its source, counts by split, people, expressions, rates of AUs and attributes.
    Raises:
        DatasetError: anything missing, unreadable or not matching in the source, or a person of the user's own set who is tested
            and learnt from; nothing is left half-written.
    """
    source_root, out_root = Path(source_root), Path(out_root)
    if image_size < 8:
        raise ValueError(f"image_size: expected at least 8 pixels, got {image_size}")
    tables, _ = _opened(source_root, dataset, options or {}, test_folds, learnt)
    summary = {"dataset": dataset, "image_size": image_size, "sets": _packed(tables, out_root, dataset, image_size, shard_rows)}
    _write_summary(summary, out_root)
    return summary


def prepare_all(data: Path, out_root: Path, names: Sequence[str], image_size: int, options: Mapping[str, dict],
                test_folds: Sequence[int] = ()) -> dict:
    """:func:`prepare` for the data sets ``names`` below ``data``: the one that is learnt from, and the one that is probed, which
    may be the same and is the one of the ``test_folds``. One summary.json with all of them.

    Raises:
        DatasetError: as :func:`prepare`; nothing to learn from or to be tested on; or two sets of the same people, of which the
            splits or folds of one know nothing of the other's.
    """
    learnt, probed = names
    opened, dealt = {}, False
    for name in dict.fromkeys(names):
        folds = test_folds if name == probed else ()
        opened[name], by_us = _opened(data / name, name, options.get(name) or {}, folds, name == learnt)
        dealt |= by_us
    for name, tables in opened.items():
        if name != DEMO:
            check_used(tables[name].rows, data / name, name == learnt, name == probed)
    if dealt and learnt != probed:  # published splits, such as those of FER2013 and FERPlus, agree
        check_other_people(opened[learnt].values(), opened[probed].values())
    whole = {"datasets": list(opened), "image_size": image_size, "test_folds": list(test_folds), "sets": {}}
    for name, tables in opened.items():
        whole["sets"] |= _packed(tables, out_root, name, image_size)
    _write_summary(whole, out_root)
    return whole


def _opened(source_root: Path, dataset: str, options: dict, test_folds: Sequence[int], learnt: bool) -> tuple[dict[str, FaceTable], bool]:
    """The tables that become packed sets, by the sets' names, with splits and folds; and whether their people are dealt here."""
    if dataset == DEMO:
        if options:
            raise ValueError(f"options: the demo set has none, got {', '.join(options)}")
        if test_folds:
            raise ValueError(f"test_folds: the people of the demo set are dealt already, got {list(test_folds)}")
        # Both are opened before the first is packed, so that a missing one is said at once.
        return {name: open_dataset(name, source_root / name) for name in DEMO_SETS}, False
    table = _open_own(source_root, dataset, options)
    if test_folds:
        return {dataset: by_folds(table, source_root, test_folds, learnt)}, True
    if "fold" in table.rows and "split" not in table.rows:
        print(f"{dataset}: has folds of its own; people are dealt 80/10/10 all the same, unless prepare.test_folds names folds")
    split = with_split(table, source_root)
    if reader_of(dataset) == "folder":
        check_nobody_twice(split, source_root)
    return {dataset: split}, "split" not in table.rows


def _packed(tables: Mapping[str, FaceTable], out_root: Path, dataset: str, image_size: int, shard_rows: int = 4096) -> dict:
    """Pack the tables; -> their summaries."""
    said = {}
    for name, table in tables.items():
        table, aligned, lacking = _framed_alike(table)
        for note in lacking:
            print(f"{name}: {note}")
        notes = [*table.notes, *lacking]
        _pack(table, out_root / name, name, image_size, shard_rows, aligned, notes)
        said[name] = summarise(open_packed(out_root / name)) | {"aligned": aligned}
        if notes:
            said[name]["notes"] = notes
        if dataset != DEMO and not _can_be_probed(table.rows):
            print(f"{name}: these faces do for pre-training, but not to measure an encoder: that takes expressions, action"
                  f" units or {PEOPLE_TO_VERIFY} people in {SPLITS[2]} (columns of labels.csv)")
    return said


def _write_summary(summary: dict, out_root: Path) -> None:
    with write_aside(out_root / "summary.json") as path:
        path.write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _open_own(root: Path, name: str, options: dict) -> FaceTable:
    if reader_of(name) != "folder" or not (root / "set.json").is_file():
        return open_dataset(reader_of(name), root, **options)
    if options:
        raise ValueError(f"options: a packed set has none, got {', '.join(options)}")
    return open_packed(root)


def _can_be_probed(rows: pd.DataFrame) -> bool:
    test = rows[rows["split"] == SPLITS[2]]
    labelled = any(name in ("expression", "valence") or name.startswith("au_") for name in rows)
    return labelled or test["identity"].nunique() >= PEOPLE_TO_VERIFY


def _pack(
    table: FaceTable, root: Path, name: str, image_size: int, shard_rows: int, aligned: bool, notes: Sequence[str]
) -> None:  # fmt: skip
    size = (image_size, image_size)
    batch = 1 if table.image_size is None else max(1, _BATCH_VALUES // (3 * table.image_size[0] * table.image_size[1]))
    progress = Progress(len(table), f"preparing {name}, images")
    # Alignment takes the head's roll away, so the angle would no longer be true of the picture.
    rows = table.rows.drop(columns="roll", errors="ignore") if aligned else table.rows
    with PackedWriter(root, name=name, source=table.source, licence=table.licence, credit=table.credit,
                      notes=notes, shard_rows=shard_rows) as writer:
        for start in range(0, len(table), batch):
            index = np.arange(start, min(start + batch, len(table)))
            part = rows.iloc[index].copy()
            images, points, masks = _fitted(table, index, size, aligned)
            if points is not None:
                part["landmarks"] = list(points.reshape(len(index), -1).numpy())
            writer.add(images.permute(0, 2, 3, 1).numpy(), part, None if masks is None else masks.numpy())
            progress.step(len(index))


def _fitted(table: FaceTable, index: np.ndarray, size: tuple[int, int],
            aligned: bool) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """Images, landmarks and masks of some rows in the new size."""
    images, masks = table.images(index), table.masks(index) if table.has_masks else None
    points = table.landmarks(index) if table.has_landmarks else None
    if points is not None and not aligned:
        return cut_faces(images, points, size, masks)
    try:
        return fit_faces(images, points, size, masks)
    except ValueError as error:
        file = f", file {table.rows['file'].iloc[index[0]]}" if "file" in table.rows else ""
        where = f"rows {index[0]}..{index[-1]}{file}"
        raise DatasetError(f"{table.name}: cannot align the faces of {where}: {error}") from error


def _framed_alike(table: FaceTable) -> tuple[FaceTable, bool, list[str]]:
    """The faces that one framing does for, whether it is alignment, and a note on those without all landmarks.

    An aligned face and the central square of a picture differ so much that a network would tell them apart by that.
    """
    if not table.has_landmarks:
        return table, False, []
    known = np.isfinite(table.column("landmarks")).all((1, 2))
    if known.all():
        return table, True, []
    lacking = np.flatnonzero(~known)
    names = table.rows["file"].iloc[lacking].tolist() if "file" in table.rows else [f"row {row}" for row in lacking]
    if known.mean() < 0.5:
        what = "faces without all landmarks: more than half, so that none of the set is aligned and all are cut to the central square"
        return table, False, [named(names, what)]
    return table.select(known), True, [named(names, "faces without all landmarks are left out, as the others are aligned")]


def summarise(table: FaceTable) -> dict:
    """Counts of a set as plain numbers and strings, for summary.json and the notebook."""
    rows = table.rows
    said = {"source": table.source, "licence": table.licence, "credit": table.credit, "images": len(table),
            "masks": table.has_masks, "landmarks": table.has_landmarks}
    for name, key in (("identity", "identities"), ("clip", "clips")):
        if name in rows:
            said[key] = int(rows[name].nunique())
    if "split" in rows:
        said["splits"] = {split: {"images": int(here.sum()), "identities": int(rows.loc[here, "identity"].nunique())}
                          for split in KNOWN_SPLITS if (here := rows["split"] == split).any()}
        said["identities_in_two_splits"] = int((rows.groupby("identity")["split"].nunique() > 1).sum())
    if "fold" in rows:
        counts = rows["fold"].value_counts().sort_index()  # numbered from 1, as test_folds beside it and all results are
        said["folds"] = {"none" if fold == NO_LABEL else str(fold + 1): int(count) for fold, count in counts.items()}
    if "expression" in rows:
        counts = rows["expression"].value_counts()
        said["expressions"] = {name: int(counts.get(number, 0)) for number, name in enumerate(ALL_EXPRESSIONS)
                               if number < len(EXPRESSIONS) or number in counts}
        said["expressions"]["unlabelled"] = int(counts.get(NO_LABEL, 0))
    units = [name for name in rows if name.startswith("au_")]
    if units:
        said["au_present_from"] = AU_PRESENT_FROM
        said["au_rates"] = {name: _rate(rows[name] >= AU_PRESENT_FROM, rows[name].notna()) for name in units}
    attributes = [name for name in rows if name.startswith("attr_")]
    if attributes:
        said["attribute_rates"] = {name: _rate(rows[name] == 1, rows[name] >= 0) for name in attributes}
    return said


def _rate(present: pd.Series, known: pd.Series) -> float | None:
    return round(float(present[known].mean()), 4) if known.any() else None
