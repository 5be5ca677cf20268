import re

import numpy as np
import pytest
import torch
from PIL import Image

from lib.datasets import DatasetError, open_dataset
from lib.datasets.columns import KNOWN_SPLITS, column, known_columns
from lib.datasets.image_files import LARGEST_ASPECT, LEAST_SIDE, read_image
from lib.models import checks


def save(path, color=(10, 20, 30), size=(20, 16), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path, **options)


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "mine"
    for i, name in enumerate(["anna/10.png", "anna/2.png", "bert/1.jpg", "bert/2.webp", "cleo/1.BMP"]):
        save(root / name, (i * 10, 0, 0))
    (root / ".hidden").mkdir()
    (root / ".hidden" / "x.jpg").write_text("not an image")
    (root / "notes.txt").write_text("not an image")
    return root


def labels(root, text):
    (root / "labels.csv").write_text(text, encoding="utf-8")


def test_sub_folders_are_people_in_natural_order(root):
    table = open_dataset("folder", root)
    assert table.rows["file"].tolist() == ["anna/2.png", "anna/10.png", "bert/1.jpg", "bert/2.webp", "cleo/1.BMP"]
    assert table.column("identity").tolist() == [0, 0, 1, 1, 2]
    assert table.column("frame").tolist() == [0, 1, 0, 1, 0]
    assert (table.name, table.source, table.image_size) == ("mine", "mine", (16, 20))
    assert table.images([1])[0, :, 0, 0].tolist() == [0, 0, 0] and table.images().shape == (5, 3, 16, 20)


def test_deeper_folders_are_clips_and_loose_photographs_their_own_people(tmp_path):
    for name in ("a/c1/1.png", "a/c1/2.png", "a/c2/1.png", "b/c1/1.png", "x.png", "y.png"):
        save(tmp_path / name)
    rows = open_dataset("folder", tmp_path).rows.set_index("file")
    assert rows.loc["a/c1/2.png", ["identity", "clip", "frame"]].tolist() == [0, 0, 1]
    assert rows["clip"].nunique() == 5 and rows["identity"].nunique() == 4
    for name in ("a/3.png", "a/4.png"):  # a person's single photographs are no frames of one clip
        save(tmp_path / name)
    assert open_dataset("folder", tmp_path).rows["clip"].nunique() == 7


def test_images_without_a_clip_are_no_frames_of_one(root):
    labels(root, "file,clip\nanna/2.png,4\nanna/10.png,4\nbert/1.jpg,\nbert/2.webp,\ncleo/1.BMP,\n")
    table = open_dataset("folder", root)
    assert table.column("clip").tolist() == [4, 4, 5, 6, 7]
    assert table.column("frame").tolist() == [0, 1, 0, 1, 0]
    labels(root, "file,clip,frame\nanna/2.png,4,0\nanna/10.png,4,3\nbert/1.jpg,,\nbert/2.webp,,\ncleo/1.BMP,,\n")
    assert open_dataset("folder", root).column("clip").tolist() == [4, 4, 5, 6, 7]  # a frame's number is nothing to a photograph
    labels(root, "file,clip,frame\nanna/2.png,4,0\nanna/10.png,4,\nbert/1.jpg,,\nbert/2.webp,,\ncleo/1.BMP,,\n")
    message = r"labels\.csv: 1 images of a clip without a number in the column frame: anna/10\.png, where others of it have one; fill"
    with pytest.raises(DatasetError, match=message):
        open_dataset("folder", root)
    labels(root, "file,clip,frame\nanna/2.png,4,\nanna/10.png,4,\nbert/1.jpg,,\nbert/2.webp,,\ncleo/1.BMP,2,7\n")
    table = open_dataset("folder", root)  # of a clip of which nothing is known the frames follow each other by their names
    assert table.rows["file"].tolist()[:2] == ["anna/2.png", "anna/10.png"]
    assert table.column("clip").tolist() == [4, 4, 5, 6, 2] and table.column("frame").tolist() == [0, 1, 0, 0, 7]


