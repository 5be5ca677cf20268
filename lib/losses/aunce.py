"""AUNCE: InfoNCE of each action unit, with three kinds of positives and re-weighted negatives.

Reference:
    [1] AUNCE, contrastive learning of facial action units: the released loss (`losses.py`, `au_infonce_loss`) and its first
        release of February 2024. What of it ``released`` keeps and the corrected form changes stands at :func:`aunce_loss`.

The loss is supervised: the labels say who is a positive and who a negative. It is no loss for pictures without labels.
"""

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from lib.losses.checks import au_labels, au_labels_shape, no_au_label, positive_number, same_shape

BRANCHES = ("max", "mean", "self")
PROBABILITIES = (0.2, 0.6, 0.2)  # of the three, as published
SAFE = 40.0  # logits up to this size need no shift: sums of their exponentials and the inverses of these are float32 numbers
UNIT = 0.01  # by which a length may differ from 1; rounding to bfloat16 takes half of that
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
        ValueError: wrong shapes, types or values; vectors whose length is neither 1 nor 0. Values are looked at together with
            the numbers of known labels, so that a GPU is waited for once.
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
        u = torch.cat([view.float().mT for view in (u1, u2)])  # [M, K, D]
        present, absent = labels.T == 1, labels.T == 0
        sides = 2 - 2 * present.long() - absent.long()  # 0, 1, and 2 where it is not known
        order = torch.cat([sides, sides], 1).argsort(stable=True, dim=1)
        lengths = torch.linalg.vector_norm(u.detach(), dim=2)
        wrong = torch.stack([no_au_label(labels).any(), (((lengths - 1).abs() > UNIT) & (lengths != 0)).any()])
        *numbers, strange, long = torch.cat([2 * present.sum(1), 2 * absent.sum(1), wrong]).tolist()
        if strange:
            au_labels(labels, *labels.shape)
        if long:
            raise ValueError(f"u1, u2: expected vectors of length 1 (or 0) along dimension 1, got lengths from {lengths.min():.3g} to"
                             f" {lengths.max():.3g}; normalise them: torch.nn.functional.normalize(u, dim=1)")  # fmt: skip
        counts = list(zip(numbers[:units], numbers[units:]))
        seen = sum(any(count) for count in counts)
        scale = torch.tensor([1 / (seen * sum(count)) if any(count) else 0.0 for count in counts]).to(u.device, non_blocking=True)
        if weights is not None:
            scale = scale * weights.float()
        return _AnchorSum.apply(u, order, counts, scale, branches, temperature, beta, released)


class _AnchorSum(torch.autograd.Function):
    """The sum over the AUs of scale_k times the losses of all rows: u [M, K, D], order [K, M], scale [K], see
    :func:`anchor_losses`; differentiable once, in u. The gradient is made in the forward pass, while the matrices are there."""

    @staticmethod
    def forward(ctx, u, order, counts, scale, branches, temperature, beta, released) -> Tensor:
        rows, units, width = u.shape
        of_units = torch.arange(units, device=u.device)
        ordered = u.flatten(0, 1).index_select(0, (order * units + of_units[:, None]).flatten()).view(units, rows, width)
        losses, gradient = anchor_losses(ordered, counts, scale, branches, temperature, beta, released)
        back = torch.empty_like(order).scatter_(1, order, torch.arange(rows, device=u.device).expand_as(order)).T + of_units * rows
        ctx.save_for_backward(gradient.flatten(0, 1).index_select(0, back.flatten()).view_as(u))
        return (losses.sum(1) * scale).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream: Tensor):
        return ctx.saved_tensors[0] * upstream, *[None] * 7


