"""An adversarial view of a training batch, on all cores of a CPU."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from lib.cores import in_parts
from lib.degrade.draws import new_seeds
from lib.degrade.self_supervised import checked_positive


def turned_away(embed: Callable[[Tensor], Tensor], images: Tensor, target: Tensor, config, generator: Generator) -> Tensor:
    """Images [B,3,H,W] whose embeddings turn away from ``target`` [B,D], by ``config.attack_eps, _alpha, _steps`` (255ths).

    ``embed`` must treat each image on its own (eval mode): the batch is dealt out over the cores. Gradients to parameters are
    not wanted, and not made. Nothing is looked at, so that a GPU is not waited for: a loss of training that is not finite is found
    where training reads it.
    """

    def part(images: Tensor, target: Tensor, seeds: Tensor) -> Tensor:
        with torch.enable_grad():
            return checked_positive(
                embed, images, target, config.attack_eps / 255, config.attack_steps, config.attack_alpha / 255, seeds
            )

    return in_parts(part, images, target, new_seeds(len(images), generator, images.device))
