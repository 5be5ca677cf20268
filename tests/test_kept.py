"""Kept arrays: made once and read again equal; broken files are made anew, killed runs leave nothing, few files stay."""

import os

import numpy as np
import pytest

import lib.kept
from lib.kept import digest, kept_arrays


@pytest.fixture
def maker():
    """``make`` gives arrays of several kinds and counts."""
    made = []

    def make():
        made.append(1)
        return {"a": np.arange(6, dtype=np.float32).reshape(2, 3) / 7, "b": np.array([True, False]), "c": np.array(3)}

    return make, made


def same(one, other):
    assert list(one) == list(other)
    return all(one[k].dtype == other[k].dtype and np.array_equal(one[k], other[k]) for k in one)


def test_made_once_and_read_equal(maker, tmp_path):
    make, made = maker
    first = kept_arrays(tmp_path / "new", "key", make)
    assert same(kept_arrays(tmp_path / "new", "key", make), first) and same(make(), first) and len(made) == 2
    kept_arrays(tmp_path / "new", "other", make)
    assert len(made) == 3 and sorted(path.name for path in (tmp_path / "new").iterdir()) == ["key.npz", "other.npz"]


@pytest.mark.parametrize("broken", ["empty", "cut", "flipped", "text"])
def test_a_broken_file_is_made_anew(maker, tmp_path, broken):
    make, made = maker
    first, path = kept_arrays(tmp_path, "key", make), tmp_path / "key.npz"
    whole = path.read_bytes()
    middle = whole.index(first["a"].tobytes())
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    path.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "flipped": flipped, "text": b"no archive"}[broken])
    assert same(kept_arrays(tmp_path, "key", make), first) and len(made) == 2
    kept_arrays(tmp_path, "key", make)
    assert len(made) == 2 and path.read_bytes() == whole


def test_a_run_that_stops_leaves_nothing(maker, tmp_path, monkeypatch):
    def stops():
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        kept_arrays(tmp_path, "key", stops)

    def halfway(file, **arrays):
        file.write(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(lib.kept.np, "savez", halfway)
        kept_arrays(tmp_path, "key", maker[0])
    assert list(tmp_path.iterdir()) == []


def test_those_asked_for_longest_ago_go_first(maker, tmp_path, monkeypatch):
    make, made = maker
    monkeypatch.setattr(lib.kept, "MOST_FILES", 3)
    for age, key in enumerate(("new", "middle", "old")):
        kept_arrays(tmp_path, key, make)
        os.utime(tmp_path / f"{key}.npz", (1e9 - age, 1e9 - age))
    kept_arrays(tmp_path, "old", make)  # asked for again
    kept_arrays(tmp_path, "next", make)
    assert sorted(path.stem for path in tmp_path.glob("*.npz")) == ["new", "next", "old"] and len(made) == 4


def test_a_digest_reads_an_iterator_part_by_part():
    assert digest("a", iter([b"b", np.arange(3)])) == digest("a", b"b", np.arange(3)) != digest("a", b"b")
