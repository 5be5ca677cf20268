"""MoCo's loss against loops, with hard negatives and picked false negatives."""

import math

import pytest
import torch

from lib.losses.moco import moco_loss


def unit(v):
    return v / v.norm()


def slow_moco(query, key, queue, temperature, hard=None, picked=None, weight=0.8):
    first, second = [], []
    for i in range(len(query)):
        score = lambda v: math.exp(float(unit(query[i]) @ unit(v)) / temperature)  # noqa: E731
        l = -1 if picked is None else int(picked[i])
        negatives = sum(score(queue[j]) for j in range(len(queue)) if j != l)
        negatives += 0 if hard is None else sum(score(v) for v in hard[i])
        first.append(-math.log(score(key[i]) / (score(key[i]) + negatives)))
        if l >= 0:
            second.append(-math.log(score(queue[l]) / (score(queue[l]) + negatives)))
    return sum(first) / len(first) + (weight * sum(second) / len(second) if second else 0.0)


@pytest.fixture
def batch():
    g = torch.Generator().manual_seed(5)
    return [torch.randn(s, generator=g) for s in ((4, 6), (4, 6), (9, 6), (4, 2, 6))]


@pytest.mark.parametrize("hardened", [False, True])
@pytest.mark.parametrize("picked", [None, [3, -1, 0, 8], [-1, -1, -1, -1]])
def test_it_is_the_slow_one(batch, hardened, picked):
    query, key, queue, hard = batch
    hard, picked = hard if hardened else None, None if picked is None else torch.tensor(picked)
    value = moco_loss(query, key, queue, 0.3, hard, picked, 0.7)
    assert value.item() == pytest.approx(slow_moco(query, key, queue, 0.3, hard, picked, 0.7), rel=1e-5)


def test_only_the_query_gets_a_gradient_and_the_right_one(batch):
    query, key, queue, hard = (x.requires_grad_() for x in batch)
    picked = torch.tensor([3, -1, 0, 8])
    moco_loss(query, key, queue, 0.5, hard, picked).backward()
    assert key.grad is queue.grad is hard.grad is None
    for i in range(query.numel()):
        ends = [query.detach().double().clone() for _ in range(2)]
        for x, sign in zip(ends, (1, -1)):
            x.view(-1)[i] += sign * 1e-4
        slow = [slow_moco(x, key.double(), queue.double(), 0.5, hard.double(), picked) for x in ends]
        assert query.grad.view(-1)[i].item() == pytest.approx((slow[0] - slow[1]) / 2e-4, abs=1e-4)


def test_float32_under_autocast(batch):
    query, key, queue, hard = batch
    with torch.autocast("cpu", torch.bfloat16):
        value = moco_loss(query, key, queue, 0.07, hard)
    assert value.dtype == torch.float32 and torch.equal(value, moco_loss(query, key, queue, 0.07, hard))


def test_bad_input(batch):
    query, key, queue, hard = batch
    for call, message in (
        (lambda: moco_loss(query, key[:3], queue), "key: expected float"),
        (lambda: moco_loss(query, key, queue[:, :5]), r"queue: expected \[K, 6\] like query"),
        (lambda: moco_loss(query, key, queue[:0]), "queue: expected at least one row"),
        (lambda: moco_loss(query, key, queue, 0.0), "temperature: expected a number > 0"),
        (lambda: moco_loss(query, key, queue, hard=hard[:2]), r"hard: expected \[4, E, 6\]"),
        (lambda: moco_loss(query, key, queue, picked=torch.tensor([0, 1])), r"picked: expected long \[4\]"),
        (lambda: moco_loss(query, key, queue, picked=torch.tensor([0, 1, 2, 9])), r"picked: expected rows -1..8 of the queue"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
