"""MaskFN: the likeliest false negative of an anchor is no longer repelled, but attracted (SSL-FER).

References:
    [1] Shu et al., Revisiting Self-Supervised Contrastive Learning for Facial Expression Recognition (SSL-FER), BMVC 2022:
        mouth-eye descriptors; the most similar sample of the batch is taken for a false negative.
"""

import torch
from torch import Tensor

from lib.losses.contrastive import check_arguments, check_settings, checked_rows
from lib.losses.checks import float_matrix


def maskfn_loss(
    z: Tensor, positive: Tensor, similarity: Tensor, temperature: float = 0.07, weight: float = 0.8,
    protected: Tensor | None = None, spare_views: bool = False, tile: int | None = None,
) -> Tensor:  # fmt: skip
    """Mean over i of L1 + weight * mean over the rows that pick of L2 [1].

    Row i picks l = argmax_j similarity[i, j] over j other than i, its positive p and the protected pairs. L1 is NT-Xent with
    positive p and without l among the negatives, L2 is NT-Xent with positive l and without p among the negatives. A row that
    has nothing to pick has only L1, with all its negatives; where no row picks, L2's mean is 0.

    Args:
        z: [M, D] embeddings, normalised inside. positive: [M] long, never i itself.
        similarity: [M, M] cosines of the descriptors; no gradient goes into it.
        temperature: softmax temperature, > 0. weight: of L2, >= 0.
        protected: [M, M] bool: pairs that are never picked (hard negatives, missing descriptors, dissimilar pairs).
        spare_views: the other view of the picked row, positive[l], is no negative either.
        tile: as in ``nt_xent``. The similarity, which comes whole and without a gradient, stays M x M.

    Returns:
        A float32 scalar.

    Raises:
        ValueError: wrong shapes, types or ranges; those of ``nt_xent``.
    """
    check_arguments(z, positive, temperature, None, tile)
    return maskfn_with_picks(z, positive, similarity, temperature, weight, protected, spare_views, tile)[0]


def maskfn_with_picks(
    z: Tensor, positive: Tensor, similarity: Tensor, temperature: float = 0.07, weight: float = 0.8,
    protected: Tensor | None = None, spare_views: bool = False, tile: int | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """:func:`maskfn_loss`, and the rows that were picked, [M] long; -1 where there was nothing to pick.

    The rows in ``positive`` are not looked at, for which a GPU would have to be waited for in the middle of a step.
    """
    if not weight >= 0:
        raise ValueError(f"weight: expected a number >= 0, got {weight}")
    float_matrix("z", z, "M, D")
    check_settings(temperature, tile)
    if positive.shape != (len(z),) or positive.dtype != torch.long:
        raise ValueError(f"positive: expected long [{len(z)}], one an embedding, got {positive.dtype} {list(positive.shape)}")
    picked = false_negatives(similarity, positive, protected)
    picks = picked >= 0
    spared = torch.full_like(picked, -1)
    if spare_views:
        other = positive[picked.clamp(min=0)]
        spared = torch.where(picks & (other != positive), other, -1)
    first = checked_rows(z, positive, temperature, torch.stack([picked, spared], 1), tile).mean()
    # a row that picks nothing takes its positive as a stand-in, and is weighed with 0
    attracted = torch.where(picks, picked, positive)
    repelled_no_more = torch.where(picks, positive, -1)
    rows = checked_rows(z, attracted, temperature, torch.stack([repelled_no_more, spared], 1), tile)
    return first + weight * (rows * picks).sum() / picks.sum().clamp(min=1), picked


@torch.no_grad()
def false_negatives(similarity: Tensor, positive: Tensor, protected: Tensor | None = None) -> Tensor:
    """Which row each row takes for its false negative, [M] long; -1 where there is nothing to pick. See maskfn_loss.

    The rows in ``positive`` are not looked at (a GPU would have to be waited for): whoever has them from outside checks them.
    """
    count = len(positive)
    if similarity.shape != (count, count) or not similarity.is_floating_point():
        raise ValueError(
            f"similarity: expected float [{count}, {count}], got {similarity.dtype} {list(similarity.shape)}"
        )
    if protected is not None and (protected.shape != similarity.shape or protected.dtype != torch.bool):
        raise ValueError(f"protected: expected bool [{count}, {count}], got {protected.dtype} {list(protected.shape)}")
    own = torch.arange(count, device=similarity.device)[:, None]
    taken = similarity.detach().float().scatter(1, torch.cat([own, positive[:, None]], 1), float("-inf"))
    if protected is not None:
        taken = taken.masked_fill_(protected, float("-inf"))
    best, picked = taken.max(1)
    return torch.where(best > float("-inf"), picked, -1)