def anchor_losses(
    u: Tensor, counts: Sequence[tuple[int, int]], scale: Tensor, branches: Sequence[str], temperature: float,
    beta: tuple[float, float], released: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """loss_i of every AU and row, and the gradient of their sum.

    Each AU's rows are in the order of their labels, so that its products are three blocks: of the present with the absent, from
    which come the negatives of both, and of either side with itself, which is symmetric and of which 'self' needs nothing.

    Args:
        u: [K, M, D], float32 or float64, unit vectors. Of each AU the rows come first where it is present, then where it is
            absent, then where it is not known, and in all three those of the first view before those of the second.
        counts: of each AU, the number of rows where it is present, and of those where it is absent.
        scale: [K], by which the losses of an AU are weighed in the sum. branches: K names.

    Returns:
        The losses [K, M], 0 where the label is not known, and the gradient of (scale[:, None] * losses).sum() with respect to
        ``u``, [K, M, D].
    """
    units, rows, _ = u.shape
    shifted = max(1, *beta) / temperature > SAFE
    scaled = u * (1 / temperature)
    # neg = negatives exp(tops), pos = sums exp(positive); a row that is not known has no negatives
    negatives, tops, positive = u.new_zeros(3, units, rows)
    sums = torch.ones_like(positive)
    sizes = [size for present, absent in counts for size in (present, absent, rows - present - absent)]

    def parts(values: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Of each AU, what of [K, M, ...] belongs to the rows where it is present and absent; cut at once, as slicing costs time."""
        pieces = values.flatten(0, 1).split(sizes)
        return list(zip(pieces[::3], pieces[1::3]))

    scaled_parts = parts(scaled)
    given = [parts(values) for values in (u, negatives, tops, positive, sums)]
    kept = []
    for count, branch, scaled_xs, xs, negs, highest, logs, totals in zip(counts, branches, scaled_parts, *given):
        across = xs[0] @ scaled_xs[1].T
        both = [across * b for b in beta]
        for exponentials, dim, neg, top in zip(both, (1, 0), negs, highest):
            if shifted and across.numel():
                exponentials -= torch.amax(exponentials, dim, out=top).unsqueeze(dim)
            torch.sum(exponentials.exp_(), dim, out=neg)
        divisor = sum(count) if released else None
        kept.append((both, [_positives(*side, branch, divisor, shifted) for side in zip(xs, scaled_xs, logs, totals)]))

    # -log(pos / (pos + neg)) = log(1 + neg / pos), which is 0 without negatives
    ratio = negatives.log() + tops - sums.log() - positive
    slope = ratio.sigmoid() * scale[:, None]  # of the loss by log neg, and less it by log pos

    gradient = torch.zeros_like(u)
    given = [parts(values) for values in (gradient, slope / negatives, slope / sums)]
    for (both, positives), branch, xs, gradients, of_negatives, of_positives in zip(kept, branches, scaled_parts, *given):
        across = both[0].mul_(of_negatives[0][:, None] * beta[0]).add_(both[1].mul_(of_negatives[1] * beta[1]))
        torch.mm(across, xs[1], out=gradients[0])
        torch.mm(across.T, xs[0], out=gradients[1])
        for pairs, x, pulled, pull in zip(positives, xs, gradients, of_positives):
            if pairs is None:
                half = len(x) // 2
                pull = (pull[:half] + pull[half:])[:, None]
                pulled[:half].addcmul_(x[half:], pull, value=-1)
                pulled[half:].addcmul_(x[:half], pull, value=-1)
            elif branch == "mean" and not shifted:  # a symmetric matrix, so that one product serves both ends of a pair
                pulled.addmm_(pairs.mul_(pull[:, None] + pull), x, alpha=-1)
            else:
                pairs *= pull[:, None]
                pulled.addmm_(pairs, x, alpha=-1).addmm_(pairs.T, x, alpha=-1)
    return F.softplus(ratio), gradient


def _positives(
    x: Tensor, scaled: Tensor, positive: Tensor, sums: Tensor, branch: str, divisor: int | None, shifted: bool
) -> Tensor | None:
    """The positives of the m rows of one side of an AU: x [m, D], and divided by the temperature.

    Args:
        positive, sums: [m], made here: pos = sums exp(positive). ``sums`` is 1 and stays so where there is one positive.
        divisor: by which 'mean' divides as released, and then an anchor is a positive of itself; None: the corrected form.
        shifted: exponentials are taken relative to the anchor's largest.

    Returns:
        [m, m]: the share of row j in d log pos_i / d s_ij, times sums_i; None: the own other view alone.
    """
    half = len(x) // 2
    if branch == "self" or half == 0 or (branch == "max" and divisor is None and half == 1):  # alone with its label
        torch.linalg.vecdot(x[:half], scaled[half:], out=positive[:half])
        positive[half:] = positive[:half]
        return None
    logits = x @ scaled.T
    if branch == "max":
        if divisor is None:
            for offset in (-half, 0, half):
                logits.diagonal(offset).fill_(-torch.inf)
        torch.amax(logits, 1, out=positive)
        nearest = (logits == positive[:, None]).to(x.dtype)
        return nearest.div_(nearest.sum(1, keepdim=True))  # several that are as near share it
    if divisor is None:
        logits.fill_diagonal_(-torch.inf)
    positive.fill_(-math.log(divisor or len(x) - 1))
    if shifted:
        top = logits.amax(1)
        logits -= top[:, None]
        positive += top
    torch.sum(logits.exp_(), 1, out=sums)
    return logits


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
