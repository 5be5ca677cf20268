import errno
import hashlib
import json
import os
import resource

import numpy as np
import pandas as pd
import pytest

from lib.datasets.errors import DatasetError
from lib.faces import shards
from lib.faces.shards import PackedWriter, open_packed, verify
from lib.files import DiskFull

N, H, W = 23, 8, 6
ABOUT = {"name": "tiny", "source": "rendered", "licence": "CC0", "credit": "nobody"}


def sample(n=N):
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"identity": np.arange(n) // 3, "split": "pretrain",
                         "au_1": np.linspace(0, 5, n, dtype=np.float32)})
    rows["landmarks"] = list(rng.random((n, 136), dtype=np.float32))
    return rng.integers(0, 256, (n, H, W, 3), dtype=np.uint8), rows, rng.integers(0, 9, (n, H, W), dtype=np.uint8)


def write(root, batches=1, shard_rows=10, masked=True):
    images, rows, masks = sample()
    with PackedWriter(root, **ABOUT, shard_rows=shard_rows) as writer:
        for part in np.array_split(np.arange(N), batches):
            writer.add(images[part], rows.iloc[part], masks[part] if masked else None)
    return images, rows, masks


@pytest.fixture
def packed(tmp_path):
    write(tmp_path / "set")
    return tmp_path / "set"


def digest(root):
    return {name: hashlib.sha256((root / name).read_bytes()).hexdigest() for name in sorted(os.listdir(root))}


def test_what_the_reader_left_out_comes_back(tmp_path):
    images, rows, _ = sample()
    notes = ["3 images without a coded frame: a, b, c", "2 subjects outside the folds: é"]
    with PackedWriter(tmp_path / "set", **ABOUT, notes=notes) as writer:
        writer.add(images, rows)
    assert open_packed(tmp_path / "set").notes == tuple(notes)
    path = tmp_path / "set" / "set.json"
    old = {name: value for name, value in json.loads(path.read_text()).items() if name != "notes"}
    path.write_text(json.dumps(old))  # as it was packed before there were notes
    assert open_packed(tmp_path / "set").notes == ()
    path.write_text(json.dumps(old | {"notes": [7]}))
    with pytest.raises(DatasetError, match="expected the description of a packed set, cannot use it"):
        open_packed(tmp_path / "set")


