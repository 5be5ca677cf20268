"""BP4D in its official layout, small: every number comes out where it belongs, everything that is missing is named."""

import csv

import numpy as np
import pytest
from PIL import Image

from lib.datasets import DatasetError, open_dataset
from lib.datasets.action_units import BP4D_UNITS, au_labels

COLUMNS = [1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 17, 23, 24, 28]  # more than the 12 that are used
CLIPS = {("F001", "T1"): range(640, 646), ("M011", "T8"): range(3, 7), ("F007", "T2"): range(90, 95)}


def code(subject, task, frame, unit):
    """What the label file says: 9 for AU 15 in every fourth frame, else a pattern of its own for each AU."""
    return 9 if unit == 15 and frame % 4 == 0 else (frame * unit + len(subject) + int(task[1])) % 3 % 2


def write_csv(path, subject, task, frames, columns=COLUMNS, change=lambda rows: rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [[0, *columns]] + [[frame, *(code(subject, task, frame, unit) for unit in columns)] for frame in frames]
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows(change(rows))


def write_image(path, frame):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 12), (frame % 256, 0, 0)).save(path, quality=100)


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "bp4d"
    for (subject, task), frames in CLIPS.items():
        write_csv(root / "AUCoding" / "AU_OCC" / f"{subject}_{task}.csv", subject, task, frames)
        for frame in frames:
            name = f"{frame:04d}.jpg" if subject == "M011" else f"{frame}.jpg"  # both kinds of numbers are met
            write_image(root / "img" / subject / task / name, frame)
    return root


def csv_of(root, clip="F001_T1"):
    return root / "AUCoding" / "AU_OCC" / f"{clip}.csv"


def test_labels_images_people_and_folds(root):
    table = open_dataset("bp4d", root, complete=False)
    assert (len(table), table.name, table.source, table.image_size) == (15, "bp4d", "BP4D", (12, 12))
    rows = table.rows.set_index("file")
    assert rows.index[0] == "img/F001/T1/640.jpg" and "img/M011/T8/0003.jpg" in rows.index
    people = {"F001": (0, 2), "F007": (6, 0), "M011": (33, 1)}  # place among the 41, fold
    for file, row in rows.iterrows():
        _, subject, task, name = file.split("/")
        assert row["frame"] == int(name[:-4]) and (row["identity"], row["fold"]) == people[subject]
        for unit in BP4D_UNITS:
            wanted = code(subject, task, row["frame"], unit)
            assert np.isnan(row[f"au_{unit}"]) if wanted == 9 else row[f"au_{unit}"] == 2 * wanted
    assert rows.groupby("clip").size().tolist() == [6, 5, 4]
    assert abs(table.images([0])[0, 0, 0, 0].item() - 640 % 256) < 6
    labels = au_labels(table, BP4D_UNITS)
    assert set(labels.ravel()) == {-1, 0, 1} and set(np.nonzero(labels == -1)[1]) == {8}  # AU 15 alone
    assert "F001_T2.csv" in table.notes[0] and table.notes[0].startswith("325 missing label files: F001_T2.csv")


def test_columns_are_found_by_their_name_in_any_order(root):
    write_csv(csv_of(root), "F001", "T1", CLIPS["F001", "T1"], columns=COLUMNS[::-1])
    rows = open_dataset("bp4d", root, complete=False).rows
    first = rows[rows["clip"] == 0]
    for unit in (1, 10, 24):
        assert (first[f"au_{unit}"] / 2).tolist() == [code("F001", "T1", f, unit) for f in first["frame"]]


def test_an_incomplete_set_is_refused_and_says_how_to_use_it(root):
    with pytest.raises(DatasetError) as caught:
        open_dataset("bp4d", root)
    said = str(caught.value)
    counts = "expected 46,034, 50,182, 50,631 coded frames with an image in folds 1, 2, 3, got 5, 4, 6"
    for part in ("325 missing label files", counts, "complete=False", "where to get it", str(root)):
        assert part in said


