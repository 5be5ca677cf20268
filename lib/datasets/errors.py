"""The one error of everything that reads or writes a data set, and how it names many things at once."""

from collections.abc import Sequence


class DatasetError(ValueError):
    """A data set on disk is not what it should be: names the path, what was expected, what came and the remedy."""


def named(items: Sequence, what: str, shown: int = 5) -> str:
    """``7 rows without an image: a, b, c, d, e ...``: all counted, the first ``shown`` named."""
    return f"{len(items)} {what}: {', '.join(str(item) for item in items[:shown])}{' ...' if len(items) > shown else ''}"


def unreadable_images(where: str, errors: list[DatasetError]) -> DatasetError:
    """One error for all the images of ``where`` that cannot be read: all counted, the first five quoted."""
    if len(errors) == 1:
        return errors[0]
    more = "\n  ..." if len(errors) > 5 else ""
    return DatasetError(f"{where}: {len(errors)} images cannot be read:\n  " + "\n  ".join(map(str, errors[:5])) + more)
