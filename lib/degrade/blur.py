"""Blurs: structured degradations, M in F' = F·M + eps. All but glass_blur's choice of pixels are linear in the image.

Every function takes images [B,3,H,W] in [0,1], severity [B] (long, on the CPU) and a generator, and returns images
that are not clamped yet.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from lib.degrade.levels import level, pick, rows
from lib.degrade.separable import along_both, convolve, gaussian_matrix, half_path


def gaussian_blur(images: Tensor, severity: Tensor, generator: torch.Generator | None) -> Tensor:
    """Gaussian cut at 4 sigmas, edges repeated (scikit-image's default)."""
    sigmas = [sigma for (sigma,) in rows("gaussian_blur", min(images.shape[2:]))]
    return _gaussian(images, sigmas, severity)


def _gaussian(images: Tensor, sigmas: list[float], severity: Tensor) -> Tensor:
    down, across = (
        torch.stack([gaussian_matrix(length, sigma) for sigma in sigmas]).to(images) for length in images.shape[2:]
    )
    return along_both(images, pick(down, severity), pick(across, severity))


def motion_blur(images: Tensor, severity: Tensor, generator: torch.Generator | None) -> Tensor:
    """Motion to one side along an angle drawn from -45 to 45 degrees, as ImageMagick makes it; edges repeated."""
    paths = [half_path(*row) for row in rows("motion_blur", min(images.shape[2:]))]
    draw = torch.rand(len(images), generator=generator, device=images.device, dtype=images.dtype)
    return along_path(images, paths, severity, (draw - 0.5) * (math.pi / 2))


def along_path(images: Tensor, paths: list[Tensor], severity: Tensor, angle: Tensor) -> Tensor:
    """Blur each image along its own straight path: ``paths`` holds the weights of severity 1 to 5, ``angle`` [B] radians.

    Step i reads the pixel at the rounded offset (i sin, i cos) below and right, so each image has one sparse kernel.
    """
    longest = max(len(paths[s - 1]) for s in set(severity.tolist()))
    weights = torch.stack([F.pad(path[:longest], (0, max(longest - len(path), 0))) for path in paths]).to(images)
    weights = pick(weights, severity).expand(len(images), -1)
    step = torch.arange(longest, device=images.device, dtype=images.dtype)
    down, across = (
        torch.ceil(step * direction[:, None] - 0.5).long() for direction in (torch.sin(angle), torch.cos(angle))
    )
    reach, side = longest - 1, 2 * longest - 1
    kernels = torch.zeros(len(images), side * side, device=images.device, dtype=images.dtype)
    kernels.scatter_add_(1, (down + reach) * side + across + reach, weights)
    return convolve(images, kernels.view(-1, side, side), "replicate")
