"""AUNCE: InfoNCE of each action unit, with three kinds of positives and re-weighted negatives.

Reference:
    [1] AUNCE, contrastive learning of facial action units: the released loss (`losses.py`, `au_infonce_loss`) and its first
        release of February 2024. What of it ``released`` keeps and the corrected form changes stands at :func:`aunce_loss`.

The loss is supervised: the labels say who is a positive and who a negative. It is no loss for pictures without labels.
"""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from lib.device import constant
from lib.losses.checks import au_labels, au_labels_shape, no_au_label, positive_number, same_shape

BRANCHES = ("max", "mean", "self")
PROBABILITIES = (0.2, 0.6, 0.2)  # of the three, as published
NEVER = -1e30  # a logit whose exponential is 0 beside any other
SAFE = 40.0  # logits up to this size need no shift: sums of their exponentials and the inverses of these are float32 numbers
UNIT = 0.02  # by which a squared length may differ from 1; rounding to bfloat16 takes half of that
CACHED = 2**19  # numbers of the matrices that a core works on at once: 2 MB, as much as its cache holds
# The settings of the first release (8400de9); it always weighs the AUs: weights=inverse_rate_weights(training labels).
FIRST_RELEASE = {"beta": (1.2, 0.4), "released": True}


def draw_branches(units: int, generator: Generator, probabilities: Sequence[float] = PROBABILITIES) -> list[str]:
    """Which kind of positive each of ``units`` AUs uses in this batch, drawn anew for every batch and AU [1].

    The names are needed at once: a ``generator`` on a GPU would have to be waited for (see lib.methods.aunce_views.drawn_here).

    Raises:
        ValueError: not three probabilities >= 0 that sum to 1.
    """
    if len(probabilities) != len(BRANCHES) or min(probabilities) < 0 or abs(sum(probabilities) - 1) > 1e-6:
        raise ValueError(f"probabilities: expected three numbers >= 0 with sum 1 ({', '.join(BRANCHES)}), got {probabilities}")
    drawn = torch.rand(units, generator=generator, device=generator.device)
    bounds = torch.tensor(probabilities, device=generator.device).cumsum(0)[:-1].contiguous()
    return [BRANCHES[i] for i in torch.bucketize(drawn, bounds, right=True).tolist()]


