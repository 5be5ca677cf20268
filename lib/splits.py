"""Whose faces are learnt from, whose train the probes, whose test them: people are dealt, never single images."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lib.datasets import DatasetError, FaceTable
from lib.datasets.columns import KNOWN_SPLITS, NO_LABEL, SPLITS
from lib.datasets.errors import named

SHARES = (0.8, 0.1, 0.1)  # of the people, in the order of SPLITS
FOLDS = 3


def _hash(person: str) -> str:
    return hashlib.sha256(person.encode()).hexdigest()


def _people(rows: pd.DataFrame) -> np.ndarray:
    """A name for each row's person that stays when other people are added: the sub-folder's, else the number."""
    if "file" in rows:
        folder = rows["file"].str.rpartition("/")[0].str.partition("/")[0]
        named = np.where(folder == "", rows["file"], folder)
        # Only where folders are the people: labels.csv may number them otherwise.
        number = pd.factorize(named)[0]
        if len(set(zip(number, rows["identity"]))) == number.max() + 1 == rows["identity"].nunique():
            return named.astype(str)
    return rows["identity"].astype(str).to_numpy()


def with_split(table: FaceTable, root: Path) -> FaceTable:
    """The table with the columns ``split`` and ``fold``; those it has stay.

    Without ``split`` people are dealt by :data:`SHARES` in the order of a hash of their names, without ``fold`` the probes'
    people go into :data:`FOLDS` folds.

    Raises:
        DatasetError: no column of people, too few of them, or an unknown split.
    """
    rows = table.rows.copy(deep=False)
    if "identity" not in rows:
        raise DatasetError(f"{root}: expected a column 'identity', got {', '.join(table.columns)}")
    names = _people(rows)
    ranked = sorted(set(names), key=_hash)
    if "split" not in rows:
        if len(ranked) < len(SPLITS):
            raise DatasetError(f"{root}: expected at least {len(SPLITS)} people (sub-folders) to split into"
                               f" {', '.join(SPLITS)}, got {len(ranked)}; add people, or a column 'split' to"
                               " labels.csv")
        # Ranks, not the hash's value itself, so that the shares are met and no split is empty.
        held = max(1, round(SHARES[2] * len(ranked)))
        probe = max(1, round(SHARES[1] * len(ranked)))
        where = dict.fromkeys(ranked, SPLITS[0]) | dict.fromkeys(ranked[:held], SPLITS[2]) | \
            dict.fromkeys(ranked[held:held + probe], SPLITS[1])
        rows["split"] = [where[name] for name in names]
    wrong = sorted(set(rows["split"]) - set(KNOWN_SPLITS))
    if wrong:
        raise DatasetError(f"{root}: expected {', '.join(KNOWN_SPLITS)} in the column 'split', got"
                           f" {', '.join(map(repr, wrong[:5]))}")
    if "fold" not in rows:
        probed = set(names[(rows["split"] != SPLITS[0]).to_numpy()])
        fold = {name: number % FOLDS for number, name in enumerate(name for name in ranked if name in probed)}
        rows["fold"] = [fold[name] if split != SPLITS[0] else NO_LABEL for name, split in zip(names, rows["split"])]
    return table.with_rows(rows)


def by_folds(table: FaceTable, root: Path, test_folds: Sequence[int], learnt: bool) -> FaceTable:
    """The table with a column ``split`` after its own folds: people of ``test_folds`` (1, 2, 3) test, all others do not.

    So a tested person is neither learnt from nor among those whom probes of its fold are fitted on. The published protocol is
    a run a fold: ``test_folds`` of one fold, on the people of the other two encoders are pre-trained and probes fitted. All
    three at once are for encoders that learnt from another set.

    Args:
        learnt: encoders learn from this set, so the others' split is 'pretrain' (probes of action units are fitted on them
            too: they go by ``fold``); else it is 'probe_train'.

    Raises:
        DatasetError: no column of folds, or one of splits, a fold without images, people outside the folds or in two, or nobody
            left to learn from.
    """
    if "fold" not in table.rows or "identity" not in table.rows:
        raise DatasetError(f"{root}: test_folds: this set has no folds of its own (bp4d, disfa, disfa_plus and au_lists have); got the"
                           f" columns {', '.join(table.columns)}")  # fmt: skip
    if "split" in table.rows:
        raise DatasetError(f"{root}: test_folds: the column 'split' says already who is tested; take it out, or test_folds")
    fold, person = table.column("fold"), table.column("identity")
    empty = sorted(set(range(FOLDS)) - set(fold.tolist()))
    if empty:
        raise DatasetError(f"{root}: test_folds: expected images in folds 1, 2, 3, there is none in"
                           f" {', '.join(str(f + 1) for f in empty)}; complete the set")  # fmt: skip
    outside = ~np.isin(fold, range(FOLDS))
    if outside.any():
        raise DatasetError(f"{root}: test_folds: {named(_who(table, outside), 'people outside the folds')}; take their files out:"
                           " nothing says whether they may be learnt from")  # fmt: skip
    pairs = pd.DataFrame({"person": person, "fold": fold}).drop_duplicates()
    twice = np.isin(person, pairs["person"][pairs["person"].duplicated()])
    if twice.any():
        raise DatasetError(f"{root}: test_folds: {named(_who(table, twice), 'people in more than one fold')}")
    tested = np.isin(fold, [f - 1 for f in test_folds])
    if learnt and tested.all():
        raise DatasetError(f"{root}: test_folds: all people are tested, so there is nobody to learn from; name one fold a run, or learn"
                           " from another set (prepare.dataset)")  # fmt: skip
    rows = table.rows.copy(deep=False)
    rows["split"] = np.where(tested, SPLITS[2], SPLITS[0] if learnt else SPLITS[1])
    return table.with_rows(rows)


def check_nobody_twice(table: FaceTable, root: Path) -> None:
    """Whoever is tested is neither learnt from nor one whom probes are fitted or chosen on; heads of action units go by ``fold``.

    For a user's own labels. (A published split may be by images, such as that of a recognition experiment on LFW.)

    Raises:
        DatasetError: names up to five people, each with a file on either side, and the remedy.
    """
    person, split, fold = (table.column(name) for name in ("identity", "split", "fold"))
    tested = split == SPLITS[2]
    both = np.isin(person, person[tested]) & np.isin(person, person[~tested])
    pairs = pd.DataFrame({"person": person, "fold": fold})[fold >= 0].drop_duplicates()
    twice = np.isin(person, pairs["person"][pairs["person"].duplicated()]) & (fold >= 0)
    for found, column, what in ((both, "split", f"{SPLITS[2]} and in another split"), (twice, "fold", "more than one fold")):
        if found.any():
            raise DatasetError(
                f"{root}: {named(_who(table, found, column), f'people in {what}')}: put all images of a person on one side; where the"
                " sub-folders are no people, say who is who in a column 'identity' of labels.csv (where nobody knows: a number of"
                " its own for each image)"
            )


def check_used(rows: pd.DataFrame, root: Path, learnt: bool, probed: bool) -> None:
    """A set that is learnt from has images of the split 'pretrain', one that is probed of 'probe_test'.

    Raises:
        DatasetError: names the key of params.yaml, what there is instead, and the remedy.
    """
    counts = rows["split"].value_counts()
    for used, split, key, otherwise in (
        (learnt, SPLITS[0], "dataset", "to learn from"), (probed, SPLITS[2], "probe", "to be tested on"),
    ):  # fmt: skip
        if used and not counts.get(split, 0):
            there = ", ".join(f"{count} of {name}" for name, count in counts.items())
            raise DatasetError(
                f"{root}: prepare.{key}: none of the images is of the split {split!r}, so there is nothing {otherwise} (there are"
                f" {there}). Name a set that has such images, or, in a folder of your own, give them that split in labels.csv or leave"
                " the column 'split' out: people are dealt then"
            )


def check_other_people(learnt: Iterable[FaceTable], tested: Iterable[FaceTable]) -> None:
    """Two tables of one source, such as bp4d and au_lists of BP4D, show the same people; those of DISFA+ are of DISFA.

    Raises:
        DatasetError: names the source.
    """
    both = set.intersection(*({table.source.casefold().rstrip("+") for table in tables} for tables in (learnt, tested)))
    if both:
        raise DatasetError(f"the set that is learnt from and the one that is tested are both {', '.join(sorted(both))}: the"
                           " encoder would have seen the people it is tested on; name the same set twice")  # fmt: skip


def _who(table: FaceTable, rows: np.ndarray, column: str | None = None) -> list[str]:
    """The people of some rows, each with a file to find them by, or one for each value of ``column``."""
    part = table.rows[rows].drop_duplicates(["identity", column] if column else "identity")
    if "file" not in part:
        return [str(person) for person in part["identity"].unique()]
    where = part["file"] + (f": {column} " + part[column].astype(str) if column else "")
    return [f"{person} ({', '.join(files)})" for person, files in where.groupby(part["identity"], sort=False)]
