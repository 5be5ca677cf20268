"""One run at a time in a checkout: two would write the same outputs."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


class AlreadyRunning(RuntimeError):
    """Another run holds the lock; the message names its process and what to do."""


@contextlib.contextmanager
def run_lock(path: str | os.PathLike = "work/.lock") -> Iterator[None]:
    """Hold the lock file ``path`` while the block runs.

    The operating system lets go of the lock when the process ends, killed or not, so a lock file that is left over
    stops nobody and never has to be removed.

    Raises:
        AlreadyRunning: another process (or this one, a second time) holds it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+", encoding="utf-8") as file:  # "a+" makes the file and leaves the holder's number in it
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise AlreadyRunning(
                f"another run (process {holder}) is at work in {path.parent.resolve().parent}: wait until it has ended,"
                f" or stop it with `kill {holder}` and run again; lock file {path}") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)