def test_links_to_folders_are_followed_once(root, tmp_path):
    save(tmp_path / "elsewhere" / "1.png")
    (root / "dora").symlink_to(tmp_path / "elsewhere")
    (root / "anna" / "loop").symlink_to(root)
    assert open_dataset("folder", root).rows["identity"].nunique() == 4


def test_different_sizes(root):
    save(root / "anna" / "3.png", size=(30, 30))
    table = open_dataset("folder", root)
    assert table.image_size is None and table.images([1]).shape == (1, 3, 30, 30)
    with pytest.raises(DatasetError, match="differ in size.*image_size"):
        table.images([0, 1])
    fitted = open_dataset("folder", root, image_size=(8, 8))
    assert fitted.image_size == (8, 8) and fitted.images().shape == (6, 3, 8, 8)
    assert fitted.images([]).shape == (0, 3, 8, 8)


def test_exif_orientation_is_respected(tmp_path):
    picture = np.zeros((20, 10, 3), np.uint8)
    picture[:10] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side
    for name in ("1.jpg", "2.png"):
        Image.fromarray(np.rot90(picture).copy()).save(tmp_path / name, exif=exif)
    np.testing.assert_allclose(read_image(tmp_path / "1.jpg"), picture, atol=30)
    np.testing.assert_array_equal(read_image(tmp_path / "2.png"), picture)
    (tmp_path / "2.png").unlink()
    assert open_dataset("folder", tmp_path).image_size == (20, 10)


def test_grey_palette_alpha_and_16_bit_become_rgb(tmp_path):
    Image.new("L", (8, 8), 77).save(tmp_path / "grey.png")
    Image.new("RGBA", (8, 8), (77, 77, 77, 9)).save(tmp_path / "alpha.png")
    Image.new("L", (8, 8), 77).convert("P").save(tmp_path / "palette.png")
    Image.fromarray(np.full((8, 8), 77 * 257, np.uint16)).save(tmp_path / "deep.png")
    assert (open_dataset("folder", tmp_path).images() == 77).all()


def test_small_images_are_refused_and_long_ones_noted(root, capsys):
    assert (LEAST_SIDE, LARGEST_ASPECT) == (checks.LEAST_SIDE, checks.LARGEST_ASPECT)
    save(root / "anna" / "3.png", size=(8, 8))
    save(root / "anna" / "4.png", size=(160, 40))
    save(root / "anna" / "5.png", size=(40, 160))
    assert not open_dataset("folder", root).notes
    for number in range(6):
        save(root / "bert" / f"long{number}.png", size=(161, 40))
    save(root / "bert" / "long0.png", size=(40, 161))
    capsys.readouterr()
    for options in ({}, {"image_size": (16, 16)}):
        table = open_dataset("folder", root, **options)
        assert len(table) == 14
        (note,) = table.notes
        what = "6 images longer than 1 : 4, of which the middle is read unless landmarks say where the face is"
        assert note.startswith(f"{what}: bert/long0.png (161 x 40 px, H x W), bert/long1.png (40 x 161 px") and note.endswith(" ...")
        assert "long5" not in note and f"folder: {note}" in capsys.readouterr().out
    save(root / "anna" / "6.png", size=(7, 20))
    for options in ({}, {"image_size": (16, 16)}):
        with pytest.raises(DatasetError) as caught:
            open_dataset("folder", root, **options)
        assert str(caught.value) == (
            f"{root}: 1 images of less than 8 px a side: anna/6.png (20 x 7 px, H x W); no face can be told on so few: take the"
            " pictures in their own size, or take them out"
        )


def test_an_unreadable_image_is_named(root):
    (root / "bert" / "9.png").write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"bert/9\.png: expected an image.*cannot read it"):
        open_dataset("folder", root)


