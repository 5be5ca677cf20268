"""The numbers that a training step reports, brought from the device without making it wait.

A step's losses are read when the whole of the next step is queued: a GPU that had to hand them over at once would stand idle while
the processor reads them and queues what comes next.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

METER = ("embedding_std", "effective_rank")  # of collapse_meter

def under_way(terms: dict[str, Tensor], embedding: Tensor | None = None) -> Callable[[], dict[str, float]]:
    """Send the scalar ``terms`` of a loss, and what tells whether ``embedding`` [B, D] has collapsed; the result waits for them.

    It returns the terms by name, and the collapse meter (:func:`collapse_meter`) where there is an embedding.
    """
    sent = [torch.stack([term.detach().float() for term in terms.values()])]
    if embedding is not None:
        sent += _spread_and_products(embedding)
    here = [tensor.to("cpu", non_blocking=True) for tensor in sent]  # into pinned memory
    arrived = None
    if sent[0].is_cuda:
        arrived = torch.cuda.Event()
        arrived.record()

    def read() -> dict[str, float]:
        if arrived is not None:
            arrived.synchronize()
        return dict(zip(terms, here[0].tolist())) | (_meter(*here[1:]) if embedding is not None else {})

    return read


def collapse_meter(embedding: Tensor) -> dict[str, float]:
    """Is the representation collapsing? Two numbers of normalised embeddings [B, D].

    ``embedding_std``: mean standard deviation of a dimension times sqrt(D): 1 = spread like random unit vectors, 0 =
    collapsed. ``effective_rank``: exp of the entropy of the covariance's normalised eigenvalues (Roy, Vetterli, 2007).
    """
    return _meter(*(tensor.cpu() for tensor in _spread_and_products(embedding)))


@torch.no_grad()
def _spread_and_products(embedding: Tensor) -> list[Tensor]:
    """Mean standard deviation times sqrt(D), and the smaller of the two matrices of inner products, float64."""
    z = nn.functional.normalize(embedding.float(), dim=1)
    centred = (z - z.mean(0)).double()
    products = centred.mT @ centred if len(z) > z.shape[1] else centred @ centred.mT
    return [z.std(0, unbiased=False).mean() * z.shape[1] ** 0.5, products]


def _meter(spread: Tensor, products: Tensor) -> dict[str, float]:
    if not torch.isfinite(products).all():  # no solver takes that; the loss is not finite either, and is reported
        return dict.fromkeys(METER, float("nan"))
    values = torch.linalg.eigvalsh(products).clamp(min=0)
    share = values / values.sum().clamp(min=1e-12)
    rank = torch.exp(-(share * share.clamp(min=1e-12).log()).sum()).item()
    return dict(zip(METER, (spread.item(), rank)))
