"""The published tables: complete, right where they can be checked, and marked where they contradict themselves."""

import numpy as np
import pandas as pd
import pytest

from lib.datasets.action_units import BP4D_UNITS, DISFA_UNITS
from lib.report.published import published_action_units

SETS = {"BP4D": BP4D_UNITS, "DISFA": DISFA_UNITS}


@pytest.mark.parametrize("name", SETS)
def test_complete_rows_of_the_sets_units(name):
    rows = published_action_units(name)
    columns = [f"au_{unit}" for unit in SETS[name]]
    assert [c for c in rows if c.startswith("au_")] == columns
    assert rows[columns].notna().all().all() and rows[columns].gt(15).all().all() and rows[columns].lt(100).all().all()
    assert rows["method"].is_unique and len(rows[~rows["method"].str.contains("AUNCE|ResNet")]) == 24
    assert rows.loc[rows["method"] == "AUNCE", "stated_mean"].item() == {"BP4D": 66.1, "DISFA": 66.4}[name]


@pytest.mark.parametrize("name", SETS)
def test_just_the_rows_that_contradict_themselves_are_marked(name):
    rows = published_action_units(name)
    off = (rows.filter(like="au_").mean(axis=1) - rows["stated_mean"]).abs() > 0.105
    assert off.tolist() == rows["inconsistent"].tolist()
    assert rows["method"][off].tolist() == {"BP4D": ["EAC-Net"], "DISFA": ["EAC-Net", "ROI"]}[name]
    assert rows["note"][off].str.contains("not the stated").all()


@pytest.mark.parametrize("name", SETS)
def test_the_logs_of_the_folds_average_to_the_table(name):
    logs = [published_action_units(name, fold) for fold in (1, 2, 3)]
    table = published_action_units(name).set_index("method").loc["AUNCE"]
    units = [f"au_{unit}" for unit in SETS[name]]
    mean = np.mean([log[units].to_numpy()[0] for log in logs], axis=0)
    assert np.abs(mean - table[units].to_numpy(float)).max() < 0.11  # AU 15 on BP4D: 55.20 in the logs, 55.1 in the table
    for log in logs:
        assert log[units].to_numpy().mean() == pytest.approx(log["stated_mean"].item(), abs=0.01)


@pytest.mark.parametrize("name", SETS)
def test_the_name_in_any_case(name):
    for fold in (None, 2):
        pd.testing.assert_frame_equal(published_action_units(name.lower(), fold), published_action_units(name, fold))


def test_bad_input():
    with pytest.raises(ValueError, match="dataset: expected one of BP4D, DISFA, got 'disfa_plus'"):
        published_action_units("disfa_plus")
    with pytest.raises(ValueError, match=r"fold: expected None \(the means\), 1, 2 or 3, got 0"):
        published_action_units("BP4D", 0)
