"""Who is learnt from and who is tested, on a small BP4D in its official layout; and that nobody is both."""

import csv

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from lib.datasets import DatasetError, open_dataset
from lib.datasets.action_units import BP4D_UNITS
from lib.datasets.au_folds import BP4D_PARTS, subject_folds
from lib.evaluation import tasks_of
from lib.faces.shards import open_packed
from lib.items import items_of
from lib.prepare import prepare, prepare_all
from lib.probe_params import ProbeParams
from lib.splits import by_folds, check_other_people

SUBJECTS = [name for part in BP4D_PARTS for name in part[:3]]  # three of each part
FOLD_OF = subject_folds(BP4D_PARTS)


def write_bp4d(root, subjects=SUBJECTS, frames=6):
    """AU k shows in the frames f with (f + k) % 3 == 0, as a stripe k of the image; a tenth of the codes is 9, unknown."""
    rng = np.random.default_rng(0)
    for number, subject in enumerate(subjects):
        (root / "AUCoding" / "AU_OCC").mkdir(parents=True, exist_ok=True)
        (root / "img" / subject / "T1").mkdir(parents=True)
        lines = [[0, *BP4D_UNITS]]
        for frame in range(10, 10 + frames):
            present = np.array([(frame + k) % 3 == 0 for k in range(12)])
            image = np.full((24, 24, 3), 90 + number, np.uint8)
            image[np.repeat(present, 2)] = 190
            Image.fromarray(image).save(root / "img" / subject / "T1" / f"{frame}.png")
            lines.append([frame, *np.where(rng.random(12) < 0.1, 9, present.astype(int))])
        with open(root / "AUCoding" / "AU_OCC" / f"{subject}_T1.csv", "w", newline="") as file:
            csv.writer(file).writerows(lines)


@pytest.fixture
def data(tmp_path):
    write_bp4d(tmp_path / "bp4d")
    return tmp_path


PART = {"bp4d": {"complete": False}}


@pytest.mark.parametrize("tested", [1, 2, 3])
def test_a_fold_is_tested_by_those_who_never_saw_its_people(data, tested):
    summary = prepare_all(data, data / "out", ("bp4d", "bp4d"), 24, PART, [tested])
    table = open_packed(data / "out" / "bp4d")
    person, split, fold = (table.column(name) for name in ("identity", "split", "fold"))
    assert set(fold[split == "probe_test"]) == {tested - 1} and set(split) == {"pretrain", "probe_test"}
    assert not set(person[split == "pretrain"]) & set(person[split == "probe_test"])
    ranked = sorted(FOLD_OF)
    assert all(FOLD_OF[ranked[p]] == f for p, f in zip(person, fold))  # the published folds
    assert summary["test_folds"] == [tested] and summary["sets"]["bp4d"]["identities_in_two_splits"] == 0
    assert len(set(person[split == "pretrain"])) == 6 and (split == "probe_test").sum() == 18


def test_the_probe_is_fitted_on_two_folds_and_scored_on_the_third(data):
    prepare_all(data, data / "out", ("bp4d", "bp4d"), 24, PART, [2])
    table = open_packed(data / "out" / "bp4d")
    params = ProbeParams(tasks=["action_units"], images=1000, batch_size=32)
    class Encoder(torch.nn.Module):
        def forward(self, images):
            return images.mean((1, 3))

    (task,) = tasks_of(Encoder(), table, params, "cpu")
    assert set(table.column("fold")[task.rows]) == {1} and len(task) == 18
    sums = task.count(task.scores_fn(torch.arange(18))(task.images.float() / 255).numpy(), np.arange(18)).sum(0)
    assert task.metrics["f1"](sums) == task.details["f1_fold_2"](sums) > 90 and "f1_fold_1" not in task.details
    # and who has only a label to be tested by changes nothing
    rows = table.rows.copy()
    hidden = rows["fold"] == 1
    rows.loc[hidden, [f"au_{u}" for u in BP4D_UNITS]] = 2.0 - rows.loc[hidden, [f"au_{u}" for u in BP4D_UNITS]]
    (again,) = tasks_of(Encoder(), table.with_rows(rows), params, "cpu")
    items = torch.arange(18)
    assert torch.equal(task.scores_fn(items)(task.images.float() / 255), again.scores_fn(items)(task.images.float() / 255))


