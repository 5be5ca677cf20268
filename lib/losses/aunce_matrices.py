"""The AUNCE loss with one matrix of all products an action unit: few operations on large tensors, as a GPU likes it.

Of two ways to the same numbers (the other: lib.losses.aunce_blocks) this makes twice the products with a quarter of the launches.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lib.device import constant

NEVER = -1e30  # a logit whose exponential is 0 beside any other
SAFE = 40.0  # logits up to this size need no shift: sums of their exponentials and the inverses of these are float32 numbers


def losses_by_matrices(
    u: Tensor, sides: Tensor, scale: Tensor, branches: Sequence[str], temperature: float, beta: tuple[float, float], released: bool
) -> tuple[Tensor, Tensor]:
    """loss_i of every AU and row, and the gradient of their sum; see lib.losses.aunce.aunce_loss for the formulas.

    Only the products with y_j = y_i are in 'mean' and only the others are in the negatives, so one matrix of exponentials
    serves both: the factor before the product is 1 / T on the anchor's side and b_i / T across. Its sums over either side
    are a product with ``sides``, its gradient is itself times a number per row and side.

    Args:
        u: [M, K, D], float32 or float64, unit vectors; rows i and i + M/2 are the two views of one image.
        sides: [K, M] long: 0 where the AU is present, 1 absent, 2 not known.
        scale: [K], by which the losses of an AU are weighed in the sum. branches: K of 'max', 'mean', 'self'.

    Returns:
        The losses [K, M], 0 where the label is not known, and the gradient of (scale[:, None] * losses).sum() with respect to
        ``u``, [M, K, D].
    """
    device, half = u.device, len(u) // 2
    vectors, known = u.transpose(0, 1), sides != 2
    sides = torch.stack([sides == 0, sides == 1], 2).to(u.dtype)  # [K, M, 2]
    dots = vectors @ vectors.mT
    across = constant((1.0, beta[0], beta[1], 1.0), device, u.dtype).view(2, 2)
    factor = sides @ (across / temperature)  # of each row, for either side's columns
    exponentials = (factor @ sides.mT).mul_(dots)
    if not released:
        exponentials.diagonal(dim1=1, dim2=2).fill_(NEVER)
    top = None
    if max(1, *beta) / temperature > SAFE:
        top = torch.stack([(exponentials + NEVER * (1 - side[:, None])).amax(2) for side in sides.unbind(2)], 2)
        exponentials -= top @ sides.mT
    exponentials.exp_()
    sums = exponentials @ sides
    logs = torch.where(sums == 0, NEVER, sums.log() if top is None else sums.log() + top)  # what is not finite stays so
    other = sides.flip(2)

    kinds = torch.tensor([[[name == kind] for name in branches] for kind in ("mean", "self")])
    is_mean, is_self = kinds.to(device, non_blocking=True)  # a few numbers that are not waited for
    of_side = sides.sum(1, keepdim=True)
    count = of_side.sum(2) if released else (of_side * sides).sum(2) - 1
    positive = (logs * sides).sum(2) - count.clamp(min=1).log()
    own_view = torch.cat([dots.diagonal(half, 1, 2), dots.diagonal(-half, 1, 2)], 1) / temperature
    positive = torch.where(is_mean, positive, own_view)
    if "max" in branches:
        unit = torch.tensor([k for k, name in enumerate(branches) if name == "max"]).to(device, non_blocking=True)
        nearest = _nearest(dots[unit], sides[unit], released)
        positive[unit] = (dots[unit] * nearest).sum(2) / temperature

    # -log(pos / (pos + neg)) = log(1 + neg / pos); without anything to push away neg is exp(NEVER), and this is 0
    ratio = (logs * other).sum(2) - positive
    slope = (scale[:, None] * ratio.sigmoid()).where(known, 0.0)  # of the loss by log neg, and less it by log pos
    of_sums = slope[..., None] * torch.where(is_mean[..., None], other - sides, other)
    of_sums = of_sums * factor / torch.where(sums > 0, sums, 1.0)  # nothing summed: its slope is 0
    of_dots = (of_sums @ sides.mT).mul_(exponentials)
    slope = slope / temperature
    of_self = slope * is_self
    of_dots.diagonal(half, 1, 2).sub_(of_self[:, :half])
    of_dots.diagonal(-half, 1, 2).sub_(of_self[:, half:])
    if "max" in branches:
        of_dots[unit] -= slope[unit, :, None] * nearest
    gradient = torch.baddbmm(of_dots @ vectors, of_dots.mT, vectors)
    return F.softplus(ratio).where(known, 0.0), gradient.transpose(0, 1).contiguous()


def _nearest(dots: Tensor, sides: Tensor, released: bool) -> Tensor:
    """Which positive of 'max' has the largest product with the anchor: dots [k, M, M], sides [k, M, 2] -> [k, M, M], rows of sum 1.

    Several that are as near share it; an anchor that is alone with its label has its own other view.
    """
    half = dots.shape[1] // 2
    near = torch.add(dots, 1 - sides @ sides.mT, alpha=NEVER)  # a pair is 1 where both are known and agree, else 0
    if not released:
        for offset in (-half, 0, half):
            near.diagonal(offset, 1, 2).fill_(NEVER)
    best = near.amax(2, keepdim=True)
    nearest = (near == best).to(dots.dtype)
    lone = best <= NEVER / 2
    nearest = nearest * ~lone / nearest.sum(2, keepdim=True)
    nearest.diagonal(half, 1, 2).add_(lone[:, :half, 0])
    nearest.diagonal(-half, 1, 2).add_(lone[:, half:, 0])
    return nearest
