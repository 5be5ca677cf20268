import numpy as np

from lib.items import items_of
from lib.probe_params import ProbeParams
from lib.probes.finetuned import FINETUNED


def test_what_the_reader_left_out_is_said(own_faces):
    table = own_faces()
    table.notes = ("3 images without a coded frame: a, b, c",)
    assert items_of(table, ProbeParams(pairs=40))[1] == ["rendered: 3 images without a coded frame: a, b, c"]


def test_each_task_tests_what_it_has_labels_for(own_faces):
    table = own_faces()
    test = np.flatnonzero(table.column("split") == "probe_test")
    table.rows.loc[test[::2], "expression"] = -1
    table.rows.loc[test[1::2], [name for name in table.rows if name.startswith("au_")]] = np.nan
    items, _ = items_of(table, ProbeParams(pairs=40, images=200))
    assert set(items["expression"]) == set(test[1::2]) and set(items["action_units"]) == set(test[::2])
    assert set(items["verification"]) == set(test)


def test_tasks_that_a_table_does_not_allow_are_told(own_faces):
    tuned = ProbeParams(tasks=["expression", "valence_arousal", *FINETUNED])
    table = own_faces(20, ("valence",))
    items, notes = items_of(table, tuned)
    assert list(items) == ["expression", "expression_finetuned"]
    assert notes == ["rendered: valence arousal left out: there is no column 'valence'"]
    table = own_faces()
    table = table.select(table.column("identity") >= 19)
    items, notes = items_of(table, tuned)
    assert list(items) == ["expression", "valence_arousal"]
    assert len(notes) == 2 and "expression finetuned left out: to choose an epoch takes 2 people" in notes[0]
