"""DISFA+ in its layout, small: trials are clips, frames are matched by their image's number, gaps named."""

import numpy as np
import pytest
from PIL import Image

from lib.datasets import DatasetError, open_dataset
from lib.datasets.action_units import DISFA_UNITS, units_of
from lib.datasets.disfa_plus import SUBJECTS, UNITS

TRIALS = {"A1_AU1_TrailNo_1": 5, "B2_Anger_TrailNo_2": 4}
HEAD = "# made by hand\n#frame     intensity\n"


def level(subject, trial, unit, frame):
    return (frame * unit + int(subject[2:]) + len(trial)) % 6


def write_labels(root, subject, trial, unit, frames, head=HEAD):
    path = root / "Labels" / subject / trial / f"AU{unit}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(head + "".join(f"{frame:03d}.jpg     {level(subject, trial, unit, frame)}\n" for frame in frames))
    return path


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "disfa_plus"
    for subject in SUBJECTS:
        for trial, count in TRIALS.items():
            for unit in UNITS:
                write_labels(root, subject, trial, unit, range(count))
            (root / "Images" / subject / trial).mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (10, 8), (0, 9 * number, 0)).save(root / "Images" / subject / trial / f"{number:03d}.jpg")
    return root


def test_every_label_is_that_of_its_image(root):
    table = open_dataset("disfa_plus", root)
    assert (len(table), table.source, table.image_size, table.notes) == (81, "DISFA+", (8, 10), ())
    fold = {"SN001": 2, "SN003": 0, "SN004": 0, "SN007": 0, "SN009": 2, "SN010": 2, "SN013": 1, "SN025": 0, "SN027": 2}
    for _, row in table.rows.iterrows():
        _, subject, trial, name = row["file"].split("/")
        assert row["frame"] == int(name[:-4]) and row["fold"] == fold[subject] and row["identity"] == SUBJECTS.index(subject)
        assert [row[f"au_{u}"] for u in UNITS] == [level(subject, trial, u, row["frame"]) for u in UNITS]
    assert table.rows.groupby("clip").size().tolist() == [5, 4] * 9 and units_of(table.columns) == DISFA_UNITS
    green = table.images([0, 4])[:, 1, 0, 0].tolist()
    assert np.abs(np.array(green) - [0, 36]).max() <= 3


def test_frames_are_matched_by_their_image_and_gaps_are_named(root):
    first = "A1_AU1_TrailNo_1"
    write_labels(root, "SN001", first, 4, [4, 1, 0, 2])  # without a head line of frame 3, in another order
    (root / "Labels" / "SN003" / first / "AU9.txt").unlink()
    (root / "Images" / "SN004" / first / "002.jpg").unlink()
    with pytest.raises(DatasetError, match=f"1 missing label files: SN003/{first}/AU9.txt.*complete=False"):
        open_dataset("disfa_plus", root)
    table = open_dataset("disfa_plus", root, complete=False)
    mine = table.rows[table.rows["file"].str.startswith(f"Images/SN001/{first}")]
    assert mine["au_4"].isna().tolist() == [False, False, False, True, False]
    assert mine["au_4"].iloc[4] == level("SN001", first, 4, 4)
    assert table.rows["au_9"].isna().sum() == 5 and len(table) == 80
    assert set(table.notes) == {
        f"1 missing label files: SN003/{first}/AU9.txt",
        f"1 label files without some of the trial's frames: SN001/{first}/AU4.txt lacks 1",
        f"1 coded frames without an image: Images/SN004/{first}/2",
    }


def test_other_heads_and_other_people(root):
    for unit in UNITS:
        write_labels(root, "SN001", "C3_TrailNo_1", unit, range(2), head="")
        write_labels(root, "SN099", "C3_TrailNo_1", unit, range(2), head="\nFrame Intensity\n")
    for subject in ("SN001", "SN099"):
        (root / "Images" / subject / "C3_TrailNo_1").mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (10, 8)).save(root / "Images" / subject / "C3_TrailNo_1" / f"{number:03d}.jpg")
    table = open_dataset("disfa_plus", root)
    assert len(table) == 85 and table.notes == ("1 subjects outside the published folds: SN099",)
    assert table.rows.loc[table.rows["file"].str.contains("SN099"), "fold"].tolist() == [-1, -1]


@pytest.mark.parametrize(
    "text, message",
    [
        ("000.jpg 1\n001.jpg 7\n", r"1 lines of SN010/A1_AU1_TrailNo_1/AU2.txt that are no image and intensity 0..5: line 2: 001.jpg 7"),
        ("000.jpg 1\nxyz\n", "line 2: xyz"),
        ("", "lines of SN010/A1_AU1_TrailNo_1/AU2.txt that are no image and intensity 0..5: none"),
        ("000.jpg 1\n000.jpg 2\n", "1 repeated frames in SN010/A1_AU1_TrailNo_1/AU2.txt: 0"),
    ],
)
def test_label_files_that_are_wrong_are_refused_whatever_one_asks_for(root, text, message):
    (root / "Labels" / "SN010" / "A1_AU1_TrailNo_1" / "AU2.txt").write_text(text)
    with pytest.raises(DatasetError, match=message):
        open_dataset("disfa_plus", root, complete=False)


def test_missing_people_and_folders(root, tmp_path):
    for path in sorted((root / "Labels" / "SN027").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    (root / "Labels" / "SN027").rmdir()
    with pytest.raises(DatasetError, match="1 people without label files: SN027"):
        open_dataset("disfa_plus", root)
    with pytest.raises(DatasetError, match="expected the label files in Labels"):
        open_dataset("disfa_plus", tmp_path)
    (tmp_path / "Labels").mkdir()
    with pytest.raises(DatasetError, match="expected the images in a folder img_256x256 or img or Aligned or Images"):
        open_dataset("disfa_plus", tmp_path)
