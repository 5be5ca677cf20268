"""Packed face sets: a few large uint8 shards, of which only what is asked for is read, and one parquet table of annotations.

A folder of 10^5 small files is slow to copy, to hash and to read; a packed set is fast in all three:

    set.json         what it is, what its reader left out, image size, count, and for each shard its files, rows, byte sizes
                     and checksums
    images-000.npy   uint8 [n,H,W,3]
    masks-000.npy    uint8 [n,H,W], where the set has part masks
    table.parquet    one row an image, in the order of the shards
"""

import contextlib
import hashlib
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lib.datasets.errors import DatasetError
from lib.datasets.table import LANDMARKS, FaceTable
from lib.files import write_aside
from lib.progress import Progress

REMEDY = "copy the set again, or make it again: `dvc repro` for the demo and the prepared sets"

_MERGE = 32  # so many small tables become one: left alone in their thousands they would fragment the heap by gigabytes


def _npy_header(shape: tuple[int, ...]) -> bytes:
    """The .npy header of a uint8 array. numpy leaves room for the first axis to grow, so the length does not change."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return header.getvalue()


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _NpyStream:
    """A .npy file that grows row by row, so that a shard is never held in memory."""

    def __init__(self, path: Path, row_shape: tuple[int, ...]):
        self.path, self.row_shape, self.rows = path, row_shape, 0
        self.file = open(path, "xb")
        self.file.write(_npy_header((0, *row_shape)))

    def append(self, rows: np.ndarray) -> None:
        self.file.write(np.ascontiguousarray(rows).data)
        self.rows += len(rows)

    def close(self) -> dict:
        self.file.seek(0)
        self.file.write(_npy_header((self.rows, *self.row_shape)))
        self.file.close()
        return {"file": self.path.name, "bytes": self.path.stat().st_size, "sha256": _sha256(self.path)}


class PackedWriter:
    """Writes a packed set, image batch by image batch, in flat memory; the bytes do not depend on the batch sizes.

    Everything goes into a folder beside ``root`` that takes its name when the ``with`` block ends well; after an
    error nothing is left, and a set that stood at ``root`` before stays.
    """

    def __init__(
        self, root, *, name: str, source: str, licence: str, credit: str, notes: Sequence[str] = (), shard_rows: int = 4096
    ):  # fmt: skip
        if shard_rows < 1:
            raise ValueError(f"shard_rows: expected at least 1, got {shard_rows}")
        self.root, self.shard_rows = Path(root), shard_rows
        self.about = {"name": name, "source": source, "licence": licence, "credit": credit, "notes": list(notes)}
        self.count = 0
        self._stack = contextlib.ExitStack()
        self._shards: list[dict] = []
        self._images: _NpyStream | None = None
        self._masks: _NpyStream | None = None
        self._tables: list[pa.Table] = []
        self._table_writer: pq.ParquetWriter | None = None
        self._schema: pa.Schema | None = None
        self._size: tuple[int, int] | None = None
        self._masked: bool | None = None

    def __enter__(self) -> "PackedWriter":
        self._folder = self._stack.enter_context(write_aside(self.root, folder=True))
        self._stack.callback(self._close_files)
        return self

    def __exit__(self, kind, error, trace) -> None:
        if kind is None:
            with self._stack:
                self._finish()
        else:
            self._stack.__exit__(kind, error, trace)

    def add(self, images: np.ndarray, rows: pd.DataFrame, masks: np.ndarray | None = None) -> None:
        """Append n images.

        Args:
            images: uint8 [n,H,W,3], the same H and W in every call.
            rows: n rows, the same columns in every call; ``landmarks`` holds 136 numbers a row (x0, y0, x1, ...),
                NaN where they are not known.
            masks: uint8 [n,H,W]; in every call or in none.
        """
        self._check(images, rows, masks)
        table = self._to_arrow(rows)
        taken = 0
        while taken < len(images):
            if self._images is None:
                self._open_shard(images.shape[1:], masks is not None)
            until = min(len(images), taken + self.shard_rows - self._images.rows)
            self._images.append(images[taken:until])
            if masks is not None:
                self._masks.append(masks[taken:until])
            self._tables.append(table.slice(taken, until - taken))
            if len(self._tables) == _MERGE:
                self._tables = [pa.concat_tables(self._tables).combine_chunks()]
            taken = until
            if self._images.rows == self.shard_rows:
                self._close_shard()
        self.count += len(images)

    def _check(self, images: np.ndarray, rows: pd.DataFrame, masks: np.ndarray | None) -> None:
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or 0 in images.shape[1:]:
            raise ValueError(f"images: expected uint8 [n,H,W,3], got {images.dtype} {list(images.shape)}")
        if len(rows) != len(images):
            raise ValueError(f"rows: expected one row an image, got {len(rows)} rows for {len(images)} images")
        if masks is not None and (masks.dtype != np.uint8 or masks.shape != images.shape[:3]):
            raise ValueError(f"masks: expected uint8 {list(images.shape[:3])}, got {masks.dtype} {list(masks.shape)}")
        if self._size is None:
            self._size, self._masked = images.shape[1:3], masks is not None
        if images.shape[1:3] != self._size:
            raise ValueError(f"images: expected {list(self._size)} pixels as in the first call,"
                             f" got {list(images.shape[1:3])}")
        if (masks is not None) != self._masked:
            raise ValueError("masks: expected in every call or in none")

    def _to_arrow(self, rows: pd.DataFrame) -> pa.Table:
        columns = {str(name): pa.array(rows[name].to_numpy(), from_pandas=False)
                   for name in rows.columns if name != "landmarks"}
        if "landmarks" in rows.columns:
            points = np.zeros((0, 2 * LANDMARKS), np.float32)
            if len(rows):
                points = np.stack([np.asarray(row, np.float32).reshape(-1) for row in rows["landmarks"]])
            if points.shape[1] != 2 * LANDMARKS:
                raise ValueError(f"rows: expected {2 * LANDMARKS} numbers in 'landmarks', got {points.shape[1]}")
            columns["landmarks"] = pa.FixedSizeListArray.from_arrays(pa.array(points.reshape(-1)), 2 * LANDMARKS)
        table = pa.table(columns)
        if self._schema is None:
            self._schema = table.schema
        if table.schema.names != self._schema.names:
            wrong = sorted(set(table.schema.names) ^ set(self._schema.names)) or "the order"
            raise ValueError(f"rows: expected the columns of the first call, {self._schema.names}; differs in {wrong}")
        try:
            return table.cast(self._schema)
        except pa.ArrowInvalid as error:
            raise ValueError(f"rows: expected the types of the first call ({error})") from error

    def _open_shard(self, row_shape: tuple[int, ...], masked: bool) -> None:
        number = len(self._shards)
        self._images = _NpyStream(self._folder / f"images-{number:03d}.npy", row_shape)
        if masked:
            self._masks = _NpyStream(self._folder / f"masks-{number:03d}.npy", row_shape[:2])

    def _close_shard(self) -> None:
        shard = {"rows": self._images.rows, "images": self._images.close()}
        shard["masks"] = self._masks.close() if self._masks else None
        self._shards.append(shard)
        self._images = self._masks = None
        table = pa.concat_tables(self._tables).combine_chunks()  # one chunk: the bytes must not know the batch sizes
        self._tables = []
        if self._table_writer is None:
            self._table_writer = pq.ParquetWriter(self._folder / "table.parquet", self._schema, compression="zstd")
        self._table_writer.write_table(table)

    def _close_files(self) -> None:
        for stream in (self._images, self._masks):
            if stream is not None:
                stream.file.close()
        if self._table_writer is not None:
            self._table_writer.close()

    def _finish(self) -> None:
        if self.count == 0:
            raise ValueError(f"images: {self.root} would be an empty set; add at least one image")
        if self._images is not None:
            self._close_shard()
        self._table_writer.close()
        self._table_writer = None
        about = dict(self.about, image_size=list(self._size), count=self.count, shards=self._shards)
        table = self._folder / "table.parquet"
        about["table"] = {"file": table.name, "bytes": table.stat().st_size, "sha256": _sha256(table)}
        (self._folder / "set.json").write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


class _Shard(NamedTuple):
    """The file of an array: how many rows it has, of how many bytes each, and where the first begins."""

    path: Path
    rows: int
    row: int
    start: int


class _Shards:
    """Pixel reader: only the wanted rows leave the disk.

    Each file is open only while it is read from: a set of millions of images has more shards than a process may have files open.
    Plain reads also need no page tables, and other threads go on meanwhile.
    """

    def __init__(self, images: list[_Shard], masks: list[_Shard], size: tuple[int, int]):
        self._starts = np.cumsum([0] + [shard.rows for shard in images])
        self._images, self._masks, self._size = images, masks, size
        self.has_masks = bool(masks)

    def images(self, index: np.ndarray) -> np.ndarray:
        return self._gather(self._images, (*self._size, 3), index)

    def masks(self, index: np.ndarray) -> np.ndarray:
        return self._gather(self._masks, self._size, index)

    def _gather(self, shards: list[_Shard], shape: tuple[int, ...], index: np.ndarray) -> np.ndarray:
        out = np.empty((len(index), *shape), np.uint8)
        if not out.size:
            return out
        bytes_of = memoryview(out).cast("B")
        order = np.argsort(index, kind="stable")  # forward through each file
        owner = np.searchsorted(self._starts, index[order], side="right") - 1
        numbers, begin = np.unique(owner, return_index=True)
        for number, group in zip(numbers, np.split(order, begin[1:])):
            shard = shards[number]
            sources = shard.start + (index[group] - self._starts[number]) * shard.row
            try:
                with open(shard.path, "rb", buffering=0) as file:
                    for to, source in zip((group * shard.row).tolist(), sources.tolist()):
                        if os.preadv(file.fileno(), [bytes_of[to : to + shard.row]], source) != shard.row:
                            raise DatasetError(f"{shard.path}: expected rows of {shard.row} bytes, the file ends before; {REMEDY}")
            except OSError as error:
                raise DatasetError(f"{shard.path}: cannot be read any more ({error}); {REMEDY}") from error
        return out


def _read_about(root: Path) -> dict:
    path = root / "set.json"
    if not path.is_file():
        there = "the folder is missing" if not root.is_dir() else "no such file"
        raise DatasetError(f"{path}: expected the description of a packed set, {there}; {REMEDY}")
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        files = [about["table"]] + [shard["images"] for shard in about["shards"]] + \
            [shard["masks"] for shard in about["shards"] if shard["masks"]]
        [(file["file"] + "", file["bytes"] + 0, file["sha256"] + "") for file in files]
        about.setdefault("notes", [])  # sets that were packed before there were notes
        [text + "" for text in (*(about[key] for key in ("name", "source", "licence", "credit")), *about["notes"])]
        height, width = (int(side) for side in about["image_size"])
        rows = sum(shard["rows"] for shard in about["shards"])
        masked = sum(shard["masks"] is not None for shard in about["shards"])
        count = about["count"]
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path}: expected the description of a packed set, cannot use it "
                           f"({type(error).__name__}: {error}); {REMEDY}") from error
    if rows != count or count < 1 or masked not in (0, len(about["shards"])):
        raise DatasetError(f"{path}: expected {count} images in all, its shards name {rows} "
                           f"(masks in {masked} of {len(about['shards'])} shards); {REMEDY}")
    about["image_size"] = (height, width)
    about["files"] = files
    return about


def _shard(root: Path, file: dict, shape: tuple[int, ...]) -> _Shard:
    """Read the head of an array's file, which is closed again."""
    path = root / file["file"]
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DatasetError(f"{path}: expected a uint8 array {list(shape)}, cannot read it ({error});"
                           f" {REMEDY}") from error
    if array.dtype != np.uint8 or array.shape != shape:
        raise DatasetError(f"{path}: expected a uint8 array {list(shape)}, got {array.dtype} {list(array.shape)};"
                           f" {REMEDY}")
    return _Shard(path, shape[0], array[:1].nbytes, array.offset)


