"""Convex hulls of landmarks as masks, for a whole batch at once.

A hull is where all the half-planes of its edges meet. So a scanline cuts it between the rightmost of the places where it cuts the
lines through edges on the left, and the leftmost of those on the right: no segment's own ends, nor the edges' order, need be known.
"""

import torch
from torch import Tensor

SCANLINES = 2  # a pixel row, where edges are soft; sideways the cover is exact
# How far below 0 rounding can take a float32 area that is not, as a share of S, the square of how far the points lie from their mean.
# It can only for points nearly in a row. Then, with u = 2^-24: the two products of p x q round by u S together in each of the three
# (Cauchy-Schwarz); the three differences by 2 u S, for two of the p x q add up to the third, which is at most S; the difference of two
# p x q by u S; the last sum, nearly 0, by nothing to speak of. Together 6 u S = 3.6e-7 S.
ROUNDING = 4e-7
SHORTEST = 1e-3  # edge, as a share of that distance: the direction of a shorter one is mostly rounding


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
    known = torch.isfinite(points).all(2).all(1)[:, None, None]
    points = points.where(known, points.new_zeros(()))
    mean = points.mean(1, keepdim=True)
    line = (torch.arange(height * lines, device=points.device, dtype=points.dtype) + 0.5) / lines - 0.5
    left, right = _cuts(points - mean, line - mean[..., 1])
    left, right = ((end + mean[..., 0]).clamp(-2, width + 1)[..., None] for end in (left, right))
    top, bottom = torch.aminmax(points[..., 1], dim=1, keepdim=True)
    right = right.where(((top <= line) & (line <= bottom) & known[..., 0])[..., None], -3.0)  # left of all that is left
    if hard:
        across = torch.arange(width, device=points.device, dtype=points.dtype)
        return ((left <= across) & (across <= right)).to(points.dtype)[:, None]
    # how much of [left, right] lies before each border between two pixels: what is added from one to the next is in the pixel
    borders = torch.arange(width + 1, device=points.device, dtype=points.dtype) - 0.5
    return borders.clamp(left, right).unflatten(1, (height, lines)).mean(2).diff(dim=2)[:, None]


def _cuts(points: Tensor, line: Tensor) -> tuple[Tensor, Tensor]:
    """Least and largest x [B, L] of the hull of points [B, R, 2] about 0 at the heights ``line`` [B, L], where they cut it."""
    edge, (along, down) = _edges(points)
    x, y = points.unbind(2)
    slope = torch.where(edge & (down != 0), along / down, 0.0)
    start = x - y * slope
    # a level edge bounds neither side; upwards (y points down) the hull is to the right of its edge
    left = start.masked_fill(~(edge & (down < 0)), float("-inf"))[..., None]
    right = start.masked_fill(~(edge & (down > 0)), float("inf"))[..., None]
    left, right = (torch.addcmul(bound, slope[..., None], line[:, None]) for bound in (left, right))
    low, high = torch.aminmax(x, dim=1, keepdim=True)
    return left.amax(1).clamp(low, high), right.amin(1).clamp(low, high)


def _edges(points: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """The hull's edge that begins in each point: whether there is one [B, R], and the way (x, y) to its other end, [B, R] each.

    From i to j is an edge when no point lies to its left; of several (points in a row) the longest. Twice the area of the triangle
    i, j, k is p_i x p_j + p_j x p_k - p_i x p_k.
    """
    x, y = points.unbind(2)
    products = x[:, :, None] * y[:, None]
    products = products - products.mT  # [B, i, j]
    least = (products[:, None] - products[:, :, None]).amin(3).add_(products)  # over k of [B, i, j, k]
    along, down = (c[:, None] - c[:, :, None] for c in (x, y))  # from i to j
    length = along.square() + down.square()
    scale = (x.square() + y.square()).amax(1)[:, None, None]
    edge = (least >= -ROUNDING * scale) & (length > SHORTEST**2 * scale)
    longest, other = torch.where(edge, length, -1.0).max(2, keepdim=True)
    return longest[..., 0] > 0, tuple(way.gather(2, other)[..., 0] for way in (along, down))
