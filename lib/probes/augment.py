"""What fine-tuning does to the images of a batch, in one go on its device; made of the views of pre-training.

References:
    [1] SSL-FER (BMVC 2022), its code for AffectNet: a part masked, mirror, colour jitter always, blur 0.5, grey 0.2.
    [2] github.com/usef-kh/fer, which SSL-FER names for FER2013: crops, shifts, rotations of 10 degrees, mirror, a crop of 40 of
        48 px, erasing 0.5.
"""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from lib.faces.parts import MASKED, cover_part
from lib.models.finetuned import ten_crops
from lib.views import colour_jitter, hue_jitter, random_blur, uniform

TRIES = 10  # at a crop that fits


@dataclass(frozen=True)
class Augmentation:
    """Half of the images are mirrored, always.

    Attributes:
        colour: strength of brightness, contrast and saturation jitter. grey: probability, as in lib.views.Views.
        blur: probability of a Gaussian blur by 3 taps, sigma 0.1 to 2 px.
        crop: smallest share of the area that a crop keeps; 1: the whole image.
        rotation: largest angle in degrees, shift: largest share of a side; half of the images are rotated, half shifted.
        corner: share of the side of the ten crops (corners, centre, and their mirror images) that an image then becomes; 0: one
            image stays one.
        erasing: probability that a rectangle is blackened.
        hue: largest turn of the hue, as a share of the circle.
        mask: probability that an eye or the mouth is covered, where the landmarks are known.
    """

    colour: float = 0.4
    grey: float = 0.2
    blur: float = 0.5
    crop: float = 1.0
    rotation: float = 0.0
    corner: float = 0.0
    erasing: float = 0.0
    shift: float = 0.0
    hue: float = 0.0
    mask: float = 0.0


def augmented(images: Tensor, how: Augmentation, generator: Generator, landmarks: Tensor | None = None) -> Tensor:
    """[B,3,H,W] in [0,1] -> the same; where ``how`` crops corners [10 B,3,h,w], the first crops of all images first.

    landmarks: [B,68,2] in pixels, or None.
    """
    x = images
    if how.mask and landmarks is not None:
        part = torch.randint(len(MASKED), (len(x),), generator=generator, device=x.device)
        x = cover_part(x, landmarks, part, uniform(x, 0, 1, generator).flatten() < how.mask)
    if how.crop < 1 or how.rotation or how.shift:
        x = moved(x, how, generator)  # mirrors too
    else:
        x = torch.where(uniform(x, 0, 1, generator) < 0.5, x.flip(-1), x)
    if how.colour:
        x = colour_jitter(x, how.colour, 0.0, generator)
    if how.hue:
        x = hue_jitter(x, how.hue, generator)
    if how.blur:
        x = random_blur(x, how.blur, generator, largest=2.0, radius=1)
    if how.grey:
        x = colour_jitter(x, 0.0, how.grey, generator)
    if how.corner:
        x = ten_crops(x, how.corner).flatten(0, 1)
    return erased(x, how.erasing, generator) if how.erasing else x


def moved(images: Tensor, how: Augmentation, generator: Generator) -> Tensor:
    """Crop and resize, shift half of the images, mirror half, rotate half, in this order [2], by one bilinear sampling.

    What comes in from outside by the shift or the rotation is black, also where the image goes on beyond the crop.
    """
    height, width = images.shape[-2:]
    size = torch.tensor([width, height], device=images.device)
    share, place = _crops(images, how.crop, generator)
    shift, angle = (torch.rand(len(images), n, generator=generator, device=images.device) * 2 - 1 for n in (2, 1))
    shifted, mirrored, rotated = torch.rand(3, len(images), 1, generator=generator, device=images.device) < 0.5
    shift = (shift * how.shift * size).round() * shifted  # whole pixels
    turn = torch.deg2rad(angle * how.rotation * rotated)
    y, x = (torch.arange(n, device=images.device) - (n - 1) / 2 for n in (height, width))
    x, y = x.expand(height, -1).flatten(), y[:, None].expand(-1, width).flatten()  # pixels from the middle
    seen = torch.stack([x * turn.cos() - y * turn.sin(), x * turn.sin() + y * turn.cos()], 2)  # [B, pixels, 2]
    inside = (seen.abs() <= size / 2).all(2)
    seen = torch.stack([torch.where(mirrored, -seen[..., 0], seen[..., 0]), seen[..., 1]], 2) - shift[:, None]
    inside &= (seen.abs() <= size / 2).all(2)
    grid = 2 * seen / size * share[:, None] + (place * (1 - share))[:, None]
    grid = grid.unflatten(1, (height, width)).to(images.dtype)
    drawn = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return drawn * inside.view(-1, 1, height, width)


def _crops(images: Tensor, least: float, generator: Generator) -> tuple[Tensor, Tensor]:
    """Width and height of a crop as shares of the sides, and its place between the edges, -1 to 1; both [B, 2], (x, y).

    As in torchvision: area and aspect ratio (3/4 to 4/3) are drawn up to ten times until the crop fits into the image; if
    none does, it is the whole image. So an area above 1 never comes out.
    """
    place = torch.rand(len(images), 2, generator=generator, device=images.device) * 2 - 1
    if least == 1:
        return torch.ones_like(place), place
    height, width = images.shape[-2:]
    area, aspect = torch.rand(2, TRIES, len(images), generator=generator, device=images.device)
    area, aspect = least + area * 2 * (1 - least), ((2 * aspect - 1) * math.log(4 / 3)).exp() * height / width
    sides = torch.stack([area * aspect, area / aspect], 2).sqrt()
    fits = (sides <= 1).all(2)
    first = sides[fits.int().argmax(0), torch.arange(len(images), device=images.device)]
    return torch.where(fits.any(0)[:, None], first, 1.0), place


def erased(images: Tensor, probability: float, generator: Generator) -> Tensor:
    """A black rectangle somewhere in a share of the images: area 0.02 to 0.33, aspect 0.3 to 3.3 (Zhong et al., AAAI 2020)."""
    height, width = images.shape[-2:]
    area, log_aspect = uniform(images, 0.02, 0.33, generator), uniform(images, -1.2, 1.2, generator)
    h, w = (area.sqrt() * (sign * log_aspect / 2).exp() for sign in (1, -1))  # as shares of the sides
    h, w = (h.clamp(max=1) * height).round(), (w.clamp(max=1) * width).round()
    top = (uniform(images, 0, 1, generator) * (height - h + 1)).floor()
    left = (uniform(images, 0, 1, generator) * (width - w + 1)).floor()
    y, x = torch.arange(height, device=images.device)[:, None], torch.arange(width, device=images.device)
    inside = (y >= top) & (y < top + h) & (x >= left) & (x < left + w)
    chosen = uniform(images, 0, 1, generator) < probability
    return images.masked_fill(inside & chosen, 0.0)
