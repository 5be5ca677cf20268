"""BYOL's regression loss.

References:
    [1] Grill et al., Bootstrap Your Own Latent, NeurIPS 2020, eq. 2.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from lib.losses.checks import float_matrix, same_shape


def byol_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean over the rows of |p/|p| - t/|t||^2 = 2 - 2 cos(p, t) [1]: 0 where all agree, 4 where all are opposite.

    Args:
        prediction, target: [B, D]; the target gets no gradient.

    Raises:
        ValueError: wrong shape or type.
    """
    float_matrix("prediction", prediction, "B, D")
    same_shape("target", target, "prediction", prediction)
    with torch.autocast(prediction.device.type, enabled=False):
        cosine = F.cosine_similarity(prediction.float(), target.detach().float(), dim=1)
        return (2 - 2 * cosine).mean()
