"""Balanced softmax against a loop, its limits, its gradient, what it does to a rare class, and bad inputs."""

import math

import pytest
import torch
from torch.nn import functional as F

from lib.losses.balanced_softmax import balanced_softmax


def batch(rows=6, classes=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, classes, generator=generator, dtype=torch.float64)
    return logits, torch.randint(classes, (rows,), generator=generator)


def slow(logits, labels, counts):
    total = 0.0
    for row, label in zip(logits.tolist(), labels.tolist()):
        weights = [n * math.exp(z) for n, z in zip(counts, row)]
        total -= math.log(weights[label] / sum(weights))
    return total / len(logits)


def test_is_the_slow_one_and_float32():
    logits, labels = batch()
    counts = [7.0, 1.0, 30.0, 2.0]
    got = balanced_softmax(logits.float(), labels, torch.tensor(counts))
    assert got.dtype == torch.float32 and got.item() == pytest.approx(slow(logits, labels, counts), rel=1e-5)
    assert balanced_softmax(logits.bfloat16(), labels, torch.tensor(counts)).dtype == torch.float32


def test_equal_counts_are_plain_cross_entropy():
    logits, labels = batch()
    assert torch.allclose(balanced_softmax(logits, labels, torch.full((4,), 9)), F.cross_entropy(logits, labels))


def test_gradient():
    logits, labels = batch()
    counts = torch.tensor([7, 1, 30, 2])
    assert torch.autograd.gradcheck(lambda z: balanced_softmax(z, labels, counts), logits.requires_grad_())


def test_a_class_that_is_never_seen_takes_no_part():
    logits, labels = batch()
    labels = labels.clamp(max=2)
    logits.requires_grad_()
    loss = balanced_softmax(logits, labels, torch.tensor([3, 3, 3, 0]))
    loss.backward()
    assert loss.item() == pytest.approx(F.cross_entropy(logits[:, :3], labels).item())
    assert (logits.grad[:, 3] == 0).all() and torch.isfinite(logits.grad).all()


def test_logits_learn_no_prior():
    """One input for all images: plain cross-entropy learns how common a class is, the balanced one that they are alike."""
    labels = torch.tensor([0] * 90 + [1] * 10)
    counts = torch.bincount(labels)
    learned = {}
    for name, loss in (("plain", F.cross_entropy), ("balanced", lambda z, y: balanced_softmax(z, y, counts))):
        bias = torch.zeros(2, requires_grad=True)
        optimizer = torch.optim.SGD([bias], lr=1.0)
        for _ in range(300):
            optimizer.zero_grad()
            loss(bias.expand(100, 2), labels).backward()
            optimizer.step()
        learned[name] = (bias[0] - bias[1]).item()
    assert learned["plain"] == pytest.approx(math.log(9), abs=0.01) and learned["balanced"] == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"logits": torch.rand(6)}, "logits: expected a float tensor"),
        ({"labels": torch.zeros(5, dtype=torch.long)}, r"labels: expected a long tensor \[6\], got torch.int64 \[5\]"),
        ({"labels": torch.zeros(6)}, "labels: expected a long tensor"),
        ({"labels": torch.full((6,), 4)}, r"labels: expected classes 0..3, got 4..4"),
        ({"counts": torch.ones(3)}, "counts: expected 4 numbers >= 0"),
        ({"counts": torch.tensor([1, 1, 1, -1])}, "counts: expected 4 numbers >= 0"),
        ({"counts": torch.zeros(4)}, "counts: expected more than 0 for every class among the labels"),
    ],
)
def test_bad_input(change, message):
    logits, labels = batch()
    with pytest.raises(ValueError, match=message):
        balanced_softmax(**({"logits": logits, "labels": labels, "counts": torch.ones(4)} | change))