def test_a_truncated_image_is_named_when_it_is_read(root):
    Image.effect_noise((64, 64), 90).save(root / "bert" / "9.jpg")
    whole = (root / "bert" / "9.jpg").read_bytes()
    (root / "bert" / "9.jpg").write_bytes(whole[:len(whole) // 2])
    table = open_dataset("folder", root)
    with pytest.raises(DatasetError, match=r"bert/9\.jpg: .*(copy the file again)"):
        table.images([int(np.flatnonzero(table.rows["file"] == "bert/9.jpg")[0])])


def test_an_empty_folder_and_images_of_other_kinds(tmp_path):
    with pytest.raises(DatasetError, match="at least one image, found none"):
        open_dataset("folder", tmp_path)
    (tmp_path / "a.HEIC").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"1 images of a kind that is not read \(a\.HEIC\); convert"):
        open_dataset("folder", tmp_path)


FULL = """file,identity,split,expression,valence,au_1,attr_glasses,yaw
anna/2.png,7,pretrain,3,0.5,0,1,-20
./anna/10.png,7,pretrain,Happiness,,9,0,
bert/1.jpg,8,probe_train,,-1,2.5,,10
bert\\2.webp , 8 ,probe_val,contempt,1,-1,1,0
cleo/1.BMP,9,probe_test,0,0,5,0,0.5
"""


def test_labels_are_joined_by_file(root):
    labels(root, "\ufeff" + FULL)
    table = open_dataset("folder", root)
    assert table.column("identity").tolist() == [7, 7, 8, 8, 9]
    assert table.column("expression").tolist() == [3, 1, -1, 7, 0]
    assert table.column("split").tolist() == ["pretrain"] * 2 + ["probe_train", "probe_val", "probe_test"]
    np.testing.assert_array_equal(table.column("valence"), np.float32([0.5, np.nan, -1, 1, 0]))
    np.testing.assert_array_equal(table.column("au_1"), np.float32([0, np.nan, 2.5, np.nan, 5]))
    assert table.column("attr_glasses").tolist() == [1, 0, -1, 1, 0]
    assert table.column("frame").tolist() == [0, 1, 0, 1, 0]


def test_landmarks_follow_the_image_size(root):
    points = np.stack(np.meshgrid(np.arange(17), np.arange(4)), -1).reshape(-1)
    labels(root, "file,landmarks\n" + "".join(f"{f},{' '.join(map(str, points))}\n" for f in
                                              ("anna/2.png", "anna/10.png", "bert/1.jpg", "bert/2.webp", "cleo/1.BMP")))
    table = open_dataset("folder", root)
    np.testing.assert_array_equal(table.landmarks([4])[0].reshape(-1), points)
    half = open_dataset("folder", root, image_size=(8, 8)).landmarks([4])[0]
    torch.testing.assert_close(half[0], torch.tensor([(0.5 - 2) / 2 - 0.5, -0.25]))


def test_an_empty_cell_of_landmarks_is_unknown(root):
    points = " ".join(map(str, range(136)))
    files = ("anna/2.png", "anna/10.png", "bert/1.jpg", "bert/2.webp", "cleo/1.BMP")
    labels(root, "file,landmarks,yaw\n" + "".join(f"{f},{'' if f.startswith('bert') else points},1\n" for f in files))
    for options in ({}, {"image_size": (8, 8)}):
        found = open_dataset("folder", root, **options).landmarks()
        assert found.isnan().all((1, 2)).tolist() == [False, False, True, True, False] and found[[0, 1, 4]].isfinite().all()
    labels(root, "file,landmarks,yaw\n" + "".join(f"{f},,1\n" for f in files))
    assert not open_dataset("folder", root).has_landmarks  # a column in which nothing is known


def test_folds_are_counted_from_0_and_an_empty_one_is_none(root):
    files = ("anna/2.png", "anna/10.png", "bert/1.jpg", "bert/2.webp", "cleo/1.BMP")
    labels(root, "file,fold\n" + "".join(f"{file},{fold}\n" for file, fold in zip(files, ("0", "0", "2", "2", ""))))
    assert open_dataset("folder", root).column("fold").tolist() == [0, 0, 2, 2, -1]
    labels(root, "file,fold\n" + "".join(f"{file},{fold}\n" for file, fold in zip(files, "11223")))
    with pytest.raises(DatasetError, match=r"wrong cells in fold \(.*0, 1, 2 for what test_folds and all results call fold 1, 2, 3;.*'3'"):
        open_dataset("folder", root)


@pytest.mark.parametrize("change, message", [
    (lambda t: t + "dora/1.png,1,pretrain,0,0,0,0,0\n", r"1 rows without an image: dora/1\.png"),
    (lambda t: t.replace("bert/1.jpg,8,probe_train,,-1,2.5,,10\n", ""), r"1 images without a row: bert/1\.jpg"),
    (lambda t: t + "anna/2.png,1,pretrain,0,0,0,0,0\n", r"1 repeated rows: anna/2\.png"),
    (lambda t: t.replace(",0.5,0,1,-20", ",high,0,1,-20"), r"1 wrong cells in valence \(.*\): line 2: 'high'"),
    (lambda t: t.replace("2.5", "5.5"),
     "wrong cells in au_1 .FACS intensity of the action unit, 0 to 5; 9 or -1: not coded.: line 4: '5.5'"),
    (lambda t: t.replace("2.5", "nan").replace(",5,", ",inf,"), "2 wrong cells in au_1 .*line 4: 'nan', line 6: 'inf'"),
    (lambda t: t.replace("Happiness", "joy"), "wrong cells in expression .*0 neutral, 1 happiness.*line 3: 'joy'"),
    (lambda t: t.replace("pretrain,3", "pretrain,2.5"), "wrong cells in expression .*'2.5'"),
    (lambda t: t.replace("probe_test", "test"), "wrong cells in split .one of pretrain, probe_train, probe_test, probe_val.*'test'"),
    (lambda t: t.replace(",9,probe_test", ",,probe_test"), "wrong cells in identity .*line 6: ''"),
    (lambda t: t.replace("valence", "valance"), "1 unknown columns: valance; known are file, identity"),
    (lambda t: t.replace("file,", "path,"), "expected a column 'file'.*got path"),
    (lambda t: t.replace(",", ";"), "separate the columns by commas"),
    (lambda t: t + "a,b,c,d,e,f,g,h,i,j\n", "cannot read it"),
    (lambda t: "", "cannot read it"),
    (lambda t: "file,landmarks\n" + "".join(line.split(",")[0] + ",1 2 3\n" for line in t.splitlines()[1:]),
     "5 wrong cells in landmarks .136 numbers"),
])
def test_labels_that_do_not_match(root, change, message):
    labels(root, change(FULL))
    with pytest.raises(DatasetError, match=message) as caught:
        open_dataset("folder", root)
    assert "labels.csv" in str(caught.value)
    uneven = any(what in message for what in ("images without a row", "repeated rows"))
    assert str(caught.value).endswith(". Every image needs one row (leave a cell empty where a label is unknown)") == uneven


def test_the_range_of_a_column_stands_in_its_meaning():
    for name in (*known_columns().split(", ")[:-3], "au_1", "attr_glasses"):
        kind = column(name)
        if kind.kind == "split":
            assert all(split in kind.meaning for split in KNOWN_SPLITS)
        elif kind.high >= 2**53:
            assert f"{kind.low} or more" in kind.meaning
        else:
            numbers = [int(number) for number in re.findall(r"-?\d+", kind.meaning)]
            assert {kind.low, kind.high} <= set(numbers), name


def test_all_problems_come_at_once_and_long_lists_are_cut(root):
    more = "".join(f"nobody/{i}.png,x,pretrain,0,0,0,0,0\n" for i in range(7))
    labels(root, FULL.replace("2.5", "?") + more)
    with pytest.raises(DatasetError, match=r"the 5 images: 7 rows without an image: .*nobody/4\.png \.\.\.;"
                                           r" 7 wrong cells in identity.*; 1 wrong cells in au_1"):
        open_dataset("folder", root)