def aunce_loss(
    u1: Tensor, u2: Tensor, labels: Tensor, branch: str | Sequence[str], temperature: float = 0.5,
    beta: tuple[float, float] = (1.2, 0.8), released: bool = False, weights: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The AUNCE loss [1] of two views: mean over the known anchors of an AU, then over the AUs.

    Of one AU, u holds the M = 2B unit vectors of both views and y their labels; s_ij = u_i . u_j / T. An anchor i has

        neg_i = sum over j with y_j != y_i of exp(b_i s_ij),  b_i = beta[0] if y_i = 1, beta[1] if y_i = 0
        loss_i = -log(pos_i / (pos_i + neg_i))

    and its positives are, with P_i the rows j with y_j = y_i,

        'max'   the largest exp(s_ij) of P_i without i and without the anchor's own other view, which is 'self' already;
                an anchor with no other image of its label uses its own other view
        'mean'  the mean of exp(s_ij) over P_i without i
        'self'  exp(s_ij) of the own other view j

    ``released=True``: 'max' is over all of P_i, i included, so it is always i itself and attracts nothing; 'mean' is the
    sum over P_i, i included, divided by M instead of |P_i|, so that a rare label counts for less.

    Rows of which an AU is not known are left out of that AU as if they were not in the batch (M is then the number of its
    known rows). An anchor without negatives has loss 0, an AU unknown everywhere is left out, and a batch in which nothing
    is known has loss 0. All sums of exponentials are taken in log space, so no temperature overflows.

    Args:
        u1, u2: [B, D, K], one unit vector an image and AU, or a zero vector; row i of both shows the same image. NaN is no
            error, but the loss is then NaN too.
        labels: [B, K] in {0, 1}; 9 or -1 is unknown.
        branch: 'max', 'mean' or 'self', or one of these per AU (see :func:`draw_branches`).
        temperature: T > 0.
        beta: exponents > 0 of the negatives of an anchor whose AU is (present, absent).
        weights: [K] factors of the AUs' losses, or None; see lib.losses.weighted_bce.inverse_rate_weights.

    Returns:
        A float32 scalar.

    Raises:
        ValueError: wrong shapes, types or values; vectors whose length is neither 1 nor 0. Values are looked at last and
            together, so that a GPU is waited for once.
    """
    _check(u1, u2, labels)
    units = u1.shape[2]
    branches = _branches(branch, units)
    positive_number("temperature", temperature)
    if len(beta) != 2 or not (beta[0] > 0 and beta[1] > 0):
        raise ValueError(f"beta: expected two numbers > 0 (AU present, AU absent), got {beta}")
    if weights is not None and (weights.shape != (units,) or not weights.is_floating_point()):
        raise ValueError(f"weights: expected float [{units}], one an AU, got {weights.dtype} {list(weights.shape)}")
    with torch.autocast(u1.device.type, enabled=False):
        u = torch.cat([view.float().permute(2, 0, 1) for view in (u1, u2)], 1)  # [K, M, D]
        sides = torch.stack([labels.T == 1, labels.T == 0], 2).float().repeat(1, 2, 1)
        known = sides.sum(2)
        count = known.sum(1, keepdim=True)
        share = known / count.clamp(min=1) / (count > 0).sum().clamp(min=1)
        if weights is not None:
            share = share * weights.float()[:, None]
        total, squares = _AnchorSum.apply(u, sides, share, branches, temperature, beta, released)
        wrong = torch.stack([no_au_label(labels).any(), (((squares - 1).abs() > UNIT) & (squares != 0)).any()])
    if any(wrong.tolist()):
        au_labels(labels, *labels.shape)
        raise ValueError(f"u1, u2: expected vectors of length 1 (or 0) along dimension 1, got lengths from {squares.min().sqrt():.3g} to"
                         f" {squares.max().sqrt():.3g}; normalise them: torch.nn.functional.normalize(u, dim=1)")  # fmt: skip
    return total


class _AnchorSum(torch.autograd.Function):
    """The sum of share_i loss_i over all AUs and rows: u [K, M, D], sides [K, M, 2], share [K, M]; differentiable once, in u.
    The squared lengths [K, M] of u come with it.

    The gradient is made in the forward pass, while the matrices of some AUs lie in the processor's cache; no matrix
    [K, M, M] is kept. A GPU takes all AUs at once.
    """

    @staticmethod
    def forward(ctx, u, sides, share, branches, temperature, beta, released) -> tuple[Tensor, Tensor]:
        total, gradient, squares = u.new_zeros(()), torch.empty_like(u), torch.empty_like(share)
        step = max(1, CACHED // u.shape[1] ** 2) if u.device.type == "cpu" else len(u)
        for start in range(0, len(u), step):
            part = slice(start, start + step)
            some = u[part]
            dots = some @ some.mT
            squares[part] = dots.diagonal(dim1=1, dim2=2)
            losses, of_dots = anchor_losses(dots, sides[part], share[part], branches[part], temperature, beta, released)
            total += (share[part] * losses).sum()
            torch.baddbmm(of_dots @ some, of_dots.mT, some, out=gradient[part])
        ctx.save_for_backward(gradient)
        ctx.mark_non_differentiable(squares)
        return total, squares

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream: Tensor, _):
        return ctx.saved_tensors[0] * upstream, None, None, None, None, None, None


def anchor_losses(
    dots: Tensor, sides: Tensor, share: Tensor, branches: Sequence[str], temperature: float, beta: tuple[float, float],
    released: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """loss_i of every AU and row from the products u_i . u_j of unit vectors, and the gradient of their sum.

    Only the products with y_j = y_i are in 'mean' and only the others are in the negatives, so one matrix of exponentials
    serves both: the factor before the product is 1 / T on the anchor's side and b_i / T across. Its sums over either side
    are a product with ``sides``, its gradient is itself times a number per row and side.

    Args:
        dots: [K, M, M], float32 or float64; rows i and i + M/2 are the two views of one image.
        sides: [K, M, 2] in the same type: (1, 0) where the AU is present, (0, 1) absent, (0, 0) not known.
        share: [K, M], by which each loss_i is weighed in the sum. branches: K names.

    Returns:
        The losses [K, M], without a meaning where the label is not known, and the gradient of (share * losses).sum() with
        respect to ``dots``, [K, M, M].
    """
    units, half, device = len(dots), dots.shape[1] // 2, dots.device
    across = constant((1.0, beta[0], beta[1], 1.0), device, dots.dtype).view(2, 2)
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

    # copies of a few numbers that are not waited for
    is_mean, is_self = (
        torch.tensor([[name == kind] for name in branches]).to(device, non_blocking=True) for kind in ("mean", "self")
    )
    of_side = sides.sum(1, keepdim=True)
    count = of_side.sum(2) if released else (of_side * sides).sum(2) - 1
    positive = (logs * sides).sum(2) - count.clamp(min=1).log()
    own_view = torch.cat([dots.diagonal(half, 1, 2), dots.diagonal(-half, 1, 2)], 1) / temperature
    positive = torch.where(is_mean, positive, own_view)
    unit = torch.tensor([k for k in range(units) if branches[k] == "max"], dtype=torch.long)[:, None]
    if len(unit):
        unit = unit.to(device, non_blocking=True)
        row = torch.arange(2 * half, device=device)
        nearest = _nearest(dots[unit[:, 0]], sides[unit[:, 0]], released)
        positive[unit[:, 0]] = dots[unit, row, nearest] / temperature

    # -log(pos / (pos + neg)) = log(1 + neg / pos); without anything to push away neg is exp(NEVER), and this is 0
    ratio = (logs * other).sum(2) - positive
    slope = share * ratio.sigmoid()  # of the loss by log neg, and less it by log pos
    of_sums = slope[..., None] * torch.where(is_mean[..., None], other - sides, other)
    of_sums = of_sums * factor / torch.where(sums > 0, sums, 1.0)  # nothing summed: its slope is 0
    of_dots = (of_sums @ sides.mT).mul_(exponentials)
    slope = slope / temperature
    of_self = torch.where(is_self, slope, 0.0)
    of_dots.diagonal(half, 1, 2).sub_(of_self[:, :half])
    of_dots.diagonal(-half, 1, 2).sub_(of_self[:, half:])
    if len(unit):
        of_dots.index_put_((unit, row, nearest), -slope[unit[:, 0]], accumulate=True)
    return F.softplus(ratio), of_dots


def _nearest(dots: Tensor, sides: Tensor, released: bool) -> Tensor:
    """Which positive of 'max' has the largest product with the anchor: dots [k, M, M], sides [k, M, 2] -> [k, M]."""
    rows = torch.arange(dots.shape[1], device=dots.device)
    partner = (rows + len(rows) // 2) % len(rows)
    alike = sides @ sides.mT  # 1 where both are known and agree, else 0
    if not released:
        alike[:, rows, rows] = 0
        alike[:, rows, partner] = 0
    best, nearest = torch.add(dots, 1 - alike, alpha=NEVER).max(2)
    return torch.where(best > NEVER / 2, nearest, partner)


def _branches(branch: str | Sequence[str], units: int) -> list[str]:
    branches = [branch] * units if isinstance(branch, str) else list(branch)
    if len(branches) != units or not set(branches) <= set(BRANCHES):
        raise ValueError(f"branch: expected one of {', '.join(BRANCHES)}, or {units} of these, one an AU, got {branch!r}")
    return branches


def _check(u1: Tensor, u2: Tensor, labels: Tensor) -> None:
    if u1.dim() != 3 or not u1.is_floating_point() or not u1.numel():
        raise ValueError(f"u1: expected a non-empty float tensor [B, D, K], got {u1.dtype} {list(u1.shape)}")
    same_shape("u2", u2, "u1", u1)
    au_labels_shape(labels, len(u1), u1.shape[2])
