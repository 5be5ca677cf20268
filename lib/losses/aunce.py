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

from lib.losses.aunce_blocks import losses_by_blocks
from lib.losses.aunce_matrices import losses_by_matrices
from lib.losses.checks import au_labels, au_labels_shape, no_au_label, positive_number, same_shape

BRANCHES = ("max", "mean", "self")
PROBABILITIES = (0.2, 0.6, 0.2)  # of the three, as published
UNIT = 0.01  # by which a length may differ from 1; rounding to bfloat16 takes half of that
# The settings of the first release (8400de9); it always weighs the AUs: weights=inverse_rate_weights(training labels).
FIRST_RELEASE = {"beta": (1.2, 0.4), "released": True}


def draw_branches(units: int, generator: Generator, probabilities: Sequence[float] = PROBABILITIES) -> list[str]:
    """Which kind of positive each of ``units`` AUs uses in this batch, drawn anew for every batch and AU [1].

    The names are needed at once: a ``generator`` on a GPU would have to be waited for (see lib.degrade.draws.drawn_here).

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
    total = checked_aunce_loss(u1, u2, labels, branches, temperature, beta, released, weights)
    lengths = torch.linalg.vector_norm(torch.cat([u1, u2]).detach().float(), dim=1)
    wrong = torch.stack([no_au_label(labels).any(), (((lengths - 1).abs() > UNIT) & (lengths != 0)).any()])
    if any(wrong.tolist()):
        au_labels(labels, *labels.shape)
        raise ValueError(f"u1, u2: expected vectors of length 1 (or 0) along dimension 1, got lengths from {lengths.min():.3g} to"
                         f" {lengths.max():.3g}; normalise them: torch.nn.functional.normalize(u, dim=1)")  # fmt: skip
    return total


def checked_aunce_loss(
    u1: Tensor, u2: Tensor, labels: Tensor, branches: list[str], temperature: float, beta: tuple[float, float], released: bool,
    weights: Tensor | None,
) -> Tensor:  # fmt: skip
    """:func:`aunce_loss` of arguments that are known to be right, which are not looked at: a GPU is not waited for. One branch an AU."""
    with torch.autocast(u1.device.type, enabled=False):
        u = torch.cat([view.float().mT for view in (u1, u2)])  # [M, K, D]
        present, absent = labels.T == 1, labels.T == 0
        sides = 2 - 2 * present.long() - absent.long()
        count = 2 * (present | absent).sum(1)
        scale = torch.where(count > 0, 1 / (count * (count > 0).sum()), 0.0)
        if weights is not None:
            scale = scale * weights.float()
        return _AnchorSum.apply(u, torch.cat([sides, sides], 1), scale, branches, temperature, beta, released)


class _AnchorSum(torch.autograd.Function):
    """The sum over the AUs of scale_k times the losses of all rows: u [M, K, D], sides [K, M], scale [K]; differentiable once, in u.

    The gradient is made in the forward pass, while the exponentials are there.
    """

    @staticmethod
    def forward(ctx, u, sides, scale, *settings) -> Tensor:
        losses_of = losses_by_blocks if u.device.type == "cpu" else losses_by_matrices
        losses, gradient = losses_of(u, sides, scale, *settings)
        ctx.save_for_backward(gradient)
        return (losses.sum(1) * scale).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream: Tensor):
        return ctx.saved_tensors[0] * upstream, *[None] * 6


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
