"""The difference loss that keeps two representations apart (noise-orthogonal disentangling in DAR-SFRL).

References:
    [1] Bousmalis et al., Domain Separation Networks, NeurIPS 2016, eq. 5: squared Frobenius norm of A^T B.
    [2] DAR-SFRL and PCL add the centring over the batch.
"""

import torch
from torch import Tensor

from lib.losses.checks import float_matrix, same_shape


def difference_loss(a: Tensor, b: Tensor) -> Tensor:
    """Mean of the squared entries of A^T B, A and B being a and b centred over the batch with rows of length one.

    The row norms carry no gradient (detached, + 1e-6), as in [1]'s code: only directions are pushed apart.
    Zero exactly when every pair of columns is uncorrelated over the batch; never negative.

    Args:
        a, b: [B, D] embeddings of the same samples.

    Raises:
        ValueError: wrong shape or type.
    """
    float_matrix("a", a, "B, D")
    same_shape("b", b, "a", a)
    with torch.autocast(a.device.type, enabled=False):
        a, b = (x.float() - x.float().mean(0) for x in (a, b))
        a, b = (x / (x.norm(dim=1, keepdim=True).detach() + 1e-6) for x in (a, b))
        return (a.T @ b).square().mean()
