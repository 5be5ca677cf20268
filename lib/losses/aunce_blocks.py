"""The AUNCE loss block by block of like labels: the fewest products, as a CPU likes it.

Of two ways to the same numbers (the other: lib.losses.aunce_matrices) this makes half the products with four times the operations.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lib.losses.aunce_matrices import SAFE


def losses_by_blocks(
    u: Tensor, sides: Tensor, scale: Tensor, branches: Sequence[str], temperature: float, beta: tuple[float, float], released: bool
) -> tuple[Tensor, Tensor]:
    """loss_i of every AU and row, and the gradient of their sum; arguments and result as of
    :func:`lib.losses.aunce_matrices.losses_by_matrices`.

    The rows of an AU are put in the order of their labels, the first views before the second. Then its products are three blocks:
    of the present with the absent, from which come the negatives of both, and of either side with itself, which is symmetric and
    of which 'self' needs nothing. A GPU would be waited for: the sizes of the blocks must be known here.
    """
    rows, units, width = u.shape
    order = sides.argsort(stable=True, dim=1)
    of_units = torch.arange(units, device=u.device)
    ordered = u.flatten(0, 1).index_select(0, (order * units + of_units[:, None]).flatten()).view(units, rows, width)
    counts = [(sides == side).sum(1).tolist() for side in range(3)]
    losses, gradient = _in_order(ordered, list(zip(*counts)), scale, branches, temperature, beta, released)
    back = torch.empty_like(order).scatter_(1, order, torch.arange(rows, device=u.device).expand_as(order))
    gradient = gradient.flatten(0, 1).index_select(0, (back.T + of_units * rows).flatten()).view_as(u)
    return losses.gather(1, back), gradient


def _in_order(u, counts, scale, branches, temperature, beta, released) -> tuple[Tensor, Tensor]:
    """Losses [K, M] and gradient [K, M, D] of rows u [K, M, D] in the order of their labels; counts: of each AU, the rows where it
    is present, absent, not known."""
    units, rows, _ = u.shape
    shifted = max(1, *beta) / temperature > SAFE
    scaled = u * (1 / temperature)
    # neg = negatives exp(tops), pos = sums exp(positive); a row that is not known has no negatives
    negatives, tops, positive = u.new_zeros(3, units, rows)
    sums = torch.ones_like(positive)
    sizes = [size for count in counts for size in count]

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
        divisor = sum(count[:2]) if released else None
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
