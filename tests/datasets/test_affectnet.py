import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from lib.datasets import DatasetError, affectnet, open_dataset

# id: (expression, valence, arousal). Ids are not in the order of their texts.
TRAIN = {"2": (0, 0.0, 0.1), "10": (7, -0.6, 0.4), "11": (1, 0.9, 0.2), "100": (8, -2, -2), "101": (10, -2, -2),
         "102": (4, -2, -2), "103": (6, -0.4, 0.7)}
VAL = {"5": (3, 0.2, 0.8), "6": (2, -0.7, -0.3), "7": (9, 0.1, 0.1)}


def points(name):
    return np.random.default_rng(int(name)).uniform(20, 200, 136)


def images(root, part, labels, side=224):
    (root / part / "images").mkdir(parents=True)
    for name in labels:
        Image.new("RGB", (side, side), (int(name), 0, 0)).save(root / part / "images" / f"{name}.jpg", quality=95)


def annotate(root, part, labels):
    """As in the release: text scalars for the labels in some files, numbers in others; landmarks in one row."""
    folder = root / part / "annotations"
    folder.mkdir()
    for i, (name, (code, valence, arousal)) in enumerate(labels.items()):
        kind = str if i % 2 == 0 else float
        np.save(folder / f"{name}_exp.npy", np.array(str(code)))
        np.save(folder / f"{name}_val.npy", np.array(kind(valence)))
        np.save(folder / f"{name}_aro.npy", np.array(kind(arousal)))
        np.save(folder / f"{name}_lnd.npy", points(name))


def csv(root, part, labels, header="image_id,labels_aro,labels_val,labels_exp", prefix="faces/images/"):
    (root / f"{part}_data.csv").write_text(header + "\n" + "".join(
        f"{prefix}{name}.jpg,{arousal},{valence},{code}\n" for name, (code, valence, arousal) in labels.items()))


@pytest.fixture
def root(tmp_path):
    for part, labels in (("train_set", TRAIN), ("val_set", VAL)):
        images(tmp_path, part, labels)
        annotate(tmp_path, part, labels)
    return tmp_path


def opened(root, **options):
    return open_dataset("affectnet", root, complete=False, **options)


KEPT = ["train_set/images/2.jpg", "train_set/images/10.jpg", "train_set/images/11.jpg", "train_set/images/103.jpg",
        "val_set/images/5.jpg", "val_set/images/6.jpg"]


def check_labels(table):
    assert table.column("expression").tolist() == [0, 7, 1, 6, 3, 2]
    np.testing.assert_allclose(table.column("valence"), [0.0, -0.6, 0.9, -0.4, 0.2, -0.7], atol=1e-6)
    np.testing.assert_allclose(table.column("arousal"), [0.1, 0.4, 0.2, 0.7, 0.8, -0.3], atol=1e-6)


def test_the_npy_form(root, capsys):
    table = opened(root, check=True)
    assert table.rows["file"].tolist() == KEPT and len(set(table.column("identity"))) == 6
    check_labels(table)
    assert table.column("split").tolist() == ["probe_train"] * 4 + ["probe_test"] * 2
    assert table.image_size == (224, 224)
    np.testing.assert_allclose(table.images()[:, 0, 5, 5], [2, 10, 11, 103, 5, 6], atol=2)
    for row, name in ((1, "10"), (3, "103"), (5, "6")):
        np.testing.assert_allclose(table.landmarks([row]).reshape(-1), points(name), rtol=1e-6)
    said = capsys.readouterr().out
    for note in ("1 images labelled none (8) left out", "1 images labelled uncertain (9) left out",
                 "1 images labelled non-face (10) left out",
                 "1 images with an expression but without valence or arousal (-2) left out"):
        assert f"affectnet: {note}" in said


def test_landmarks_follow_the_image_size(root):
    table = opened(root, image_size=(112, 112))
    torch.testing.assert_close(table.landmarks([1])[0], torch.tensor((points("10").reshape(68, 2) + 0.5) / 2 - 0.5).float())
    assert table.images([0, 5]).shape == (2, 3, 112, 112)
    Image.new("RGB", (448, 448)).save(root / "val_set/images/5.jpg")  # faces may differ in size
    assert opened(root).image_size is None
    fitted = opened(root, image_size=(112, 112)).landmarks([4, 1])
    torch.testing.assert_close(fitted[0], torch.tensor((points("5").reshape(68, 2) + 0.5) / 4 - 0.5).float())
    torch.testing.assert_close(fitted[1], table.landmarks([1])[0])


def test_seven_classes(root):
    table = opened(root, classes=7)
    assert table.column("expression").tolist() == [0, 1, 6, 3, 2]
    assert "1 images of contempt (classes=7) left out" in table.notes
    np.testing.assert_allclose(table.landmarks([2]).reshape(-1), points("103"), rtol=1e-6)
    with pytest.raises(ValueError, match="classes: expected 7 or 8, got 9"):
        opened(root, classes=9)


def test_a_test_set_makes_val_set_the_validation(root):
    images(root, "test_set", {"9": 0})
    annotate(root, "test_set", {"9": (5, 0, 0)})
    assert opened(root).column("split").tolist() == ["probe_train"] * 4 + ["probe_val"] * 2 + ["probe_test"]


