"""What fine-tuning does to the images of a batch, in one go on its device; made of the views of pre-training.

References:
    [1] SSL-FER (BMVC 2022), its code for AffectNet: mirror, colour jitter always, blur 0.5, grey 0.2.
    [2] github.com/usef-kh/fer, which SSL-FER names for FER2013: crops, shifts, rotations of 10 degrees, mirror, a crop of 40 of
        48 px, erasing 0.5.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from lib.models.finetuned import five_crops
from lib.views import colour_jitter, random_blur, random_crop, uniform


@dataclass(frozen=True)
class Augmentation:
    """Half of the images are mirrored, always.

    Attributes:
        colour: strength of brightness, contrast and saturation jitter. grey, blur: probabilities, as in lib.views.Views.
        crop: smallest share of the area that a crop keeps, rotation: largest angle in degrees; 1 and 0: the whole image.
        corner: share of the side of one of the five crops (corners, centre) that is taken then; 0: none is.
        erasing: probability that a rectangle is blackened.
    """

    colour: float = 0.4
    grey: float = 0.2
    blur: float = 0.5
    crop: float = 1.0
    rotation: float = 0.0
    corner: float = 0.0
    erasing: float = 0.0


def augmented(images: Tensor, how: Augmentation, generator: Generator) -> Tensor:
    """[B,3,H,W] in [0,1] -> the same, smaller where ``how`` crops corners."""
    if how.crop < 1 or how.rotation:
        x = random_crop(images, how.crop, how.rotation, generator)  # mirrors too
    else:
        x = torch.where(uniform(images, 0, 1, generator) < 0.5, images.flip(-1), images)
    if how.colour or how.grey:
        x = colour_jitter(x, how.colour, how.grey, generator)
    if how.blur:
        x = random_blur(x, how.blur, generator)
    if how.corner:
        place = torch.randint(5, (len(x),), generator=generator, device=x.device)
        x = five_crops(x, how.corner)[place, torch.arange(len(x), device=x.device)]
    return erased(x, how.erasing, generator) if how.erasing else x


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
