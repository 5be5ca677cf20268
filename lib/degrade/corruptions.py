"""Corruptions of face images at five severities, as batched tensor functions with randomness for each image.

The 19 types of ImageNet-C (Hendrycks & Dietterich, arXiv 1903.12261) and what faces meet besides: bad light, bad
cameras, coding, weather, and things in front of the face. :mod:`lib.degrade.levels` says what the severities mean.

Each is a degraded face F' = F M + eps, and its definition says which part it is:

    M        transforms the face; what is linear maps black to black
    eps      adds something to the face
    M + eps  weakens or covers the face and adds something there

A linear one is affine in the image once its draws are made (clamping to [0, 1] aside).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lib.degrade import blur, digital, noise, occluders, weather
from lib.degrade.checks import check_generator, check_images
from lib.degrade.elastic import elastic_transform
from lib.degrade.jpeg import jpeg_compression
from lib.degrade.spatter import spatter
from lib.degrade.video import video_compression

SMALLEST = 8  # pixels; a side below it has no blocks, paths or textures to speak of


@dataclass(frozen=True)
class Corruption:
    """What one type is.

    Attributes:
        part: of F' = F M + eps. linear: affine in the image.
        function: (images [B,3,H,W], severity [B] long on the CPU, generator[, landmarks [B,68,2] or None]) -> images, not clamped.
        on_landmarks: whether ``function`` takes the landmarks.
    """

    part: str
    linear: bool
    function: Callable[..., Tensor]
    on_landmarks: bool = False


REGISTRY: dict[str, Corruption] = {
    # ImageNet-C's 15
    "gaussian_noise": Corruption("eps", True, noise.gaussian_noise),
    "shot_noise": Corruption("eps", False, noise.shot_noise),
    "impulse_noise": Corruption("M + eps", True, noise.impulse_noise),
    "defocus_blur": Corruption("M", True, blur.defocus_blur),
    "glass_blur": Corruption("M", True, blur.glass_blur),
    "motion_blur": Corruption("M", True, blur.motion_blur),
    "zoom_blur": Corruption("M", True, blur.zoom_blur),
    "snow": Corruption("M + eps", False, weather.snow),
    "frost": Corruption("M + eps", True, weather.frost),
    "fog": Corruption("M + eps", False, weather.fog),
    "brightness": Corruption("M", False, digital.brightness),
    "contrast": Corruption("M", True, digital.contrast),
    "elastic_transform": Corruption("M", True, elastic_transform),
    "pixelate": Corruption("M", True, digital.pixelate),
    "jpeg_compression": Corruption("M", False, jpeg_compression),
    # its four extra types
    "speckle_noise": Corruption("M", True, noise.speckle_noise),
    "gaussian_blur": Corruption("M", True, blur.gaussian_blur),
    "spatter": Corruption("M + eps", True, spatter),
    "saturate": Corruption("M", False, digital.saturate),
    # faces in the field
    "low_light": Corruption("M", True, digital.low_light),
    "over_exposure": Corruption("M", True, digital.over_exposure),
    "colour_cast": Corruption("M", True, digital.colour_cast),
    "low_resolution": Corruption("M", True, digital.low_resolution),
    "video_compression": Corruption("M", False, video_compression),
    "rain": Corruption("M + eps", True, weather.rain),
    "haze": Corruption("M + eps", True, weather.haze),
    "occlusion": Corruption("M", True, occluders.occlusion, on_landmarks=True),
    "mask": Corruption("M + eps", True, occluders.mask, on_landmarks=True),
    "sunglasses": Corruption("M + eps", True, occluders.sunglasses, on_landmarks=True),
}
CORRUPTIONS = tuple(REGISTRY)
IMAGENET_C = CORRUPTIONS[:15]


def corrupt(
    images: Tensor, name: str, severity: int, generator: torch.Generator | None = None, landmarks: Tensor | None = None
) -> Tensor:
    """Corrupted images, [B,3,H,W] in [0,1], of the same dtype and device.

    Args:
        images: float RGB [B,3,H,W] in [0,1], at least 8 x 8 pixels.
        name: one of :data:`CORRUPTIONS`. severity: 1 (weak) to 5 (strong).
        generator: draws everything, on the device of ``images``; None uses the global state.
        landmarks: [B,68,2] pixels (x, y), which place occlusion, mask and sunglasses. None, and an image with a NaN among
            them: a mask and sunglasses as on an upright, centred face, an occlusion anywhere.

    Raises:
        ValueError: unknown name, severity, bad images or landmarks, or a generator on another device.
    """
    if name not in REGISTRY:
        raise ValueError(f"name: expected one of {', '.join(CORRUPTIONS)}, got {name!r}")
    if isinstance(severity, bool) or not isinstance(severity, int) or not 1 <= severity <= 5:
        raise ValueError(f"severity: expected an integer from 1 to 5, got {severity!r}")
    check_images(images, SMALLEST)
    check_generator(generator, images)
    if landmarks is not None:
        landmarks = _checked_landmarks(landmarks, images)
    return apply(images, name, torch.full((len(images),), severity), generator, landmarks)


def apply(
    images: Tensor, name: str, severity: Tensor, generator: torch.Generator | None, landmarks: Tensor | None = None
) -> Tensor:
    """:func:`corrupt` with a severity for each image ([B] long, on the CPU) and without the checks."""
    kind = REGISTRY[name]
    with torch.autocast(images.device.type, enabled=False):  # half precision would band the images
        more = (landmarks,) if kind.on_landmarks else ()
        return kind.function(images, severity, generator, *more).clamp_(0, 1)


def _checked_landmarks(landmarks: Tensor, images: Tensor) -> Tensor:
    if not isinstance(landmarks, Tensor) or landmarks.shape != (len(images), 68, 2) or not landmarks.is_floating_point():
        got = f"{landmarks.dtype} {list(landmarks.shape)}" if isinstance(landmarks, Tensor) else type(landmarks).__name__
        raise ValueError(f"landmarks: expected a float tensor [{len(images)},68,2] in pixels, got {got}")
    if torch.isinf(landmarks).any():
        raise ValueError("landmarks: expected finite places, or NaN for what is not known, got infinity")
    unknown = torch.isnan(landmarks).any((1, 2), keepdim=True)
    return landmarks.masked_fill(unknown, float("nan")).to(images)
