import numpy as np
import pytest
import torch
from PIL import Image

from lib.clips import ClipIndex
from lib.datasets import DatasetError, open_dataset
from lib.datasets.frame_list import write_frame_list
from lib.datasets.voxceleb import read_meta

META1 = ("VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet\n"
         "id10001\tA.J._Buckley\tm\tIreland\tdev\nid10270\tEartha_Kitt\tf\tUSA\ttest\nid10002\tA.R._Rahman\tm\tIndia\tdev\n")
META2 = "VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set \nid00012 ,n000012 ,m ,dev \nid00017 ,n000017 ,m ,test \n"


def frames(root, clip, numbers, pattern="{:07d}.jpg"):
    (root / clip).mkdir(parents=True, exist_ok=True)
    for number in numbers:
        Image.new("RGB", (20, 16), (number, 0, 0)).save(root / clip / pattern.format(number))


@pytest.fixture
def ids(tmp_path):
    frames(tmp_path, "faces/wav/id10002/vid/00010", range(1, 5))
    frames(tmp_path, "faces/wav/id10002/vid/00009", range(8, 12), "{}.jpg")
    frames(tmp_path, "faces/test_wav/id10270/5r0dWxy17C8/00001", range(25, 30))
    return tmp_path


@pytest.fixture
def names(tmp_path):
    frames(tmp_path, "unzippedIntervalFaces/data/A.R._Rahman/1.6/vid/10", range(1, 5))
    frames(tmp_path, "unzippedIntervalFaces/data/A.R._Rahman/1.6/vid/9", range(1, 4))
    frames(tmp_path, "unzippedIntervalFaces/data/Eartha_Kitt/1.6/xyz/1", range(1, 3))
    return tmp_path


def test_the_layout_by_ids(ids):
    table = open_dataset("voxceleb", ids, check=True)
    assert table.column("identity").tolist() == [10270] * 5 + [10002] * 8
    assert table.column("split").tolist() == ["probe_test"] * 5 + ["pretrain"] * 8
    assert table.column("clip").tolist() == [0] * 5 + [1] * 4 + [2] * 4
    assert table.column("frame").tolist() == [*range(5), *range(4), *range(4)]
    assert [name.split("/")[-1] for name in table.rows["file"][5:9]] == ["8.jpg", "9.jpg", "10.jpg", "11.jpg"]
    np.testing.assert_allclose(table.column("time")[:5], np.arange(5) * 6 / 25, rtol=1e-6)
    np.testing.assert_allclose(open_dataset("voxceleb", ids, fps=1).column("time")[5:9], np.arange(4), rtol=1e-6)
    assert table.notes == () and table.image_size is None
    np.testing.assert_allclose(table.images()[:, 0, 5, 5], [*range(25, 30), *range(8, 12), *range(1, 5)], atol=3)
    assert open_dataset("voxceleb", ids, image_size=(8, 8)).images([0, 12]).shape == (2, 3, 8, 8)


def test_the_layout_by_names(names):
    table = open_dataset("voxceleb", names)
    assert table.column("identity").tolist() == [0] * 7 + [1] * 2 and set(table.column("split")) == {"pretrain"}
    assert table.rows["file"].iloc[0].endswith("/9/0000001.jpg")  # clip 9 before clip 10
    (names / "vox1_meta.csv").write_text(META1)
    table = open_dataset("voxceleb", names)
    assert table.column("identity").tolist() == [10002] * 7 + [10270] * 2
    assert table.column("split").tolist() == ["pretrain"] * 7 + ["probe_test"] * 2


def test_metadata(tmp_path, names):
    (tmp_path / "one.csv").write_text(META1)
    (tmp_path / "two.csv").write_text(META2)
    assert read_meta(tmp_path / "one.csv").loc["id10270"].tolist() == ["Eartha_Kitt", "test"]
    assert read_meta(tmp_path / "two.csv").loc["id00017"].tolist() == ["", "test"]
    (names / "vox1_meta.csv").write_text(META1.replace("Eartha_Kitt", "Eartha"))
    with pytest.raises(DatasetError, match=r"1 people who are not in the metadata: Eartha_Kitt \(vox1_meta.csv\)"):
        open_dataset("voxceleb", names)
    for text, message in ((META1.replace("\tdev", "\ttrain", 1), "1 wrong lines: line 2"), ("", "got an empty file"),
                          (META1.replace("Set", "Part"), "expected VoxCeleb's metadata .*got VoxCeleb1 ID, VGGFace1 ID"),
                          (META1.replace("id10002", "10002"), "1 wrong lines: line 4"),
                          (META1.splitlines()[0], "expected VoxCeleb's metadata")):
        (names / "vox1_meta.csv").write_text(text)
        with pytest.raises(DatasetError, match=message):
            open_dataset("voxceleb", names)


