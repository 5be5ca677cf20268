"""Nearest neighbours: what the features say without any training."""

import torch
import torch.nn.functional as F
from torch import Tensor

NEIGHBOURS = 5
AT_ONCE = 1024  # test images: their cosines to AffectNet's 287,651 training images are 1.2 GB


def knn_predict(train: Tensor, labels: Tensor, test: Tensor, k: int = 5) -> Tensor:
    """Majority label of the k training images that are nearest in cosine.

    Args:
        train: [n,D] features. labels: [n] long >= 0. test: [m,D]. k: 1..n.
    Returns:
        [m] long. Equal votes go to the label with the larger sum of cosines.
    """
    if len(labels) != len(train) or labels.is_floating_point() or labels.min() < 0:
        raise ValueError(f"labels must be {len(train)} integers >= 0, got {labels.dtype} {list(labels.shape)}")
    cosine, index = _nearest(train, test, k)
    votes = F.one_hot(labels)[index].double()  # [m,k,classes]
    tie_break = (votes * cosine[..., None]).sum(1) / (2 * k + 1)  # below half a vote in size
    return (votes.sum(1) + tie_break).argmax(1)


def knn_mean(train: Tensor, targets: Tensor, test: Tensor, k: int = 5) -> Tensor:
    """Mean target of the k training images that are nearest in cosine.

    Args:
        train: [n,D] features. targets: [n,K] float. test: [m,D]. k: 1..n.
    Returns:
        [m,K].
    """
    if targets.dim() != 2 or len(targets) != len(train) or not targets.is_floating_point():
        raise ValueError(f"targets must be floats [{len(train)},K], got {targets.dtype} {list(targets.shape)}")
    return targets[_nearest(train, test, k)[1]].mean(1)


def _nearest(train: Tensor, test: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Cosines and positions [m,k] of the nearest."""
    if not 1 <= k <= len(train):
        raise ValueError(f"k must be 1..{len(train)} (the number of training images), got {k}")
    centre = train.mean(0)  # features that share a large offset would all look alike
    train, test = F.normalize(train - centre, dim=1), F.normalize(test - centre, dim=1)
    found = [(part @ train.T).topk(k, dim=1) for part in test.split(AT_ONCE)]
    return tuple(map(torch.cat, zip(*found)))
