"""What every search for adversarial images shares: its checks, its seeds, its start, and a model that is left as it was."""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from lib.degrade.checks import check_budget, check_generator, check_images, check_labels
from lib.degrade.draws import new_seeds, uniform


def checked_search(
    images: Tensor, labels: Tensor, eps: float, alpha: float, steps: int, generator: torch.Generator | None,
    seeds: Tensor | None,
) -> Tensor:  # fmt: skip
    """The seeds [B] long of a search, after all of its arguments have been checked; drawn by ``generator`` if there are none.

    Raises:
        ValueError: bad images, labels, budget, generator or seeds.
    """
    check_images(images)
    check_generator(generator, images)
    check_budget(eps, alpha, steps)
    check_labels(labels, images)
    if seeds is None:
        return new_seeds(len(images), generator, images.device)
    if not isinstance(seeds, Tensor) or seeds.dtype != torch.long or seeds.shape != images.shape[:1]:
        got = f"{seeds.dtype} {list(seeds.shape)}" if isinstance(seeds, Tensor) else type(seeds).__name__
        raise ValueError(f"seeds: expected a long tensor [{len(images)}], got {got}")
    return seeds.to(images.device)


def constant(tensor: Tensor) -> Tensor:
    """``tensor`` without its graph; a copy of an inference tensor, which no backward pass could save."""
    return tensor.detach().clone() if tensor.is_inference() else tensor.detach()


def ball(images: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """The least and the largest value that each pixel may take: within ``eps`` and within [0, 1]."""
    return (images - eps).clamp_(min=0), (images + eps).clamp_(max=1)


def check_total(total: Tensor) -> None:
    """Raise ``ValueError`` where the ``total`` of the losses of a search is not finite: one of them was not."""
    if not torch.isfinite(total).all():
        raise ValueError(f"loss_fn: expected a finite loss in every step, their sum is {total.item()}")


def random_start(images: Tensor, eps: float, seeds: Tensor) -> Tensor:
    """``images`` plus uniform noise in [-eps, eps], clamped to [0, 1]."""
    noise = uniform(seeds, 0, *images.shape[1:], dtype=images.dtype)
    return images.add(noise.mul_(2).sub_(1).mul_(eps)).clamp_(0, 1)


def likeliest(broken: Tensor, targets: int) -> tuple[Tensor, Tensor]:
    """Of ``broken`` [T*B] bool, all images for the first of the ``targets`` T, then for the next: which images any target broke
    [B] bool, and the row of the first one that did [B] long."""
    table = broken.view(targets, -1)
    return table.any(0), table.int().argmax(0) * table.shape[1] + torch.arange(table.shape[1], device=broken.device)


@contextlib.contextmanager
def untouched(model: object) -> Iterator[None]:
    """Hold a Module in eval mode with parameter gradients off; put mode, buffers and requires_grad back afterwards.

    Anything that is not a Module passes untouched: what it holds is not to be seen from here. Not for one Module in several
    threads at once, each of which would put back what it found: give threads a function.
    """
    if not isinstance(model, nn.Module):
        yield
        return
    modes = [(module, module.training) for module in model.modules()]
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    buffers = [
        (module._buffers, name, buffer, buffer._version, buffer.detach().clone())
        for module in model.modules() for name, buffer in module._buffers.items() if buffer is not None
    ]
    try:
        model.eval()
        for parameter, _ in flags:
            parameter.requires_grad_(False)
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
        with torch.no_grad():
            for home, name, buffer, version, value in buffers:
                home[name] = buffer
                if buffer._version != version:  # an idle copy would invalidate graphs that hold this buffer
                    buffer.copy_(value)
