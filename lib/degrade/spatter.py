"""Spatter on the lens: drops of water (severity 1 to 3) or mud (4, 5); part M + eps of F' = F·M + eps.

Water adds light where drops stand out, mud covers the image. As in ImageNet-C, the drops' relief comes from the distance
to the edges that Canny's detector finds in them, cut at 20 pixels and equalised.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from lib.degrade.blur import by_severity
from lib.degrade.levels import rows
from lib.degrade.separable import along_both, gaussian_matrix

WATER, MUD = (175 / 255, 238 / 255, 238 / 255), (63 / 255, 42 / 255, 20 / 255)
FAR = 20  # pixels: distances are cut here
WEAK, STRONG, TAN = 50, 150, (math.tan(math.pi / 8), math.tan(3 * math.pi / 8))  # of the edge detector
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
        drops = torch.where(wet, (liquid * 255).floor().clamp_(0, 255), 0.0)
        drops = drops * _relief(drops)
        drops = drops / drops.amax((1, 2, 3), keepdim=True).clamp(min=torch.finfo(noise.dtype).tiny)
        return torch.cat([amount * drops * noise.new_tensor(WATER).view(1, 3, 1, 1), torch.zeros_like(drops)], 1)

    layer = by_severity(draw, severity, layers)
    return images * (1 - layer[:, 3:]) + layer[:, :3]


def _smoothed(field: Tensor, sigma: float) -> Tensor:
    down, across = (gaussian_matrix(length, sigma)[None].to(field) for length in field.shape[2:])
    return along_both(field, down, across)


def _relief(drops: Tensor) -> Tensor:
    """How drops [B,1,H,W], whole numbers 0..255, catch the light: [B,1,H,W] in 0..255."""
    distance = outline_distance(outlines(drops), drops.dtype)
    level = equalised(_mean_of_nine(distance).add(1e-4).floor())  # whole means must not fall below themselves by rounding
    around = F.pad(level, (1, 1, 1, 1), mode="reflect")

    def near(row: int, column: int) -> Tensor:
        return _at(around, 1 + row, 1 + column, level)

    # light from the lower right: the kernel (-2 -1 0, -1 1 1, 0 1 2); whole numbers, so in whatever order
    light = torch.sub(near(1, 1), near(-1, -1)).mul_(2).add_(level)
    for plus, minus in (((1, 0), (-1, 0)), ((0, 1), (0, -1))):
        light.add_(near(*plus)).sub_(near(*minus))
    return _mean_of_nine(light.clamp_(0, 255))


def _mean_of_nine(field: Tensor) -> Tensor:
    around = F.pad(field, (1, 1, 1, 1), mode="reflect")
    lines = around[:, :, :-2] + around[:, :, 1:-1] + around[:, :, 2:]
    return (lines[..., :-2] + lines[..., 1:-1] + lines[..., 2:]) / 9


def _at(around: Tensor, row: int, column: int, field: Tensor) -> Tensor:
    """What lies at (row - 1, column - 1) from each pixel of ``field``; ``around`` is the field padded by 1."""
    height, width = field.shape[2:]
    return around[:, :, row : row + height, column : column + width]


def outlines(drops: Tensor) -> Tensor:
    """Canny's edges (PAMI 1986) of [B,1,H,W], values 0..255: bool. Sobel gradients, |gx| + |gy|, as OpenCV does it."""
    padded = F.pad(drops, (1, 1, 1, 1), mode="replicate")
    lines, columns = padded[..., 2:] - padded[..., :-2], padded[:, :, 2:] - padded[:, :, :-2]
    across = lines[:, :, :-2] + 2 * lines[:, :, 1:-1] + lines[:, :, 2:]
    down = columns[..., :-2] + 2 * columns[..., 1:-1] + columns[..., 2:]
    rising = across * down < 0
    across, down = across.abs_(), down.abs_()
    size = across + down
    around = F.pad(size, (1, 1, 1, 1))

    def near(row: int, column: int) -> Tensor:
        return _at(around, 1 + row, 1 + column, size)

    level, steep = down < across * TAN[0], down > across * TAN[1]
    slanted = ~(level | steep)
    along = (  # where the gradient leads so, larger than the first neighbour there and the second, to which a tie in a row or column goes
        (level, near(0, -1), size >= near(0, 1)),
        (steep, near(-1, 0), size >= near(1, 0)),
        (slanted & rising, near(-1, 1), size > near(1, -1)),
        (slanted & ~rising, near(-1, -1), size > near(1, 1)),
    )
    peak = torch.zeros_like(level)
    for leads, first, beats_second in along:
        peak |= (size > first).bitwise_and_(beats_second).bitwise_and_(leads)
    weak, around = peak & (size > WEAK), F.pad(peak & (size > STRONG), (1, 1, 1, 1))
    edge = around[..., 1:-1, 1:-1]
    while True:  # weak peaks count where they hang together with strong ones
        lines = (around[:, :, :-2] | around[:, :, 1:-1]).bitwise_or_(around[:, :, 2:])
        grown = (lines[..., :-2] | lines[..., 1:-1]).bitwise_or_(lines[..., 2:]).bitwise_and_(weak)
        if torch.equal(grown, edge):
            return grown
        edge.copy_(grown)


def outline_distance(outline: Tensor, dtype: torch.dtype) -> Tensor:
    """Euclidean distance of each pixel to the nearest outline pixel, cut at 20: [B,1,H,W] bool -> float."""
    squared = torch.where(outline, 0, FAR**2).to(torch.int16)  # half the memory of floats, and as exact
    for dim in (2, 3):  # the squared distance is the least over shifts of rows, then of columns
        field, squared = squared, squared.clone()
        for step in range(1, min(FAR, field.shape[dim])):
            if step**2 >= int(squared.amax()):
                break
            length = field.shape[dim] - step
            here, there = squared.narrow(dim, step, length), squared.narrow(dim, 0, length)
            torch.minimum(here, field.narrow(dim, 0, length) + step**2, out=here)
            torch.minimum(there, field.narrow(dim, step, length) + step**2, out=there)
    return squared.to(dtype).sqrt()


def equalised(levels: Tensor) -> Tensor:
    """Histogram equalisation of whole numbers 0..255, each image [B,1,H,W] on its own; OpenCV's rule."""
    flat = levels.flatten(1).long()
    counts = torch.zeros(len(flat), 256, device=levels.device, dtype=levels.dtype)
    counts.scatter_add_(1, flat, torch.ones_like(flat, dtype=levels.dtype))
    below = counts.cumsum(1)
    first = below.gather(1, flat.amin(1, keepdim=True))  # how many have the lowest value that occurs
    span = (flat.shape[1] - first).clamp(min=1)
    return (255 * (below - first) / span).round().clamp(0, 255).gather(1, flat).view_as(levels)
