"""The one error of everything that reads or writes a data set."""


class DatasetError(ValueError):
    """A data set on disk is not what it should be: names the path, what was expected, what came and the remedy."""