@pytest.mark.parametrize("short", [True, False])
def test_the_csv_form(root, short):
    for part, labels in (("train_set", TRAIN), ("val_set", VAL)):
        csv(root, part.removesuffix("_set") if short else part, labels, prefix="C:\\faces\\" if short else "")
    table = opened(root, annotations="csv")
    check_labels(table)
    assert not table.has_landmarks and table.rows["file"].tolist() == KEPT
    assert opened(root).has_landmarks  # the npy files come first
    for part in ("train_set", "val_set"):
        for path in (root / part / "annotations").iterdir():
            path.unlink()
        (root / part / "annotations").rmdir()
    assert len(opened(root)) == 6
    with pytest.raises(DatasetError, match="train_set/annotations: expected the annotations of train_set"):
        opened(root, annotations="npy")


def test_the_column_that_ssl_fer_misspells(root):
    csv(root, "train_set", TRAIN, header="image_id,labels_aro,labels_val,labels_ex")
    with pytest.raises(DatasetError, match=r"train_set_data\.csv: expected the columns .*, labels_exp is missing;.*"
                                           "affectnet_create_csv.py writes 'labels_ex' by mistake: rename that column"):
        opened(root, annotations="csv")


@pytest.mark.parametrize("change, message", [
    (lambda t: t.replace(",-0.6,7", ",-0.6,11"), r"1 values out of range: train_set/images/10\.jpg: expression 11"),
    (lambda t: t.replace(",-0.6,7", ",-0.6,1.5"), r"10\.jpg: expression 1\.5"),
    (lambda t: t.replace(",-0.6,7", ",-1.6,7"), r"10\.jpg: valence -1\.6"),
    (lambda t: t.replace("0.4,-0.6,7", "high,,"), r"3 values out of range: .*expression nan.*valence nan.*arousal nan"),
    (lambda t: t.replace("image_id,", "name,"), "image_id is missing; got name, labels_aro"),
    (lambda t: t.replace("10.jpg", "12.jpg"), r"1 images of train_set_data.csv are missing: 12\.jpg; 1 images are not in"
                                              r" train_set_data.csv: 10\.jpg"),
    (lambda t: t + t.splitlines()[1] + "\n", r"1 images stand in several rows: 2\.jpg"),
])
def test_wrong_csv_files(root, change, message):
    csv(root, "train_set", TRAIN)
    csv(root, "val_set", VAL)
    path = root / "train_set_data.csv"
    before = path.read_text()
    path.write_text(change(before))
    assert path.read_text() != before
    with pytest.raises(DatasetError, match=message):
        opened(root, annotations="csv")


def test_damaged_annotations(root):
    folder = root / "train_set/annotations"
    (folder / "10_val.npy").unlink()
    (folder / "11_exp.npy").write_bytes((folder / "11_exp.npy").read_bytes()[:50])
    np.save(folder / "2_lnd.npy", np.zeros(10))
    with pytest.raises(DatasetError, match=r"annotations: 3 annotations that are missing or cannot be read: 2_lnd\.npy .*"
                                           r"10_val\.npy .*11_exp\.npy"):
        opened(root)
    annotated = points("2")
    annotated[3] = np.nan
    np.save(folder / "2_lnd.npy", annotated)
    np.save(folder / "10_val.npy", np.array("-0.6"))
    np.save(folder / "11_exp.npy", np.array("12"))
    with pytest.raises(DatasetError, match=r"2 values out of range: train_set/images/11\.jpg: expression 12, 2_lnd\.npy"):
        opened(root)


def test_missing_frames(root):
    (root / "val_set/images/6.jpg").unlink()
    Image.new("RGB", (224, 224)).save(root / "val_set/images/60.jpg")
    with pytest.raises(DatasetError, match=r"1 images of val_set/annotations are missing: 6\.jpg; 1 images are not in"
                                           r" val_set/annotations: 60\.jpg"):
        opened(root)


def test_official_counts(root, monkeypatch):
    with pytest.raises(DatasetError, match=r"train_set, neutral: expected 74,874, got 1;.*val_set, contempt: expected 499"):
        open_dataset("affectnet", root)
    with pytest.raises(DatasetError, match="train_set, neutral") as caught:
        open_dataset("affectnet", root, classes=7)
    assert "contempt: expected" not in str(caught.value)
    assert "train_set 287,651; val_set 3,999 images" in affectnet.ABOUT.counts
    monkeypatch.setattr(affectnet, "CLASS_COUNTS", {"train_set": (1, 1, 0, 0, 0, 0, 1, 1), "val_set": (0, 0, 1, 1, 0, 0, 0, 0)})
    assert len(open_dataset("affectnet", root)) == 6 and len(open_dataset("affectnet", root, classes=7)) == 5
    shutil.rmtree(root / "val_set")
    with pytest.raises(DatasetError, match="expected the folders train_set/images, val_set/images, got train_set"):
        open_dataset("affectnet", root)
    assert len(opened(root)) == 4
