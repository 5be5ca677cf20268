"""Contrastive losses: NT-Xent with exclusions, and InfoNCE with mixed negatives.

References:
    [1] Chen et al., A Simple Framework for Contrastive Learning of Visual Representations, ICML 2020, eq. 1 (NT-Xent).
    [2] van den Oord et al., Representation Learning with Contrastive Predictive Coding, 2018 (InfoNCE).
    [3] Liu et al., Pose-disentangled Contrastive Learning for Self-supervised Facial Representation (PCL), CVPR 2023:
        negatives mixed with Beta weights, as DAR-SFRL uses them.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from lib.losses.checks import float_matrix, positive_number, same_shape
from lib.losses.tiled import row_cross_entropy


def nt_xent(
    z: Tensor, positive: Tensor, temperature: float = 0.07, exclude: Tensor | None = None, tile: int | None = None
) -> Tensor:
    """NT-Xent [1]: each anchor's positive against all other rows, mean over the anchors.

    Args:
        z: [M, D] embeddings, normalised here.
        positive: [A] long, A <= M: the row that is row i's positive (never i itself). The first A rows are the anchors,
            usually all of them; the others only serve as negatives.
        temperature: softmax temperature, > 0.
        exclude: [A, M] bool; True takes that pair out of row i's denominator. Or [A, E] long: the columns that are taken
            out of row i's (-1: none), for batches whose M x M mask would be too large. The self pair is always out.
        tile: rows of the similarity matrix that are held at a time, None: all. The value does not depend on it: never more
            than tile x M numbers are held at once, forward and backward.

    Raises:
        ValueError: wrong shapes or types, ``positive[i] == i``, or an exclusion that hits a row's own positive.
    """
    return nt_xent_rows(z, positive, temperature, exclude, tile).mean()


def two_view_nt_xent(first: Tensor, second: Tensor, temperature: float = 0.07, tile: int | None = None) -> Tensor:
    """NT-Xent [1] of two views [n, D] each: rows i of both are each other's positives, all others negatives.

    Nothing need be looked at to know that the positives are right: a GPU is not waited for.

    Raises:
        ValueError: wrong shapes, types or temperature.
    """
    float_matrix("first", first, "n, D")
    same_shape("second", second, "first", first)
    check_settings(temperature, tile)
    return checked_rows(torch.cat([first, second]), other_view(2 * len(first), first.device), temperature, None, tile).mean()


def other_view(count: int, device: torch.device) -> Tensor:
    """[count] long: which row is the other view, where row i and row i + count / 2 are views of one image."""
    return torch.arange(count, device=device).roll(count // 2)


def nt_xent_rows(
    z: Tensor, positive: Tensor, temperature: float = 0.07, exclude: Tensor | None = None, tile: int | None = None
) -> Tensor:
    """The terms [A] whose mean is :func:`nt_xent`, with its arguments and errors."""
    check_arguments(z, positive, temperature, exclude, tile)
    return checked_rows(z, positive, temperature, exclude, tile)


def checked_rows(z: Tensor, positive: Tensor, temperature: float, exclude: Tensor | None, tile: int | None) -> Tensor:
    """``nt_xent_rows`` of arguments that are known to be right."""
    with torch.autocast(z.device.type, enabled=False):
        return row_cross_entropy(F.normalize(z.float(), dim=1), positive, temperature, exclude, tile or len(positive))


def check_settings(temperature: float, tile: int | None) -> None:
    positive_number("temperature", temperature)
    if tile is not None and (isinstance(tile, bool) or not isinstance(tile, int) or tile < 1):
        raise ValueError(f"tile: expected None or an integer >= 1, got {tile!r}")


def check_arguments(z: Tensor, positive: Tensor, temperature: float, exclude: Tensor | None, tile: int | None) -> None:
    """The errors of :func:`nt_xent`; the values are looked at in one go, for which a GPU has to be waited for."""
    float_matrix("z", z, "M, D")
    check_settings(temperature, tile)
    count, anchors = len(z), len(positive)
    if positive.dim() != 1 or not 0 < anchors <= count or positive.dtype != torch.long:
        raise ValueError(
            f"positive: expected a long tensor of shape [{count}] (or fewer), got {positive.dtype} {list(positive.shape)}"
        )
    outside = (positive < 0) | (positive >= count)
    itself = positive == torch.arange(anchors, device=z.device)
    beyond = hit = torch.zeros_like(itself)
    if exclude is not None and exclude.dtype == torch.long and exclude.dim() == 2 and len(exclude) == anchors:
        beyond, hit = ((exclude < -1) | (exclude >= count)).any(1), (exclude == positive[:, None]).any(1)
    elif exclude is not None and exclude.dtype == torch.bool and exclude.shape == (anchors, count):
        hit = exclude.gather(1, positive.clamp(0, count - 1)[:, None])[:, 0]
    elif exclude is not None:
        raise ValueError(
            f"exclude: expected bool [{anchors}, {count}] or long [{anchors}, E], got {exclude.dtype} {list(exclude.shape)}"
        )
    if not (outside | itself | beyond | hit).any():
        return
    if outside.any():
        raise ValueError(f"positive: expected rows 0..{count - 1}, got {positive.min().item()}..{positive.max().item()}")
    if itself.any():
        raise ValueError("positive: a row cannot be its own positive (positive[i] == i)")
    if beyond.any():
        raise ValueError(f"exclude: expected columns -1..{count - 1}, got {exclude.min().item()}..{exclude.max().item()}")
    raise ValueError("exclude: takes out a row's own positive")


def mixed_info_nce(
    query: Tensor, key: Tensor, negatives: Tensor, mix: tuple[Tensor, Tensor] | None = None, temperature: float = 0.07
) -> Tensor:
    """InfoNCE [2] with one positive and N own negatives a row, the negatives optionally mixed in pairs [3].

    Args:
        query, key: [B, D], normalised here; key[i] is the positive of query[i].
        negatives: [B, N, D], mixed as they are given, then normalised.
        mix: None, or (weights [B, N] in [0, 1], permutation [N] long): negative j becomes
            ``normalize(w_j * n_j + (1 - w_j) * n_perm[j])``.
        temperature: softmax temperature, > 0.

    Raises:
        ValueError: wrong shapes, types or ranges.
    """
    float_matrix("query", query, "B, D")
    same_shape("key", key, "query", query)
    positive_number("temperature", temperature)
    if negatives.dim() != 3 or negatives.shape[0] != len(query) or negatives.shape[2] != query.shape[1] or not negatives.shape[1]:
        raise ValueError(f"negatives: expected [{len(query)}, N >= 1, {query.shape[1]}], got {list(negatives.shape)}")
    if mix is not None:
        weights, permutation = mix
        if weights.shape != negatives.shape[:2] or permutation.shape != negatives.shape[1:2]:
            raise ValueError(
                f"mix: expected weights {list(negatives.shape[:2])} and a permutation [{negatives.shape[1]}],"
                f" got {list(weights.shape)} and {list(permutation.shape)}"
            )
        if weights.min() < 0 or weights.max() > 1:
            raise ValueError(f"mix: weights must lie in [0, 1], got {weights.min().item():.3g}..{weights.max().item():.3g}")
    return checked_mixed_info_nce(query, key, negatives, mix, temperature)


def checked_mixed_info_nce(
    query: Tensor, key: Tensor, negatives: Tensor, mix: tuple[Tensor, Tensor] | None, temperature: float
) -> Tensor:
    """:func:`mixed_info_nce` of arguments that are known to be right, which are not looked at: a GPU is not waited for."""
    with torch.autocast(query.device.type, enabled=False):
        query, key, negatives = F.normalize(query.float(), dim=1), F.normalize(key.float(), dim=1), negatives.float()
        if mix is not None:
            weights, permutation = mix
            weights = weights.float().unsqueeze(-1)
            negatives = weights * negatives + (1 - weights) * negatives[:, permutation]
        negatives = F.normalize(negatives, dim=2)
        logits = torch.cat([(query * key).sum(1, keepdim=True), torch.einsum("bd,bnd->bn", query, negatives)], 1)
        target = torch.zeros(len(query), dtype=torch.long, device=query.device)  # index 0 is the positive
        return F.cross_entropy(logits / temperature, target)
