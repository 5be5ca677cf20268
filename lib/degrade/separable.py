"""Linear maps of images: of rows and columns as matrix products, by small kernels as one grouped convolution."""

import contextlib
import math
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F


def along_both(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """rows @ channel @ columns^T: ``images`` [B,C,H,W], ``rows`` [B or 1,H',H], ``columns`` [B or 1,W',W]."""
    if len(rows) == len(columns) == 1:
        return rows[0] @ (images @ columns[0].T)
    return rows[:, None] @ images @ columns[:, None].transpose(-1, -2)


@lru_cache(maxsize=512)
def gaussian_matrix(length: int, sigma: float, truncate: float = 4.0, border: str = "nearest") -> Tensor:
    """[length,length] float64: a normalised Gaussian cut at ``truncate`` sigmas, borders folded in.

    ``border``: 'nearest' repeats the edge pixel, 'reflect' mirrors with the edge pixel repeated (SciPy's names).
    """
    radius = int(truncate * sigma + 0.5)
    if radius == 0:
        return torch.eye(length, dtype=torch.float64)
    offsets = torch.arange(-radius, radius + 1)
    weights = torch.exp(-0.5 * (offsets.double() / sigma) ** 2)
    source = torch.arange(length)[:, None] + offsets
    if border == "nearest":
        source = source.clamp(0, length - 1)
    else:
        source = source.remainder(2 * length)
        source = torch.where(source < length, source, 2 * length - 1 - source)
    matrix = torch.zeros(length, length, dtype=torch.float64)
    return matrix.scatter_add_(1, source, (weights / weights.sum()).expand(length, -1).contiguous())


@lru_cache(maxsize=512)
def box_matrix(length: int, small: int) -> Tensor:
    """[length,length] float64: down to ``small`` pixels and up again, both with Pillow's BOX filter.

    Pillow's box weighs a source pixel 1 when its centre lies within the target pixel's extent, else 0.
    """
    down = _box(length, small)
    return _box(small, length) @ down


def _box(source: int, target: int) -> Tensor:
    scale = source / target
    half = max(scale, 1.0) / 2
    matrix = torch.zeros(target, source, dtype=torch.float64)
    for row in range(target):
        centre = (row + 0.5) * scale
        first, last = max(int(centre - half + 0.5), 0), min(int(centre + half + 0.5), source)
        distance = (torch.arange(first, last) - centre + 0.5) / (2 * half)
        weights = ((distance > -0.5) & (distance <= 0.5)).double()
        matrix[row, first:last] = weights / weights.sum()
    return matrix


@lru_cache(maxsize=512)
def resample_matrix(length: int, small: int) -> Tensor:
    """[length,length] float64: down to ``small`` pixels by a triangle filter of the scale's width, bilinearly up again."""
    return _triangle(small, length) @ _triangle(length, small)


def _triangle(source: int, target: int) -> Tensor:
    """[target,source]: Pillow's BILINEAR, antialiased where it shrinks; edges cut and renormalised."""
    scale = source / target
    centre = (torch.arange(target, dtype=torch.float64)[:, None] + 0.5) * scale - 0.5
    distance = (torch.arange(source, dtype=torch.float64) - centre).abs() / max(scale, 1.0)
    weights = (1 - distance).clamp(min=0)
    return weights / weights.sum(1, keepdim=True)


@lru_cache(maxsize=64)
def operators(make: Callable[..., Tensor], settings: tuple[tuple, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """``make(*one)`` of each of the ``settings``, stacked: copied to ``device`` only the first time, see lib.device.constant.

    Not to be written into.
    """
    with torch.inference_mode(False):
        return torch.stack([make(*one) for one in settings]).to(device, dtype)


def convolve(images: Tensor, kernels: Tensor, border: str) -> Tensor:
    """Correlate each image with its own kernel: ``kernels`` [B or 1,K,L] (odd), ``border`` 'replicate' or 'reflect'.

    The batch is laid out as channels, so it is one grouped convolution, which is much faster than a plain one.
    'reflect' mirrors without repeating the edge pixel.
    """
    height, width = kernels.shape[1:]
    padded = pad(images, height // 2, width // 2, border)
    kernels = kernels.expand(len(images), -1, -1)[:, None].to(images.dtype)
    # pixels at full precision: cuDNN would round them to TF32
    exact = torch.backends.cudnn.flags(enabled=False) if images.is_cuda else contextlib.nullcontext()
    with exact:
        return F.conv2d(padded.transpose(0, 1), kernels, groups=len(images)).transpose(0, 1)


def pad(images: Tensor, rows: int, columns: int, border: str) -> Tensor:
    """Pad by any amount, more than the image too; see :func:`convolve` for ``border``."""
    if border == "replicate":
        return F.pad(images, (columns, columns, rows, rows), mode="replicate")
    height, width = images.shape[2:]
    if rows < height and columns < width:
        return F.pad(images, (columns, columns, rows, rows), mode="reflect")
    down, across = (
        mirror(torch.arange(-extra, length + extra, device=images.device), length)
        for extra, length in ((rows, height), (columns, width))
    )
    return images[:, :, down][:, :, :, across]


def mirror(index: Tensor, length: int) -> Tensor:
    """Fold any integer index into [0, length) by mirrors at the centres of the edge pixels."""
    index = index.remainder(max(2 * length - 2, 1))
    return torch.where(index < length, index, 2 * length - 2 - index)


def half_path(radius: float, sigma: float) -> Tensor:
    """One-sided Gaussian weights along a motion path, [taps]: ImageMagick's motion blur cut at 4 sigmas."""
    taps = min(2 * int(radius) + 1, math.ceil(4 * sigma) + 1)
    weights = torch.exp(-0.5 * (torch.arange(taps, dtype=torch.float64) / sigma) ** 2)
    return weights / weights.sum()
