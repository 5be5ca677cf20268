import numpy as np
import pytest

from lib.datasets import DatasetError, fer2013, open_dataset
from lib.datasets.columns import EXPRESSIONS

USAGE = ["Training", "Training", "Training", "PublicTest", "PublicTest", "PrivateTest", "PrivateTest"]


def pixels(seed):
    return np.random.default_rng(seed).integers(0, 256, 48 * 48)


def row(emotion, usage, values):
    return f"{emotion},{' '.join(map(str, values))},{usage}\n"


def write(root, text):
    root.mkdir(parents=True, exist_ok=True)
    (root / "fer2013.csv").write_text(text)


@pytest.fixture
def text():
    return "emotion,pixels,Usage\n" + "".join(row(i, usage, pixels(i)) for i, usage in enumerate(USAGE))


@pytest.fixture
def root(tmp_path, text):
    write(tmp_path, text)
    return tmp_path


def test_the_kaggle_file(root):
    table = open_dataset("fer2013", root, complete=False, check=True)
    assert [EXPRESSIONS[i] for i in table.column("expression")] == [
        "anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"]
    assert table.column("split").tolist() == ["probe_train"] * 3 + ["probe_val"] * 2 + ["probe_test"] * 2
    assert table.image_size == (48, 48) and len(set(table.column("identity"))) == 7
    images = table.images([5, 2])
    assert images.shape == (2, 3, 48, 48)
    np.testing.assert_array_equal(images[0], np.broadcast_to(pixels(5).reshape(48, 48), (3, 48, 48)))
    np.testing.assert_array_equal(images[1, 2].ravel(), pixels(2))
    part = table.select(table.column("split") == "probe_val")
    np.testing.assert_array_equal(part.images([-1])[0, 0].ravel(), pixels(4))


def test_the_reversed_convention(root):
    table = open_dataset("fer2013", root, complete=False, convention="usef_kh")
    assert table.column("split").tolist() == ["probe_train"] * 3 + ["probe_test"] * 2 + ["probe_val"] * 2
    with pytest.raises(ValueError, match="convention: expected one of kaggle, usef_kh, got 'mine'"):
        open_dataset("fer2013", root, convention="mine")


def test_another_size(root):
    small = open_dataset("fer2013", root, complete=False, image_size=(24, 24))
    blocks = pixels(3).reshape(24, 2, 24, 2).mean((1, 3))
    assert small.image_size == (24, 24)
    np.testing.assert_allclose(small.images([3])[0, 1], blocks, atol=0.51)


def test_the_other_release_has_spaces_and_another_order(root):
    lines = [f"{i}, {usage}, {' '.join(map(str, pixels(i)))}\n" for i, usage in enumerate(USAGE)]
    write(root, "emotion, Usage, pixels\n" + "".join(lines))
    table = open_dataset("fer2013", root, complete=False)
    assert table.column("split")[-1] == "probe_test"
    np.testing.assert_array_equal(table.images([6])[0, 0].ravel(), pixels(6))


def test_official_counts(root, monkeypatch):
    with pytest.raises(DatasetError, match=r"Training: expected 28,709, got 3; PublicTest: expected 3,589, got 2;"):
        open_dataset("fer2013", root)
    monkeypatch.setattr(fer2013, "COUNTS", {"Training": 3, "PublicTest": 2, "PrivateTest": 2})
    assert len(open_dataset("fer2013", root)) == 7


def test_rows_are_read_in_chunks(root, monkeypatch, text):
    monkeypatch.setattr(fer2013, "_CHUNK", 2)
    table = open_dataset("fer2013", root, complete=False)
    np.testing.assert_array_equal(table.images([6])[0, 0].ravel(), pixels(6))
    write(root, text + row(9, "Training", pixels(0)))
    with pytest.raises(DatasetError, match=r"1 emotions outside 0\.\.6: line 9: '9'"):
        open_dataset("fer2013", root, complete=False)


@pytest.mark.parametrize("line, message", [
    (row(7, "Training", pixels(0)), r"1 emotions outside 0\.\.6: line 9: '7'"),
    (row("", "Training", pixels(0)), "emotions outside .*line 9: ''"),
    (row(1, "Test", pixels(0)), "1 Usage other than Training, PublicTest, PrivateTest: line 9: 'Test'"),
    (row(1, "Training", pixels(0)[:-1]), "1 rows without 2304 pixels .*: line 9: 2303 values"),
    (row(1, "Training", [256, *pixels(0)[1:]]), "rows without 2304 pixels .*: line 9"),
    (row(1, "Training", [-1, *pixels(0)[1:]]), "rows without 2304 pixels .*: line 9"),
    (row(1, "Training", ["x", *pixels(0)[1:]]), "rows without 2304 pixels .*: line 9"),
    (row(8, "?", []), r"1 emotions .*; 1 Usage .*; 1 rows without"),
])
def test_a_wrong_row_is_named(root, text, line, message):
    write(root, text + line)
    with pytest.raises(DatasetError, match=message) as caught:
        open_dataset("fer2013", root, complete=False)
    assert "fer2013.csv" in str(caught.value)


def test_another_file(root, text):
    write(root, text.replace("emotion,pixels,Usage", "emotion,pixels,split"))
    with pytest.raises(DatasetError, match="expected the columns emotion, pixels, Usage, got emotion, pixels, split; "):
        open_dataset("fer2013", root)
    write(root, "")
    with pytest.raises(DatasetError, match="cannot read it"):
        open_dataset("fer2013", root)
    write(root, "emotion,pixels,Usage\n")
    with pytest.raises(DatasetError, match="no rows"):
        open_dataset("fer2013", root)
