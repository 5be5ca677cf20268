"""DISFA in its official layout, small: frames are matched by their number, intensities kept, gaps named."""

import numpy as np
import pytest
from PIL import Image

from lib.datasets import DatasetError, open_dataset
from lib.datasets.action_units import DISFA_UNITS, au_labels
from lib.datasets.disfa import FRAMES

CLIPS = {"SN002": 6, "SN013": 5, "SN003": 4}


def level(subject, unit, frame):
    return (frame * unit + int(subject[2:])) % 6


def write_labels(root, subject, unit, frames):
    path = root / "ActionUnit_Labels" / subject / f"{subject}_au{unit}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{frame},{level(subject, unit, frame)}\n" for frame in frames))
    return path


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "disfa"
    for subject, count in CLIPS.items():
        for unit in (*DISFA_UNITS, 5, 15, 17, 20):
            write_labels(root, subject, unit, range(1, count + 1))
        (root / "img" / subject).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (8, 8), (0, number, 0)).save(root / "img" / subject / f"{number}.png")
    return root


def test_image_zero_shows_frame_one(root):
    table = open_dataset("disfa", root, complete=False)
    assert (len(table), table.source, table.image_size) == (15, "DISFA", (8, 8))
    fold = {"SN002": 2, "SN013": 1, "SN003": 0}
    for _, row in table.rows.iterrows():
        _, subject, name = row["file"].split("/")
        assert row["frame"] == int(name[:-4]) + 1 and row["fold"] == fold[subject]
        assert [row[f"au_{u}"] for u in DISFA_UNITS] == [level(subject, u, row["frame"]) for u in DISFA_UNITS]
    assert table.images()[:, 1, 0, 0].tolist() == (table.column("frame") - 1).tolist()
    labels = au_labels(table, DISFA_UNITS)
    assert (labels == (np.stack([table.column(f"au_{u}") for u in DISFA_UNITS], 1) >= 2)).all()
    assert table.notes[0].startswith("192 missing label files: SN001_au1.txt")


def test_frames_are_matched_by_their_number_not_their_line(root):
    path = write_labels(root, "SN002", 4, [3, 1, 6, 5, 2, 4])
    rows = open_dataset("disfa", root, complete=False).rows
    mine = rows[rows["file"].str.contains("SN002")]
    assert mine["au_4"].tolist() == [level("SN002", 4, frame) for frame in range(1, 7)]
    lines = [line for line in path.read_text().splitlines() if not line.startswith("2,")]
    path.write_text("\n".join(lines) + "\n")  # a frame short: the others stay where they are
    table = open_dataset("disfa", root, complete=False)
    mine = table.rows[table.rows["file"].str.contains("SN002")]
    assert mine["au_4"].isna().tolist() == [False, True, False, False, False, False]
    assert mine["au_4"].iloc[2] == level("SN002", 4, 3)
    assert "1 label files without some of the person's frames: SN002_au4.txt lacks 1" in table.notes


def test_images_numbered_from_one(root):
    for number in range(5, -1, -1):
        path = root / "img" / "SN002" / f"{number}.png"
        path.rename(path.with_name(f"{number + 1}.png"))
    table = open_dataset("disfa", root, complete=False)
    assert "1 coded frames without an image: img/SN002/0" in table.notes
    assert "1 images without a coded frame: img/SN002/6.png" in table.notes
    moved = open_dataset("disfa", root, complete=False, first_image=1)
    mine = moved.rows[moved.rows["file"].str.contains("SN002")]
    assert len(mine) == 6 and mine["file"].iloc[0] == "img/SN002/1.png" and mine["frame"].iloc[0] == 1


def test_a_missing_label_file_is_unknown_not_zero(root):
    (root / "ActionUnit_Labels" / "SN013" / "SN013_au26.txt").unlink()
    table = open_dataset("disfa", root, complete=False)
    mine = np.array(["SN013" in file for file in table.rows["file"]])
    assert np.isnan(table.column("au_26")[mine]).all() and np.isfinite(table.column("au_26")[~mine]).all()
    assert np.isfinite(table.column("au_25")).all()
    assert table.notes[0].startswith("193 missing label files")


def test_the_official_counts(root):
    assert len(FRAMES) == 27 and FRAMES["SN010"] == 4844 and set(FRAMES.values()) == {4844, 4845}
    with pytest.raises(DatasetError) as caught:
        open_dataset("disfa", root)
    said = str(caught.value)
    assert "27 people with other than the official number of frames" in said and "SN001 0 for 4845" in said
    assert "192 missing label files" in said and "complete=False" in said and "where to get it" in said


@pytest.mark.parametrize("text, message", [
    ("1,0\n2,6\n", "1 lines of SN002_au1.txt that are no frame and intensity 0..5: line 2: 2,6"),
    ("1,0\nx,1\n", "1 lines of SN002_au1.txt .*: line 2: x,1"),
    ("1,0\n2,\n", "1 lines of SN002_au1.txt .*: line 2: 2,"),
    ("1,0\n2,1\n2,1\n", "1 repeated frames in SN002_au1.txt: 2"),
    ("1 0\n", "SN002_au1.txt: expected lines 'frame,intensity', got 1 columns"),
    ("", "SN002_au1.txt: expected lines 'frame,intensity', cannot read it"),
])
def test_label_files_that_are_wrong(root, text, message):
    (root / "ActionUnit_Labels" / "SN002" / "SN002_au1.txt").write_text(text)
    with pytest.raises(DatasetError, match=message):
        open_dataset("disfa", root, complete=False)


def test_people_outside_the_folds(root):
    for unit in DISFA_UNITS:
        write_labels(root, "SN099", unit, [1])
    (root / "img" / "SN099").mkdir()
    Image.new("RGB", (8, 8)).save(root / "img" / "SN099" / "0.png")
    table = open_dataset("disfa", root, complete=False)
    assert table.column("fold")[-1] == -1 and "1 subjects outside the published folds: SN099" in table.notes
