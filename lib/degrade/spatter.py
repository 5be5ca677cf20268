"""Spatter on the lens: drops of water (severity 1 to 3) or mud (4, 5); part M + eps of F' = F·M + eps.

Water adds light where drops stand out, mud covers the image. As in ImageNet-C, the drops' relief comes from the distance
to their outlines, cut at 20 pixels; outlines are the border pixels of the drops themselves (the published code looks
for them with an edge detector in an image that holds nothing else).
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from lib.degrade.blur import by_severity
from lib.degrade.levels import rows
from lib.degrade.separable import along_both, convolve, gaussian_matrix

WATER, MUD = (175 / 255, 238 / 255, 238 / 255), (63 / 255, 42 / 255, 20 / 255)
FAR = 20  # pixels: distances are cut here
RELIEF = ((-2.0, -1.0, 0.0), (-1.0, 1.0, 1.0), (0.0, 1.0, 2.0))  # light from the lower right
MUD_FROM = 0.8  # a smoothed splash below it is left out


def spatter(images: Tensor, severity: Tensor, generator: torch.Generator | None) -> Tensor:
    """``images`` [B,3,H,W] in [0,1], ``severity`` [B] long on the CPU; not clamped yet."""
    batch, _, height, width = images.shape
    levels = rows("spatter", min(height, width))
    draw = torch.randn(batch, 1, height, width, generator=generator, device=images.device, dtype=images.dtype)

    def layers(noise: Tensor, chosen: int) -> Tensor:
        """[b,4,H,W]: what is added to each channel, and how much of the image it covers."""
        mean, sigma, smooth, threshold, amount, mud = levels[chosen - 1]
        liquid = _smoothed(mean + sigma * noise, smooth)
        wet = liquid >= threshold
        if mud:
            cover = _smoothed(wet.to(noise.dtype), amount)
            cover = torch.where(cover < MUD_FROM, 0.0, cover)
            return torch.cat([cover * noise.new_tensor(MUD).view(1, 3, 1, 1), cover], 1)
        drops = torch.where(wet, (liquid * 255).floor().clamp_(0, 255), 0.0) * _relief(wet, noise.dtype)
        drops = drops / drops.amax((1, 2, 3), keepdim=True).clamp(min=torch.finfo(noise.dtype).tiny)
        return torch.cat([amount * drops * noise.new_tensor(WATER).view(1, 3, 1, 1), torch.zeros_like(drops)], 1)

    layer = by_severity(draw, severity, layers)
    return images * (1 - layer[:, 3:]) + layer[:, :3]


def _smoothed(field: Tensor, sigma: float) -> Tensor:
    down, across = (gaussian_matrix(length, sigma)[None].to(field) for length in field.shape[2:])
    return along_both(field, down, across)


def _relief(wet: Tensor, dtype: torch.dtype) -> Tensor:
    """How drops [B,1,H,W] bool catch the light: [B,1,H,W] in 0..255."""
    distance = outline_distance(wet, dtype)
    box = torch.full((1, 3, 3), 1 / 9, device=wet.device, dtype=dtype)
    level = equalised(convolve(distance, box, "reflect").round())
    light = convolve(level, torch.tensor([RELIEF], device=wet.device, dtype=dtype), "reflect").clamp(0, 255)
    return convolve(light, box, "reflect")


def outline_distance(wet: Tensor, dtype: torch.dtype) -> Tensor:
    """Euclidean distance of each pixel to the nearest outline pixel of the drops, cut at 20: [B,1,H,W] bool -> float."""
    inner = F.max_pool2d((~wet).to(dtype), 3, stride=1, padding=1) == 0
    squared = torch.where(wet & ~inner, 0.0, float(FAR**2)).to(dtype)
    for dim in (2, 3):  # the squared distance is the least over shifts of rows, then of columns
        padding = (0, 0, FAR, FAR) if dim == 2 else (FAR, FAR)
        shifted = F.pad(squared, padding, value=float(FAR**2)).unfold(dim, 2 * FAR + 1, 1)
        offset = torch.arange(-FAR, FAR + 1, device=wet.device, dtype=dtype)
        squared = (shifted + offset**2).amin(-1)
    return squared.sqrt().clamp(max=FAR)


def equalised(levels: Tensor) -> Tensor:
    """Histogram equalisation of whole numbers 0..255, each image [B,1,H,W] on its own; OpenCV's rule."""
    flat = levels.flatten(1).long()
    counts = torch.zeros(len(flat), 256, device=levels.device, dtype=levels.dtype)
    counts.scatter_add_(1, flat, torch.ones_like(flat, dtype=levels.dtype))
    below = counts.cumsum(1)
    first = below.gather(1, flat.amin(1, keepdim=True))  # how many have the lowest value that occurs
    span = (flat.shape[1] - first).clamp(min=1)
    return (255 * (below - first) / span).round().clamp(0, 255).gather(1, flat).view_as(levels)
