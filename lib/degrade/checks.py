"""The input checks that every degradation shares: what an image batch is, and whose generator draws for it."""

import torch
from torch import Tensor


def check_images(images: Tensor, smallest: int = 2) -> None:
    """Raise ``ValueError`` unless ``images`` is float RGB [B,3,H,W] in [0,1] with B >= 1 and H, W >= ``smallest``.

    float32 or float64 only: half precision cannot hold a budget of 1/255 near 1. One pass over the pixels (one
    device synchronisation) finds NaN and values out of range.
    """
    if not isinstance(images, Tensor):
        raise ValueError(f"images: expected a float tensor [B,3,H,W], got {type(images).__name__}")
    if images.dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"images: expected float32 or float64 RGB in [0,1], got dtype {images.dtype}"
            + (": divide 8-bit pixels by 255" if not images.is_floating_point() else ": call .float() first")
        )
    if images.dim() != 4 or images.shape[1] != 3:
        raise ValueError(f"images: expected shape [B,3,H,W], got {list(images.shape)}")
    if images.shape[0] == 0:
        raise ValueError(f"images: expected at least one image, got an empty batch {list(images.shape)}")
    if min(images.shape[2:]) < smallest:
        raise ValueError(f"images: expected at least {smallest} x {smallest} pixels, got {list(images.shape)}")
    low, high = torch.stack(torch.aminmax(images.detach())).tolist()
    if low != low or high != high:
        raise ValueError("images: expected values in [0,1], got NaN")
    if low < 0 or high > 1:
        raise ValueError(f"images: expected values in [0,1], got a range of [{low:.4g}, {high:.4g}]")


def check_generator(generator: torch.Generator | None, images: Tensor) -> None:
    """Raise ``ValueError`` unless ``generator`` is None or draws on the device of ``images``."""
    if generator is None:
        return
    if not isinstance(generator, torch.Generator):
        raise ValueError(f"generator: expected a torch.Generator or None, got {type(generator).__name__}")
    if generator.device.type != images.device.type:
        raise ValueError(
            f"generator: expected one on the images' device ({images.device}), got one on {generator.device}:"
            f" make it with torch.Generator(device={str(images.device)!r})"
        )