def test_voxceleb2_goes_by_the_same_layout(tmp_path):
    frames(tmp_path, "faces/wav/id00012/vid/00001", range(2))
    (tmp_path / "vox2_meta.csv").write_text(META2)
    assert open_dataset("voxceleb", tmp_path).column("identity").tolist() == [12, 12]
    frames(tmp_path, "faces/wav/id10001/vid/00001", range(2))
    with pytest.raises(DatasetError, match=r"1 people who are not in the metadata: id10001 \(vox2_meta.csv\)"):
        open_dataset("voxceleb", tmp_path)


def test_a_list_says_clips_order_and_range(ids):
    clips = ["faces/wav/id10002/vid/00010", "faces/test_wav/id10270/5r0dWxy17C8/00001"]
    (ids / "list.txt").write_text(f"0,{clips[0]},0,3,4\n1,{clips[1]},1,3,5\n")
    table = open_dataset("voxceleb", ids, frame_list="list.txt")
    assert table.rows["file"].tolist() == [f"{clips[0]}/{i:07d}.jpg" for i in (1, 2, 3, 4)] + [
        f"{clips[1]}/{i:07d}.jpg" for i in (26, 27, 28)]
    assert table.column("clip").tolist() == [0] * 4 + [1] * 3 and table.column("frame")[-1] == 2
    write_frame_list(ids, ids / "all.txt", below="faces")
    assert open_dataset("voxceleb", ids, frame_list="all.txt").rows.equals(open_dataset("voxceleb", ids).rows)


def test_a_list_that_does_not_match_the_folder(ids):
    write_frame_list(ids, ids / "list.txt", below="faces")
    (ids / "faces/wav/id10002/vid/00010/0000002.jpg").unlink()
    for path in (ids / "faces/wav/id10002/vid/00009").iterdir():
        path.unlink()
    with pytest.raises(DatasetError, match=r"list\.txt: the list does not match .*: 1 clips without a frame in the folder:"
                                           r" faces/wav/id10002/vid/00009; 1 clips whose number of frames differs:"
                                           r" faces/wav/id10002/vid/00010 \(list 4, folder 3\)"):
        open_dataset("voxceleb", ids, frame_list="list.txt")
    with pytest.raises(DatasetError, match=r"no\.txt: expected a list of clips .*it is missing; write one with"):
        open_dataset("voxceleb", ids, frame_list="no.txt")


def test_gaps_and_short_clips_are_told(ids, capsys):
    for number in (26, 27):
        (ids / f"faces/test_wav/id10270/5r0dWxy17C8/00001/00000{number}.jpg").unlink()
    frames(ids, "faces/wav/id10003/a/00001", [3])
    table = open_dataset("voxceleb", ids)
    said = capsys.readouterr().out
    assert "voxceleb: 1 clips with a single frame: faces/wav/id10003/a/00001" in said
    assert ("voxceleb: 1 clips with gaps in their frame numbers: faces/test_wav/id10270/5r0dWxy17C8/00001"
            " (2 frames missing, usual step 1)") in said
    assert len(table) == 3 + 8 + 1
    np.testing.assert_allclose(table.column("time")[:3], np.array([0, 3, 4]) * 6 / 25, rtol=1e-6)
    table = open_dataset("voxceleb", ids, min_frames=4)
    assert ("2 clips with fewer than 4 frames: faces/test_wav/id10270/5r0dWxy17C8/00001, faces/wav/id10003/a/00001"
            " left out") in table.notes
    assert table.column("clip").tolist() == [1] * 4 + [2] * 4  # clips keep their numbers
    with pytest.raises(DatasetError, match="at least 9 frames, the longest has 4; lower min_frames"):
        open_dataset("voxceleb", ids, min_frames=9)


