"""MoCo's loss: a query, its key and a queue of older keys; with hard negatives and false negatives where there are some.

References:
    [1] He et al., Momentum Contrast, CVPR 2020, eq. 1; temperature 0.2 as in Chen et al., MoCo v2, 2020.
    [2] Shu et al., SSL-FER, BMVC 2022: hard negatives of the same clip (HardNeg), false negatives attracted (MaskFN).
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from lib.losses.checks import float_matrix, positive_number, same_shape


def moco_loss(
    query: Tensor, key: Tensor, queue: Tensor, temperature: float = 0.2, hard: Tensor | None = None,
    picked: Tensor | None = None, weight: float = 0.8,
) -> Tensor:  # fmt: skip
    """Mean over the queries of the cross-entropy of their key against the queue [1].

    Args:
        query, key: [B, D], normalised inside; key[i] is the positive of query[i]. Keys, queue and hard get no gradient.
        queue: [K, D] negatives of all queries, normalised inside.
        hard: None, or [B, E, D]: further negatives of each query [2].
        picked: None, or [B] long: the row of the queue that is query i's false negative, -1 for none. It is left out of the
            negatives, and ``weight`` times a second term, the mean over the queries that pick, has it as the positive
            instead of the key [2].

    Returns:
        A float32 scalar.

    Raises:
        ValueError: wrong shapes, types or ranges.
    """
    float_matrix("query", query, "B, D")
    same_shape("key", key, "query", query)
    float_matrix("queue", queue, "K, D")
    positive_number("temperature", temperature)
    count, width = query.shape
    if queue.shape[1] != width:
        raise ValueError(f"queue: expected [K, {width}] like query, got {list(queue.shape)}")
    if hard is not None and (hard.dim() != 3 or len(hard) != count or hard.shape[2] != width):
        raise ValueError(f"hard: expected [{count}, E, {width}], got {list(hard.shape)}")
    if picked is not None and (picked.shape != (count,) or picked.dtype != torch.long):
        raise ValueError(f"picked: expected long [{count}], got {picked.dtype} {list(picked.shape)}")
    if picked is not None and ((picked < -1) | (picked >= len(queue))).any():
        raise ValueError(f"picked: expected rows -1..{len(queue) - 1} of the queue, got {picked.min()}..{picked.max()}")
    return checked_moco_loss(query, key, queue, temperature, hard, picked, weight)


def checked_moco_loss(
    query: Tensor, key: Tensor, queue: Tensor, temperature: float, hard: Tensor | None, picked: Tensor | None, weight: float
) -> Tensor:
    """:func:`moco_loss` of arguments that are known to be right, which are not looked at: a GPU is not waited for."""
    with torch.autocast(query.device.type, enabled=False):
        query = F.normalize(query.float(), dim=1)
        key, queue = F.normalize(key.detach().float(), dim=1), F.normalize(queue.detach().float(), dim=1)
        positive = (query * key).sum(1, keepdim=True)
        negatives = query @ queue.T
        attracted = None
        if picked is not None:
            place = picked.clamp(min=0)[:, None]
            attracted = negatives.gather(1, place)
            out = torch.where(picked[:, None] >= 0, float("-inf"), attracted)  # -inf: no part in the denominator
            negatives = negatives.scatter(1, place, out)
        if hard is not None:
            hard = torch.einsum("bd,bed->be", query, F.normalize(hard.detach().float(), dim=2))
            negatives = torch.cat([hard, negatives], 1)
        first = _first_is_right(positive, negatives, temperature).mean()
        if picked is None:
            return first
        picks = picked >= 0
        second = _first_is_right(attracted, negatives, temperature)
        return first + weight * (second * picks).sum() / picks.sum().clamp(min=1)


def _first_is_right(positive: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    logits = torch.cat([positive, negatives], 1) / temperature
    return F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long), reduction="none")
