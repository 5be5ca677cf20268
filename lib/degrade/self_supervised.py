"""Label-free attacks: adversarial images in feature space, for training and as a self-supervised perturbation."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from lib.degrade.search import ball, checked_search, constant, random_start


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

    Maximises 1 - cos(embed_fn(x), target) for each image by ``steps`` sign steps of size ``alpha`` from a random start
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
    with torch.inference_mode(False), torch.enable_grad():
        images, target = constant(images), F.normalize(constant(target).float(), dim=1)
        low, high = ball(images, eps)
        point = torch.clamp(random_start(images, eps, seeds), low, high)
        for _ in range(steps):
            point.requires_grad_()
            embedding = embed_fn(point)
            if not isinstance(embedding, Tensor) or embedding.shape != target.shape:
                got = list(embedding.shape) if isinstance(embedding, Tensor) else type(embedding).__name__
                raise ValueError(f"embed_fn: expected embeddings shaped like target {list(target.shape)}, got {got}")
            if not embedding.requires_grad:
                raise ValueError("embed_fn: its result has no gradient to the images (a detach or no_grad inside?)")
            cosine = (F.normalize(embedding.float(), dim=1) * target).sum()
            (gradient,) = torch.autograd.grad(cosine, point, allow_unused=True)
            if gradient is None:
                raise ValueError("embed_fn: its result does not depend on the images, so there is no gradient")
            point = torch.clamp(point.detach() - alpha * gradient.sign(), low, high)
        return point.detach()
