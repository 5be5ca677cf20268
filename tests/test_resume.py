"""Finished conditions come from their files; what is under way when it stops is done again, and nothing else."""

import numpy as np
import pytest

from lib.conditions import Job
from lib.resume import finished


class Meter:
    def __init__(self, total, start):
        self.total, self.start, self.steps = total, start, []

    def step(self, n, note):
        self.steps.append((n, note))


@pytest.fixture
def jobs():
    """Four jobs of cost 1 to 4, with as many cells (only their number matters here); ``runs`` counts."""
    runs = []

    def run(number):
        runs.append(number)
        return [np.full((3, 2), 10 * number + cell, np.float32) for cell in range(number)]

    return [Job(f"job{n}", [None] * n, n, lambda n=n: run(n)) for n in range(1, 5)], runs


def collected(jobs, folder, meters):
    def meter_of(total, start):
        meters.append(Meter(total, start))
        return meters[-1]

    return [(job.name, [scores.tolist() for scores in found]) for job, found in finished(jobs, folder, "cpu", meter_of)]


def test_in_order_and_once(jobs, tmp_path):
    (jobs, runs), meters = jobs, []
    first = collected(jobs, tmp_path / "work", meters)
    assert [name for name, _ in first] == ["job1", "job2", "job3", "job4"] and sorted(runs) == [1, 2, 3, 4]
    assert first[2][1] == [[[30 + cell] * 2] * 3 for cell in range(3)]
    assert (meters[0].total, meters[0].start) == (10, 0) and meters[0].steps == [(n, f"job{n}") for n in (1, 2, 3, 4)]
    assert collected(jobs, tmp_path / "work", meters) == first and len(runs) == 4
    assert (meters[1].total, meters[1].start, meters[1].steps) == (10, 10, [])


def test_a_run_that_stopped_goes_on(jobs, tmp_path):
    (jobs, runs), meters = jobs, []

    def stops():
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        collected([*jobs[:2], Job("job3", [None] * 3, 3, stops), jobs[3]], tmp_path / "work", meters)
    assert (tmp_path / "work/job1.npz").exists() and not (tmp_path / "work/job3.npz").exists()
    assert not [path for path in (tmp_path / "work").iterdir() if path.name.endswith(".part")]
    before = set(runs)
    collected(jobs, tmp_path / "work", meters)
    assert {1, 2} <= before and sorted(runs) == [1, 2, 3, 4]
    assert meters[1].start == sum(before) and meters[1].steps[0] == (3, "job3")
