import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lib.lock import AlreadyRunning, run_lock

ROOT = Path(__file__).parent.parent
HOLD = """
import sys, time
from lib.lock import run_lock
with run_lock(sys.argv[1]):
    print('held', flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path / "work" / ".lock")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_run_is_refused_and_told_what_to_do(tmp_path, holder):
    message = rf"process {holder.pid}.*wait.*kill {holder.pid}"
    with pytest.raises(AlreadyRunning, match=message) as caught, run_lock(tmp_path / "work" / ".lock"):
        pass
    assert str(tmp_path) in str(caught.value)


def test_a_killed_run_lets_go(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with run_lock(tmp_path / "work" / ".lock"):
        assert (tmp_path / "work" / ".lock").read_text() == str(os.getpid())


def test_the_lock_is_free_after_the_block_even_after_an_error(tmp_path):
    with pytest.raises(KeyError), run_lock(tmp_path / ".lock"):
        raise KeyError
    with run_lock(tmp_path / ".lock"), pytest.raises(AlreadyRunning), run_lock(tmp_path / ".lock"):
        pass
