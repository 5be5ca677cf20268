"""Label-free attacks: adversarial images in feature space, for training and as a self-supervised perturbation."""

from collections.abc import Callable

import torch
from torch import Tensor

from lib.degrade.objectives import away
from lib.degrade.recipes import RECIPES, Iteration
from lib.degrade.search import checked_search, constant


def adversarial_positive(
    embed_fn: Callable[[Tensor], Tensor],
    images: Tensor,
    target: Tensor,
    eps: float,
    steps: int,
    alpha: float,
    generator: torch.Generator | None = None,
    seeds: Tensor | None = None,
) -> Tensor:
    """Images [B,3,H,W] within ``eps`` of ``images`` whose embedding turns away from ``target``; detached.

    PGD on 1 - cos(embed_fn(x), target) of each image: ``steps`` sign steps of size ``alpha`` from a random start
    in the eps ball: the instance-wise attack of RoCL (Kim et al., arXiv 2006.07589, eq. 4). With
    ``target = embed_fn(images)`` it is a feature-distance attack (SSP: Naseer et al., arXiv 2006.04924): the random
    start is what gives it a gradient, for the cosine is flat at its maximum.

    Costs ``steps`` forward and backward passes. Module modes, batch-norm statistics and parameter gradients are the
    caller's: this function changes no mode and adds to no ``grad``.

    Args:
        embed_fn: pixels [B,3,H,W] -> embeddings [B,D], differentiable to the pixels.
        target: [B,D], what the images should stop looking like; gets no gradient.
        generator, seeds: as for :func:`lib.degrade.attacks.attack`.

    Raises:
        ValueError: bad images, budget or generator; embeddings and target that are not the same [B,D]; no gradient.
    """
    seeds = checked_search(images, images, eps, alpha, steps, generator, seeds)
    if not isinstance(target, Tensor) or target.dim() != 2 or len(target) != len(images):
        got = list(target.shape) if isinstance(target, Tensor) else type(target).__name__
        raise ValueError(f"target: expected shape [{len(images)},D], got {got}")
    return checked_positive(embed_fn, images, target, eps, steps, alpha, seeds, ask=True)


def checked_positive(
    embed_fn: Callable[[Tensor], Tensor], images: Tensor, target: Tensor, eps: float, steps: int, alpha: float, seeds: Tensor,
    ask: bool = False,
) -> Tensor:  # fmt: skip
    """:func:`adversarial_positive` of arguments that are known to be right, which are not looked at: a GPU is not waited for.

    Nor is it asked whether the losses are finite, unless ``ask``: where one is not, its image stays where it is.
    """

    def loss(embedding: Tensor, target: Tensor) -> Tensor:
        if embedding.shape != target.shape:
            raise ValueError(f"embed_fn: expected embeddings shaped like target {list(target.shape)}, got {list(embedding.shape)}")
        return away(embedding, target).sum()

    with torch.inference_mode(False), torch.enable_grad():
        pgd = Iteration(RECIPES["pgd"], embed_fn, loss, eps, alpha, steps, "embed_fn", ask)
        *_, point = pgd.points(constant(images), constant(target), seeds)
        return point
