"""Noise, drawn for each value of each image: eps in F' = F·M + eps, but for speckle (M) and impulses (both).

Every function takes images [B,3,H,W] in [0,1], severity [B] (long, on the CPU) and a generator, and returns images
that are not clamped yet.
"""

import torch
from torch import Tensor

from lib.degrade.levels import level


def _normal(images: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.randn(images.shape, generator=generator, device=images.device, dtype=images.dtype)


def gaussian_noise(images: Tensor, severity: Tensor, generator: torch.Generator | None) -> Tensor:
    (sigma,) = level("gaussian_noise", severity, images)
    return images + _normal(images, generator).mul_(sigma)


def shot_noise(images: Tensor, severity: Tensor, generator: torch.Generator | None) -> Tensor:
    """Photon counting: Poisson with mean (value x photons), divided by photons."""
    (photons,) = level("shot_noise", severity, images)
    return torch.poisson(images * photons, generator=generator) / photons


def impulse_noise(images: Tensor, severity: Tensor, generator: torch.Generator | None) -> Tensor:
    """Salt and pepper, for each channel on its own: a share of the values becomes 0 or 1, half each."""
    (share,) = level("impulse_noise", severity, images)
    draw = torch.rand(images.shape, generator=generator, device=images.device, dtype=images.dtype)
    half = share / 2
    return torch.where(draw < half, 0.0, torch.where(draw >= 1 - half, 1.0, images))


def speckle_noise(images: Tensor, severity: Tensor, generator: torch.Generator | None) -> Tensor:
    """Gaussian noise in proportion to the value."""
    (sigma,) = level("speckle_noise", severity, images)
    return images + images * _normal(images, generator).mul_(sigma)
