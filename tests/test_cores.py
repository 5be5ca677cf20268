"""Work on all cores: the same results in the same order, torch's threads put back, errors passed on."""

import threading
import time

import pytest
import torch

from lib.cores import each, in_parts, workers_on


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_results_come_in_order_and_two_are_at_work_at_once(two_threads):
    meet = threading.Barrier(2, timeout=20)  # nobody passes unless two are there together

    def work(item):
        meet.wait()
        return item, torch.get_num_threads(), threading.get_ident()

    found = list(each(work, range(6), "cpu"))
    assert [item for item, _, _ in found] == list(range(6))
    assert {threads for _, threads, _ in found} == {1}
    assert len({who for _, _, who in found}) == 2
    assert torch.get_num_threads() == 2


def test_gradients_are_on_whatever_the_caller_has(two_threads):
    with torch.no_grad():
        assert list(each(lambda _: torch.is_grad_enabled(), range(2), "cpu")) == [True, True]


def test_an_error_ends_the_work_and_is_passed_on(two_threads):
    begun = []

    def work(item):
        begun.append(item)
        if item == 1:
            raise ValueError("item 1 is bad")
        time.sleep(0.005)  # else the other thread may be through with all of them before anyone looks
        return item

    with pytest.raises(ValueError, match="item 1 is bad"):
        list(each(work, range(1000), "cpu"))
    assert len(begun) < 1000
    assert torch.get_num_threads() == 2


def test_a_gpu_or_a_single_thread_works_one_after_the_other(two_threads):
    here = threading.get_ident()
    assert set(each(lambda _: threading.get_ident(), range(3), "cuda")) == {here}
    torch.set_num_threads(1)
    assert set(each(lambda _: threading.get_ident(), range(3), "cpu")) == {here}


def test_the_callers_autocast_holds(two_threads):
    product = lambda _: (torch.ones(2, 2) @ torch.ones(2, 2)).dtype  # noqa: E731
    with torch.autocast("cpu", torch.bfloat16):
        assert list(each(product, range(3), "cpu")) == [torch.bfloat16] * 3
    assert list(each(product, range(3), "cpu")) == [torch.float32] * 3


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_in_parts_is_the_whole(two_threads, rows):
    sizes = []

    def work(a, b):
        sizes.append(len(a))
        return a * b[:, None]

    a, b = torch.rand(rows, 3), torch.rand(rows)
    assert torch.equal(in_parts(work, a, b), a * b[:, None])
    assert sorted(sizes) == {1: [1], 2: [1, 1], 7: [3, 4]}[rows]


@pytest.mark.parametrize(("cores", "workers"), [(1, 1), (2, 2), (7, 7), (8, 8), (9, 8), (11, 5), (12, 6), (16, 8), (48, 8)])
def test_few_cores_are_left_over(monkeypatch, cores, workers):
    monkeypatch.setattr(torch, "get_num_threads", lambda: cores)
    assert workers_on("cpu") == workers and workers_on("cuda") == 1
