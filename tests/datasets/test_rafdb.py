import numpy as np
import pytest
from PIL import Image

from lib.datasets import DatasetError, open_dataset, rafdb
from lib.datasets.columns import EXPRESSIONS

LIST = "basic/EmoLabel/list_patition_label.txt"
ROWS = [("train_00001", 5), ("train_00002", 4), ("train_00003", 1), ("test_0001", 7), ("test_0002", 2), ("test_0003", 3),
        ("test_0004", 6)]


@pytest.fixture
def root(tmp_path):
    """The official tree: a list without header, aligned JPEGs of 100 x 100, files with the attributes."""
    root = tmp_path / "rafdb"
    for folder in ("basic/EmoLabel", "basic/Image/aligned", "basic/Annotation/manual"):
        (root / folder).mkdir(parents=True)
    (root / LIST).write_text("".join(f"{name}.jpg {code}\n" for name, code in ROWS))
    for i, (name, _) in enumerate(ROWS):
        Image.new("RGB", (100, 100), (20 * i, 0, 0)).save(root / f"basic/Image/aligned/{name}_aligned.jpg")
        (root / f"basic/Annotation/manual/{name}_manu_attri.txt").write_text("10.5\t20\n" * 5 + "1\n0\n2\n")
    return root


def test_codes_splits_and_pixels(root):
    table = open_dataset("rafdb", root, complete=False, check=True)
    words = [EXPRESSIONS[i] for i in table.column("expression")]
    assert words == ["sadness", "happiness", "surprise", "neutral", "fear", "disgust", "anger"]
    assert table.column("split").tolist() == ["probe_train"] * 3 + ["probe_test"] * 4
    assert len(set(table.column("identity"))) == 7 and table.image_size == (100, 100)
    np.testing.assert_allclose(table.images()[:, 0, 50, 50], 20 * np.arange(7), atol=3)
    assert open_dataset("rafdb", root, complete=False, image_size=(32, 32)).images([6]).shape == (1, 3, 32, 32)


def test_the_other_spelling_of_the_list(root):
    (root / LIST).rename(root / LIST.replace("patition", "partition"))
    assert len(open_dataset("rafdb", root, complete=False)) == 7


def test_official_counts(root, monkeypatch):
    with pytest.raises(DatasetError, match=r"train: expected 12,271, got 3; test: expected 3,068, got 4\); .*complete=False"):
        open_dataset("rafdb", root)
    monkeypatch.setattr(rafdb, "COUNTS", {"train": 3, "test": 4})
    assert len(open_dataset("rafdb", root)) == 7


@pytest.mark.parametrize("change, message", [
    (lambda t: t.replace("test_0004.jpg 6", "test_0004.jpg 8"), r"1 codes outside 1\.\.7: line 7: 'test_0004.jpg 8'"),
    (lambda t: t.replace("test_0004.jpg 6", "test_0004.jpg 0"), r"codes outside 1\.\.7: line 7"),
    (lambda t: t.replace(" 6", "").replace(" 5", ",5"), r"2 lines that are not .*: line 1: 'train_00001.jpg,5', line 7:"),
    (lambda t: t.replace("train_00001", "00001"), "lines that are not .*'00001.jpg 5'"),
    (lambda t: t + "test_0001.jpg 7\n", "1 repeated images: test_0001_aligned.jpg"),
    (lambda t: "", "got an empty file"),
    (lambda t: t + "test_0005.jpg 7\n", "1 images of list_patition_label.txt are missing: test_0005_aligned.jpg"),
    (lambda t: t.replace("test_0001.jpg 7\n", ""), "1 images are not in list_patition_label.txt: test_0001_aligned.jpg"),
])
def test_another_list(root, change, message):
    (root / LIST).write_text(change((root / LIST).read_text()))
    with pytest.raises(DatasetError, match=message):
        open_dataset("rafdb", root, complete=False)


def test_missing_images_and_unreadable_ones(root):
    images = root / "basic/Image/aligned"
    for name in ("train_00001", "test_0002"):
        (images / f"{name}_aligned.jpg").write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"(?s)2 images cannot be read:.*train_00001_aligned\.jpg.*test_0002_aligned\.jpg"):
        open_dataset("rafdb", root, complete=False)
    for path in images.iterdir():
        path.unlink()
    images.rmdir()
    with pytest.raises(DatasetError, match=r"Image/aligned: expected the folder of images .*, it is missing"):
        open_dataset("rafdb", root, complete=False)


def test_check_reads_the_pixels(root):
    names = ("train_00002", "test_0003")
    for name in names:
        path = root / f"basic/Image/aligned/{name}_aligned.jpg"
        Image.effect_noise((100, 100), 90).save(path)
        path.write_bytes(path.read_bytes()[:1500])
    assert len(open_dataset("rafdb", root, complete=False)) == 7  # headers are whole
    with pytest.raises(DatasetError, match="(?s)rafdb: 2 images cannot be read:.*train_00002.*test_0003"):
        open_dataset("rafdb", root, complete=False, check=True)


def test_an_unknown_option_names_the_known(root):
    with pytest.raises(ValueError, match="classes: the data set 'rafdb' has no such option; it has image_size, complete"):
        open_dataset("rafdb", root, classes=7)
