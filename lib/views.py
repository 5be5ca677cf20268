"""Random views of a batch, made in one go on its device: crop, mirror, colour, grey, blur. No loop over images.

References:
    [1] Chen et al., SimCLR, ICML 2020, appendix A: the augmentations and their ranges.
    [2] PCL, CVPR 2023: quadrant crops ("distance crop") and gradient-magnitude images, as DAR-SFRL's face contrast uses them.
    [3] Yun et al., CutMix, ICCV 2019; without labels to mix: SSL-FER compares it with swapped faces.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import TypeVar

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from lib.device import constant
from lib.degrade.mixture import TRAIN_CORRUPTIONS, check_mixture

T = TypeVar("T")
GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601 luma


@dataclass(frozen=True)
class Views:
    """How strongly views differ, and with what the methods that degrade their views do so.

    Attributes:
        crop: smallest share of the image's area that a crop keeps, (0, 1].
        rotation: largest rotation, degrees.
        colour: strength of brightness, contrast and saturation jitter, factors in [1 - c, 1 + c].
        grey: probability of a grey image.
        blur: probability of a Gaussian blur, sigma 0.1 to 1 px.
        corruptions, severities: the mixture of degraded views; all other types are held out for testing.
        hue: largest turn of the hue, as a share of the circle.
    """

    crop: float = 0.5
    rotation: float = 10.0
    colour: float = 0.4
    grey: float = 0.2
    blur: float = 0.0
    corruptions: list[str] = field(default_factory=lambda: list(TRAIN_CORRUPTIONS))
    severities: list[int] = field(default_factory=lambda: [1, 2, 3])
    hue: float = 0.0

    def __post_init__(self):
        check_mixture(self.corruptions, self.severities, "corruptions")
        if not 0 < self.crop <= 1:
            raise ValueError(f"crop: expected a share in (0, 1], got {self.crop}")
        for name, most in (("rotation", 180), ("colour", 1), ("hue", 0.5), ("grey", 1), ("blur", 1)):
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"{name}: expected a value in [0, {most}], got {getattr(self, name)}")


def at_full_precision(function: Callable[..., T]) -> Callable[..., T]:
    """``function(images, ...)`` without autocast, whose half precision would move pixels and band their colours."""

    @wraps(function)
    def exact(images: Tensor, *args, **settings) -> T:
        with torch.autocast(images.device.type, enabled=False):
            return function(images, *args, **settings)

    return exact


def random_view(images: Tensor, views: Views, generator: Generator, half: bool = False) -> Tensor:
    """One augmented view of every image; [B, 3, H, W] in [0, 1] -> the same shape, range and type.

    ``half``: colours are changed in float16, right to about one level of 255: half the memory that a GPU has to move.
    """
    x = random_crop(images, views.crop, views.rotation, generator)
    x = x.half() if half else x
    x = hue_jitter(x, views.hue, generator) if views.hue else x
    x = colour_jitter(x, views.colour, views.grey, generator).to(images.dtype)
    return random_blur(x, views.blur, generator) if views.blur else x


def uniform(images: Tensor, low: float, high: float, generator: Generator) -> Tensor:
    """One number an image, [B, 1, 1, 1], uniform in [low, high]."""
    return torch.rand(len(images), 1, 1, 1, generator=generator, device=images.device) * (high - low) + low


def uniforms(images: Tensor, ranges: tuple[tuple[float, float], ...], generator: Generator) -> Tensor:
    """One number an image in each of ``ranges``, [R, B]: drawn at once, as a GPU takes as long for few numbers as for many."""
    low = constant(tuple(low for low, _ in ranges), images.device)
    extent = constant(tuple(high - low for low, high in ranges), images.device)
    return torch.rand(len(ranges), len(images), generator=generator, device=images.device) * extent[:, None] + low[:, None]


def affine_grid(theta: Tensor, images: Tensor) -> Tensor:
    """Where in ``images`` each pixel of maps [B, 2, 3] lies: [B, H, W, 2] for grid_sample without aligned corners."""
    if theta.device.type == "cpu":  # to the last bit what the committed run was trained with
        return F.affine_grid(theta, images.shape, align_corners=False).to(images.dtype)
    return sum_grid(theta, images.shape[2:]).to(images.dtype)


def sum_grid(theta: Tensor, size: tuple[int, int]) -> Tensor:
    """What torch's affine_grid gives, but for rounding: what a pixel's column adds and what its row adds.

    torch writes [B, H, W, 3] numbers in three goes and multiplies them by matrices of two columns: several times the memory.
    """
    y, x = (((2 * torch.arange(n, device=theta.device, dtype=theta.dtype) + 1) / n - 1)[:, None] for n in size)
    across, down, start = theta[:, None].unbind(3)  # each [B, 1, 2]
    return (x * across)[:, None] + (y * down + start)[:, :, None]


@at_full_precision
def window_crop(images: Tensor, share: float, generator: Generator) -> Tensor:
    """An upright window of ``share`` of each side anywhere in each image, resized back, half of the images mirrored."""
    dx, dy, mirror = uniforms(images, ((-1, 1),) * 3, generator)
    sign, none = torch.where(mirror < 0, -share, share), torch.zeros_like(dx)
    theta = torch.stack([sign, none, dx * (1 - share), none, none + share, dy * (1 - share)], 1).view(-1, 2, 3)
    return F.grid_sample(images, affine_grid(theta, images), padding_mode="reflection", align_corners=False)


def cut_mix(images: Tensor, probability: float, generator: Generator, largest: float = 0.5) -> Tensor:
    """Paste a box of another image of the batch into a share of the images [3].

    The box has a share of the area uniform in [0, largest] and the image's aspect, and lies wholly inside, at the same place
    in both. Who gives to whom is one random rotation of the batch.
    """
    if len(images) < 2:
        raise ValueError(f"images: expected at least 2 to cut and mix, got {len(images)}")
    side = uniform(images, 0, largest, generator).sqrt()
    left, top = (uniform(images, 0, 1, generator) * (1 - side) for _ in range(2))
    y, x = (((torch.arange(n, device=images.device) + 0.5) / n) for n in images.shape[2:])
    inside = (x >= left) & (x < left + side) & ((y >= top[..., 0]) & (y < top[..., 0] + side[..., 0]))[..., None]
    inside &= uniform(images, 0, 1, generator) < probability
    shift = torch.randint(1, len(images), (1,), generator=generator, device=images.device)
    giver = (torch.arange(len(images), device=images.device) + shift) % len(images)
    return torch.where(inside, images[giver], images)


@at_full_precision
def random_crop(images: Tensor, least_area: float, rotation: float, generator: Generator) -> Tensor:
    """Crop (area share in [least_area, 1], aspect ratio 3/4 to 4/3), rotate, mirror half of the images: one resampling."""
    ranges = ((least_area, 1), (-0.2877, 0.2877), (-rotation, rotation), (-1, 1), (-1, 1), (-1, 1))
    area, log_aspect, angle, dx, dy, mirror = uniforms(images, ranges, generator)
    side, aspect, angle = area.sqrt(), log_aspect.exp().sqrt(), angle.deg2rad()
    width, height = (side * aspect).clamp(max=1), (side / aspect).clamp(max=1)
    cos, sin, mirrored = angle.cos(), angle.sin(), torch.where(mirror < 0, -width, width)
    # output coordinates -> input coordinates; the crop's centre keeps the crop inside the image
    theta = [mirrored * cos, -height * sin, dx * (1 - width), mirrored * sin, height * cos, dy * (1 - height)]
    theta = torch.stack(theta, 1).view(-1, 2, 3)
    return F.grid_sample(images, affine_grid(theta, images), padding_mode="reflection", align_corners=False)


def luma(images: Tensor) -> Tensor:
    """[B, 3, H, W] -> [B, 1, H, W]."""
    return (images * constant(GREY, images.device, images.dtype).view(1, 3, 1, 1)).sum(1, keepdim=True)


@at_full_precision
def colour_jitter(images: Tensor, strength: float, grey: float, generator: Generator) -> Tensor:
    """Brightness, contrast, saturation by factors in [1 - strength, 1 + strength], then grey with probability ``grey``.

    Nothing is clamped before the end, so together they are one affine map of an image's colours: two passes over the pixels.
    """
    ranges = ((1 - strength, 1 + strength),) * 3 + ((0, 1),)
    brightness, contrast, saturation, draw = uniforms(images, ranges, generator)[:, :, None, None]
    saturation = saturation.masked_fill(draw < grey, 0.0)
    exact = torch.promote_types(images.dtype, torch.float32)  # for the few numbers of each image
    luma_of = constant(GREY, images.device, exact).view(1, 1, 3)
    mean = brightness * (luma_of.mT * images.mean((2, 3), dtype=exact).unsqueeze(2)).sum(1, keepdim=True)  # contrast shrinks towards it
    own = saturation * torch.eye(3, device=images.device, dtype=exact)
    colours = brightness * contrast * (own + (1 - saturation) * luma_of)  # [B,3,3]
    offset = (mean * (1 - contrast)).expand(-1, 3, 1)  # grey has no saturation
    offset, colours = offset.to(images.dtype), colours.to(images.dtype)
    return torch.baddbmm(offset, colours, images.flatten(2)).view_as(images).clamp_(0, 1)


def hue_jitter(images: Tensor, largest: float, generator: Generator) -> Tensor:
    """Turn each image's hue by an angle in [-largest, largest], as a share of the circle; HSV's value and chroma stay."""
    turn = uniform(images, -largest, largest, generator)
    red, green, blue = images.split(1, 1)
    value, least = images.amax(1, keepdim=True), images.amin(1, keepdim=True)
    chroma = torch.sub(value, least, out=least)
    hue = torch.where(value == green, (blue - red).add_(chroma, alpha=2), (red - green).add_(chroma, alpha=4))
    hue = torch.where(value == red, green - blue, hue)  # times chroma
    smallest = max(1e-30, torch.finfo(images.dtype).tiny)  # grey has no hue and no chroma: any will do
    hue = torch.addcdiv((6 * turn).to(images.dtype), hue, chroma.clamp(min=smallest), out=hue).remainder_(6)
    # as the hue goes around, each channel falls from the largest value to the least and rises again, along ramps of a sixth
    centre, outward, height = (
        constant(numbers, images.device, images.dtype).view(1, 3, 1, 1)
        for numbers in ((3.0, 2.0, 4.0), (-1.0, 1.0, 1.0), (2.0, -1.0, -1.0))
    )
    fall = torch.addcmul(height, outward, (hue - centre).abs_()).clamp_(0, 1)
    return torch.addcmul(value, fall, chroma, value=-1)


@at_full_precision
def random_blur(images: Tensor, probability: float, generator: Generator, largest: float = 1.0, radius: int = 3) -> Tensor:
    """Gaussian blur of a random sigma in [0.1, largest] px on a share of the images; 2 radius + 1 taps, per-image weights."""
    batch, channels = images.shape[:2]
    sigma, draw = uniforms(images, ((0.1, largest), (0, 1)), generator)
    x = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (x / sigma[:, None]) ** 2)
    kernel = kernel / kernel.sum(1, keepdim=True)
    kernel = torch.where(draw[:, None] < probability, kernel, (x == 0).to(kernel))  # the others keep their pixels as they are
    flat = F.pad(images, (radius,) * 4, mode="reflect").flatten(0, 1)[None]
    kernel = kernel[:, None].expand(-1, channels, -1).flatten(0, 1)
    flat = F.conv2d(flat, kernel[:, None, None, :], groups=batch * channels)
    flat = F.conv2d(flat, kernel[:, None, :, None], groups=batch * channels)
    return flat.reshape(images.shape).clamp_(0, 1)  # white can come out a rounding error whiter


@at_full_precision
def gradient_magnitude(images: Tensor, probability: float, generator: Generator) -> Tensor:
    """Replace a share of the images by their luma's Sobel gradient magnitude, clamped to [0, 1] [2]."""
    sobel = constant((1.0, 0, -1, 2, 0, -2, 1, 0, -1), images.device, images.dtype).view(3, 3)
    edges = F.conv2d(F.pad(luma(images), (1, 1, 1, 1), mode="reflect"), torch.stack([sobel, sobel.T])[:, None])
    edges = edges.norm(dim=1, keepdim=True).clamp(max=1).expand_as(images)
    return torch.where(uniform(images, 0, 1, generator) < probability, edges, images)


@at_full_precision
def quadrant_crops(images: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Two crops of 0.4 H x 0.4 W, centred in two different quadrants drawn for every image, resized back [2]."""
    order = torch.rand(len(images), 4, generator=generator, device=images.device).argsort(1)
    crops = []
    for quadrant in (order[:, 0], order[:, 1]):
        centre = torch.stack([quadrant % 2, quadrant // 2], 1) - 0.5  # -0.5 or 0.5: a quadrant's centre, in [-1, 1]
        scale = 0.4 * torch.eye(2, device=images.device).expand(len(images), 2, 2)
        theta = torch.cat([scale, centre[:, :, None]], 2).to(images.dtype)
        crops.append(F.grid_sample(images, affine_grid(theta, images), padding_mode="reflection", align_corners=False))
    return crops[0], crops[1]
