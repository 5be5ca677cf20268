"""The one error of everything that reads or writes a data set, and how it names many things at once."""


class DatasetError(ValueError):
    """A data set on disk is not what it should be: names the path, what was expected, what came and the remedy."""


def counted(items: list, what: str, shown: int = 5) -> str:
    """'7 rows without an image: a.png, b.png, c.png, d.png, e.png ...'"""
    return f"{len(items)} {what}: {', '.join(str(item) for item in items[:shown])}{' ...' if len(items) > shown else ''}"
