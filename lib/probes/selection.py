"""Which images are tested on, and which are held out to choose by: the same ones for every encoder.

Test images are balanced over persons and classes at any number.
"""

import numpy as np
import pandas as pd

from lib.datasets.columns import VALIDATION
from lib.probes.task import TaskLeftOut

HELD_OUT = 0.1  # of the people for fitting, to choose by where a set has no validation part


def balanced_order(group, stratum, seed: int) -> np.ndarray:
    """An order of n items whose every beginning is balanced over groups, and over strata as far as they allow.

    Groups (persons) take turns. Within a group the strata (classes) take turns too, and each group begins one class
    later than the group before, as in a Latin square. Ties are drawn with ``seed``.

    Args:
        group, stratum: [n] of anything that can be sorted.
    Returns:
        [n] positions, a permutation.
    """
    rng = np.random.default_rng(seed)
    group = np.unique(group, return_inverse=True)[1]
    stratum = np.unique(stratum, return_inverse=True)[1]
    if len(group) == 0 or len(group) != len(stratum):
        raise ValueError(f"group and stratum must be equally long and not empty, got {len(group)} and {len(stratum)}")
    turn = rng.permutation(group.max() + 1)[group]
    items = pd.DataFrame({"turn": turn, "stratum": (stratum - turn) % (stratum.max() + 1)})
    items = items.iloc[rng.permutation(len(items))]
    items["again"] = items.groupby(["turn", "stratum"]).cumcount()
    items = items.sort_values(["turn", "again", "stratum"], kind="stable")
    items["rank"] = items.groupby("turn").cumcount()
    return items.sort_values(["rank", "turn"], kind="stable").index.to_numpy()


def test_rows(table, seed: int) -> np.ndarray:
    """Rows of a face table that may serve as test images, in balanced order: its tasks take a beginning of it.

    With a ``split`` column these are the rows of 'probe_test', else all. With an ``expression`` column labelled frames
    (>= 0) come first, balanced over ``identity`` and ``expression``, then the others, balanced over ``identity``.
    """
    rows = np.arange(len(table))
    if "split" in table.columns:
        rows = np.flatnonzero(table.column("split") == "probe_test")
    if len(rows) == 0:
        raise ValueError(f"table {table.name!r} has no test images (split 'probe_test')")
    person, stratum = table.column("identity")[rows], np.zeros(len(rows), int)
    if "expression" in table.columns:
        stratum = table.column("expression")[rows]
    parts = [np.flatnonzero(stratum >= 0), np.flatnonzero(stratum < 0)]
    ordered = [part[balanced_order(person[part], stratum[part], seed)] for part in parts if len(part)]
    return rows[np.concatenate(ordered)]


def held_out_people(person, share: float, seed: int) -> np.ndarray:
    """Which of n images show the people that are held out to choose by: bool [n].

    ``share`` of the people, rounded, at least one and not all of them, drawn with ``seed``: whole persons, because the
    images of one person are too alike to judge each other by.
    """
    people, place = np.unique(person, return_inverse=True)
    if len(people) < 2:
        raise ValueError(f"person: expected at least two people to hold one out, got {len(people)}")
    count = min(max(1, round(share * len(people))), len(people) - 1)
    chosen = np.random.default_rng(seed).permutation(len(people))[:count]
    return np.isin(place, chosen)


def check_apart(table, train, rows) -> None:
    """``ValueError`` where a person is among the training images ``train`` and the test images ``rows``."""
    person = table.column("identity")
    both = np.intersect1d(person[train], person[rows])
    if len(both):
        raise ValueError(
            f"table {table.name!r}: persons {both[:5].tolist()} are in 'probe_train' and among the test images"
        )


def held_out(table, train, known, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to fit on and rows to choose an epoch by: no person is in both, and none of them is a test image.

    The set's own validation part (split 'probe_val') where it has one with labels, else a tenth of the people of ``train``,
    at least one, drawn with ``seed``.

    Args:
        train: [n] rows for fitting. known: [len(table)] bool, which labels are known.
    Raises:
        TaskLeftOut: there is nobody to hold out.
    """
    train, person = np.asarray(train), table.column("identity")
    own = np.flatnonzero((table.column("split") == VALIDATION) & known)
    if len(own):
        fit = train[~np.isin(person[train], person[own])]
        if len(fit) == 0:
            raise TaskLeftOut(f"everybody in 'probe_train' is in {VALIDATION!r} too")
        return fit, own
    count = len(np.unique(person[train]))
    if count < 2:
        raise TaskLeftOut(f"to choose an epoch takes 2 people in 'probe_train', there is {count}")
    out = held_out_people(person[train], HELD_OUT, seed)
    return train[~out], train[out]
