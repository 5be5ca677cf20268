"""Balanced softmax: cross-entropy that knows how often each class is seen in training.

Reference:
    Ren et al., Balanced Meta-Softmax for Long-Tailed Visual Recognition, NeurIPS 2020, eq. 3: each class weighs exp(logit)
    times its number of training images. SSL-FER fine-tunes on AffectNet with it.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from lib.losses.checks import float_matrix


def balanced_softmax(logits: Tensor, labels: Tensor, counts: Tensor) -> Tensor:
    """Mean cross-entropy of ``logits + log(counts)``; decisions are taken from the logits as they are.

    Adding a frequent class's head start in training takes it away from what the logits must learn, so that a test set of
    equally many images a class is met without a prior. Equal counts give the plain cross-entropy.

    Args:
        logits: [B, C] float.
        labels: [B] long in 0..C-1.
        counts: [C] training images of each class, >= 0. A class without any is never expected: its logit has no gradient.

    Raises:
        ValueError: wrong shape, type or range, or a label of a class whose count is 0.
    """
    float_matrix("logits", logits, "B, C")
    classes = logits.shape[1]
    if labels.shape != logits.shape[:1] or labels.dtype != torch.long:
        raise ValueError(f"labels: expected a long tensor [{len(logits)}], got {labels.dtype} {list(labels.shape)}")
    if ((labels < 0) | (labels >= classes)).any():
        raise ValueError(f"labels: expected classes 0..{classes - 1}, got {labels.min().item()}..{labels.max().item()}")
    if counts.shape != (classes,) or not (counts >= 0).all():
        raise ValueError(f"counts: expected {classes} numbers >= 0, one a class, got {list(counts.shape)}: {counts.tolist()}")
    if (counts[labels] == 0).any():
        raise ValueError(f"counts: expected more than 0 for every class among the labels, got {counts.tolist()}")
    with torch.autocast(logits.device.type, enabled=False):
        logits = logits if logits.dtype == torch.float64 else logits.float()
        return F.cross_entropy(logits + counts.to(logits.dtype).log(), labels)
