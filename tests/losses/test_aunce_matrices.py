"""Matrices of all products give the numbers of the blocks. Gradients: see test_aunce_blocks; the losses: see test_aunce."""

import pytest
import torch

from lib.losses.aunce_blocks import losses_by_blocks
from lib.losses.aunce_matrices import losses_by_matrices


@pytest.mark.parametrize("temperature", [0.5, 0.05, 0.01])
@pytest.mark.parametrize("released", [False, True])
def test_both_ways_agree(temperature, released):
    g = torch.Generator().manual_seed(0)
    u = torch.nn.functional.normalize(torch.randn(80, 6, 9, generator=g, dtype=torch.float64), dim=2)
    sides = torch.multinomial(torch.tensor([0.3, 0.6, 0.1]), 6 * 40, True, generator=g).view(6, 40).repeat(1, 2)
    scale = torch.rand(6, generator=g, dtype=torch.float64)
    settings = (["max", "mean", "self", "mean", "self", "max"], temperature, (1.2, 0.8), released)
    (losses, gradient), (wanted, slope) = (way(u, sides, scale, *settings) for way in (losses_by_matrices, losses_by_blocks))
    assert torch.allclose(losses, wanted, rtol=1e-10, atol=1e-12) and torch.allclose(gradient, slope, rtol=1e-9, atol=1e-12)


def test_float32_stays_near_float64():
    g = torch.Generator().manual_seed(1)
    u = torch.nn.functional.normalize(torch.randn(80, 3, 9, generator=g, dtype=torch.float64), dim=2)
    sides = (torch.rand(3, 40, generator=g) < 0.7).long().repeat(1, 2)
    settings = (torch.ones(3), ["max", "mean", "self"], 0.1, (1.2, 0.8), False)
    for way in (losses_by_matrices, losses_by_blocks):
        found, wanted = way(u.float(), sides, *settings), way(u, sides, settings[0].double(), *settings[1:])
        assert found[0].dtype == torch.float32 and torch.allclose(found[0].double(), wanted[0], rtol=1e-4, atol=1e-5)
        assert torch.allclose(found[1].double(), wanted[1], rtol=1e-3, atol=1e-4)
