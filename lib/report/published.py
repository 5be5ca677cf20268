"""Published F1 of action units on BP4D and DISFA: to print beside one's own, never to be equalled by a demo run.

Source: AUNCE's README (in its history; HEAD has no numbers any more), ME-GraphAU's README (ResNet-50 on BP4D), and the logs
that AUNCE's authors committed, one row a fold. Mean over three subject-exclusive folds unless ``fold`` says which.
"""

from pathlib import Path

import pandas as pd

FILE = Path(__file__).parent / "assets" / "published_action_units.csv"


def published_action_units(dataset: str, fold: int | None = None) -> pd.DataFrame:
    """The rows of 'BP4D' or 'DISFA' (in any case, as data sets are called in lower case elsewhere), in percent.

    Args:
        fold: None for the tables (mean over the folds), 1 to 3 for that fold's log.

    Returns:
        Columns method, au_<n> of the set's units, stated_mean, inconsistent (bool: the stated mean is not that of the
        units, so that the row proves nothing), note.

    Raises:
        ValueError: another data set, or a fold that is not 1, 2, 3.
    """
    rows = pd.read_csv(FILE, keep_default_na=False, na_values={"fold": [""], "stated_mean": [""]})
    known = rows["dataset"].unique().tolist()
    if dataset.upper() not in known:
        raise ValueError(f"dataset: expected one of {', '.join(known)}, got {dataset!r}")
    if fold not in (None, 1, 2, 3):
        raise ValueError(f"fold: expected None (the means), 1, 2 or 3, got {fold!r}")
    mine = rows["fold"].isna() if fold is None else rows["fold"] == fold
    rows = rows[(rows["dataset"] == dataset.upper()) & mine].drop(columns=["dataset", "fold"]).reset_index(drop=True)
    units = [name for name in rows if name.startswith("au_")]
    rows[units] = rows[units].apply(pd.to_numeric)
    rows["inconsistent"] = rows["inconsistent"].astype(bool)
    return rows.dropna(axis=1, how="all")
