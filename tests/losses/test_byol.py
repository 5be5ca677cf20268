"""BYOL's loss against the squared distance that it is."""

import pytest
import torch

from lib.losses.byol import byol_loss


def slow(prediction, target):
    return sum(float((p / p.norm() - t / t.norm()).square().sum()) for p, t in zip(prediction, target)) / len(target)


def test_it_is_the_distance_of_unit_vectors():
    p, t = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))
    assert byol_loss(p, t).item() == pytest.approx(slow(p, t), rel=1e-5)
    assert byol_loss(p, 3 * p).item() == pytest.approx(0, abs=1e-6) and byol_loss(p, -p).item() == pytest.approx(4)


def test_the_target_gets_no_gradient_and_the_prediction_the_right_one():
    p, t = (x.requires_grad_() for x in torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1)).unbind())
    byol_loss(p, t).backward()
    assert t.grad is None
    for i in range(12):
        moved = [p.detach().double().clone() for _ in range(2)]
        for x, sign in zip(moved, (1, -1)):
            x.view(-1)[i] += sign * 1e-4
        assert p.grad.view(-1)[i].item() == pytest.approx((slow(moved[0], t.detach()) - slow(moved[1], t.detach())) / 2e-4, abs=1e-4)


def test_float32_under_autocast_and_bad_input():
    p, t = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        value = byol_loss(p, t)
    assert value.dtype == torch.float32 and torch.equal(value, byol_loss(p, t))
    with pytest.raises(ValueError, match=r"target: expected float \[6, 4\] like prediction"):
        byol_loss(p, t[:5])
    with pytest.raises(ValueError, match="prediction: expected a float tensor"):
        byol_loss(p.long(), t)
