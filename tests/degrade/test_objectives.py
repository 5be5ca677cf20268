"""Losses of an attacker, one image at a time from their definitions."""

import math

import pytest
import torch

from lib.degrade import objectives


@pytest.fixture
def logits():
    return torch.randn(6, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


CLASSES = torch.tensor([0, 3, 6, 2, 2, 5])


def test_margin_and_dlr(logits):
    for row, y, margin, dlr in zip(logits.tolist(), CLASSES.tolist(), objectives.margin(logits, CLASSES), objectives.dlr(logits, CLASSES)):
        best = max(z for c, z in enumerate(row) if c != y)
        order = sorted(row, reverse=True)
        assert margin.item() == pytest.approx(best - row[y])
        assert dlr.item() == pytest.approx(-(row[y] - best) / (order[0] - order[2]))
    scaled = objectives.dlr(5 * logits + 2, CLASSES)
    assert torch.allclose(scaled, objectives.dlr(logits, CLASSES))


def test_targeted_dlr(logits):
    target = (CLASSES + 1) % 7
    for row, y, t, got in zip(logits.tolist(), CLASSES.tolist(), target.tolist(), objectives.targeted_dlr(logits, CLASSES, target)):
        order = sorted(row, reverse=True)
        assert got.item() == pytest.approx(-(row[y] - row[t]) / (order[0] - 0.5 * (order[2] + order[3])))
    few = objectives.targeted_dlr(logits[:, :3], CLASSES % 3, (CLASSES + 1) % 3)
    assert torch.allclose(few, (logits.gather(1, (CLASSES[:, None] + 1) % 3) - logits.gather(1, CLASSES[:, None] % 3))[:, 0])


def test_two_classes_have_a_margin(logits):
    pair = logits[:, :2]
    assert torch.allclose(objectives.dlr(pair, CLASSES % 2), objectives.margin(pair, CLASSES % 2))


def test_binary_cross_entropy_leaves_unknown_labels_out():
    logits, labels = torch.tensor([[2.0, -1.0, 0.5]]), torch.tensor([[1, -1, 0]])
    expected = math.log(1 + math.exp(-2)) + math.log(1 + math.exp(0.5))
    assert objectives.binary_cross_entropy(logits, labels).item() == pytest.approx(expected)


def test_embeddings_leave_and_reach(logits):
    a, b = logits, logits.flip(0)
    cosine = torch.stack([x @ y / (x.norm() * y.norm()) for x, y in zip(a, b, strict=True)]).float()
    assert torch.allclose(objectives.away(a, b), 1 - cosine) and torch.allclose(objectives.towards(a, b), cosine)


def test_a_pair_is_mistaken_as_its_embeddings_leave_or_reach(logits):
    a, b, same = logits.clone().requires_grad_(), logits.flip(0), torch.tensor([True, False] * 3)
    cosine = torch.nn.functional.cosine_similarity(a, b)
    (gradient,) = torch.autograd.grad(objectives.mistaken(cosine, same).sum(), a)
    for row, genuine in enumerate(same):
        one = a[row : row + 1].detach().requires_grad_()
        objective = objectives.away if genuine else objectives.towards
        (alone,) = torch.autograd.grad(objective(one, b[row : row + 1]).sum(), one)
        assert torch.allclose(gradient[row], alone[0], atol=1e-6)


def test_squared_error(logits):
    a, b = logits[:, :2], logits[:, 2:4]
    for x, y, got in zip(a.tolist(), b.tolist(), objectives.squared_error(a, b)):
        assert got.item() == pytest.approx((x[0] - y[0]) ** 2 + (x[1] - y[1]) ** 2, rel=1e-5)


def test_misclassified_counts_ties_and_nan_as_wrong():
    logits = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [float("nan"), 0.0]])
    assert objectives.misclassified(logits, torch.zeros(4, dtype=torch.long)).tolist() == [False, True, True, True]


def test_summed_gives_every_image_its_own_gradient(logits):
    logits = logits.requires_grad_()
    (whole,) = torch.autograd.grad(objectives.summed(objectives.dlr)(logits, CLASSES), logits)
    (one,) = torch.autograd.grad(objectives.dlr(logits[2:3], CLASSES[2:3]).sum(), logits)
    assert torch.allclose(whole[2], one[2])