def test_frames_and_images_that_lack_each_other_are_counted(root):
    (root / "img" / "F001" / "T1" / "642.jpg").unlink()
    write_image(root / "img" / "M011" / "T8" / "0900.jpg", 1)
    (root / "img" / "F007" / "T2" / "thumbs.txt").write_text("")
    table = open_dataset("bp4d", root, complete=False)
    assert len(table) == 14 and "img/F001/T1/642.jpg" not in table.rows["file"].tolist()
    assert "1 coded frames without an image: img/F001/T1/642" in table.notes
    assert "1 images without a coded frame: img/M011/T8/0900.jpg" in table.notes
    assert table.select([0, 1]).notes == table.notes == table.with_rows(table.rows).notes


def test_people_outside_the_folds_have_none_and_are_named(root):
    write_csv(csv_of(root, "F077_T1"), "F077", "T1", [5])
    write_image(root / "img" / "F077" / "T1" / "5.jpg", 5)
    (csv_of(root, "notes")).write_text("x")
    table = open_dataset("bp4d", root, complete=False)
    row = table.rows[table.rows["file"] == "img/F077/T1/5.jpg"].iloc[0]
    assert (row["fold"], row["identity"]) == (-1, 41)
    assert "1 subjects outside the published folds: F077" in table.notes
    assert "1 files not called <person>_<task>.csv: notes.csv" in table.notes


def test_a_missing_column_is_unknown_and_named(root):
    write_csv(csv_of(root), "F001", "T1", CLIPS["F001", "T1"], columns=[u for u in COLUMNS if u not in (17, 23)])
    with pytest.raises(DatasetError, match="2 AU columns missing in F001_T1.csv: 17, 23"):
        open_dataset("bp4d", root)
    table = open_dataset("bp4d", root, complete=False)
    assert "2 AU columns missing in F001_T1.csv: 17, 23" in table.notes
    first = table.column("clip") == 0
    assert np.isnan(table.column("au_17")[first]).all() and np.isfinite(table.column("au_17")[~first]).all()
    assert np.isfinite(table.column("au_24")).all()


@pytest.mark.parametrize("change, message", [
    (lambda rows: [*rows[:2], [641, *rows[2][1:3], 2, *rows[2][4:]], *rows[3:]], "1 lines of F001_T1.csv without .*: line 3"),
    (lambda rows: [*rows[:2], [641, *rows[2][1:3], "", *rows[2][4:]], *rows[3:]], "1 lines of F001_T1.csv without .*: line 3"),
    (lambda rows: [*rows[:3], ["x", *rows[3][1:]], *rows[4:]], "1 lines of F001_T1.csv without a frame number .*: line 4"),
    (lambda rows: [*rows, rows[2]], "1 repeated frames in F001_T1.csv: 641"),
    (lambda rows: [], "F001_T1.csv: expected a comma-separated table with a header, cannot read it"),
])
def test_label_files_that_are_wrong_are_refused_whatever_one_asks_for(root, change, message):
    write_csv(csv_of(root), "F001", "T1", CLIPS["F001", "T1"], change=change)
    with pytest.raises(DatasetError, match=message):
        open_dataset("bp4d", root, complete=False)


def test_two_images_with_one_number(root):
    write_image(root / "img" / "F001" / "T1" / "0640.jpg", 640)
    with pytest.raises(DatasetError, match="0640.jpg and 640.jpg have one number"):
        open_dataset("bp4d", root, complete=False)


def test_no_labels_and_no_images(root, tmp_path):
    with pytest.raises(DatasetError, match="expected the label files in AUCoding/AU_OCC or AU_OCC"):
        open_dataset("bp4d", root / "img")
    for image in (root / "img").rglob("*.jpg"):
        image.unlink()
    with pytest.raises(DatasetError, match="no coded frame has an image; 15 coded frames without an image: img/F001/T1/640"):
        open_dataset("bp4d", root, complete=False)


def test_images_read_at_another_size(root):
    table = open_dataset("bp4d", root, complete=False, image_size=(8, 8))
    assert table.image_size == (8, 8) and table.images([0]).shape == (1, 3, 8, 8)
