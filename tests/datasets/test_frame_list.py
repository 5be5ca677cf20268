import pytest

from lib.datasets import DatasetError
from lib.datasets.frame_list import find_clips, frame_number, in_time, list_frames, read_frame_list, write_frame_list

GOOD = "0,faces/test_wav/id10270/5r0dWxy17C8/00001,0,34,35\n1,faces/wav/id10001/a/00002,3,9,12\n"


def touch(root, clip, names):
    (root / clip).mkdir(parents=True, exist_ok=True)
    for name in names:
        (root / clip / name).touch()


def test_frames_are_in_the_order_of_their_numbers():
    assert [frame_number(name) for name in ("0000125.jpg", "frame_7.jpg", "12_face.jpg", "face.jpg")] == [125, 7, 12, -1]
    names = ["10.jpg", "9.jpg", "notes.txt", "1.jpg", ".2.jpg", "00002.jpg", "100.jpg"]
    assert in_time(names) == ["1.jpg", "00002.jpg", "9.jpg", "10.jpg", "100.jpg"]
    assert in_time(["f2_10.jpg", "f3_9.jpg"]) == ["f3_9.jpg", "f2_10.jpg"]  # the last number counts


def test_clips_are_found_in_natural_order(tmp_path):
    for clip in ("faces/wav/id2/v/10", "faces/wav/id2/v/9", "faces/wav/id1/v/1"):
        touch(tmp_path, clip, ["10.jpg", "2.jpg"])
    touch(tmp_path, "faces/wav/id1/v/2", ["readme.txt"])
    touch(tmp_path, "other/1", ["1.jpg"])
    (tmp_path / "faces/wav/id1/loop").symlink_to(tmp_path / "faces")
    clips = find_clips(tmp_path, "faces")
    assert list(clips) == ["faces/wav/id1/v/1", "faces/wav/id2/v/9", "faces/wav/id2/v/10"]
    assert all(frames == ["2.jpg", "10.jpg"] for frames in clips.values())
    assert list_frames(tmp_path, ["other/1", "gone"]) == {"other/1": ["1.jpg"], "gone": []}


def test_a_list_that_was_written_reads_back(tmp_path, capsys):
    touch(tmp_path, "faces/wav/id10001/v,1/00010", [f"{i}.jpg" for i in range(12)])
    touch(tmp_path, "faces/wav/id10001/v,1/00002", [f"{i}.jpg" for i in range(3)])
    touch(tmp_path, "faces/wav/id10001/v,1/00003", ["1.jpg"])
    written = write_frame_list(tmp_path, tmp_path / "lists" / "vox1_frames.txt", below="faces")
    text = (tmp_path / "lists" / "vox1_frames.txt").read_text()
    assert text.splitlines()[0] == '0,"faces/wav/id10001/v,1/00002",0,2,3'  # no header; a comma in a name is quoted
    assert text.splitlines()[2].endswith("00010\",0,11,12") and text.endswith("\n")
    assert read_frame_list(tmp_path / "lists" / "vox1_frames.txt").equals(written)
    assert capsys.readouterr().out == ""
    written = write_frame_list(tmp_path, tmp_path / "long.txt", min_frames=3)
    assert written["idx"].tolist() == [0, 1] and written["n_frames"].tolist() == [3, 12]
    assert "1 clips with fewer than 3 frames: faces/wav/id10001/v,1/00003 not listed" in capsys.readouterr().out
    with pytest.raises(DatasetError, match="at least 13 frames .*found 3 shorter ones: 3 clips: faces/"):
        write_frame_list(tmp_path, tmp_path / "none.txt", min_frames=13)
    assert not (tmp_path / "none.txt").exists()
    with pytest.raises(ValueError, match="min_frames: expected at least 1, got 0"):
        write_frame_list(tmp_path, tmp_path / "none.txt", min_frames=0)


def test_the_published_format(tmp_path):
    (tmp_path / "list.txt").write_text(GOOD)
    table = read_frame_list(tmp_path / "list.txt")
    assert table.columns.tolist() == ["idx", "path", "start", "end", "n_frames"]
    assert table.iloc[0].tolist() == [0, "faces/test_wav/id10270/5r0dWxy17C8/00001", 0, 34, 35]
    assert table[["start", "end", "n_frames"]].iloc[1].tolist() == [3, 9, 12]


@pytest.mark.parametrize("text, message", [
    ("", "got no line"),
    (GOOD + "2,a/b,0,1\n", r"1 lines that are not idx,path,start,end,n_frames: line 3: '2,a/b,0,1'"),
    ("idx,path,start,end,n_frames\n" + GOOD, "1 lines that are not .*: line 1: 'idx,path"),
    (GOOD + "2,a/b,0,x,3\n", "lines that are not .*line 3"),
    (GOOD + "2,a/b,-1,2,3\n", "lines that are not .*line 3"),
    (GOOD + "2,a/b,0,3,3\n3,a/c,2,1,3\n", r"2 ranges outside the clip: line 3: 0\.\.3 of 3, line 4: 2\.\.1 of 3"),
    (GOOD + "2,faces/wav/id10001/a/00002,0,1,2\n", "1 clips that stand in several lines: faces/wav/id10001/a/00002"),
])
def test_wrong_lists(tmp_path, text, message):
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(DatasetError, match=message) as caught:
        read_frame_list(tmp_path / "list.txt")
    assert "list.txt" in str(caught.value) and "write_frame_list" in str(caught.value)
