"""Concordance loss for valence and arousal: 1 - CCC, the mean over the dimensions.

References:
    [1] Lin, A concordance correlation coefficient to evaluate reproducibility, Biometrics 1989.
    [2] SSL-FER (BMVC 2022) fine-tunes with mean(1 - CCC_valence, 1 - CCC_arousal) of a batch. Its code takes sample standard
        deviations in the loss and population ones in the metric; here both are population ones, as in lib.metrics.ccc.
"""

import torch
from torch import Tensor

from lib.losses.checks import float_matrix, same_shape


def ccc_loss(pred: Tensor, target: Tensor) -> Tensor:
    """Mean over K of 1 - 2 cov / (var + var + (mean - mean)^2), moments over the batch: 0 where all agree, 2 at most.

    Predictions that do not vary have a CCC of 0 (and a gradient that makes them vary, where the targets do). Where neither
    varies and the means are equal the quotient is 0 / 0: that dimension counts as CCC 0 and has no gradient.

    Args:
        pred, target: [B, K] float, one column a dimension.

    Raises:
        ValueError: wrong shape or type.
    """
    float_matrix("pred", pred, "B, K")
    same_shape("target", target, "pred", pred)
    with torch.autocast(pred.device.type, enabled=False):
        p, t = (x if x.dtype == torch.float64 else x.float() for x in (pred, target))
        mean_p, mean_t = p.mean(0), t.mean(0)
        covariance = ((p - mean_p) * (t - mean_t)).mean(0)
        scale = (p - mean_p).square().mean(0) + (t - mean_t).square().mean(0) + (mean_p - mean_t).square()
        rounding = (10 * torch.finfo(p.dtype).eps) ** 2 * (p.square() + t.square()).mean(0)
        defined = scale > rounding  # the mean of equal numbers is theirs up to rounding only
        ccc = 2 * covariance / torch.where(defined, scale, 1.0)
        return 1 - torch.where(defined, ccc, 0.0).mean()
