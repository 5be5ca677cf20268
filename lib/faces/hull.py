"""Convex hulls of landmarks as masks, for a whole batch at once.

A scanline cuts a convex hull in an interval. Its ends are the outermost of the places where the line cuts segments between
any two of the points, and no segment reaches further out than the hull's own edges: so the order of the edges need not be
known, and a segment too many does no harm.
"""

import torch
from torch import Tensor

SCANLINES = 2  # a pixel row, where edges are soft; sideways the cover is exact


def hull_cover(points: Tensor, size: tuple[int, int], hard: bool = False) -> Tensor:
    """How much of each pixel lies in the convex hull of the points.

    Args:
        points: [B, R, 2], R >= 3, pixels (x, y), whole numbers being pixel centres.
        size: (H, W).
        hard: 1 for the pixels whose centre lies in the hull, 0 for all others.

    Returns:
        [B, 1, H, W] in [0, 1]; 0 for points that are not finite.

    Raises:
        ValueError: wrong shape.
    """
    if points.dim() != 3 or points.shape[1] < 3 or points.shape[2] != 2 or not points.is_floating_point():
        raise ValueError(f"points: expected float [B, R >= 3, 2], got {points.dtype} {list(points.shape)}")
    height, width = size
    lines = 1 if hard else SCANLINES
    line = (torch.arange(height * lines, device=points.device, dtype=points.dtype) + 0.5) / lines - 0.5
    known = torch.isfinite(points).all(2).all(1)
    start, end = _edges(points.where(known[:, None, None], 0.0)).unbind(2)
    top, bottom = (pick(start[..., 1], end[..., 1])[..., None] for pick in (torch.minimum, torch.maximum))
    slope = (end[..., 0] - start[..., 0]) / torch.where(end[..., 1] == start[..., 1], 1.0, end[..., 1] - start[..., 1])
    # a level segment is cut at one end; its other end belongs to other segments
    crossing = start[..., 0, None] + (line - start[..., 1, None]) * slope[..., None]
    cut = (top <= line) & (line <= bottom) & known[:, None, None]
    # beyond the borders where nothing is cut: finite, so that the difference below is 0
    left = torch.where(cut, crossing, float("inf")).amin(1).clamp(max=width + 1)[..., None]
    right = torch.where(cut, crossing, float("-inf")).amax(1).clamp(min=-2)[..., None]
    across = torch.arange(width, device=points.device, dtype=points.dtype)
    if hard:
        cover = ((left <= across) & (across <= right)).to(points.dtype)
    else:
        cover = (across + 0.5).clamp(left, right).sub_((across - 0.5).clamp(left, right))  # the part of [left, right] in it
        cover = cover.unflatten(1, (height, lines)).mean(2)
    return cover[:, None]


def _edges(points: Tensor) -> Tensor:
    """[B, 2R, 2, 2]: 2R of the segments between two points, the hull's edges among them.

    A segment is an edge when all points lie on one side of its line. Of more than 2R such segments (points in a row) the
    longest are taken: they cover the shorter ones.
    """
    count = points.shape[1]
    one, other = torch.triu_indices(count, count, 1, device=points.device)
    centred = points - points.mean(1, keepdim=True)
    start, end = centred[:, one], centred[:, other]
    along = end - start
    across = torch.stack([-along[..., 1], along[..., 0]], -1)
    side = torch.baddbmm(-(across * start).sum(-1, keepdim=True), across, centred.mT)  # of each point [B, pairs, R]
    low, high = torch.aminmax(side, dim=2)
    rounding = 1e-5 * torch.maximum(-low, high).amax(1, keepdim=True)
    edge = (low >= -rounding) | (high <= rounding)
    best = torch.topk(edge * along.norm(dim=-1), min(2 * count, len(one)), sorted=False).indices
    return torch.stack([points[:, one], points[:, other]], 2).gather(1, best[:, :, None, None].expand(-1, -1, 2, 2))
