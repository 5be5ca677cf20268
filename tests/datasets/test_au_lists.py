"""The list files of ME-GraphAU: read as they are, and every way in which they can contradict themselves."""

import numpy as np
import pytest
from PIL import Image

from lib.datasets import DatasetError, open_dataset
from lib.datasets.action_units import DISFA_UNITS

PEOPLE = [["A1", "A2"], ["B1"], ["C1", "C2"]]  # tested by folds 1, 2, 3
FILES = [[f"{person}/T{t}/{n}.jpg" for person in people for t in (1, 2) for n in (7, 10)] for people in PEOPLE]


def label(file):
    rng = np.random.default_rng(list(file.encode()))
    return [1, *rng.integers(0, 2, 7)]  # AU 1 is always there, so that every rate is > 0 somewhere


def write(path, lines):
    path.write_text("".join(f"{line}\n" for line in lines))


@pytest.fixture
def root(tmp_path):
    lists = tmp_path / "list"
    lists.mkdir()
    for fold in range(3):
        train = [file for other in range(3) if other != fold for file in FILES[other]]
        for side, files in (("train", train), ("test", FILES[fold])):
            write(lists / f"X_{side}_img_path_fold{fold + 1}.txt", files)
            write(lists / f"X_{side}_label_fold{fold + 1}.txt", [" ".join(map(str, label(file))) for file in files])
        rate = np.mean([label(file) for file in train], axis=0)
        weights = 8 / rate / (1 / rate).sum()
        write(lists / f"X_weight_fold{fold + 1}.txt", ["\t".join(f"{w:.6f}" for w in weights)])
    for file in sum(FILES, []):
        (tmp_path / "img" / file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "img" / file)
    return tmp_path


def test_images_labels_and_folds(root):
    table = open_dataset("au_lists", root)
    assert len(table) == 20 and table.source == "X" and table.notes == () and table.image_size == (8, 8)
    assert table.rows["file"].tolist() == [f"img/{file}" for files in FILES for file in files]
    for row in table.rows.to_dict("records"):
        file = row["file"].removeprefix("img/")
        assert row["fold"] == next(f for f, files in enumerate(FILES) if file in files)
        assert [row[f"au_{u}"] for u in DISFA_UNITS] == [2 * y for y in label(file)]
        assert row["frame"] == int(file.split("/")[2][:-4])
    assert table.rows.groupby("identity")["fold"].nunique().eq(1).all() and table.rows["identity"].nunique() == 5
    assert table.rows["clip"].nunique() == 10 and table.images([0]).shape == (1, 3, 8, 8)


def change(root, name, edit):
    path = root / "list" / name
    write(path, edit(path.read_text().splitlines()))


@pytest.mark.parametrize("name, edit, message", [
    ("X_test_label_fold2.txt", lambda lines: lines[:-1], "X_test_label_fold2.txt: expected 4 lines, .* got 3$"),
    ("X_train_label_fold1.txt", lambda lines: lines[:5], "expected 12 lines, .* got 5; the published label lists are stubs"),
    ("X_test_label_fold2.txt", lambda lines: ["2" + lines[0][1:], *lines[1:]], "1 lines with other than 0, 1 and 9: line 1"),
    ("X_test_label_fold2.txt", lambda lines: ["x" + lines[0][1:], *lines[1:]], "expected 0, 1 or 9 separated by spaces"),
    ("X_train_label_fold1.txt", lambda lines: ["0" + lines[0][1:], *lines[1:]], "1 images whose labels differ .* fold 1 and"),
    ("X_test_img_path_fold2.txt", lambda lines: ["A1/T1/7.jpg", *lines[1:]], "1 people trained on and tested by fold 2"),
    ("X_test_img_path_fold2.txt", lambda lines: ["A1/T1/7.jpg", *lines[1:]], "1 images tested more than once: A1/T1/7.jpg"),
    ("X_train_img_path_fold1.txt", lambda lines: ["B1/T1/8.jpg", *lines[1:]], "images that only some lists have, .* in fold 1"),
    ("X_weight_fold3.txt", lambda lines: ["1\t" * 8], "X_weight_fold3.txt does not hold the inverse rates"),
])
def test_lists_that_contradict_each_other(root, name, edit, message):
    change(root, name, edit)
    with pytest.raises(DatasetError, match=message):
        open_dataset("au_lists", root)


def test_code_9_is_unknown_and_in_no_rate(root):
    file = FILES[1][0]  # an image of B1, trained on by folds 1 and 3
    for fold, side in ((1, "train"), (2, "test"), (3, "train")):
        files = [other for part in range(3) if (part + 1 == fold) == (side == "test") for other in FILES[part]]
        place = files.index(file)
        change(root, f"X_{side}_label_fold{fold}.txt", lambda lines: [*lines[:place], "1 9" + lines[place][3:], *lines[place + 1 :]])
    for fold in (1, 3):
        known = np.array([label(other) for part in range(3) if part + 1 != fold for other in FILES[part]], float)
        files = [other for part in range(3) if part + 1 != fold for other in FILES[part]]
        known[files.index(file), 1] = np.nan
        rate = np.nanmean(known, axis=0)
        change(root, f"X_weight_fold{fold}.txt", lambda _: ["\t".join(f"{w:.6f}" for w in 8 / rate / (1 / rate).sum())])
    table = open_dataset("au_lists", root)
    row = table.rows[table.rows["file"] == f"img/{file}"].squeeze()
    assert np.isnan(row["au_2"]) and row["au_1"] == 2 and table.notes == ()
    assert table.rows[[f"au_{u}" for u in DISFA_UNITS]].isna().to_numpy().sum() == 1


def test_listed_images_that_do_not_exist(root):
    (root / "img" / "B1" / "T1" / "7.jpg").unlink()
    with pytest.raises(DatasetError, match="1 listed images that do not exist: img/B1/T1/7.jpg"):
        open_dataset("au_lists", root)
    table = open_dataset("au_lists", root, complete=False)
    assert len(table) == 19 and table.notes == ("1 listed images that do not exist: img/B1/T1/7.jpg",)


def test_other_numbers_of_units_need_their_names(root):
    for path in (root / "list").glob("*_label_*"):
        write(path, [line[:-2] for line in path.read_text().splitlines()])
    for path in (root / "list").glob("*_weight_*"):
        path.unlink()
    with pytest.raises(DatasetError, match="7 label columns are neither BP4D's 12 nor DISFA's 8"):
        open_dataset("au_lists", root)
    table = open_dataset("au_lists", root, units=(1, 2, 4, 5, 6, 7, 9))
    assert "au_9" in table.columns and "au_26" not in table.columns
    with pytest.raises(DatasetError, match="expected 2 label columns, one for each of AU"):
        open_dataset("au_lists", root, units=(1, 2))


def test_a_missing_list(root):
    (root / "list" / "X_train_img_path_fold3.txt").unlink()
    with pytest.raises(DatasetError, match="X_train_img_path_fold3.txt: the list is not there"):
        open_dataset("au_lists", root)
