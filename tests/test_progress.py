import pytest

from lib import progress
from lib.progress import Progress, duration


@pytest.mark.parametrize("seconds, text", [
    (0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (3600, "1 h 00 min"), (7500, "2 h 05 min"),
])
def test_duration(seconds, text):
    assert duration(seconds) == text


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_line_every_so_often_and_one_at_the_end(clock, capsys):
    meter = Progress(10, "reading", every_s=10)
    for step in range(10):
        clock[0] += 4
        meter.step(note="fine" if step == 9 else "")
    assert capsys.readouterr().out.splitlines() == [
        "reading 3/10, 12 s, 28 s left", "reading 6/10, 24 s, 16 s left", "reading 9/10, 36 s, 4 s left",
        "reading 10/10, 40 s, 0 s left  fine"]


def test_resumed_work_does_not_count_towards_the_speed(clock, capsys):
    meter = Progress(100, "epoch", every_s=0, start=90)
    clock[0] += 5
    meter.step(5)
    assert capsys.readouterr().out == "epoch 95/100, 5 s, 5 s left\n"


def test_without_a_total_it_says_what_is_done(clock, capsys):
    meter = Progress(None, "looking, folders", every_s=10)
    for _ in range(7):
        clock[0] += 4
        meter.step()
    assert capsys.readouterr().out.splitlines() == ["looking, folders 3, 12 s", "looking, folders 6, 24 s"]
