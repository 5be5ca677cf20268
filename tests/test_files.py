import errno
import os

import pytest

from lib import files
from lib.files import DiskFull, write_aside


def test_a_file_appears_only_when_the_block_ends(tmp_path):
    path = tmp_path / "deep" / "out.txt"
    with write_aside(path) as aside:
        aside.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert os.listdir(path.parent) == ["out.txt"]


@pytest.mark.parametrize("folder", [False, True])
def test_an_error_leaves_what_was_there(tmp_path, folder):
    path = tmp_path / "out"
    for text, fails in (("old", False), ("new", True)):
        try:
            with write_aside(path, folder=folder) as aside:
                (aside / "x" if folder else aside).write_text(text)
                if fails:
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            pass
    assert (path / "x" if folder else path).read_text() == "old"
    assert os.listdir(tmp_path) == ["out"]


def test_a_folder_replaces_a_folder_whole(tmp_path):
    path = tmp_path / "set"
    for name in ("a", "b"):
        with write_aside(path, folder=True) as aside:
            (aside / name).write_text(name)
    assert os.listdir(path) == ["b"] and os.listdir(tmp_path) == ["set"]


def test_a_failed_swap_puts_the_old_folder_back(tmp_path, monkeypatch):
    path = tmp_path / "set"
    with write_aside(path, folder=True) as aside:
        (aside / "old").write_text("old")
    rename, calls = os.replace, []

    def second_fails(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise OSError(errno.EIO, "broken")
        rename(source, target)

    monkeypatch.setattr(files.os, "replace", second_fails)
    with pytest.raises(OSError, match="broken"), write_aside(path, folder=True) as aside:
        (aside / "new").write_text("new")
    assert os.listdir(path) == ["old"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_named(tmp_path, number):
    message = r"disk is full.*out\.bin.*free some space"
    with pytest.raises(DiskFull, match=message) as caught, write_aside(tmp_path / "out.bin") as aside:
        aside.write_bytes(b"half")
        raise OSError(number, "no space")
    assert caught.value.errno == number
    assert os.listdir(tmp_path) == []


def test_a_disk_full_before_the_first_byte_is_named(tmp_path, monkeypatch):
    def full(**_):
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(files.tempfile, "mkdtemp", full)
    with pytest.raises(DiskFull, match="disk is full"), write_aside(tmp_path / "out"):
        pass


def test_other_errors_pass_as_they_are(tmp_path):
    with pytest.raises(PermissionError, match="not yours"), write_aside(tmp_path / "out"):
        raise PermissionError(errno.EACCES, "not yours")


@pytest.mark.parametrize(("free", "expected"), [(0, DiskFull), (2**30, RuntimeError)])
def test_a_full_disk_is_told_when_the_library_hides_it(tmp_path, monkeypatch, free, expected):
    """torch.save and safetensors raise errors of their own, without ENOSPC, when the disk is full."""
    usage = type(files.shutil.disk_usage(tmp_path))
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: usage(2**40, 2**40 - free, free))
    with pytest.raises(expected), write_aside(tmp_path / "last.pt"):
        raise RuntimeError("PytorchStreamWriter failed writing file: unexpected pos")
    assert os.listdir(tmp_path) == []
