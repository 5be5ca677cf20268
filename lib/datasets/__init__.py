"""Face data sets: official layouts on disk -> one table. A new set is one new file here and one line in DATASETS."""

import difflib
from collections.abc import Mapping
from pathlib import Path

from lib.datasets import affectnet, au_lists, bp4d, disfa, disfa_plus, fer2013, ferplus, folder, lfw, orl, rafdb, rendered, voxceleb
from lib.datasets.completeness import read_everything
from lib.datasets.errors import DatasetError
from lib.datasets.options import check_against
from lib.datasets.table import FaceTable

DATASETS = {
    "rendered": rendered,
    "orl": orl,
    "folder": folder,
    "voxceleb": voxceleb,
    "affectnet": affectnet,
    "fer2013": fer2013,
    "ferplus": ferplus,
    "rafdb": rafdb,
    "lfw": lfw,
    "bp4d": bp4d,
    "disfa": disfa,
    "disfa_plus": disfa_plus,
    "au_lists": au_lists,
}

__all__ = ["DATASETS", "DatasetError", "FaceTable", "about", "check_options", "describe", "open_dataset", "reader_of"]


def _module(name: str):
    if name not in DATASETS:
        near = difflib.get_close_matches(str(name).lower(), DATASETS)
        meant = f" (did you mean {' or '.join(map(repr, near))}?)" if near else ""
        raise DatasetError(f"name: expected one of {', '.join(DATASETS)}, got {name!r}{meant}")
    return DATASETS[name]


def open_dataset(name: str, root: str | Path, check: bool = False, **options) -> FaceTable:
    """Open the data set ``name`` whose files lie in ``root``; the pixels are read later, row by row.

    What the reader left out or found odd (``FaceTable.notes``) is printed. ``check=True`` decodes every image once and
    names all that cannot be read. ``options`` are those of the set's own ``open_set``, such as ``image_size=(H, W)``.

    Raises:
        ValueError: an option that this set does not have, or of another type.
        DatasetError: names the path, what was expected there and where to get it.
    """
    check_options(name, options)
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}  # YAML has no tuples
    table = _module(name).open_set(Path(root), **options)
    for note in table.notes:
        print(f"{name}: {note}")
    if check:
        read_everything(table)
    return table


def check_options(name: str, options: Mapping[str, object]) -> None:
    """``ValueError`` unless the reader of the data set ``name`` has these options (name -> value) and takes these values; see
    lib.datasets.options."""
    check_against(_module(name).open_set, name, options)


def reader_of(folder: str) -> str:
    """The data set that the user's folder of this name is read as: the one that is called so, else photographs."""
    return folder if folder in DATASETS else "folder"


def about(name: str) -> str:
    """What the data set ``name`` is, where to get it, its licence, and the expected files and counts."""
    return _module(name).ABOUT.text()


def describe(name: str) -> None:
    """Print :func:`about`. An unknown name is a DatasetError that says which are nearly called so."""
    print(about(name))
