"""Blurs: structured degradations, M in F' = F·M + eps. All are linear in the image.

Every function takes images [B,3,H,W] in [0,1], severity [B] (long, on the CPU) and a generator, and returns images
that are not clamped yet.
"""

import math
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from lib.degrade.levels import pick, rows
from lib.degrade.separable import along_both, convolve, gaussian_matrix, half_path, operators
from lib.device import sent

CHAIN_DOUBLINGS = 6  # follows 64 links; a link goes on with probability below 1/2, so a longer chain has p < 1e-19


def gaussian_blur(images: Tensor, severity: Tensor, generator: torch.Generator | None) -> Tensor:
    """Gaussian cut at 4 sigmas, edges repeated (scikit-image's default)."""
    sigmas = [sigma for (sigma,) in rows("gaussian_blur", min(images.shape[2:]))]
    return _gaussian(images, sigmas, severity)


def _gaussian(images: Tensor, sigmas: list[float], severity: Tensor) -> Tensor:
    down, across = (
        operators(gaussian_matrix, tuple((length, sigma) for sigma in sigmas), images.device, images.dtype)
        for length in images.shape[2:]
    )
    return along_both(images, pick(down, severity), pick(across, severity))


def motion_blur(images: Tensor, severity: Tensor, generator: torch.Generator | None) -> Tensor:
    """Motion to one side along an angle drawn from -45 to 45 degrees, as ImageMagick makes it; edges repeated."""
    paths = [half_path(*row) for row in rows("motion_blur", min(images.shape[2:]))]
    draw = torch.rand(len(images), generator=generator, device=images.device, dtype=images.dtype)
    return along_path(images, paths, severity, (draw - 0.5) * (math.pi / 2))


def along_path(images: Tensor, paths: list[Tensor], severity: Tensor, angle: Tensor) -> Tensor:
    """Blur each image along its own straight path; ``paths``: weights of severity 1 to 5, ``angle`` [B] in radians.

    Step i reads the pixel at the rounded offset (i sin, i cos) below and right, so each image has one sparse kernel.
    """
    longest = max(len(paths[s - 1]) for s in set(severity.tolist()))
    weights = torch.stack([F.pad(path[:longest], (0, max(longest - len(path), 0))) for path in paths])
    weights = sent(pick(weights, severity).to(images.dtype), images.device).expand(len(images), -1)
    step = torch.arange(longest, device=images.device, dtype=images.dtype)
    down, across = (
        torch.ceil(step * direction[:, None] - 0.5).long() for direction in (torch.sin(angle), torch.cos(angle))
    )
    reach, side = longest - 1, 2 * longest - 1
    kernels = torch.zeros(len(images), side * side, device=images.device, dtype=images.dtype)
    kernels.scatter_add_(1, (down + reach) * side + across + reach, weights)
    return convolve(images, kernels.view(-1, side, side), "replicate")