def test_images_of_another_kind_are_named(ids, capsys):
    clip = "faces/wav/id10002/vid/00010"
    frames(ids, clip, [5], "{}.JPG")
    frames(ids, "faces/wav/id10002/vid/00011", [1, 2], "{}.png")
    (ids / clip / "notes.txt").write_text("no image")
    said = f"3 images that are no *.jpg: {clip}/5.JPG, faces/wav/id10002/vid/00011/1.png, faces/wav/id10002/vid/00011/2.png"
    table = open_dataset("voxceleb", ids)
    assert len(table) == 13 and table.notes == (f"{said} not read",)
    write_frame_list(ids, ids / "list.txt", below="faces")
    assert f"{said} not counted" in capsys.readouterr().out
    assert open_dataset("voxceleb", ids, frame_list="list.txt").notes == (f"1 images that are no *.jpg: {clip}/5.JPG not read",)


def test_pngs_alone_are_no_clips(tmp_path):
    frames(tmp_path, "faces/wav/id10002/vid/00001", [1, 2], "{}.png")
    with pytest.raises(DatasetError, match=r"found no \*\.jpg in any folder, but 2 other images: faces/wav/id10002/vid/00001/1\.png"):
        open_dataset("voxceleb", tmp_path)


def test_every_sixth_frame_is_no_gap(tmp_path):
    frames(tmp_path, "faces/wav/id10001/a/00001", [1, 7, 13, 19])
    frames(tmp_path, "faces/wav/id10001/a/00002", [1, 7, 25])
    table = open_dataset("voxceleb", tmp_path)
    assert table.notes == ("1 clips with gaps in their frame numbers: faces/wav/id10001/a/00002 (2 frames missing, usual step"
                           " 6)",)
    np.testing.assert_allclose(table.column("time") * 25 / 6, [0, 1, 2, 3, 0, 1, 4], rtol=1e-6)
    assert table.column("frame").tolist() == [0, 1, 2, 3, 0, 1, 4]


def test_a_missing_frame_is_nobodys_partner(tmp_path):
    """What SSL-FER draws two frames apart is two frames apart, whatever is missing between."""
    for clip in range(40):
        frames(tmp_path, f"faces/wav/id10001/a/{clip:05d}", [1, 2, 3, 9, 10, 11])
    table = open_dataset("voxceleb", tmp_path, fps=1)
    index = ClipIndex(table, fps=1.0, interval=2.0, hard_interval=None)
    number = np.array([int(name.split("/")[-1][:-4]) for name in table.rows["file"]])
    pairs = number[index.draw(torch.Generator().manual_seed(0)).numpy()]
    assert set(np.abs(pairs[:, 1] - pairs[:, 0])) <= set(index.offsets) and index.offsets.max() < 6


def test_numbers_without_a_step_are_taken_as_they_follow(tmp_path):
    frames(tmp_path, "faces/wav/id10001/a/00001", [0, 6, 12, 18, 24])
    frames(tmp_path, "faces/wav/id10001/a/00002", [0, 2, 5, 6])
    table = open_dataset("voxceleb", tmp_path)
    assert table.column("frame").tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3]
    assert any("fit no regular step" in note and "00002" in note for note in table.notes)


@pytest.mark.parametrize("damage, message", [
    (lambda root: frames(root, "faces/wav/id10002/stray", [1]), "1 clips that lie in neither .*: faces/wav/id10002/stray"),
    (lambda root: frames(root, "faces/wav/id1000/v/1", [1]), "neither of the official layouts"),
    (lambda root: frames(root, "faces/wav/id10002/vid/00010", [1], "{}.jpg"), "1 clips with two frames of one number: .*00010"),
    (lambda root: frames(root, "faces/wav/id10002/vid/00010", [1], "face.jpg"), "1 clips with frames without a number"),
    (lambda root: frames(root, "unzippedIntervalFaces/data/A/1.6/v/1", [1]), "are both there .*frame_list="),
])
def test_other_trees(ids, damage, message):
    damage(ids)
    with pytest.raises(DatasetError, match=message):
        open_dataset("voxceleb", ids)


