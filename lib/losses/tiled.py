"""Softmax cross-entropy over the rows of z z^T, some rows at a time: the M x M matrix is never kept for the backward pass.

The forward pass keeps one number a row (the logarithm of the softmax's denominator); the backward pass makes the logits
anew, tile by tile. It costs one more matrix product, and holds ``tile`` x M numbers where plain autograd holds several
M x M.
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def row_cross_entropy(z: Tensor, positive: Tensor, temperature: float, exclude: Tensor | None, tile: int) -> Tensor:
    """-log softmax_j(z_i . z_j / temperature) at j = positive[i] for the first A rows, j running over all rows but i.

    Args:
        z: [M, D], in the type to compute in. positive: [A] long.
        exclude: None; [A, M] bool, True is left out; or [A, E] long, the columns that are left out (-1: none).
        tile: rows of logits that are held at a time.

    Returns:
        [A]; differentiable once, with respect to z.
    """
    return _RowCrossEntropy.apply(z, positive, exclude, temperature, tile)


def _logits(z: Tensor, start: int, stop: int, temperature: float, exclude: Tensor | None) -> Tensor:
    """[stop - start, M], left-out pairs at -inf: a zero logit would still weigh exp(0) in the denominator."""
    logits = (z[start:stop] @ z.T).div_(temperature)
    own = torch.arange(start, stop, device=z.device)[:, None]
    if exclude is None:
        return logits.scatter_(1, own, float("-inf"))
    left_out = exclude[start:stop]
    if left_out.dtype == torch.bool:
        return logits.masked_fill_(left_out, float("-inf")).scatter_(1, own, float("-inf"))
    columns = torch.cat([own, torch.where(left_out < 0, own, left_out)], 1)  # 'none' points at the self pair, which is out
    return logits.scatter_(1, columns, float("-inf"))


class _RowCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z, positive, exclude, temperature, tile):
        with torch.autocast(z.device.type, enabled=False):
            logs, hits = z.new_empty(len(positive)), z.new_empty(len(positive))
            for start in range(0, len(positive), tile):
                stop = min(start + tile, len(positive))
                logits = _logits(z, start, stop, temperature, exclude)
                hits[start:stop] = logits.gather(1, positive[start:stop, None])[:, 0]
                most = logits.amax(1)
                logs[start:stop] = logits.sub_(most[:, None]).exp_().sum(1).log_().add_(most)
                del logits  # before the next tile is made
        ctx.save_for_backward(z, positive, logs, *(() if exclude is None else (exclude,)))
        ctx.temperature, ctx.tile = temperature, tile
        return logs - hits

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream):
        z, positive, logs, *exclude = ctx.saved_tensors
        gradient = torch.zeros_like(z)
        scale = (upstream / ctx.temperature).to(z.dtype)
        with torch.autocast(z.device.type, enabled=False):
            for start in range(0, len(positive), ctx.tile):
                stop = min(start + ctx.tile, len(positive))
                pull = _logits(z, start, stop, ctx.temperature, exclude[0] if exclude else None)
                pull.sub_(logs[start:stop, None]).exp_()  # the softmax
                pull.scatter_add_(1, positive[start:stop, None], pull.new_full((stop - start, 1), -1.0))
                pull.mul_(scale[start:stop, None])
                gradient[start:stop].addmm_(pull, z)
                gradient.addmm_(pull.T, z[start:stop])
                del pull
        return gradient, None, None, None, None
