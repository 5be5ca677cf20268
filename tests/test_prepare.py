import errno
import json
import os

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from lib.datasets import DatasetError, open_dataset
from lib.datasets.columns import SPLITS
from lib.faces import shards
from lib.faces.align import TEMPLATE, five_points
from lib.faces.shards import PackedWriter, open_packed
from lib.files import DiskFull
from lib.prepare import prepare, prepare_all


def landmarks(n, centre=(30.0, 34.0), reach=20.0):
    """Faces whose five points have the shape of the template."""
    points = np.zeros((n, 68, 2), np.float32)
    for place, rows in zip(TEMPLATE, (range(36, 42), range(42, 48), [30], [48], [54])):
        points[:, list(rows)] = np.array(centre) + (np.array(place) - 0.5) * reach
    return points


def demo(root):
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"identity": np.arange(30) // 3, "clip": np.arange(30) // 3,
                         "split": ["pretrain"] * 24 + ["probe_train"] * 3 + ["probe_test"] * 3,
                         "expression": np.arange(30) % 8 - 1, "au_1": np.float32(np.arange(30) % 5),
                         "attr_beard": np.arange(30) % 2,
                         "fold": [-1] * 24 + [0, 1, 2] * 2, "roll": np.zeros(30, np.float32)})
    rows["landmarks"] = list(landmarks(30).reshape(30, -1))
    images = rng.integers(0, 256, (30, 64, 64, 3), dtype=np.uint8)
    about = {"name": "rendered", "source": "rendered", "licence": "CC0", "credit": "c"}
    with PackedWriter(root / "rendered", **about, shard_rows=8) as writer:
        writer.add(images, rows, images[..., 0] // 40)
    with PackedWriter(root / "orl", name="orl", source="ORL", licence="l", credit="AT&T") as writer:
        writer.add(photographs := rng.integers(0, 256, (400, 34, 32, 3), dtype=np.uint8),
                   pd.DataFrame({"identity": np.arange(400) // 10, "frame": np.arange(400) % 10}))
    return photographs


def folder(root, people=20, each=3, with_landmarks=False, sizes=(60,)):
    files = []
    for person in range(people):
        (root / f"person{person:02d}").mkdir(parents=True)
        for i in range(each):
            files.append(f"person{person:02d}/{i}.png")
            size = sizes[i % len(sizes)]
            Image.effect_noise((size, size + 8), 50).save(root / files[-1])
    if with_landmarks:
        lines = [f"{file},-10,{' '.join(map(str, points.reshape(-1)))}"
                 for file, points in zip(files, landmarks(len(files)))]
        (root / "labels.csv").write_text("file,roll,landmarks\n" + "\n".join(lines))


def test_the_demo_sets_are_fitted_and_summed_up(tmp_path):
    photographs = demo(tmp_path / "demo")
    summary = prepare(tmp_path / "demo", tmp_path / "out", "demo", 16)
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == summary
    rendered, orl = (open_packed(tmp_path / "out" / name) for name in ("rendered", "orl"))
    assert rendered.image_size == orl.image_size == (16, 16)
    assert orl.columns == ("identity", "frame") and orl.source == "ORL"
    means = photographs[:, 1:-1].reshape(400, 16, 2, 16, 2, 3).mean((2, 4)).transpose(0, 3, 1, 2)
    assert np.abs(orl.images().numpy() - means).max() <= 0.5
    before = open_packed(tmp_path / "demo" / "rendered")
    places = torch.tensor(TEMPLATE) * 16 - 0.5
    torch.testing.assert_close(five_points(rendered.landmarks())[29], places, rtol=0, atol=1e-3)
    assert torch.equal(rendered.masks().unique(), before.masks().unique())
    pd.testing.assert_frame_equal(rendered.rows, before.rows.drop(columns="roll"))
    said = summary["sets"]["rendered"]
    assert said["splits"]["pretrain"] == {"images": 24, "identities": 8} and said["identities"] == 10
    assert said["expressions"]["unlabelled"] == 4 and said["expressions"]["anger"] == 3
    assert said["au_rates"] == {"au_1": 0.6} and said["attribute_rates"] == {"attr_beard": 0.5}
    assert said["folds"] == {"none": 24, "1": 2, "2": 2, "3": 2} and said["identities_in_two_splits"] == 0
    assert summary["sets"]["orl"] == {"source": "ORL", "licence": "l", "credit": "AT&T", "images": 400, "masks": False,
                                      "landmarks": False, "identities": 40, "aligned": False}


def test_faces_to_learn_from_and_faces_to_measure_on(tmp_path):
    demo(tmp_path / "demo")
    folder(tmp_path / "mine")
    options = {"mine": {"image_size": (40, 40)}}
    summary = prepare_all(tmp_path, tmp_path / "out", ("mine", "demo"), 16, options)
    assert list(summary["sets"]) == ["mine", "rendered", "orl"] and summary["datasets"] == ["mine", "demo"]
    assert json.loads((tmp_path / "out/summary.json").read_text()) == summary
    assert list(prepare_all(tmp_path, tmp_path / "one", ("mine", "mine"), 16, {})["sets"]) == ["mine"]


def test_the_bytes_are_the_same_again(tmp_path):
    demo(tmp_path / "demo")
    for out in ("a", "b"):
        prepare(tmp_path / "demo", tmp_path / out, "demo", 16)
    for name in ("rendered/set.json", "orl/set.json", "summary.json"):  # set.json holds the checksums of the rest
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_folder_is_split_by_person(tmp_path):
    folder(tmp_path / "mine")
    summary = prepare(tmp_path / "mine", tmp_path / "out", "mine", 16)["sets"]["mine"]
    assert {split: counts["identities"] for split, counts in summary["splits"].items()} == \
        {"pretrain": 16, "probe_train": 2, "probe_test": 2}
    rows = open_packed(tmp_path / "out" / "mine").rows
    assert (rows.groupby("identity")[["split", "fold"]].nunique() == 1).all(axis=None)
    assert ((rows["fold"] == -1) == (rows["split"] == "pretrain")).all() and set(rows["fold"]) == {-1, 0, 1, 2}


def test_a_split_follows_the_name_not_the_number(tmp_path):
    folder(tmp_path / "mine")
    prepare(tmp_path / "mine", tmp_path / "a", "mine", 16)
    (tmp_path / "mine" / "aaron").mkdir()  # takes number 0; everybody else's number changes
    Image.new("L", (20, 20)).save(tmp_path / "mine" / "aaron" / "1.png")
    prepare(tmp_path / "mine", tmp_path / "b", "mine", 16)
    old, new = (open_packed(tmp_path / out / "mine").rows.set_index("file")["split"] for out in "ab")
    assert (old != new[old.index]).sum() <= 3 * 2  # the newcomer moves at most one person over each border


def test_faces_with_landmarks_are_aligned(tmp_path):
    folder(tmp_path / "mine", people=3, each=2, with_landmarks=True, sizes=(60, 71))
    summary = prepare(tmp_path / "mine", tmp_path / "out", "mine", 48)
    table = open_packed(tmp_path / "out" / "mine")
    assert summary["sets"]["mine"]["aligned"] and "roll" not in table.columns
    torch.testing.assert_close(five_points(table.landmarks())[5], torch.tensor(TEMPLATE) * 48 - 0.5, rtol=0, atol=1e-3)


def forget_landmarks(root, lines):
    text = (root / "labels.csv").read_text().splitlines()
    for line in lines:
        text[line] = text[line].rpartition(",")[0] + ","
    (root / "labels.csv").write_text("\n".join(text))


def test_a_few_faces_without_landmarks_among_aligned_ones_are_left_out_and_named(tmp_path, capsys):
    folder(tmp_path / "mine", people=3, each=2, with_landmarks=True, sizes=(60, 71))
    whole = prepare(tmp_path / "mine", tmp_path / "whole", "mine", 48)["sets"]["mine"]
    forget_landmarks(tmp_path / "mine", (2, 5))
    said = prepare(tmp_path / "mine", tmp_path / "out", "mine", 48)["sets"]["mine"]
    note = "2 faces without all landmarks are left out, as the others are aligned: person00/1.png, person02/0.png"
    assert said["notes"] == [note] and f"mine: {note}" in capsys.readouterr().out and "notes" not in whole
    assert said["aligned"] and said["landmarks"] and (said["images"], whole["images"]) == (4, 6)
    table, before = (open_packed(tmp_path / where / "mine") for where in ("out", "whole"))
    kept = [0, 2, 3, 5]
    assert torch.equal(table.images(), before.images(kept)) and torch.equal(table.landmarks(), before.landmarks(kept))
    assert table.column("split").tolist() == before.column("split")[kept].tolist()  # nobody is dealt anew


def test_where_most_landmarks_are_unknown_no_face_is_aligned(tmp_path):
    folder(tmp_path / "mine", people=3, each=2, with_landmarks=True, sizes=(60, 71))
    forget_landmarks(tmp_path / "mine", (1, 2, 4, 5))
    said = prepare(tmp_path / "mine", tmp_path / "out", "mine", 30)["sets"]["mine"]
    assert not said["aligned"] and said["landmarks"] and said["images"] == 6
    assert said["notes"][0].startswith("4 faces without all landmarks: more than half, so that none of the set is aligned and all")
    table, source = open_packed(tmp_path / "out" / "mine"), open_dataset("folder", tmp_path / "mine", image_size=(30, 30))
    assert torch.equal(table.images(), source.images()) and "roll" in table.columns  # heads are still turned as they were
    found = table.landmarks()
    assert found.isnan().all((1, 2)).tolist() == [True, True, False, True, True, False]
    own = open_dataset("folder", tmp_path / "mine").landmarks()
    torch.testing.assert_close(found[2], (own[2] + 0.5 - torch.tensor([0.0, 4.0])) / 2 - 0.5)  # 68 rows, of which 4 go at the top


def test_given_splits_and_folds_are_kept(tmp_path):
    folder(tmp_path / "mine", people=2, each=3)
    (tmp_path / "mine" / "labels.csv").write_text("file,split,fold\n" + "".join(
        f"person0{p}/{i}.png,{SPLITS[max(i, p)]},{p if i else -1}\n" for p in (0, 1) for i in range(2)))
    for person in (0, 1):
        (tmp_path / "mine" / f"person0{person}" / "2.png").unlink()
    summary = prepare(tmp_path / "mine", tmp_path / "out", "mine", 16)["sets"]["mine"]
    assert summary["identities_in_two_splits"] == 1  # learnt from, and probes are fitted on them: not tested
    table = open_packed(tmp_path / "out" / "mine")
    assert table.column("fold").tolist() == [-1, 0, -1, 1]
    assert table.column("split").tolist() == ["pretrain", "probe_train", "probe_train", "probe_train"]


def labelled(root, line, people=7):
    """A folder of ``people``, each with an image for each split; ``line(person, i)`` gives the cells behind the file."""
    folder(root, people=people)
    lines = [f"person{p:02d}/{i}.png,{line(p, i)}" for p in range(people) for i in range(3)]
    (root / "labels.csv").write_text("\n".join(["file,split,fold,identity", *lines]) + "\n")


@pytest.mark.parametrize("other", ["pretrain", "probe_train", "probe_val"])
def test_a_person_who_is_tested_and_on_the_other_side_too_is_named(tmp_path, other):
    labelled(tmp_path / "mine", lambda p, i: f"{'probe_test' if i or p == 6 else other},-1,{p}")
    said = (
        rf"mine: 6 people in probe_test and in another split: 0 \(person00/0.png: split {other}, person00/1.png: split probe_test\), .*"
        rf"4 \(person04/0.png: split {other}, person04/1.png: split probe_test\) \.\.\.: put all"
        " images of a person on one side; .* a column 'identity' of labels.csv"
    )
    with pytest.raises(DatasetError, match=said):
        prepare(tmp_path / "mine", tmp_path / "out", "mine", 16)
    assert not (tmp_path / "out").exists()
    # the sub-folders are no people: each image is somebody
    labelled(tmp_path / "classes", lambda p, i: f"{'probe_test' if i else other},-1,{3 * p + i}")
    assert prepare(tmp_path / "classes", tmp_path / "out", "classes", 16)["sets"]["classes"]["identities_in_two_splits"] == 0


def test_a_person_in_two_folds_is_named(tmp_path):
    labelled(tmp_path / "mine", lambda p, i: f"probe_test,{i if p == 2 else 1},{p}")
    folds = ", ".join(f"person02/{i}.png: fold {i}" for i in range(3))
    with pytest.raises(DatasetError, match=rf"1 people in more than one fold: 2 \({folds}\): put all images"):
        prepare(tmp_path / "mine", tmp_path / "out", "mine", 16)


def test_a_set_without_what_it_is_used_for_is_named_before_anything_is_trained(tmp_path):
    demo(tmp_path / "demo")
    labelled(tmp_path / "mine", lambda p, i: f"{'probe_test' if p % 2 else 'probe_train'},-1,{p}")
    said = r"mine: prepare.dataset: none of the images is of the split 'pretrain', so there is nothing to learn from \(there are 12 of"
    for names in (("mine", "demo"), ("mine", "mine")):
        with pytest.raises(DatasetError, match=said):
            prepare_all(tmp_path, tmp_path / "out", names, 16, {})
    assert set(prepare_all(tmp_path, tmp_path / "out", ("demo", "mine"), 16, {})["sets"]) == {"rendered", "orl", "mine"}
    labelled(tmp_path / "other", lambda p, i: f"pretrain,-1,{p}")
    said = r"other: prepare.probe: none of the images is of the split 'probe_test', so there is nothing to be tested on \(there are 21 of"
    with pytest.raises(DatasetError, match=said):
        prepare_all(tmp_path, tmp_path / "out", ("demo", "other"), 16, {})
    assert "other" in prepare_all(tmp_path, tmp_path / "out", ("other", "demo"), 16, {})["sets"]


def test_faces_that_nothing_can_be_measured_on_are_said_to_be_so(tmp_path, capsys):
    folder(tmp_path / "mine", people=25, each=2)
    files = [f"person{p:02d}/{i}.png" for p in range(25) for i in range(2)]
    split = ["probe_test"] * 40 + ["probe_train"] * 4 + ["pretrain"] * 6
    word = "do for pre-training, but not to measure an encoder"

    def said(columns, rows):
        (tmp_path / "mine" / "labels.csv").write_text("\n".join([f"file,{columns}", *rows]))
        prepare(tmp_path / "mine", tmp_path / "out", "mine", 16)
        return capsys.readouterr().out

    prepare(tmp_path / "mine", tmp_path / "out", "mine", 16)
    assert word in capsys.readouterr().out
    assert word in said("yaw", [f"{file},3" for file in files])
    assert word not in said("split", [f"{file},{part}" for file, part in zip(files, split)])
    assert word not in said("expression", [f"{file},1" for file in files])
    assert word not in said("au_1", [f"{file},1" for file in files])


def test_a_packed_set_of_the_users_own(tmp_path):
    with PackedWriter(tmp_path / "mine", name="whatever", source="lab", licence="l", credit="c") as writer:
        rows = pd.DataFrame({"identity": np.arange(6), "landmarks": list(landmarks(6).reshape(6, -1))})
        writer.add(np.zeros((6, 20, 20, 3), np.uint8), rows, np.zeros((6, 20, 20), np.uint8))
    prepare(tmp_path / "mine", tmp_path / "out", "mine", 16)
    table = open_packed(tmp_path / "out" / "mine")
    assert (table.name, table.source, table.has_masks) == ("mine", "lab", True)


def broken(tmp_path, what):
    root = tmp_path / "mine"
    folder(root, people=2 if what == "two people" else 4, with_landmarks=what == "landmarks")
    if what == "unreadable":
        (root / "person01" / "1.png").write_bytes((root / "person01" / "1.png").read_bytes()[:-900])
    if what == "landmarks":
        text = (root / "labels.csv").read_text().splitlines()
        text[5] = text[5].split(",")[0] + ",0," + " ".join(["1"] * 136)
        (root / "labels.csv").write_text("\n".join(text))
    return root


@pytest.mark.parametrize("what, message", [
    ("unreadable", r"person01/1\.png: expected an image"),
    ("two people", "at least 3 people .* got 2; add people, or a column 'split'"),
    ("landmarks", r"cannot align the faces of rows .*all in one place"),
])
def test_a_bad_source_is_named_and_nothing_is_left(tmp_path, what, message):
    root = broken(tmp_path, what)
    with pytest.raises(DatasetError, match=message):
        prepare(root, tmp_path / "out", "mine", 16)
    assert not (tmp_path / "out").exists() or os.listdir(tmp_path / "out") == []


def test_a_missing_source_says_how_to_get_it(tmp_path):
    with pytest.raises(DatasetError, match="rendered faces are not there(.|\n)*dvc repro"):
        prepare(tmp_path / "demo", tmp_path / "out", "demo", 16)
    with pytest.raises(DatasetError, match="expected a folder of photographs"):
        prepare(tmp_path / "mine", tmp_path / "out", "mine", 16)
    with pytest.raises(ValueError, match="image_size: expected at least 8 pixels, got 0"):
        prepare(tmp_path / "mine", tmp_path / "out", "mine", 0)


def test_a_disk_that_fills_up_keeps_the_old_set(tmp_path, monkeypatch):
    folder(tmp_path / "mine", people=4)
    prepare(tmp_path / "mine", tmp_path / "out", "mine", 16)
    before = (tmp_path / "out" / "mine" / "set.json").read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(shards._NpyStream, "append", full)
    with pytest.raises(DiskFull, match=r"disk is full.*out/mine"):
        prepare(tmp_path / "mine", tmp_path / "out", "mine", 24)
    assert (tmp_path / "out" / "mine" / "set.json").read_bytes() == before
    assert sorted(os.listdir(tmp_path / "out")) == ["mine", "summary.json"]


def test_a_prepared_folder_opens_again_as_a_table(tmp_path):
    folder(tmp_path / "mine", people=3, sizes=(60, 50, 41))
    assert open_dataset("folder", tmp_path / "mine").image_size is None
    prepare(tmp_path / "mine", tmp_path / "out", "mine", 16)
    assert open_packed(tmp_path / "out" / "mine").images([0, 8]).shape == (2, 3, 16, 16)


def test_an_official_set_goes_in_as_it_is(tmp_path):
    """FER2013's csv: official splits, the reader's options and what it left out all arrive in the summary."""
    usage = ["Training"] * 4 + ["PublicTest"] * 2 + ["PrivateTest"]
    (tmp_path / "fer2013").mkdir()
    (tmp_path / "fer2013" / "fer2013.csv").write_text("emotion,pixels,Usage\n" + "".join(
        f"{i},{' '.join([str(9 * i)] * 2304)},{part}\n" for i, part in enumerate(usage)))
    options = {"complete": False, "convention": "usef_kh"}
    said = prepare(tmp_path / "fer2013", tmp_path / "out", "fer2013", 16, options=options)["sets"]["fer2013"]
    assert {name: part["images"] for name, part in said["splits"].items()} == {
        "probe_train": 4, "probe_test": 2, "probe_val": 1}
    packed = open_packed(tmp_path / "out" / "fer2013")
    assert packed.images()[:, 0, 3, 3].tolist() == [9 * i for i in range(7)]
    assert packed.column("expression")[0] == 6  # emotion 0 is anger
    assert "contempt" not in said["expressions"] and "notes" not in said
    with pytest.raises(ValueError, match="classes: the data set 'fer2013' has no such option; it has image_size, convention"):
        prepare(tmp_path / "fer2013", tmp_path / "b", "fer2013", 16, options={"classes": 7})


def test_contempt_and_notes_arrive_in_the_summary(tmp_path):
    root = tmp_path / "affectnet"
    for part in ("train_set", "val_set"):
        (root / part / "images").mkdir(parents=True)
        (root / f"{part}_data.csv").write_text("image_id,labels_aro,labels_val,labels_exp\n1,0,0,7\n2,0,0,1\n3,-2,-2,10\n")
        for i in (1, 2, 3):
            Image.new("L", (30, 30)).save(root / part / "images" / f"{i}.jpg")
    said = prepare(root, tmp_path / "out", "affectnet", 16, options={"complete": False})["sets"]["affectnet"]
    assert said["expressions"]["contempt"] == 2 and said["notes"] == ["2 images labelled non-face (10) left out"]
    said = prepare(root, tmp_path / "out", "affectnet", 16, options={"complete": False, "classes": 7})["sets"]["affectnet"]
    assert "contempt" not in said["expressions"]


def test_options_where_there_are_none(tmp_path):
    with pytest.raises(ValueError, match="options: the demo set has none, got classes"):
        prepare(tmp_path, tmp_path / "out", "demo", 16, options={"classes": 7})
    with PackedWriter(tmp_path / "mine", name="n", source="s", licence="l", credit="c") as writer:
        writer.add(np.zeros((3, 4, 4, 3), np.uint8), pd.DataFrame({"identity": range(3)}))
    with pytest.raises(ValueError, match="options: a packed set has none, got classes"):
        prepare(tmp_path / "mine", tmp_path / "out", "mine", 16, options={"classes": 7})
