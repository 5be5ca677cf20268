import numpy as np
import pytest

from lib.probes.selection import balanced_order, check_apart, held_out
from lib.probes.selection import test_rows as rows_for_testing
from lib.probes.task import TaskLeftOut


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


def test_a_tenth_of_the_people_is_held_out(synthetic_faces):
    table = synthetic_faces()
    train, known = np.flatnonzero(table.column("split") == "probe_train"), np.ones(len(table), bool)
    fit, out = held_out(table, train, known, seed=0)
    person = table.column("identity")
    assert sorted([*fit, *out]) == train.tolist() and not set(person[fit]) & set(person[out])
    assert len(set(person[out])) == 2 and len(out) == 14
    assert held_out(table, train, known, seed=0)[1].tolist() == out.tolist()
    assert any(held_out(table, train, known, seed=s)[1].tolist() != out.tolist() for s in (1, 2, 3))
    assert len(set(person[held_out(table, train[:28], known, seed=0)[1]])) == 1  # of four people
    with pytest.raises(TaskLeftOut, match="takes 2 people in 'probe_train', there is 1"):
        held_out(table, train[:7], known, seed=0)


def test_a_set_s_own_validation_part_is_taken(synthetic_faces):
    table = synthetic_faces()
    table.rows.loc[table.rows["identity"].isin([18, 19]), "split"] = "probe_val"
    known = np.ones(len(table), bool)
    known[126] = False
    train = np.flatnonzero(table.column("split") == "probe_train")
    fit, out = held_out(table, train, known, seed=0)
    assert fit.tolist() == train.tolist() and out.tolist() == list(range(127, 140))
    table.rows.loc[0, "split"] = "probe_val"  # a person on both sides is not fitted on
    known[0] = True
    assert set(table.column("identity")[held_out(table, train[1:], known, seed=0)[0]]) == set(range(1, 18))
    known[:] = False
    assert len(held_out(table, train, known, seed=0)[1])  # without labels it is no use: people are held out
    check_apart(table, train, out)
    with pytest.raises(ValueError, match="persons \\[1\\] are in 'probe_train' and among the test"):
        check_apart(table, train, [8])
