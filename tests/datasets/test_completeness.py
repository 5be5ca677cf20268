import pytest
from PIL import Image

from lib.datasets import DatasetError, open_dataset, rafdb
from lib.datasets.completeness import expect_counts, expect_files


def test_counts(tmp_path):
    expect_counts(tmp_path, {"train": 1200, "extra": 1}, {"train": 1200}, rafdb.ABOUT)
    with pytest.raises(DatasetError) as caught:
        expect_counts(tmp_path / "list.txt", {"train": 1200}, {"train": 1201, "test": 7}, rafdb.ABOUT)
    said = str(caught.value)
    assert "list.txt: not the release" in said and "(train: expected 1,201, got 1,200; test: expected 7, got 0)" in said
    assert "complete=False" in said and rafdb.ABOUT.text() in said


def test_files(tmp_path):
    for name in ("a.jpg", "b.JPG", ".c.jpg", "notes.txt"):
        (tmp_path / name).touch()
    expect_files(tmp_path, ["a.jpg", "b.JPG"], "labels.txt")
    with pytest.raises(DatasetError, match=r"1 images of labels.txt are missing: d.jpg; 1 images are not in labels.txt: b.JPG"):
        expect_files(tmp_path, ["a.jpg", "d.jpg"], "labels.txt")
    with pytest.raises(DatasetError, match="nothing: expected the folder of images that labels.txt names, it is missing"):
        expect_files(tmp_path / "nothing", ["a.jpg"], "labels.txt")


def test_every_image_is_read_once_when_asked(tmp_path, capsys):
    for i in range(8):
        Image.effect_noise((64, 64), 90).save(tmp_path / f"{i}.jpg")
    assert len(open_dataset("folder", tmp_path, check=True)) == 8
    assert f"checking {tmp_path.name}, images 8/8" in capsys.readouterr().out
    for i in range(1, 8):
        whole = (tmp_path / f"{i}.jpg").read_bytes()
        (tmp_path / f"{i}.jpg").write_bytes(whole[:len(whole) // 2])
    assert len(open_dataset("folder", tmp_path)) == 8
    with pytest.raises(DatasetError, match=r"(?s)7 images cannot be read:.*1\.jpg.*5\.jpg.*\.\.\.$"):
        open_dataset("folder", tmp_path, check=True)
