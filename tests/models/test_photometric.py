"""Gain and offset are undone exactly; an empty contrast is not blown up."""

import torch

from lib.models.photometric import LEAST_STD, MEAN, STD, undo_gain_and_offset


def test_invariant_to_gain_and_offset():
    images = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    gain, offset = torch.tensor([0.3, 1.0, 2.0]).view(3, 1, 1, 1), torch.tensor([0.5, -0.2, 0.0]).view(3, 1, 1, 1)
    assert torch.allclose(undo_gain_and_offset(gain * images + offset), undo_gain_and_offset(images), atol=1e-5)


def test_moments_image_by_image():
    out = undo_gain_and_offset(torch.rand(2, 3, 9, 7) * torch.tensor([0.1, 0.9]).view(2, 1, 1, 1))
    for image in out:
        assert abs(image.mean().item() - MEAN) < 1e-5 and abs(image.std(correction=0).item() - STD) < 1e-5


def test_colours_keep_their_order():
    image = torch.zeros(1, 3, 4, 4)
    image[:, 0], image[:, 1] = 0.8, 0.4
    red, green, blue = undo_gain_and_offset(image)[0].mean((1, 2))
    assert red > green > blue


def test_flat_images_stay_finite_and_small():
    flat = (0.5 + 1e-4 * torch.randn(1, 3, 4, 4)).requires_grad_()
    out = undo_gain_and_offset(flat)
    out.square().sum().backward()
    assert (out - MEAN).abs().max() < 1e-3 * STD / LEAST_STD
    assert torch.isfinite(flat.grad).all()
