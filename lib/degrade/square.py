"""The Square Attack: random search that sees scores only (Andriushchenko et al., ECCV 2020, arXiv 1912.00049)."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lib.degrade.checks import check_count, check_judged
from lib.degrade.draws import uniform, uniforms
from lib.degrade.search import checked_search, constant

# share of the queries made -> how often the square's area has been halved
HALVINGS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)

DRAWN_AT_ONCE = 64  # queries whose squares are drawn together

Judge = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@torch.no_grad()
def square_search(
    judge: Judge, images: Tensor, eps: float, queries: int, seeds: Tensor, share: float = 0.3, stop: bool = False
) -> Tensor:
    """The best images found [B,3,H,W] within ``eps`` in L-infinity and within [0, 1].

    Starts from vertical stripes of +-eps, then proposes one square an image and keeps it where it raises that image's
    loss; squares shrink on the published schedule, scaled to ``queries``. All images are searched at once, one forward pass
    a query; each image's search is its own, by its seed.

    Args:
        judge: (images [b,3,H,W], their rows [b] long in the batch) -> (loss [b], finite, broken [b] bool). The images are the
            search's own and change in place between two calls: a judge that keeps them must copy them.
        seeds: [B] long. share: of the image's area that the first squares have.
        stop: leave an image when it is broken (it drops out); else its loss is raised to the end.

    Raises:
        ValueError: bad images, eps, queries, seeds or share; a loss that is not finite, or a result of ``judge`` of another shape.
    """
    check_count("queries", queries)
    if not 0 < share <= 1:
        raise ValueError(f"share: expected a number above 0 and up to 1, got {share!r}")
    seeds = checked_search(images, images, eps, 0.0, 1, None, seeds)
    images = constant(images).contiguous()
    height, width = images.shape[2:]
    rows = torch.arange(len(images), device=images.device)
    down, across = (torch.arange(n, device=images.device) for n in (height, width))

    def signs(draw: Tensor) -> Tensor:
        return torch.where(draw < 0.5, -eps, eps).to(images.dtype)

    best = (images + signs(uniform(seeds, 0, 3, 1, width, dtype=images.dtype))).clamp_(0, 1)
    loss, broken, some = check_judged(judge(best, rows), len(rows))
    loss = loss.clone()  # it could be a view of the images, which change in place from here on
    whole = torch.empty_like(best)  # the results of images that have dropped out; the rest shrinks to those still searched
    draws = best.new_empty(len(best), 0)
    for query in range(1, queries):
        if stop and some:
            gone, stays = (torch.nonzero(which).flatten() for which in (broken, ~broken))
            whole[rows[gone]] = best[gone]
            images, seeds, best, loss, rows, draws = (state[stays] for state in (images, seeds, best, loss, rows, draws))
            if not len(rows):
                break
        place = (query - 1) % DRAWN_AT_ONCE
        if place == 0:
            purposes = range(2 * query, 2 * min(query + DRAWN_AT_ONCE, queries))
            draws = uniforms(seeds, purposes, 3, dtype=images.dtype)
        area = share / 2 ** sum(query / queries > start for start in HALVINGS)
        side = min(max(round(math.sqrt(area * height * width)), 1), height, width)
        where, sign = draws[:, 2 * place], draws[:, 2 * place + 1]
        top, left = ((where[:, i] * (n - side + 1)).long() for i, n in ((0, height), (1, width)))
        corner, square = top * width + left, (down[:side, None] * width + across[:side]).flatten()
        at = (corner[:, None] + square)[:, None].expand(-1, 3, -1)  # the square's pixels in each flattened channel
        pixels = best.flatten(2)  # a view
        before = pixels.gather(2, at)
        after = (images.flatten(2).gather(2, at) + signs(sign)[:, :, None]).clamp_(0, 1)
        pixels.scatter_(2, at, after)
        tried_loss, broken, some = check_judged(judge(best, rows), len(rows))
        better = tried_loss > loss
        if stop:
            better |= broken
        loss = torch.where(better, tried_loss, loss)
        pixels.scatter_(2, at, torch.where(better[:, None, None], after, before))
    whole[rows] = best
    return whole
