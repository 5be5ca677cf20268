"""Face data sets: official layouts on disk -> one table. A new set is one new file here and one line in DATASETS."""

from pathlib import Path

from lib.datasets import au_lists, bp4d, disfa, folder, orl, rendered
from lib.datasets.errors import DatasetError
from lib.datasets.table import FaceTable

DATASETS = {"rendered": rendered, "orl": orl, "folder": folder, "bp4d": bp4d, "disfa": disfa, "au_lists": au_lists}

__all__ = ["DATASETS", "DatasetError", "FaceTable", "describe", "open_dataset"]


def _module(name: str):
    if name not in DATASETS:
        raise DatasetError(f"name: expected one of {', '.join(DATASETS)}, got {name!r}")
    return DATASETS[name]


def open_dataset(name: str, root: str | Path, **options) -> FaceTable:
    """Open the data set ``name`` whose files lie in ``root``; the pixels are read later, row by row.

    ``options`` are those of the set's own ``open_set``: 'folder' takes ``image_size=(H, W)``, 'bp4d', 'disfa' and
    'au_lists' also ``partial=True``.

    Raises:
        DatasetError: names the path, what was expected there and where to get it.
    """
    return _module(name).open_set(Path(root), **options)


def describe(name: str) -> None:
    """Print what the data set ``name`` is, where to get it, its licence, and the expected files and counts."""
    print(_module(name).ABOUT.text())