def defocus_blur(images: Tensor, severity: Tensor, generator: torch.Generator | None) -> Tensor:
    """A disk with a softened edge; borders mirrored."""
    kernels = [disk(*row) for row in rows("defocus_blur", min(images.shape[2:]))]
    side = max(len(kernels[s - 1]) for s in set(severity.tolist()))
    kernels = torch.stack([F.pad(kernel, [(side - len(kernel)) // 2] * 4) for kernel in kernels]).to(images.dtype)
    return convolve(images, sent(pick(kernels, severity), images.device), "reflect")


@lru_cache(maxsize=64)
def disk(radius: float, edge: float) -> Tensor:
    """Disk of ``radius`` pixels blurred by a Gaussian of sigma ``edge``: [K,K] float64, its zero border cut off."""
    half, taps = (8, 1) if radius <= 8 else (math.ceil(radius), 2)
    axis = torch.arange(-half, half + 1, dtype=torch.float64)
    flat = (axis[:, None] ** 2 + axis**2 <= radius**2).double()
    offsets = torch.arange(-taps, taps + 1, dtype=torch.float64)
    line = torch.exp(-0.5 * (offsets / edge) ** 2)
    line = line / line.sum()
    soft = convolve((flat / flat.sum())[None, None], (line[:, None] * line)[None], "reflect")[0, 0]
    reach = int((soft.amax(0) > 1e-12).nonzero().max()) - half
    return soft[half - reach : half + reach + 1, half - reach : half + reach + 1]


def zoom_blur(images: Tensor, severity: Tensor, generator: torch.Generator | None) -> Tensor:
    """Mean of the image and of zooms of it about its centre, the first of which is 1."""
    levels = rows("zoom_blur", min(images.shape[2:]))
    height, width = images.shape[2:]

    def zoomed(part: Tensor, chosen: int) -> Tensor:
        count, step = round(levels[chosen - 1][0]), levels[chosen - 1][1]
        total = 2 * part  # the image itself, and the zoom by 1
        factors = [1 + step * number for number in range(1, count)]
        both = (
            operators(zoom_matrix, tuple((length, factor) for factor in factors), part.device, part.dtype)
            for length in (height, width)
        )
        for down, across in zip(*both, strict=True):
            total += along_both(part, down[None], across[None])
        return total / (count + 1)

    return by_severity(images, severity, zoomed)


@lru_cache(maxsize=512)
def zoom_matrix(length: int, factor: float) -> Tensor:
    """[length,length] float64: crop the centre, stretch it by ``factor`` bilinearly (corners on corners), trim."""
    crop = math.ceil(length / factor)
    stretched = round(crop * factor)
    first, trim = (length - crop) // 2, (stretched - length) // 2
    place = (torch.arange(length, dtype=torch.float64) + trim) * ((crop - 1) / max(stretched - 1, 1))
    distance = place[:, None] + first - torch.arange(length, dtype=torch.float64)
    return (1 - distance.abs()).clamp_(min=0)


def glass_blur(images: Tensor, severity: Tensor, generator: torch.Generator | None) -> Tensor:
    """Blur, let each pixel take the value of a near one, blur again.

    The published code walks over the pixels from bottom right to top left and means to swap each with a near one; as
    NumPy views alias, it copies. A pixel thus takes what its partner holds by then: the partner's own new source if
    the partner came earlier in the walk, else its old value. Following these links by doubling gives the result of
    the walk without walking.
    """
    batch, _, height, width = images.shape
    levels = rows("glass_blur", min(height, width))
    sigmas = [row[0] for row in levels]
    reaches = torch.tensor([round(row[1]) for row in levels])
    rounds = torch.tensor([round(row[2]) for row in levels])
    images = _gaussian(images, sigmas, severity)
    reach = sent(pick(reaches, severity), images.device)[:, None, None]
    turns = sent(pick(rounds, severity), images.device)[:, None, None]
    own = torch.arange(height * width, device=images.device).view(1, height, width)
    row, column = own // width, own % width
    inside = (row > reach) & (row <= height - reach) & (column > reach) & (column <= width - reach)
    for turn in range(int(rounds[severity - 1].max())):
        draw = torch.rand(2, batch, height, width, generator=generator, device=images.device)
        shift = (draw * (2 * reach)).floor().long() - reach
        active = inside & (turns > turn)
        partner = torch.where(active, own + shift[0] * width + shift[1], own)
        # a link to index + H*W ends the chain at the old value of that pixel
        link = torch.where(partner > own, partner, partner + height * width)
        walked = inside.expand_as(partner).flatten(1).gather(1, partner.flatten(1)).view_as(partner)
        link = torch.where(walked, link, partner + height * width).flatten(1)
        link = torch.cat([link, (own.flatten(1) + height * width).expand(batch, -1)], dim=1)
        for _ in range(CHAIN_DOUBLINGS):
            link = link.gather(1, link)
        source = link[:, : height * width] - height * width
        images = images.flatten(2).gather(2, source[:, None].expand(-1, images.shape[1], -1)).view_as(images)
    return _gaussian(images, sigmas, severity)


def by_severity(images: Tensor, severity: Tensor, function: Callable[[Tensor, int], Tensor]) -> Tensor:
    """``function(images, severity)`` on the images of each severity: for operators whose very size depends on it."""
    chosen = sorted(set(severity.tolist()))
    if len(chosen) == 1:
        return function(images, chosen[0])
    parts, order = [], []
    for value in chosen:
        order.append(sent((severity == value).nonzero().squeeze(1), images.device))
        parts.append(function(images[order[-1]], value))
    return torch.cat(parts)[torch.cat(order).argsort()]
