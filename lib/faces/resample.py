"""Another size for images, landmarks and masks together, so that they stay on top of each other.

Pixel (x, y) covers the square [x - 1/2, x + 1/2] x [y - 1/2, y + 1/2]: whole numbers are pixel centres, also in
landmarks.
"""

import functools

import torch
import torch.nn.functional as F
from torch import Tensor


@functools.lru_cache(maxsize=64)
def area_matrix(before: int, after: int) -> Tensor:
    """Weights float32 [after, before]: each new pixel is the mean of the old ones it covers, in exact proportion.

    It is the box filter of the new pixel's width, hence antialiased. Only for ``after <= before``.
    """
    edges = torch.arange(after + 1, dtype=torch.float64) * before / after
    old = torch.arange(before, dtype=torch.float64)
    overlap = torch.minimum(edges[1:, None], old + 1) - torch.maximum(edges[:-1, None], old)
    return (overlap.clamp(min=0) * after / before).float()


def crop_box(height: int, width: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The largest centred box with the shape of ``size`` (H, W): (top, left, box height, box width), whole pixels."""
    scale = min(height / size[0], width / size[1])
    box_height, box_width = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width


def _crop(images: Tensor, size: tuple[int, int]) -> Tensor:
    top, left, height, width = crop_box(*images.shape[-2:], size)
    return images[..., top:top + height, left:left + width]


def fit(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Centre crop to the shape of ``size`` (H, W), then resize: area mean when shrinking, bilinear when growing.

    Args:
        images: uint8 [B,3,H,W]. -> uint8 [B,3,size[0],size[1]].
    """
    if images.dtype != torch.uint8 or images.ndim != 4:
        raise ValueError(f"images: expected uint8 [B,C,H,W], got {images.dtype} {list(images.shape)}")
    if min(size) < 1:
        raise ValueError(f"size: expected at least one pixel a side, got {tuple(size)}")
    cropped = _crop(images, size)
    if tuple(cropped.shape[-2:]) == tuple(size):
        return cropped
    pixels = cropped.float()
    if cropped.shape[-2] >= size[0] and cropped.shape[-1] >= size[1]:
        rows = area_matrix(cropped.shape[-2], size[0]).to(pixels.device)
        columns = area_matrix(cropped.shape[-1], size[1]).to(pixels.device)
        pixels = rows @ (pixels @ columns.T)
    else:
        pixels = F.interpolate(pixels, size=size, mode="bilinear", align_corners=False)
    return pixels.round_().clamp_(0, 255).to(torch.uint8)


def fit_masks(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """The same crop and resize for labels: each new pixel takes the label at its centre. uint8 [B,H,W] -> [B,*size]."""
    cropped = _crop(masks, size)
    if tuple(cropped.shape[-2:]) == tuple(size):
        return cropped
    return F.interpolate(cropped[:, None], size=size, mode="nearest-exact")[:, 0]


def fit_points(points: Tensor, before: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """The same crop and resize for landmarks, float32 [B,R,2] in pixels (x, y).

    ``before`` is (H, W) of the image before the crop.
    """
    top, left, height, width = crop_box(*before, size)
    corner = points.new_tensor([left, top])
    scale = points.new_tensor([size[1] / width, size[0] / height])
    return (points + 0.5 - corner) * scale - 0.5
