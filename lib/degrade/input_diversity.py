"""Input diversity (Xie et al., arXiv 1803.06978): the model sees the image at another size and place."""

import torch
from torch import Tensor

from lib.degrade.draws import uniform

RESIZE_RATE, DIVERSITY_PROBABILITY = 0.9, 0.5


def resize_and_pad(images: Tensor, seeds: Tensor, purpose: int) -> Tensor:
    """Input diversity: with probability 0.5 an image shrinks to 0.9..1 of its size and moves on a black ground.

    Bilinear without antialiasing, as published; size and place are drawn for each image. Both are linear maps of rows
    and of columns, so a batch of differently resized images is two batched matrix products.
    """
    height, width = images.shape[2:]
    draw = uniform(seeds, purpose, 4, dtype=images.dtype).T
    keep = draw[0] >= DIVERSITY_PROBABILITY
    rows = _resize_matrix(height, draw[1], draw[2], keep)
    columns = _resize_matrix(width, draw[1], draw[3], keep)
    with torch.autocast(images.device.type, enabled=False):  # these products make pixels, not features
        return rows[:, None] @ images @ columns[:, None].transpose(-1, -2)


def _resize_matrix(length: int, shrink: Tensor, shift: Tensor, keep: Tensor) -> Tensor:
    """[B,length,length]: row i holds the source weights of output pixel i; the identity where ``keep``."""
    least = int(length * RESIZE_RATE)
    size = torch.floor(least + shrink * (length - least))[:, None]
    start = torch.floor(shift[:, None] * (length - size))
    place = torch.arange(length, device=shrink.device, dtype=shrink.dtype) - start  # pixel of the small image
    source = ((place + 0.5) * (length / size) - 0.5).clamp(0, length - 1)
    pixel = torch.arange(length, device=shrink.device, dtype=shrink.dtype)
    weights = (1 - (source[:, :, None] - pixel).abs()).clamp_(min=0)
    weights = weights * ((place >= 0) & (place < size))[:, :, None]
    return torch.where(keep[:, None, None], torch.eye(length, device=shrink.device, dtype=shrink.dtype), weights)