def test_what_is_written_comes_back(tmp_path):
    images, rows, masks = write(tmp_path / "set", batches=4)
    table = open_packed(tmp_path / "set")
    assert (table.name, table.source, table.licence, table.credit) == tuple(ABOUT.values())
    assert table.image_size == (H, W) and len(table) == N
    assert table.columns == ("identity", "split", "au_1", "landmarks")
    np.testing.assert_array_equal(table.images().numpy(), images.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(table.masks().numpy(), masks)
    np.testing.assert_array_equal(table.landmarks().numpy(), np.stack(rows["landmarks"]).reshape(N, 68, 2))
    np.testing.assert_array_equal(table.column("au_1"), rows["au_1"])
    order = [22, 0, 10, 9, 10]
    np.testing.assert_array_equal(table.images(order).numpy(), images[order].transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(table.masks(order).numpy(), masks[order])
    verify(tmp_path / "set")


def test_landmarks_that_are_not_known_stay_nan(tmp_path):
    images, rows, _ = sample()
    points = np.stack(rows["landmarks"])
    points[[0, 11]], points[5, 3] = np.nan, np.nan
    with PackedWriter(tmp_path / "set", **ABOUT, shard_rows=10) as writer:
        for part in np.array_split(np.arange(N), 4):
            writer.add(images[part], rows.iloc[part].assign(landmarks=list(points[part])))
    np.testing.assert_array_equal(open_packed(tmp_path / "set").landmarks().numpy(), points.reshape(N, 68, 2))


def test_bytes_are_the_same_for_any_batch_size(tmp_path):
    for name, batches in (("a", 1), ("b", 6), ("c", 23)):
        write(tmp_path / name, batches=batches)
    assert digest(tmp_path / "a") == digest(tmp_path / "b") == digest(tmp_path / "c")


def test_masks_and_landmarks_are_optional(tmp_path):
    images, rows, _ = sample()
    with PackedWriter(tmp_path / "set", **ABOUT) as writer:
        writer.add(images, rows[["identity"]])
    table = open_packed(tmp_path / "set")
    assert table.columns == ("identity",) and not table.has_masks and not table.has_landmarks


def test_opening_reads_no_pixels_and_a_batch_only_its_rows(packed, monkeypatch):
    read, plain = [], os.preadv
    monkeypatch.setattr(shards.os, "preadv", lambda file, into, at: read.append(len(into[0])) or plain(file, into, at))
    table = open_packed(packed)
    view = table.select(table.column("identity") >= 3)
    assert read == []
    view.images([0, 5])
    assert read == [H * W * 3] * 2


def test_no_file_stays_open(packed):
    open_files = lambda: len(os.listdir("/dev/fd"))  # noqa: E731
    before = open_files()
    table = open_packed(packed)
    table.images(), table.masks([3, 20])
    assert open_files() == before


def test_a_set_may_have_more_files_than_a_process_may_open(tmp_path):
    images, rows, _ = sample()
    with PackedWriter(tmp_path / "many", **ABOUT, shard_rows=1) as writer:
        writer.add(images, rows)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/dev/fd")) + 8, hard))
    try:
        got = open_packed(tmp_path / "many").images()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(images) > 8 and np.array_equal(got.permute(0, 2, 3, 1).numpy(), images)


def test_a_shard_that_goes_or_is_cut_while_the_set_is_open_is_named(packed):
    table = open_packed(packed)
    second = packed / "images-001.npy"
    second.write_bytes(second.read_bytes()[:-1])
    assert len(table.images(range(19))) == 19
    with pytest.raises(DatasetError, match=r"images-001.npy: expected rows of 144 bytes, the file ends before"):
        table.images([19])
    second.unlink()
    with pytest.raises(DatasetError, match=r"images-001.npy: cannot be read any more .*No such file"):
        table.images([12])


def test_a_failed_write_leaves_nothing_and_keeps_the_old_set(packed):
    before = digest(packed)
    images, rows, masks = sample()
    with pytest.raises(RuntimeError), PackedWriter(packed, **ABOUT) as writer:
        writer.add(images, rows, masks)
        raise RuntimeError
    assert digest(packed) == before and os.listdir(packed.parent) == ["set"]


@pytest.mark.parametrize("when", ["add", "finish"])
def test_a_full_disk_is_named_and_leaves_nothing(tmp_path, monkeypatch, when):
    def full(*_):
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(shards._NpyStream, "append" if when == "add" else "close", full)
    with pytest.raises(DiskFull, match="disk is full.*set"):
        write(tmp_path / "set", shard_rows=100)
    assert os.listdir(tmp_path) == []


def test_an_empty_set_is_refused(tmp_path):
    with pytest.raises(ValueError, match="empty set"), PackedWriter(tmp_path / "set", **ABOUT):
        pass
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("change, message", [
    (lambda i, r, m: (i.astype(np.float32), r, m), r"images: expected uint8 \[n,H,W,3\], got float32"),
    (lambda i, r, m: (i[..., :1], r, m), r"images: expected uint8 \[n,H,W,3\]"),
    (lambda i, r, m: (i, r.iloc[:-1], m), "got 22 rows for 23 images"),
    (lambda i, r, m: (i, r, m[:, :-1]), r"masks: expected uint8 \[23, 8, 6\]"),
    (lambda i, r, m: (i, r, None), "masks: expected in every call or in none"),
    (lambda i, r, m: (i[:, :-1], r, m[:, :-1]), r"images: expected \[8, 6\] pixels as in the first call"),
    (lambda i, r, m: (i, r.drop(columns="au_1"), m), "differs in.*au_1"),
    (lambda i, r, m: (i, r.assign(identity=0.5), m), "types of the first call"),
    (lambda i, r, m: (i, r.assign(landmarks=[[0.0] * 5] * N), m), "expected 136 numbers in 'landmarks', got 5"),
])
def test_bad_batches(tmp_path, change, message):
    images, rows, masks = sample()
    with pytest.raises(ValueError, match=message), PackedWriter(tmp_path / "set", **ABOUT) as writer:
        writer.add(images, rows, masks)
        writer.add(*change(images, rows, masks))
    assert os.listdir(tmp_path) == []


def about(change):
    def damage(root):
        path = root / "set.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))
    return damage


def cut(name):
    return lambda root: os.truncate(root / name, (root / name).stat().st_size - 1)


def parquet_of(rows):
    def damage(root):
        rows.to_parquet(root / "table.parquet")
        about(lambda content: content["table"].update(bytes=(root / "table.parquet").stat().st_size))(root)
    return damage


def garbage(name):
    def damage(root):
        size = (root / name).stat().st_size
        (root / name).write_bytes(b"?" * size)
    return damage


@pytest.mark.parametrize("damage, message", [
    (cut("images-001.npy"), r"images-001\.npy: expected \d+ bytes, got \d+"),
    (cut("masks-002.npy"), r"masks-002\.npy: expected \d+ bytes, got"),
    (cut("table.parquet"), r"table\.parquet: expected \d+ bytes"),
    (lambda root: (root / "images-002.npy").unlink(), r"images-002\.npy: .*missing"),
    (lambda root: (root / "set.json").unlink(), r"set\.json: .*no such file"),
    (lambda root: (root / "set.json").write_text("{"), r"set\.json: .*cannot use it"),
    (lambda root: (root / "set.json").write_bytes(b"\xff\xfe"), r"set\.json: .*cannot use it"),
    (lambda root: (root / "set.json").write_text("[]"), r"set\.json: .*cannot use it"),
    (about(lambda c: c.pop("licence")), r"set\.json: .*licence"),
    (about(lambda c: c.update(count=24)), "expected 24 images in all, its shards name 23"),
    (about(lambda c: c["shards"].pop()), "expected 23 images in all, its shards name 20"),
    (about(lambda c: c["shards"][0].update(masks=None)), "masks in 2 of 3 shards"),
    (about(lambda c: (c["shards"][0].update(rows=9), c["shards"][1].update(rows=11))),
     r"images-000\.npy: expected a uint8 array \[9, 8, 6, 3\]"),
    (about(lambda c: c.update(image_size=[6, 8])), r"images-000\.npy: expected a uint8 array \[10, 6, 8, 3\]"),
    (garbage("images-000.npy"), r"images-000\.npy: .*cannot read it"),
    (garbage("table.parquet"), r"table\.parquet: expected a parquet table, cannot read it"),
    (parquet_of(pd.DataFrame({"identity": [1, 2]})), r"table\.parquet: expected 23 rows, one an image, got 2"),
    (parquet_of(pd.DataFrame({"landmarks": [[0.0] * 3] * N})), r"table\.parquet: expected 136 float32 in 'landmarks'"),
])
def test_a_damaged_set_is_named_with_the_remedy(packed, damage, message):
    damage(packed)
    with pytest.raises(DatasetError, match=message) as caught:
        open_packed(packed)
    assert "dvc repro" in str(caught.value)


def test_a_missing_folder(tmp_path):
    with pytest.raises(DatasetError, match="the folder is missing.*dvc repro"):
        open_packed(tmp_path / "nothing")


def test_verify_finds_one_changed_byte(packed, capsys):
    with open(packed / "masks-001.npy", "r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    open_packed(packed)  # the cheap check cannot see it
    with pytest.raises(DatasetError, match=r"masks-001\.npy: expected sha256 [0-9a-f]{64}, got [0-9a-f]{64}"):
        verify(packed)
