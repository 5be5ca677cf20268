"""Elastic deformation: a random affine map, then a smooth random displacement; M in F' = F·M + eps."""

import torch
from torch import Tensor
from torch.nn import functional as F

from lib.degrade.levels import level, pick, rows
from lib.degrade.separable import along_both, gaussian_matrix


def elastic_transform(images: Tensor, severity: Tensor, generator: torch.Generator | None) -> Tensor:
    """Move three points of a central square by up to the level's shift, then each pixel by smoothed uniform noise.

    ``images`` [B,3,H,W], ``severity`` [B] long on the CPU. Two bilinear samplings, as published; borders are mirrored.
    """
    height, width = images.shape[2:]
    side = min(height, width)
    strength, _, shift = (share * side for share in level("elastic_transform", severity, images))
    warped = _sample(images, affine_places(images, shift, generator), edge_repeated=False)
    noise = torch.rand(len(images), 2, height, width, generator=generator, device=images.device, dtype=images.dtype)
    sigmas = [row[1] * side for row in rows("elastic_transform", side)]
    down, across = (
        torch.stack([gaussian_matrix(length, sigma, truncate=3.0, border="reflect") for sigma in sigmas]).to(images)
        for length in (height, width)
    )
    moved = along_both(2 * noise - 1, pick(down, severity), pick(across, severity)) * strength
    return _sample(warped, _grid(images) + moved.permute(0, 2, 3, 1), edge_repeated=True)


def affine_places(images: Tensor, shift: Tensor, generator: torch.Generator | None) -> Tensor:
    """[B,H,W,2] pixel places (x, y) that the affine map reads: it takes three moved points back to where they were."""
    height, width = images.shape[2:]
    reach = min(height, width) // 3
    centre = images.new_tensor([width // 2, height // 2])
    fixed = centre + reach * images.new_tensor([[1, 1], [1, -1], [-1, -1]])
    draw = torch.rand(len(images), 3, 2, generator=generator, device=images.device, dtype=images.dtype)
    moved = fixed + (2 * draw - 1) * shift[:, :, 0]
    ones = moved.new_ones(len(images), 3, 1)
    back = torch.linalg.solve(torch.cat([moved, ones], 2), fixed.expand(len(images), -1, -1))  # [B,3,2]
    grid = _grid(images)
    return torch.einsum("hwk,bkc->bhwc", torch.cat([grid, torch.ones_like(grid[..., :1])], -1), back)


def _grid(images: Tensor) -> Tensor:
    """[H,W,2]: every pixel's own place (x, y)."""
    rows_, columns = (torch.arange(n, device=images.device, dtype=images.dtype) for n in images.shape[2:])
    return torch.stack(torch.meshgrid(columns, rows_, indexing="xy"), -1)


def _sample(images: Tensor, places: Tensor, edge_repeated: bool) -> Tensor:
    """Bilinear values of ``images`` at pixel ``places`` [B,H,W,2]; the mirror repeats the edge pixel or does not."""
    size = images.new_tensor([images.shape[3], images.shape[2]])
    relative = (2 * places + 1) / size - 1 if edge_repeated else 2 * places / (size - 1) - 1
    return F.grid_sample(images, relative, padding_mode="reflection", align_corners=not edge_repeated)
