"""Video at a low bit rate: blocks, and patches that the coder skipped; M in F' = F·M + eps, not linear.

An intra frame as MPEG codes it (ISO/IEC 11172-2): 8 x 8 DCT, the default intra matrix scaled by a step for each
macroblock of 16 x 16 pixels, 4:2:0 chroma; no deblocking. A share of the macroblocks is skipped: they show what lies a
few pixels away, as where a motion vector is off and nothing corrects it.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from lib.degrade.jpeg import TO_RGB, TO_YCC, cosine_basis, half_size, mix_channels
from lib.degrade.levels import level
from lib.degrade.separable import mirror

MACROBLOCK = 16
INTRA = (
    8, 16, 19, 22, 26, 27, 29, 34, 16, 16, 22, 24, 27, 29, 34, 37,
    19, 22, 26, 27, 29, 34, 34, 38, 22, 22, 26, 27, 29, 34, 37, 40,
    22, 26, 27, 29, 32, 35, 40, 48, 26, 27, 29, 32, 35, 40, 48, 58,
    26, 27, 29, 34, 38, 46, 56, 69, 27, 29, 35, 38, 46, 56, 69, 83,
)  # fmt: skip


def video_compression(images: Tensor, severity: Tensor, generator: torch.Generator | None) -> Tensor:
    """``images`` [B,3,H,W] in [0,1], ``severity`` [B] long on the CPU. Rounding has no gradient, so neither has this."""
    scale, skipped, reach = level("video_compression", severity, images)
    height, width = images.shape[2:]
    down, across = -(-height // MACROBLOCK), -(-width // MACROBLOCK)
    draw = torch.rand(4, len(images), down, across, generator=generator, device=images.device, dtype=images.dtype)
    skip = draw[0] < skipped[:, 0]
    shift = ((2 * draw[1:3] - 1) * reach[:, 0]).round().long() * skip
    images = _moved(images, shift)
    pixels = F.pad(images, (0, across * MACROBLOCK - width, 0, down * MACROBLOCK - height), mode="replicate") * 255
    planes = mix_channels(TO_YCC, pixels)
    step = (scale[:, 0] * 2 ** (draw[3] - 0.5)).expand(len(images), -1, -1)  # a coder spends its bits unevenly
    luma = _coded(planes[:, :1] - 128, step.repeat_interleave(2, 1).repeat_interleave(2, 2)) + 128
    chroma = F.interpolate(_coded(half_size(planes[:, 1:]), step), scale_factor=2, mode="bilinear")
    pixels = mix_channels(TO_RGB, torch.cat([luma, chroma], 1))
    return pixels[:, :, :height, :width] / 255


def _moved(images: Tensor, shift: Tensor) -> Tensor:
    """Each macroblock from ``shift`` [2,B,h,w] (down, right) pixels away; mirrored at the borders."""
    height, width = images.shape[2:]
    shift = shift.repeat_interleave(MACROBLOCK, 2).repeat_interleave(MACROBLOCK, 3)[:, :, :height, :width]
    row = mirror(torch.arange(height, device=images.device)[:, None] + shift[0], height)
    column = mirror(torch.arange(width, device=images.device) + shift[1], width)
    source = (row * width + column).flatten(1)[:, None].expand(-1, images.shape[1], -1)
    return images.flatten(2).gather(2, source).view_as(images)


def _coded(planes: Tensor, step: Tensor) -> Tensor:
    """DCT, quantise and back: ``planes`` [B,C,H,W], ``step`` [B,H/8,W/8], which scales the intra matrix (16 is once)."""
    batch, channels, height, width = planes.shape
    blocks = planes.view(batch, channels, height // 8, 8, width // 8, 8).permute(0, 1, 2, 4, 3, 5).flatten(4)
    basis = cosine_basis().to(planes)
    size = planes.new_tensor(INTRA) * step[:, None, :, :, None] / 16
    size[..., 0] = 8  # the mean of a block has a step of its own: one grey level
    blocks = ((blocks @ basis.T) / size).round() * size @ basis
    return blocks.view(batch, channels, height // 8, width // 8, 8, 8).permute(0, 1, 2, 4, 3, 5).reshape_as(planes)