def test_all_folds_at_once_are_for_encoders_that_learnt_elsewhere(data):
    with pytest.raises(DatasetError, match="test_folds: all people are tested, so there is nobody to learn from; name one fold"):
        prepare_all(data, data / "out", ("bp4d", "bp4d"), 24, PART, [1, 2, 3])
    for person in range(5):
        (data / "mine" / f"p{person}").mkdir(parents=True)
        Image.new("RGB", (24, 24), (person, 0, 0)).save(data / "mine" / f"p{person}" / "0.png")
    prepare_all(data, data / "out", ("mine", "bp4d"), 24, PART, [3, 1, 2])
    table = open_packed(data / "out" / "bp4d")
    assert set(table.column("split")) == {"probe_test"} and set(open_packed(data / "out" / "mine").column("split")) > {"pretrain"}
    items, _ = items_of(table, ProbeParams(tasks=["action_units"], images=1000))
    assert set(table.column("fold")[items["action_units"]]) == {0, 1, 2}
    prepare_all(data, data / "out", ("mine", "bp4d"), 24, PART, [1])
    assert set(open_packed(data / "out" / "bp4d").column("split")) == {"probe_train", "probe_test"}


def test_the_same_people_under_another_name(data):
    write_bp4d(data / "other")
    tables = [open_dataset("bp4d", data / name, complete=False) for name in ("bp4d", "other")]
    with pytest.raises(DatasetError, match="the set that is learnt from and the one that is tested are both bp4d"):
        check_other_people(tables[:1], tables[1:])
    tables[0].source, tables[1].source = "DISFA+", "DISFA"
    with pytest.raises(DatasetError, match="are both disfa"):
        check_other_people(tables[:1], tables[1:])
    tables[1].source = "ORL"
    check_other_people(tables[:1], tables[1:])


def test_without_test_folds_people_are_dealt_and_it_is_said(data, capsys):
    prepare_all(data, data / "out", ("bp4d", "bp4d"), 24, PART)
    assert "bp4d: has folds of its own; people are dealt 80/10/10 all the same, unless prepare.test_folds" in capsys.readouterr().out
    table = open_packed(data / "out" / "bp4d")
    assert set(table.column("split")) == {"pretrain", "probe_train", "probe_test"} and set(table.column("fold")) == {0, 1, 2}


def test_what_the_reader_left_out_is_still_said_after_preparing(data):
    (data / "bp4d" / "img" / SUBJECTS[0] / "T1" / "11.png").unlink()
    summary = prepare_all(data, data / "out", ("bp4d", "bp4d"), 24, PART, [1])
    table = open_packed(data / "out" / "bp4d")
    note = f"1 coded frames without an image: img/{SUBJECTS[0]}/T1/11"
    assert note in table.notes and list(table.notes) == summary["sets"]["bp4d"]["notes"]
    assert f"bp4d: {note}" in items_of(table, ProbeParams(tasks=["action_units"]))[1]


def drop_fold(root):
    for name in SUBJECTS:
        if FOLD_OF[name] == 1:
            (root / "AUCoding" / "AU_OCC" / f"{name}_T1.csv").unlink()


@pytest.mark.parametrize(
    "change, message",
    [
        (drop_fold, "bp4d: test_folds: expected images in folds 1, 2, 3, there is none in 2; complete the set"),
        (
            lambda root: write_bp4d(root, ["F077"]),
            r"test_folds: 1 people outside the folds: 41 \(img/F077/T1/10.png\); take their files out",
        ),
    ],
)
def test_a_fold_that_is_missing_and_people_outside_the_folds(data, change, message):
    change(data / "bp4d")
    with pytest.raises(DatasetError, match=message):
        prepare_all(data, data / "out", ("bp4d", "bp4d"), 24, PART, [1])
    assert not (data / "out").exists()


def test_other_tables_that_do_not_fit(synthetic_faces, tmp_path):
    table = synthetic_faces()
    with pytest.raises(DatasetError, match="test_folds: the column 'split' says already who is tested"):
        by_folds(table, tmp_path, [1], True)
    plain = table.with_rows(table.rows.drop(columns=["split", "fold"]))
    with pytest.raises(DatasetError, match="this set has no folds of its own .*; got the columns identity, frame"):
        by_folds(plain, tmp_path, [1], True)
    rows = table.rows.drop(columns="split")
    rows.loc[3, "fold"] = 2
    with pytest.raises(DatasetError, match="1 people in more than one fold: 0$"):
        by_folds(table.with_rows(rows), tmp_path, [1], True)
    with pytest.raises(ValueError, match=r"test_folds: the people of the demo set are dealt already, got \[1\]"):
        prepare(tmp_path, tmp_path / "out", "demo", 16, test_folds=[1])


def test_the_input_is_left_as_it_was(synthetic_faces, tmp_path):
    table = synthetic_faces()
    table = table.with_rows(table.rows.drop(columns="split"))
    before = table.rows.copy()
    assert "split" in by_folds(table, tmp_path, [1], True).columns
    pd.testing.assert_frame_equal(table.rows, before)
