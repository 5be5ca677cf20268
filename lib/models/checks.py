"""What an encoder refuses: images that it would take in silence and make nothing of."""

import math

import torch
from torch import Tensor

LEAST_SIDE = 8  # px
LARGEST_ASPECT = 4  # of the longer side to the shorter
TOLERANCE = 1e-3  # of values beyond [0, 1]: rounding


def check_images(images: Tensor) -> None:
    """Raise ``ValueError`` unless ``images`` is float RGB [B, 3, H, W], B >= 1, of possible sides. Looks at no pixel."""
    if not isinstance(images, Tensor):
        raise ValueError(
            f"images: expected a torch tensor, float RGB in [0, 1], [B, 3, H, W], got {type(images).__name__}; of an 8-bit array"
            " [B, H, W, 3]: torch.from_numpy(array).permute(0, 3, 1, 2).float() / 255"
        )
    shape = list(images.shape)
    if images.dim() != 4 or images.shape[1] != 3 or not images.is_floating_point():
        raise ValueError(f"images: expected float RGB in [0, 1], [B, 3, H, W], got {images.dtype} {shape}{_remedy(images)}")
    if not images.numel():
        raise ValueError(f"images: expected at least one image, got {shape}")
    height, width = shape[2:]
    if min(height, width) < LEAST_SIDE:
        raise ValueError(
            f"images: expected at least {LEAST_SIDE} px a side, got {height} x {width} (H x W): no face can be told on so few; take"
            " the picture in its own size"
        )
    if max(height, width) > LARGEST_ASPECT * min(height, width):
        raise ValueError(
            f"images: expected sides of at most 1 : {LARGEST_ASPECT}, got {height} x {width} px (H x W), which would be squeezed into a"
            " square; crop the face first"
        )


def _remedy(images: Tensor) -> str:
    if images.dim() == 3 and images.shape[0] == 3:
        return "; images[None] makes a batch of one"
    if images.dim() == 4 and images.shape[1] != 3 and images.shape[3] == 3:
        return "; images.permute(0, 3, 1, 2) puts the channels in front"
    if not images.is_floating_point():
        return "; 8-bit pixels: images.float() / 255"
    return ""


def check_values(images: Tensor) -> None:
    """Raise ``ValueError`` unless all values are in [0, 1], but for rounding. One pass over the pixels; a GPU is waited for."""
    low, high = torch.stack(torch.aminmax(images.detach())).tolist()
    if -TOLERANCE <= low and high <= 1 + TOLERANCE:
        return
    if not (math.isfinite(low) and math.isfinite(high)):  # NaN is both the least and the largest
        raise ValueError(f"images: expected values in [0, 1], got {'NaN' if low != low else 'infinity'}")
    hint = ""
    if low < -TOLERANCE:
        hint = ": normalised already? The encoder does that itself, give it plain pixels"
    elif high > 1.5:
        hint = ": 0 to 255? Divide by 255"
    raise ValueError(f"images: expected values in [0, 1], got {low:.4g} to {high:.4g}{hint}")
