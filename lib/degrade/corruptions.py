"""Common corruptions of images at five severities, as batched tensor functions with randomness for each image.

The 15 types of ImageNet-C (Hendrycks & Dietterich, arXiv 1903.12261), three of its four extra types, low light and an
occluding block. :mod:`lib.degrade.levels` says what the severities mean. :data:`PART` says which part of
F' = F·M + eps a type is: 'M' transforms the face; 'eps' adds something that is not a function of the face alone:
noise, flakes, a veil (snow, frost and fog also weaken the face under their layer; speckle and shot noise grow with it).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from lib.degrade import blur, digital, noise, weather
from lib.degrade.checks import check_generator, check_images
from lib.degrade.elastic import elastic_transform
from lib.degrade.jpeg import jpeg_compression

SMALLEST = 8  # pixels; a side below it has no blocks, paths or textures to speak of

Corruption = Callable[[Tensor, Tensor, torch.Generator | None], Tensor]

# name: (part, function of images [B,3,H,W], severity [B] long on the CPU, generator; returns images not yet clamped)
REGISTRY: dict[str, tuple[str, Corruption]] = {
    "gaussian_noise": ("eps", noise.gaussian_noise),
    "shot_noise": ("eps", noise.shot_noise),
    "impulse_noise": ("eps", noise.impulse_noise),
    "defocus_blur": ("M", blur.defocus_blur),
    "glass_blur": ("M", blur.glass_blur),
    "motion_blur": ("M", blur.motion_blur),
    "zoom_blur": ("M", blur.zoom_blur),
    "snow": ("eps", weather.snow),
    "frost": ("eps", weather.frost),
    "fog": ("eps", weather.fog),
    "brightness": ("M", digital.brightness),
    "contrast": ("M", digital.contrast),
    "elastic_transform": ("M", elastic_transform),
    "pixelate": ("M", digital.pixelate),
    "jpeg_compression": ("M", jpeg_compression),
    "speckle_noise": ("eps", noise.speckle_noise),
    "gaussian_blur": ("M", blur.gaussian_blur),
    "saturate": ("M", digital.saturate),
    "low_light": ("M", digital.low_light),
    "occlusion": ("M", digital.occlusion),
}
CORRUPTIONS = tuple(REGISTRY)
PART = {name: part for name, (part, _) in REGISTRY.items()}


def corrupt(images: Tensor, name: str, severity: int, generator: torch.Generator | None = None) -> Tensor:
    """Corrupted images, [B,3,H,W] in [0,1], of the same dtype and device.

    Args:
        images: float RGB [B,3,H,W] in [0,1], at least 8 x 8 pixels.
        name: one of :data:`CORRUPTIONS`. severity: 1 (weak) to 5 (strong).
        generator: draws everything, on the device of ``images``; None uses the global state.

    Raises:
        ValueError: unknown name, severity, bad images or a generator on another device.
    """
    if name not in REGISTRY:
        raise ValueError(f"name: expected one of {', '.join(CORRUPTIONS)}, got {name!r}")
    if isinstance(severity, bool) or not isinstance(severity, int) or not 1 <= severity <= 5:
        raise ValueError(f"severity: expected an integer from 1 to 5, got {severity!r}")
    check_images(images, SMALLEST)
    check_generator(generator, images)
    return apply(images, name, torch.full((len(images),), severity), generator)


def apply(images: Tensor, name: str, severity: Tensor, generator: torch.Generator | None) -> Tensor:
    """:func:`corrupt` with a severity for each image ([B] long, on the CPU) and without the checks."""
    with torch.autocast(images.device.type, enabled=False):  # half precision would band the images
        return REGISTRY[name][1](images, severity, generator).clamp_(0, 1)
