"""Nearest neighbours: what the features say without any training."""

import torch.nn.functional as F
from torch import Tensor


def knn_predict(train: Tensor, labels: Tensor, test: Tensor, k: int = 5) -> Tensor:
    """Majority label of the k training images that are nearest in cosine.

    Args:
        train: [n,D] features. labels: [n] long >= 0. test: [m,D]. k: 1..n.
    Returns:
        [m] long. Equal votes go to the label with the larger sum of cosines.
    """
    if not 1 <= k <= len(train):
        raise ValueError(f"k must be 1..{len(train)} (the number of training images), got {k}")
    if len(labels) != len(train) or labels.is_floating_point() or labels.min() < 0:
        raise ValueError(f"labels must be {len(train)} integers >= 0, got {labels.dtype} {list(labels.shape)}")
    centre = train.mean(0)  # features that share a large offset would all look alike
    train, test = F.normalize(train - centre, dim=1), F.normalize(test - centre, dim=1)
    nearest = (test @ train.T).topk(k, dim=1)
    votes = F.one_hot(labels)[nearest.indices].double()  # [m,k,classes]
    tie_break = (votes * nearest.values[..., None]).sum(1) / (2 * k + 1)  # below half a vote in size
    return (votes.sum(1) + tie_break).argmax(1)
