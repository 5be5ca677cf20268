"""Binary cross-entropy of action units, each weighed by the inverse of how often it is there.

References:
    [1] ME-GraphAU (Luo et al., IJCAI 2022) and AUNCE: w_k = 1 / rate_k, normalised to sum K; the loss of AUNCE's
        supervised ancestor and of its linear evaluation.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from lib.losses.checks import au_labels


def inverse_rate_weights(labels: Tensor) -> Tensor:
    """w_k = 1 / rate_k of labels [N, K] in {0, 1}, unknown ones (9, -1) left out -> float32 [K] [1].

    The weights sum to the number of AUs that somebody shows. An AU that nobody is known to show has weight 0: there is
    nothing to learn about it, and its inverse rate would be infinite.

    Raises:
        ValueError: wrong shape or values, or no AU that anybody shows.
    """
    if labels.dim() != 2 or not labels.numel():
        raise ValueError(f"labels: expected [N, K] with N, K >= 1, got {list(labels.shape)}")
    au_labels(labels, *labels.shape)
    present = (labels == 1).sum(0).double()
    if not (present > 0).any():
        raise ValueError("labels: no action unit is known to be present in any image, so none can be learned")
    rate = present / ((labels == 0) | (labels == 1)).sum(0).clamp(min=1)
    weight = torch.where(present > 0, 1 / rate, 0.0)
    return (weight * (present > 0).sum() / weight.sum()).float()


def weighted_bce(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Mean over the known labels of w_k times the binary cross-entropy of logit k; a float32 scalar.

    The published code takes the logarithm of a softmax over two outputs, no smaller than 1e-3; one logit and log space
    are the same without the floor, under which a wrong and certain answer would have no gradient.

    Args:
        logits: [B, K]. labels: [B, K] in {0, 1}, 9 or -1 is unknown. weights: [K].

    Raises:
        ValueError: wrong shapes, types or values.
    """
    if logits.dim() != 2 or not logits.is_floating_point() or not logits.numel():
        raise ValueError(f"logits: expected a non-empty float tensor [B, K], got {logits.dtype} {list(logits.shape)}")
    au_labels(labels, *logits.shape)
    if weights.shape != logits.shape[1:] or not weights.is_floating_point():
        raise ValueError(f"weights: expected float [{logits.shape[1]}], got {weights.dtype} {list(weights.shape)}")
    return checked_weighted_bce(logits, labels, weights)


def checked_weighted_bce(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """:func:`weighted_bce` of arguments that are known to be right, which are not looked at: a GPU is not waited for."""
    known = (labels == 0) | (labels == 1)
    with torch.autocast(logits.device.type, enabled=False):
        each = F.binary_cross_entropy_with_logits(logits.float(), (labels == 1).float(), weights.float(), reduction="none")
        return torch.where(known, each, 0.0).sum() / known.sum().clamp(min=1)
