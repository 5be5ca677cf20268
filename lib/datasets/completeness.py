"""Is a data set on disk whole: its official counts, its files beside its label file, every image readable."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from lib.datasets.description import Description
from lib.datasets.errors import DatasetError, named, unreadable_images
from lib.datasets.table import FaceTable
from lib.progress import Progress


def expect_counts(where: Path, came: Mapping[str, int], official: Mapping[str, int], about: Description) -> None:
    """The counts of a label file or folder must be those of the official release.

    Raises:
        DatasetError: names every count that differs; ``where`` is of another release, or a part of this one.
    """
    wrong = [f"{name}: expected {count:,}, got {came.get(name, 0):,}" for name, count in official.items()
             if came.get(name, 0) != count]
    if wrong:
        raise DatasetError(f"{where}: not the release that is read here, or not all of it ({'; '.join(wrong)}); get it"
                           f" again, or open a part on purpose with complete=False\n{about.text()}")


def expect_files(folder: Path, labelled: Iterable[str], labels: str, suffix: str = ".jpg") -> None:
    """Every image named in ``labels`` lies in ``folder``, and every image there is named.

    The folder is listed once: asking for 300,000 files one by one takes minutes on a network disk.

    Raises:
        DatasetError: both kinds of mismatch, counted and named.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder}: expected the folder of images that {labels} names, it is missing; unpack the set"
                           " again")
    there = {name for name in os.listdir(folder) if name.lower().endswith(suffix) and not name.startswith(".")}
    labelled = list(labelled)
    missing = [name for name in labelled if name not in there]
    unnamed = sorted(there.difference(labelled))
    problems = [named(items, what) for items, what in
                ((missing, f"images of {labels} are missing"), (unnamed, f"images are not in {labels}")) if items]
    if problems:
        raise DatasetError(f"{folder}: {'; '.join(problems)}; labels and images must be of one release: unpack the set"
                           " again")


def read_everything(table: FaceTable) -> None:
    """Decode every image of ``table`` once, with a line of progress now and then.

    Raises:
        DatasetError: names the images that cannot be read, all of them counted.
    """
    broken, progress = [], Progress(len(table), f"checking {table.name}, images")
    for row in range(len(table)):
        try:
            table.images([row])
        except DatasetError as error:
            broken.append(error)
        progress.step()
    if broken:
        raise unreadable_images(table.name, broken)