def open_packed(root) -> FaceTable:
    """Open a packed set without reading its pixels.

    Every file must be there with its byte size, shape and number of rows; the checksums are left to ``verify``.

    Raises:
        DatasetError: names the file, what was expected, what came and the remedy.
    """
    root = Path(root)
    about = _read_about(root)
    for file in about["files"]:
        path = root / file["file"]
        if not path.is_file():
            raise DatasetError(f"{path}: expected a file of {file['bytes']} bytes, it is missing; {REMEDY}")
        if path.stat().st_size != file["bytes"]:
            raise DatasetError(f"{path}: expected {file['bytes']} bytes, got {path.stat().st_size}; {REMEDY}")
    size = about["image_size"]
    images = [_shard(root, shard["images"], (shard["rows"], *size, 3)) for shard in about["shards"]]
    masks = [_shard(root, shard["masks"], (shard["rows"], *size)) for shard in about["shards"] if shard["masks"]]
    path = root / about["table"]["file"]
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"{path}: expected a parquet table, cannot read it ({error}); {REMEDY}") from error
    if table.num_rows != about["count"]:
        raise DatasetError(f"{path}: expected {about['count']} rows, one an image, got {table.num_rows}; {REMEDY}")
    landmarks = None
    if "landmarks" in table.column_names:
        flat = table.column("landmarks").combine_chunks()
        if flat.type != pa.list_(pa.float32(), 2 * LANDMARKS) or flat.null_count:
            raise DatasetError(f"{path}: expected {2 * LANDMARKS} float32 in 'landmarks' of each row, got {flat.type}"
                               f" with {flat.null_count} empty; {REMEDY}")
        landmarks = flat.flatten().to_numpy(zero_copy_only=False).reshape(-1, LANDMARKS, 2)
        table = table.drop_columns(["landmarks"])
    return FaceTable(name=about["name"], source=about["source"], licence=about["licence"], credit=about["credit"],
                     image_size=size, rows=table.to_pandas(), reader=_Shards(images, masks, size), landmarks=landmarks,
                     notes=about["notes"])


def verify(root) -> None:
    """Check the SHA-256 of every file of a packed set, with a progress line now and then.

    Raises:
        DatasetError: names the first file that differs, with both checksums.
    """
    root = Path(root)
    open_packed(root)
    files = _read_about(root)["files"]
    progress = Progress(len(files), f"checking {root}, files")
    for file in files:
        came = _sha256(root / file["file"])
        if came != file["sha256"]:
            raise DatasetError(f"{root / file['file']}: expected sha256 {file['sha256']}, got {came}; {REMEDY}")
        progress.step()
