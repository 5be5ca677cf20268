"""Gain and offset are undone exactly; an empty contrast is not blown up."""

import torch

from lib.degrade.corruptions import corrupt
from lib.models.photometric import LEAST_STD, MEAN, STD, undo_gain_and_offset


def test_invariant_to_gain_and_offset():
    images = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    gain, offset = (torch.rand(3, 3, 1, 1, generator=generator) + 0.2 for _ in range(2))  # a colour cast too
    assert torch.allclose(undo_gain_and_offset(gain * images + offset), undo_gain_and_offset(images), atol=1e-5)


def test_contrast_loss_is_undone():
    """The ImageNet-C corruption shrinks each channel about its own mean; one gain for all would leave a colour cast."""
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 0.5 + 0.25
    pale = corrupt(images, "contrast", 3, torch.Generator().manual_seed(0))
    assert torch.allclose(undo_gain_and_offset(pale), undo_gain_and_offset(images), atol=1e-4)


def test_moments_channel_by_channel():
    generator = torch.Generator().manual_seed(0)
    gain = torch.rand(2, 3, 1, 1, generator=generator) + 0.2
    out = undo_gain_and_offset(torch.rand(2, 3, 9, 7, generator=generator) * gain)
    for channel in out.flatten(0, 1):
        assert abs(channel.mean().item() - MEAN) < 1e-5 and abs(channel.std(correction=0).item() - STD) < 1e-5


def test_flat_images_stay_finite_and_small():
    flat = (0.5 + 1e-4 * torch.randn(1, 3, 4, 4)).requires_grad_()
    out = undo_gain_and_offset(flat)
    out.square().sum().backward()
    assert (out - MEAN).abs().max() < 1e-3 * STD / LEAST_STD
    assert torch.isfinite(flat.grad).all()
