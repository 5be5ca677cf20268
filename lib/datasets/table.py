"""A data set in memory: one row an image, while the pixels stay on disk until somebody asks for them."""

from typing import Protocol

import numpy as np
import pandas as pd
import torch

LANDMARKS = 68


class PixelReader(Protocol):
    """Where the pixels of a table come from: image files or packed shards."""

    has_masks: bool

    def images(self, index: np.ndarray) -> np.ndarray:
        """Positions [n] int64 -> uint8 [n,H,W,3]."""

    def masks(self, index: np.ndarray) -> np.ndarray:
        """Positions [n] int64 -> uint8 [n,H,W]; called only where ``has_masks``."""


class FaceTable:
    """Annotated face images. A view made by ``select`` shares the pixels with the table it came from.

    Attributes:
        name, source, licence, credit: what the set is; ``source`` ('rendered', 'ORL', ...) is printed beside every
            number.
        image_size: (H, W) in pixels, or None when the images differ in size (then read them one at a time).
        rows: DataFrame, one row an image, index 0..n-1. Landmarks are not in it, they have their own method.
        notes: what the reader of the set left out or found odd, a sentence with a count each.
    """

    def __init__(self, *, name: str, source: str, licence: str, credit: str, image_size: tuple[int, int] | None,
                 rows: pd.DataFrame, reader: PixelReader, landmarks: np.ndarray | None = None,
                 index: np.ndarray | None = None, notes: tuple[str, ...] = ()):
        """``landmarks`` float32 [N,68,2] of all images of ``reader``; ``index`` [n]: which of these N the rows are."""
        self.name, self.source, self.licence, self.credit = name, source, licence, credit
        self.image_size, self.notes = image_size, tuple(notes)
        self.rows = rows.reset_index(drop=True)
        self._reader, self._landmarks = reader, landmarks
        self._index = np.arange(len(rows), dtype=np.int64) if index is None else index

    def __len__(self) -> int:
        return len(self._index)

    def __repr__(self) -> str:
        return f"FaceTable({self.name!r}, source={self.source!r}, {len(self)} images, image_size={self.image_size})"

    @property
    def columns(self) -> tuple[str, ...]:
        """Names that ``column`` knows, 'landmarks' included where the set has them."""
        return tuple(self.rows.columns) + (("landmarks",) if self._landmarks is not None else ())

    @property
    def has_masks(self) -> bool:
        return self._reader.has_masks

    @property
    def has_landmarks(self) -> bool:
        return self._landmarks is not None

    def column(self, name: str) -> np.ndarray:
        """One annotation, [n] ('landmarks': float32 [n,68,2]). An unknown name's error lists the known ones."""
        if name == "landmarks" and self._landmarks is not None:
            return self._landmarks[self._index]
        if name not in self.rows.columns:
            raise ValueError(f"column: {self.name!r} has no column {name!r}; it has {', '.join(self.columns)}")
        return self.rows[name].to_numpy()

    def images(self, index=None) -> torch.Tensor:
        """Pixels of the rows ``index`` (None: all) -> uint8 [n,3,H,W]. Reads only these rows."""
        return self.pixels(index).permute(0, 3, 1, 2).contiguous()

    def pixels(self, index=None) -> torch.Tensor:
        """The same as they are stored, uint8 [n,H,W,3]."""
        return torch.from_numpy(self._reader.images(self._positions(index)))

    def masks(self, index=None) -> torch.Tensor:
        """Part masks of the rows ``index`` (None: all) -> uint8 [n,H,W], 0 = background."""
        if not self.has_masks:
            raise ValueError(f"masks: {self.name!r} has no part masks")
        return torch.from_numpy(self._reader.masks(self._positions(index)))

    def landmarks(self, index=None) -> torch.Tensor:
        """The 68 points of the rows ``index`` (None: all) -> float32 [n,68,2], pixels (x, y)."""
        if self._landmarks is None:
            raise ValueError(f"landmarks: {self.name!r} has no landmarks; it has {', '.join(self.columns)}")
        return torch.from_numpy(self._landmarks[self._positions(index)])

    def select(self, index) -> "FaceTable":
        """A view of some rows: positions (in the given order, repeats allowed) or a boolean mask of ``len(self)``."""
        local = self._local(index)
        return FaceTable(name=self.name, source=self.source, licence=self.licence, credit=self.credit,
                         image_size=self.image_size, rows=self.rows.iloc[local], reader=self._reader,
                         landmarks=self._landmarks, index=self._index[local], notes=self.notes)

    def with_rows(self, rows: pd.DataFrame) -> "FaceTable":
        """The same images with other annotations, row by row."""
        if len(rows) != len(self):
            raise ValueError(f"rows: expected {len(self)}, one an image, got {len(rows)}")
        return FaceTable(name=self.name, source=self.source, licence=self.licence, credit=self.credit,
                         image_size=self.image_size, rows=rows, reader=self._reader, landmarks=self._landmarks,
                         index=self._index, notes=self.notes)

    def _positions(self, index) -> np.ndarray:
        return self._index if index is None else self._index[self._local(index)]

    def _local(self, index) -> np.ndarray:
        if isinstance(index, torch.Tensor):
            index = index.cpu().numpy()
        elif isinstance(index, slice):
            index = np.arange(len(self))[index]
        index = np.atleast_1d(np.asarray(index))
        if index.size == 0 and index.dtype != bool:
            index = index.astype(np.int64)  # an empty list is float64 to numpy
        if index.ndim != 1:
            raise ValueError(f"index: expected one dimension, got shape {list(index.shape)}")
        if index.dtype == bool:
            if len(index) != len(self):
                raise ValueError(f"index: a boolean mask must have {len(self)} entries, got {len(index)}")
            return np.flatnonzero(index)
        if index.dtype.kind not in "iu":
            raise ValueError(f"index: expected integers or a boolean mask, got {index.dtype}")
        index = index.astype(np.int64)
        if len(index) and (index.min() < -len(self) or index.max() >= len(self)):
            raise ValueError(f"index: positions must lie in 0..{len(self) - 1}, got {index.min()}..{index.max()}")
        return np.where(index < 0, index + len(self), index)
