"""Baseline JPEG in tensors: what writing and reading a file does to pixels (ITU-T T.81, with libjpeg's choices).

8 x 8 DCT, the standard quantisation tables of Annex K scaled by libjpeg's quality rule, 4:2:0 chroma. Entropy coding
loses nothing, so it is left out. The decoder is libjpeg's default: triangle ("fancy") chroma upsampling, 8-bit rounding
of each plane. Rounding has no gradient, so neither has this.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from lib.degrade.levels import pick, rows
from lib.degrade.separable import along_both

# ITU-T T.81, tables K.1 and K.2
LUMINANCE = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
CHROMINANCE = (
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99,
    *(99,) * 32,
)  # fmt: skip

# JFIF: R, G, B -> Y, Cb, Cr (128 is added to Cb and Cr) and back
TO_YCC = ((0.299, 0.587, 0.114), (-0.168735892, -0.331264108, 0.5), (0.5, -0.418687589, -0.081312411))
TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136286, -0.714136286), (1.0, 1.772, 0.0))


def jpeg_compression(images: Tensor, severity: Tensor, generator: torch.Generator | None) -> Tensor:
    """Through a JPEG file at the level's quality. ``images`` [B,3,H,W], ``severity`` [B] long on the CPU."""
    qualities = [round(quality) for (quality,) in rows("jpeg_compression", min(images.shape[2:]))]
    tables = torch.stack([quantisation_tables(quality) for quality in qualities])
    return jpeg(images, pick(tables, severity))


@lru_cache(maxsize=128)
def quantisation_tables(quality: int) -> Tensor:
    """[2,64] float32: luminance and chrominance steps at a quality from 1 to 100."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return ((torch.tensor([LUMINANCE, CHROMINANCE]) * scale + 50) // 100).clamp_(1, 255).float()


def jpeg(images: Tensor, tables: Tensor) -> Tensor:
    """Encode and decode: ``images`` [B,3,H,W] in [0,1], ``tables`` [B or 1,2,64]. Values are multiples of 1/255."""
    height, width = images.shape[2:]
    tables = tables.to(images)
    pixels = (images * 255).round_()
    if width % 16 or height % 16:
        pixels = F.pad(pixels, (0, -width % 16, 0, -height % 16), mode="replicate")
    planes = mix_channels(TO_YCC, pixels)
    planes[:, 1:] += 128
    planes = planes.round_()
    luma = _code(planes[:, :1], tables[:, 0])[:, :, :height, :width]
    small = (height + 1) // 2, (width + 1) // 2
    dither = images.new_tensor([0.25, 0.5]).repeat(planes.shape[3] // 4)  # libjpeg rounds halves down and up in turn
    chroma = half_size(planes[:, 1:]).add_(dither).floor_()
    chroma = _code(chroma, tables[:, 1])[:, :, : small[0], : small[1]]
    down, across = (triangle_matrix(length)[None].to(images) for length in (height, width))
    chroma = along_both(chroma, down, across).round_() - 128
    pixels = mix_channels(TO_RGB, torch.cat([luma, chroma], 1))
    return pixels.round_().clamp_(0, 255).div_(255)


def mix_channels(matrix: tuple, planes: Tensor) -> Tensor:
    """Channels [B,3,H,W] mixed by a 3 x 3 ``matrix``, as products of whole planes: nothing is then laid out anew."""
    return (planes.new_tensor(matrix).expand(len(planes), -1, -1) @ planes.flatten(2)).view_as(planes)


def half_size(planes: Tensor) -> Tensor:
    """Means of 2 x 2 pixels of [B,C,H,W]; as sums of slices several times as fast as a pooling."""
    planes = planes[:, :, 0::2] + planes[:, :, 1::2]
    return (planes[..., 0::2] + planes[..., 1::2]).div_(4)


def _code(planes: Tensor, table: Tensor) -> Tensor:
    """DCT, quantise, and back, for each 8 x 8 block: ``planes`` [B,C,H,W] in 0..255, ``table`` [B or 1,64]."""
    batch, channels, height, width = planes.shape
    blocks = planes.view(batch, channels, height // 8, 8, width // 8, 8).permute(0, 1, 2, 4, 3, 5)
    basis = cosine_basis().to(planes)
    step = table[:, None]
    waves = (blocks.reshape(batch, -1, 64) - 128) @ basis.T
    waves = (waves / step).round_() * step
    blocks = (waves @ basis + 128).round_().clamp_(0, 255).view(batch, channels, height // 8, width // 8, 8, 8)
    return blocks.permute(0, 1, 2, 4, 3, 5).reshape(batch, channels, height, width)


@lru_cache(maxsize=1)
def cosine_basis() -> Tensor:
    """[64,64] float64, orthonormal: row 8u+v is the two-dimensional DCT-II wave (u, v) over a block's pixels."""
    wave, place = torch.arange(8, dtype=torch.float64)[:, None], torch.arange(8, dtype=torch.float64)
    line = torch.cos((2 * place + 1) * wave * math.pi / 16) / 2
    line[0] /= math.sqrt(2)
    return torch.kron(line, line)


@lru_cache(maxsize=64)
def triangle_matrix(length: int) -> Tensor:
    """[length, ceil(length/2)] float64: each pixel takes 3/4 of the sample it lies in and 1/4 of the next nearest."""
    small = (length + 1) // 2
    place = torch.arange(length)
    matrix = torch.zeros(length, small, dtype=torch.float64)
    matrix[place, place // 2] += 0.75
    matrix[place, (place // 2 + 2 * (place % 2) - 1).clamp(0, small - 1)] += 0.25
    return matrix
