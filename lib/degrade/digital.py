"""Structured degradations of sensors and image files: M in F' = F·M + eps.

Every function takes images [B,3,H,W] in [0,1], severity [B] (long, on the CPU) and a generator, and returns images
that are not clamped yet.
"""

import math

import torch
from torch import Tensor

from lib.degrade.levels import level, pick, rows
from lib.degrade.separable import along_both, box_matrix, operators, resample_matrix

LUMA = (0.299, 0.587, 0.114)


def contrast(images: Tensor, severity: Tensor, generator: torch.Generator | None) -> Tensor:
    """Each channel is drawn towards its own mean over the image: linear in the image."""
    (factor,) = level("contrast", severity, images)
    mean = images.mean(dim=(2, 3), keepdim=True)
    return torch.addcmul(mean * (1 - factor), images, factor)


def pixelate(images: Tensor, severity: Tensor, generator: torch.Generator | None) -> Tensor:
    """Down to a share of the side and up again by boxes."""
    shares = [share for (share,) in rows("pixelate", min(images.shape[2:]))]
    down, across = (
        operators(box_matrix, tuple((length, max(int(length * share), 1)) for share in shares), images.device, images.dtype)
        for length in images.shape[2:]
    )
    return along_both(images, pick(down, severity), pick(across, severity))


def low_resolution(images: Tensor, severity: Tensor, generator: torch.Generator | None) -> Tensor:
    """Down to a share of the side and up again, bilinearly with antialiasing: a face far from the camera."""
    shares = [share for (share,) in rows("low_resolution", min(images.shape[2:]))]
    down, across = (
        operators(resample_matrix, tuple((length, max(round(length * share), 2)) for share in shares), images.device, images.dtype)
        for length in images.shape[2:]
    )
    return along_both(images, pick(down, severity), pick(across, severity))


def low_light(images: Tensor, severity: Tensor, generator: torch.Generator | None) -> Tensor:
    """A gain below 1: less light on the sensor."""
    (gain,) = level("low_light", severity, images)
    return images * gain


def over_exposure(images: Tensor, severity: Tensor, generator: torch.Generator | None) -> Tensor:
    """A gain above 1: what is bright is lost where the sensor saturates (at 1, by the clamp)."""
    (gain,) = level("over_exposure", severity, images)
    return images * gain


def colour_cast(images: Tensor, severity: Tensor, generator: torch.Generator | None) -> Tensor:
    """A gain for each channel, of a colour drawn evenly around the wheel: a white balance that is off. Grey keeps its luma."""
    (strength,) = level("colour_cast", severity, images)
    angle = 2 * math.pi * torch.rand(len(images), 1, generator=generator, device=images.device, dtype=images.dtype)
    hue = torch.cos(angle + images.new_tensor([0, 2 * math.pi / 3, 4 * math.pi / 3]))
    gain = torch.exp(strength[:, :, 0, 0] * hue)
    gain = gain / (gain * images.new_tensor(LUMA)).sum(1, keepdim=True)
    return images * gain[:, :, None, None]


def brightness(images: Tensor, severity: Tensor, generator: torch.Generator | None) -> Tensor:
    """Raise the value of HSV. Hue and saturation stay, so this is a gain for each pixel; black turns grey."""
    (added,) = level("brightness", severity, images)
    value = images.amax(dim=1, keepdim=True)
    raised = (value + added).clamp_(max=1)
    return torch.where(value > 0, images * (raised / value.clamp(min=torch.finfo(images.dtype).tiny)), raised)


def saturate(images: Tensor, severity: Tensor, generator: torch.Generator | None) -> Tensor:
    """Scale and shift the saturation of HSV. Grey has hue 0 (red), so an offset turns it reddish, as published."""
    factor, offset = level("saturate", severity, images)
    value = images.amax(dim=1, keepdim=True)
    chroma = value - images.amin(dim=1, keepdim=True)
    tiny = torch.finfo(images.dtype).tiny
    target = (chroma / value.clamp(min=tiny) * factor + offset).clamp_(0, 1)
    below = (value - images) / chroma.clamp(min=tiny)  # 0 in the strongest channel, 1 in the weakest
    red = torch.tensor([0.0, 1.0, 1.0], device=images.device, dtype=images.dtype).view(1, 3, 1, 1)
    return value * (1 - target * torch.where(chroma > 0, below, red))
