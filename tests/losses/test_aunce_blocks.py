"""Blocks of like labels: gradients against finite differences, and what 'max' attracts. The losses: see test_aunce."""

import pytest
import torch

from lib.losses.aunce import BRANCHES
from lib.losses.aunce_blocks import losses_by_blocks
from lib.losses.aunce_matrices import losses_by_matrices

WAYS = pytest.mark.parametrize("losses_by", [losses_by_blocks, losses_by_matrices])
SIDE = {1: 0, 0: 1, 9: 2, -1: 2}


def vectors(rows: int, width: int = 5, seed: int = 4) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(rows, width, generator=g, dtype=torch.float64), dim=1)


def losses_of(losses_by, u, y, branch, temperature=0.5, beta=(1.2, 0.8), released=False):
    """Losses [M] and gradient of their sum [M, D] of one AU with u [M, D] and labels y of M / 2 images."""
    sides = torch.tensor([[SIDE[label] for label in y] * 2])
    losses, gradient = losses_by(u[:, None], sides, u.new_ones(1), [branch], temperature, beta, released)
    return losses[0], gradient[:, 0]


@WAYS
@pytest.mark.parametrize("temperature", [0.3, 0.02])  # 0.02 shifts the logits: see SAFE
@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize("branch", BRANCHES)
@pytest.mark.parametrize("y", [[0, 1, 0, 1, 0, 9], [1, 0, 0, 0, -1, 0]])
def test_gradients_in_float64(losses_by, y, branch, released, temperature):
    u, step = vectors(12), 1e-6
    slope = losses_of(losses_by, u, y, branch, temperature, released=released)[1]
    assert (slope[[i for i, label in enumerate(y * 2) if label not in (0, 1)]] == 0).all()
    for i, d in torch.cartesian_prod(torch.arange(12), torch.arange(5)).tolist():
        ends = []
        for sign in (1, -1):
            moved = u.clone()
            moved[i, d] += sign * step
            ends.append(losses_of(losses_by, moved, y, branch, temperature, released=released)[0].sum().item())
        assert slope[i, d].item() == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-5, abs=1e-5)


@WAYS
def test_released_max_attracts_nothing_and_corrected_max_does(losses_by):
    u = torch.nn.functional.normalize(torch.eye(10, dtype=torch.float64) + 1, dim=1)  # all as far from each other
    alike = [2, 5, 7]  # what has the label of row 0
    for released in (True, False):
        pulled = losses_of(losses_by, u, [1, 0, 1, 0, 0], "max", released=released)[1][0]
        along = pulled - (pulled @ u[0]) * u[0]
        attracted = [(along @ u[i]).item() < (along @ u[1]).item() - 1e-6 for i in alike]
        # without attraction, going against the gradient leads away from the absent and so, as much, nearer to all that are alike
        others = [(along @ u[i]).item() for i in alike]
        assert all(attracted) and (max(others) - min(others) < 1e-9) == released


@WAYS
def test_a_lone_label_uses_its_own_other_view_in_max(losses_by):
    u, y = vectors(12), [0, 0, 1, 0, 0, 0]
    found, wanted = (losses_of(losses_by, u, y, name, beta=(1, 1))[0] for name in ("max", "self"))
    assert torch.allclose(found[[2, 8]], wanted[[2, 8]], rtol=1e-12) and not torch.allclose(found, wanted)


@WAYS
def test_positives_that_are_as_near_share_the_pull_of_max(losses_by):
    near = [0.5, 0.5, 0.5, -0.5]  # halves, so that products are exact and as near is equal, whatever their order
    u = torch.tensor([[0.5] * 4, near, near, [0.5, -0.5, 0.5, -0.5], [0.5, 0.5, -0.5, -0.5], near, near, [-0.5, 0.5, 0.5, -0.5]])
    gradient = losses_of(losses_by, u.double(), [1, 1, 1, 0], "max")[1]
    assert torch.isfinite(gradient).all() and torch.allclose(gradient[1], gradient[2]) and torch.allclose(gradient[1], gradient[5])


@WAYS
def test_each_unit_is_weighed_by_its_scale(losses_by):
    u = torch.stack([vectors(12, seed=s) for s in range(3)], 1)
    sides = torch.tensor([[0, 1, 0, 1, 1, 2] * 2, [1, 0, 1, 1, 2, 1] * 2, [2] * 12])
    settings = (["max", "mean", "self"], 0.5, (1.2, 0.8), False)
    losses, gradient = losses_by(u, sides, torch.tensor([0.5, 2.0, 7.0], dtype=torch.float64), *settings)
    plain, slope = losses_by(u, sides, torch.ones(3, dtype=torch.float64), *settings)
    assert torch.equal(losses, plain) and (losses[sides == 2] == 0).all() and (losses[:2][sides[:2] != 2] > 0).all()
    assert torch.allclose(gradient[:, 0], slope[:, 0] / 2) and torch.allclose(gradient[:, 1], slope[:, 1] * 2)
    assert (gradient[:, 2] == 0).all()
