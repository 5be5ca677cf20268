"""Where notebooks read and write; importing it must cost nothing, since every notebook does so first."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lib import workplace
from lib.workplace import find_root

HEAVY = {"torch", "timm", "numpy", "pandas", "scipy", "matplotlib"}


@pytest.fixture
def checkout(tmp_path):
    """A folder that looks like a checkout, and one deep in it."""
    below = tmp_path / "notebooks" / "deep"
    below.mkdir(parents=True)
    (tmp_path / "params.yaml").touch()
    (below / "params.yaml").touch()  # a file of that name alone does not make a checkout
    (tmp_path / "dvc.yaml").touch()
    return tmp_path.resolve(), below


def test_the_root_is_found_from_a_folder_below(checkout, monkeypatch):
    root, below = checkout
    assert find_root(below) == find_root(root) == root
    monkeypatch.chdir(below)
    assert find_root() == root
    assert workplace.enter() == root == Path.cwd()


def test_waiting_threads_sleep_unless_somebody_said_otherwise(checkout, monkeypatch):
    monkeypatch.chdir(checkout[0])
    for given, expected in ((None, "PASSIVE"), ("ACTIVE", "ACTIVE")):
        monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
        if given:
            monkeypatch.setenv("OMP_WAIT_POLICY", given)
        workplace.enter()
        assert os.environ["OMP_WAIT_POLICY"] == expected
        monkeypatch.setenv("OMP_WAIT_POLICY", "")  # so that it is put back after the test


def test_outside_a_checkout_it_says_so(tmp_path):
    wanted = f"no params.yaml with a dvc.yaml beside it in {tmp_path} or above: run inside"
    with pytest.raises(FileNotFoundError, match=wanted):
        find_root(tmp_path)


def test_only_the_pipeline_writes_the_pipeline_s_outputs(checkout, monkeypatch):
    monkeypatch.chdir(checkout[0])
    mine = Path("work/interactive/work/probe/x")
    monkeypatch.setenv("DVC_STAGE", "probe@x")
    assert workplace.output(workplace.PROBED / "x") == workplace.newest(workplace.PROBED / "x") == Path("work/probe/x")
    monkeypatch.delenv("DVC_STAGE")
    assert workplace.output(workplace.PROBED / "x") == mine
    assert workplace.newest(workplace.PROBED / "x") == Path("work/probe/x")
    mine.mkdir(parents=True)
    assert workplace.newest(workplace.PROBED / "x") == mine


def test_nothing_of_weight_is_imported():
    code = "import sys; from lib import workplace; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=find_root(), capture_output=True, text=True, check=True)
    assert HEAVY.isdisjoint(done.stdout.split())
