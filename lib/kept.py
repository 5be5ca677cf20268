"""What several evaluations need is made once: files named by a digest of all that they depend on.

Under its name a file is whole or absent (lib.files), also where a run is killed, and two runs at once write the same.
"""

import contextlib
import hashlib
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from lib.files import write_aside

MOST_FILES = 64  # in a folder of kept arrays: those that were asked for longest ago go first

Arrays = Mapping[str, np.ndarray]


def kept_arrays(folder: Path, key: str, make: Callable[[], Arrays]) -> dict[str, np.ndarray]:
    """The arrays of ``make()``: from ``folder``/``key``.npz, or made and written there if there is no such file or it is broken."""
    path = folder / f"{key}.npz"
    try:
        with np.load(path) as saved:
            found = dict(saved)
    except (OSError, EOFError, ValueError, zipfile.BadZipFile):  # no such file, or cut off, or no archive, or a wrong checksum
        found = None
    if found is not None:
        with contextlib.suppress(OSError):  # taken away meanwhile, or of somebody else: it is read all the same
            os.utime(path)
        return found
    found = dict(make())
    with write_aside(path) as aside, open(aside, "wb") as file:
        np.savez(file, **found)
    _forget(folder)
    return found


def digest(*parts) -> str:
    """16 hex digits of numbers, words, arrays and bytes; an iterator gives its own parts one after the other."""
    found = hashlib.sha256()

    def add(part) -> None:
        if isinstance(part, Iterator):
            for one in part:
                add(one)
        elif isinstance(part, np.ndarray):
            found.update(part.tobytes())
        else:
            found.update(part if isinstance(part, bytes) else f"{part!r};".encode())

    for part in parts:
        add(part)
    return found.hexdigest()[:16]


def source_of(*places: str) -> Iterator[bytes]:
    """The code in these files and folders of the package: results of other code must not be taken for ours."""
    for place in (Path(__file__).parent / p for p in places):
        for source in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            yield source.read_bytes()


def _forget(folder: Path) -> None:
    """Leave the ``MOST_FILES`` files of the folder that were asked for last; another run may do the same meanwhile."""
    times = {}
    for path in folder.glob("*.npz"):
        try:
            times[path] = path.stat().st_mtime_ns
        except FileNotFoundError:
            pass
    for path in sorted(times, key=times.get, reverse=True)[MOST_FILES:]:
        path.unlink(missing_ok=True)
