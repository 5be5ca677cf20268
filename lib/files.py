"""Outputs that are either whole or absent: write beside the final name, then rename onto it."""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

LEAST_FREE = 2**16  # bytes: a write that failed with less than this left on the disk failed for want of space


class DiskFull(OSError):
    """The disk filled up while an output was written; nothing is left under the output's name."""


@contextlib.contextmanager
def write_aside(path: str | os.PathLike, folder: bool = False) -> Iterator[Path]:
    """Yield a temporary path next to ``path``; put it in place of ``path`` when the block ends well.

    ``folder=True`` yields an existing empty folder, else a file name that does not exist yet. On any error the
    temporary is removed and whatever stood at ``path`` stays as it was. The rename is atomic for files; a folder is
    swapped in two renames.

    Raises:
        DiskFull: the disk (or the quota) is full; names ``path`` and what to do.
    """
    path = Path(path)
    aside = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
        target = aside / path.name
        if folder:
            target.mkdir()
        yield target
        _put_in_place(target, path, aside / "previous" if folder else None)
    except Exception as error:
        # torch, safetensors and numpy turn ENOSPC into errors of their own; that nothing is left on the disk tells then
        told = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if told or _free_bytes(path.parent) < LEAST_FREE:
            raise DiskFull(
                error.errno if told else errno.ENOSPC,
                f"the disk is full{_free(path.parent)} while writing {path}: free some space and run again; nothing was"
                " left under that name",
            ) from error
        raise
    finally:
        if aside is not None:
            shutil.rmtree(aside, ignore_errors=True)


def _put_in_place(target: Path, path: Path, previous: Path | None) -> None:
    if previous is None or not path.exists():
        os.replace(target, path)
        return
    os.replace(path, previous)  # a rename cannot replace a folder that holds files
    try:
        os.replace(target, path)
    except BaseException:
        os.replace(previous, path)
        raise


def _free_bytes(folder: Path) -> float:
    try:
        return shutil.disk_usage(folder).free
    except OSError:  # the folder itself could not be made
        return float("inf")


def _free(folder: Path) -> str:
    free = _free_bytes(folder)
    return f" ({free / 2**20:.0f} MiB free)" if free < float("inf") else ""
