"""What an attacker raises: losses of each image, from scores or embeddings. [B,...], [B,...] -> [B].

Classes need a loss that does not flatten where the model is sure (``dlr``); embeddings need no labels: 'labels' are then the
embeddings to leave (``away``: self-supervised perturbation, dodging) or to reach (``towards``: impersonation).
For :func:`lib.degrade.attacks.attack`, which wants a scalar, :func:`summed` adds them up.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

TINY = 1e-12


def cross_entropy(logits: Tensor, classes: Tensor) -> Tensor:
    """Logits [B,C] and classes [B] long."""
    return F.cross_entropy(logits, classes, reduction="none")


def binary_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Logits [B,K] and labels [B,K] in {0, 1}; a negative label is unknown and left out. Summed over K."""
    each = F.binary_cross_entropy_with_logits(logits, labels.clamp(min=0).to(logits.dtype), reduction="none")
    return (each * (labels >= 0)).sum(1)


def margin(logits: Tensor, classes: Tensor) -> Tensor:
    """Best wrong logit minus right logit: above 0 when the image is misclassified. Logits [B,C], classes [B]."""
    logits = logits if logits.dtype == torch.float64 else logits.float()
    right = logits.gather(1, classes[:, None])[:, 0]
    wrong = logits.scatter(1, classes[:, None], float("-inf")).amax(1)
    return wrong - right


def dlr(logits: Tensor, classes: Tensor) -> Tensor:
    """Difference of logits ratio: the margin over the gap of the first to the third logit, so blind to scale and shift.

    Croce and Hein, ICML 2020, equation 5. Two classes have no third logit: the margin itself then.
    """
    if logits.shape[1] < 3:
        return margin(logits, classes)
    logits = logits if logits.dtype == torch.float64 else logits.float()
    top = logits.topk(3, 1).values
    return margin(logits, classes) / (top[:, 0] - top[:, 2] + TINY)


def targeted_dlr(logits: Tensor, classes: Tensor, target: Tensor) -> Tensor:
    """The same towards a class ``target`` [B] (their equation 6); below four classes the difference of the two logits."""
    logits = logits if logits.dtype == torch.float64 else logits.float()
    gain = (logits.gather(1, target[:, None]) - logits.gather(1, classes[:, None]))[:, 0]
    if logits.shape[1] < 4:
        return gain
    top = logits.topk(4, 1).values
    return gain / (top[:, 0] - 0.5 * (top[:, 2] + top[:, 3]) + TINY)


def away(embedding: Tensor, target: Tensor) -> Tensor:
    """1 - cosine of embeddings [B,D] and the targets [B,D]. With the clean embeddings as targets this is the label-free
    attack of Naseer et al., CVPR 2020 (SSP), with those of a person's other picture it is dodging."""
    return 1 - F.cosine_similarity(embedding.float(), target.float(), dim=1)


def towards(embedding: Tensor, target: Tensor) -> Tensor:
    """Cosine of embeddings [B,D] to those of another person [B,D]: impersonation."""
    return F.cosine_similarity(embedding.float(), target.float(), dim=1)


def mistaken(cosine: Tensor, same: Tensor) -> Tensor:
    """Of pairs with these cosines [B]: lower where both are the same person [B] bool (dodging), higher where not (impersonation)."""
    return torch.where(same, -cosine, cosine)


def squared_error(scores: Tensor, wanted: Tensor) -> Tensor:
    """Squared differences of [B,K] and [B,K], summed over K."""
    return (scores.float() - wanted).square().sum(1)


def misclassified(logits: Tensor, classes: Tensor) -> Tensor:
    """bool [B]: the largest of the logits [B,C] is not that of the class [B]; also where the margin is NaN."""
    return ~(margin(logits, classes) < 0)


def summed(each: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of a batch: the sum, so that every image has the gradient that it has alone."""
    return lambda scores, labels: each(scores, labels).sum()
