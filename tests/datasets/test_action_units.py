import numpy as np
import pytest

from lib.datasets.action_units import BP4D_UNITS, DISFA_UNITS, au_labels, units_of


def test_presence_from_intensity(synthetic_faces):
    table = synthetic_faces()
    table.rows["au_1"] = np.resize([0, 1, 1.9, 2, 5, np.nan], len(table))
    found = au_labels(table, [1, 26])
    assert found.dtype == np.int64 and found[:6, 0].tolist() == [0, 0, 0, 1, 1, -1] and (found[:, 1] == -1).all()
    assert au_labels(table, [1], present_from=1)[:6, 0].tolist() == [0, 1, 1, 1, 1, -1]
    assert au_labels(table).shape == (len(table), 12)


def test_the_published_units():
    assert len(BP4D_UNITS) == 12 and len(DISFA_UNITS) == 8 and set(BP4D_UNITS) & set(DISFA_UNITS) == {1, 2, 4, 6, 12}


@pytest.mark.parametrize(
    "units, scored",
    [
        (BP4D_UNITS, BP4D_UNITS),
        (DISFA_UNITS, DISFA_UNITS),
        ((*DISFA_UNITS, 5, 15, 17, 20), DISFA_UNITS),
        ((*DISFA_UNITS, *BP4D_UNITS), BP4D_UNITS),
        (DISFA_UNITS[:-1], BP4D_UNITS),
        ((12,), BP4D_UNITS),
    ],
)
def test_which_units_a_table_is_scored_on(units, scored):
    assert units_of(("identity", *(f"au_{unit}" for unit in units))) == scored


def test_bad_input(synthetic_faces):
    with pytest.raises(ValueError, match="units: expected at least one"):
        au_labels(synthetic_faces(), [])
    with pytest.raises(ValueError, match="units: table 'rendered' has none of the columns au_25, au_26"):
        au_labels(synthetic_faces(), [25, 26])
