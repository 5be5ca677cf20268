"""Labels of action units: which units a data set codes, and 0 / 1 / unknown from the columns of a face table."""

from collections.abc import Sequence

import numpy as np

from lib.datasets.columns import AU_PRESENT_FROM, NO_LABEL

BP4D_UNITS = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)
DISFA_UNITS = (1, 2, 4, 6, 9, 12, 25, 26)


def units_of(columns: Sequence[str]) -> tuple[int, ...]:
    """The AUs that a table with these columns is scored on: DISFA's 8 where it has all of them and not all of BP4D's 12, else
    these 12."""
    has = {units: all(f"au_{unit}" in columns for unit in units) for units in (BP4D_UNITS, DISFA_UNITS)}
    return DISFA_UNITS if has[DISFA_UNITS] and not has[BP4D_UNITS] else BP4D_UNITS


def au_labels(table, units: Sequence[int] = BP4D_UNITS, present_from: float = AU_PRESENT_FROM) -> np.ndarray:
    """Which of ``units`` each image of a face table shows: [N, K] int64, 1 present, 0 absent, -1 unknown.

    An AU is present from FACS intensity ``present_from`` on. A unit without a column is unknown everywhere.

    Raises:
        ValueError: no unit, or none of them has a column.
    """
    if not len(units):
        raise ValueError("units: expected at least one action unit, got none")
    names = [f"au_{unit}" for unit in units]
    if not any(name in table.columns for name in names):
        raise ValueError(f"units: table {table.name!r} has none of the columns {', '.join(names)}")
    nothing = np.full(len(table), np.nan)
    intensity = np.stack([table.column(n).astype(float) if n in table.columns else nothing for n in names], axis=1)
    return np.where(np.isfinite(intensity), intensity >= present_from, NO_LABEL).astype(np.int64)
