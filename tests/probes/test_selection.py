import numpy as np
import pytest

from lib.probes.selection import balanced_order
from lib.probes.selection import test_rows as rows_for_testing


def test_every_beginning_is_balanced():
    person, label = np.repeat(np.arange(12), 14), np.tile(np.arange(7), 24)
    order = balanced_order(person, label, seed=0)
    assert sorted(order) == list(range(168))
    for n in range(1, 169):
        persons = np.bincount(person[order[:n]], minlength=12)
        assert persons.max() - persons.min() <= 1, n
    for n in (12, 24, 42, 84, 168):
        labels = np.bincount(label[order[:n]], minlength=7)
        assert labels.max() - labels.min() <= 2, (n, labels)
    for p in range(12):  # one person shows all classes before it shows one twice
        assert len(set(label[order][person[order] == p][:7])) == 7


def test_order_depends_on_the_seed_alone():
    person, label = np.arange(60) % 9, np.arange(60) % 4
    assert (balanced_order(person, label, 3) == balanced_order(person, label, 3)).all()
    assert (balanced_order(person, label, 3) != balanced_order(person, label, 4)).any()


def test_groups_of_different_size_are_all_used():
    person = np.repeat([5, 7, 9], [1, 10, 3])
    order = balanced_order(person, np.zeros(14), 0)
    assert set(person[order[:3]]) == {5, 7, 9} and sorted(order) == list(range(14))


def test_test_rows_are_those_of_the_test_persons_labelled_frames_first(synthetic_faces):
    table = synthetic_faces()
    table.rows.loc[table.rows["frame"] % 5 == 0, "expression"] = -1
    rows = rows_for_testing(table, 0)
    test, labelled = table.column("split") == "probe_test", table.column("expression") >= 0
    first = int((test & labelled).sum())
    assert sorted(rows[:first]) == np.flatnonzero(test & labelled).tolist()
    assert sorted(rows[first:]) == np.flatnonzero(test & ~labelled).tolist()
    for part in (rows[:first], rows[first:]):
        people = table.column("identity")[part][:20]
        assert len(set(people)) == len(people)  # each person once before one comes again
    assert len(rows_for_testing(synthetic_faces(labelled=False), 0)) == 280


def test_bad_input_is_named(synthetic_faces):
    with pytest.raises(ValueError, match="equally long"):
        balanced_order([1, 2], [1], 0)
    with pytest.raises(ValueError, match="no test images"):
        rows_for_testing(synthetic_faces().select(np.arange(10)), 0)
