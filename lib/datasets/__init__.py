"""Face data sets: official layouts on disk -> one table."""

from lib.datasets.errors import DatasetError
from lib.datasets.table import FaceTable

__all__ = ["DatasetError", "FaceTable"]