def points(count):
    return np.random.default_rng(0).uniform(0, 16, (count, 68, 2)).astype(np.float32)


def test_landmarks_beside_the_frames(ids, capsys):
    rows = points(13)
    rows[2], rows[9, 67, 1] = np.nan, np.nan  # no face; not all of one
    np.save(ids / "lm.npy", rows)
    table = open_dataset("voxceleb", ids, landmarks="lm.npy")
    known = np.array([row not in (2, 9) for row in range(13)])
    np.testing.assert_array_equal(table.landmarks().numpy()[known], rows[known])
    assert table.landmarks()[~known].isnan().all() and not open_dataset("voxceleb", ids).has_landmarks
    where = table.rows["file"]
    assert f"voxceleb: 2 frames without landmarks: {where[2]}, {where[9]}\n" in capsys.readouterr().out
    fitted = open_dataset("voxceleb", ids, landmarks="lm.npy", image_size=(8, 8)).landmarks().numpy()
    np.testing.assert_allclose(fitted[known], (rows[known] + 0.5 - [2, 0]) / 2 - 0.5, atol=1e-5)  # 20 x 16: 2 px off each side
    np.save(ids / "lm.npy", rows[5:])
    table = open_dataset("voxceleb", ids, landmarks="lm.npy", frame_list=listed(ids, 1, 2))
    np.testing.assert_array_equal(table.landmarks().numpy()[:4], rows[5:9])


def listed(root, *which):
    """A list of some of the clips, in their order."""
    table = write_frame_list(root, root / "all.txt", below="faces")
    lines = (root / "all.txt").read_text().splitlines()
    assert len(table) == len(lines)
    (root / "some.txt").write_text("\n".join(lines[i] for i in which))
    return "some.txt"


@pytest.mark.parametrize("content, message", [
    (points(12), r"lm\.npy: expected float32 \[13,68,2\], the landmarks of every frame.* got float32 \[12, 68, 2\]; make them"),
    (points(13).astype(np.float64), r"got float64 \[13, 68, 2\]"),
    (points(13).reshape(13, 136), r"got float32 \[13, 136\]"),
    (np.full((13, 68, 2), np.nan, np.float32), "got no face at all"),
    (np.array([None] * 13), "cannot read it .*pickle"),
    (None, r"lm\.npy: expected .*cannot read it .*No such file"),
])
def test_other_landmarks(ids, content, message):
    if content is not None:
        np.save(ids / "lm.npy", content)
    with pytest.raises(DatasetError, match=message):
        open_dataset("voxceleb", ids, landmarks="lm.npy")


def test_names_and_ids_in_one_list_need_the_metadata(ids, names):
    write_frame_list(ids, ids / "list.txt")
    with pytest.raises(DatasetError, match="both by id and by name; put vox1_meta.csv beside it"):
        open_dataset("voxceleb", ids, frame_list="list.txt")
    (ids / "vox1_meta.csv").write_text(META1)
    table = open_dataset("voxceleb", ids, frame_list="list.txt")
    assert set(table.column("identity")) == {10002, 10270} and table.rows["clip"].nunique() == 6


def test_empty_trees_and_options(tmp_path):
    (tmp_path / "faces").mkdir()
    with pytest.raises(DatasetError, match=r"faces: expected clips, found no \*\.jpg in any folder"):
        open_dataset("voxceleb", tmp_path)
    for option, message in (({"min_frames": 0}, "min_frames: expected at least 1"), ({"fps": 0}, "fps: expected a positive")):
        with pytest.raises(ValueError, match=message):
            open_dataset("voxceleb", tmp_path, **option)


def test_check_names_unreadable_frames(ids):
    for name in ("1", "3"):
        (ids / f"faces/wav/id10002/vid/00010/000000{name}.jpg").write_bytes(b"no image")
    assert len(open_dataset("voxceleb", ids)) == 13
    with pytest.raises(DatasetError, match=r"(?s)voxceleb: 2 images cannot be read:.*0000001\.jpg.*0000003\.jpg"):
        open_dataset("voxceleb", ids, check=True)
