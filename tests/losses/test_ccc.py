"""The concordance loss against a loop and the metric, its range, constants, its gradient, descent, and bad inputs."""

import numpy as np
import pytest
import torch

from lib import metrics
from lib.losses.ccc import ccc_loss


def pairs(rows=7, dims=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(rows, dims, generator=generator, dtype=torch.float64) * 2 - 1
    return target * 0.6 + 0.3 * torch.randn(rows, dims, generator=generator, dtype=torch.float64) + 0.1, target


def slow(pred, target):
    losses = []
    for p, t in zip(pred.T.tolist(), target.T.tolist()):
        n, mp, mt = len(p), sum(p) / len(p), sum(t) / len(t)
        cov = sum((a - mp) * (b - mt) for a, b in zip(p, t)) / n
        vp, vt = sum((a - mp) ** 2 for a in p) / n, sum((b - mt) ** 2 for b in t) / n
        losses.append(1 - 2 * cov / (vp + vt + (mp - mt) ** 2))
    return sum(losses) / len(losses)


def test_is_the_slow_one_and_the_metric():
    pred, target = pairs()
    got = ccc_loss(pred.float(), target.float())
    assert got.dtype == torch.float32 and got.item() == pytest.approx(slow(pred, target), rel=1e-5)
    of_metric = np.mean([metrics.ccc(pred[:, k], target[:, k]) for k in range(2)])
    assert ccc_loss(pred, target).item() == pytest.approx(1 - of_metric)
    assert ccc_loss(pred.bfloat16(), target.bfloat16()).dtype == torch.float32


def test_range():
    _, target = pairs()
    centred = target - target.mean(0)
    assert ccc_loss(target, target).item() == pytest.approx(0, abs=1e-12)
    assert ccc_loss(-centred, centred).item() == pytest.approx(2)
    assert 0 < ccc_loss(target + 0.2, target) < 1 and 0 < ccc_loss(0.5 * target, target) < 1  # offset and scale count


def test_gradient():
    pred, target = pairs()
    assert torch.autograd.gradcheck(lambda p: ccc_loss(p, target), pred.requires_grad_())


def test_constant_predictions_have_ccc_0_and_learn_to_vary():
    _, target = pairs()
    pred = torch.full_like(target, 0.25).requires_grad_()
    loss = ccc_loss(pred, target)
    loss.backward()
    assert loss.item() == pytest.approx(1) and torch.isfinite(pred.grad).all()
    step = -pred.grad - (-pred.grad).mean(0)
    assert ((step * (target - target.mean(0))).mean(0) > 0).all()


@pytest.mark.parametrize("value", [0.5, 0.1, -0.7, 0.0])
def test_nothing_varies_at_all(value):
    pred = torch.full((7, 2), value).requires_grad_()
    loss = ccc_loss(pred, torch.full((7, 2), value))
    loss.backward()
    assert loss.item() == 1 and (pred.grad == 0).all()


def test_descent_reaches_the_targets():
    pred, target = pairs()
    pred = torch.zeros_like(pred) + 0.01 * pred
    for _ in range(2000):
        pred.requires_grad_()
        (gradient,) = torch.autograd.grad(ccc_loss(pred, target), pred)
        pred = (pred - 0.2 * gradient).detach()
    assert ccc_loss(pred, target) < 1e-3


def test_bad_input():
    pred, target = pairs()
    with pytest.raises(ValueError, match="pred: expected a float tensor"):
        ccc_loss(pred[:, 0], target[:, 0])
    with pytest.raises(ValueError, match=r"target: expected float \[7, 2\] like pred"):
        ccc_loss(pred, target[:5])
    with pytest.raises(ValueError, match="pred: expected at least one row"):
        ccc_loss(pred[:0], target[:0])
