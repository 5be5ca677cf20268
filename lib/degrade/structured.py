"""An attack on M in F' = F M + eps: the worst blur, gain and occluder within bounds, found by gradients.

eps is what the usual attacks search; here eps is 0 and M is searched: each image's own blur kernel, a gain for each channel and
the place of a black square. A representation that only learnt to undo noise has nothing against it.

    F' = gain * (kernel (*) F) * (1 - square)

All parameters are free numbers behind squashing functions, so no step leaves the bounds. The square's hard edge has no
useful gradient: going back, it is taken for a soft one (straight through).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lib.degrade.checks import check_broken, check_count, checked_each
from lib.degrade.draws import derive, uniform
from lib.degrade.search import checked_search, constant, untouched
from lib.degrade.separable import convolve
from lib.device import constant as fixed

Each = Callable[[Tensor, Tensor], Tensor]
RATE = 0.5  # first step of the free numbers; it falls linearly to a tenth


@dataclass(frozen=True)
class Bounds:
    """How bad M may be; 0 switches a part off.

    Attributes:
        kernel: side of the blur kernel in pixels, odd. spread: share of a pixel's light that the kernel may spread, 0 to 1.
        gain: a channel is multiplied by exp(-gain) to exp(gain). square: side of the occluder as a share of the image's.
    """

    kernel: int = 5
    spread: float = 0.7
    gain: float = 0.3
    square: float = 0.25

    def __post_init__(self):
        if isinstance(self.kernel, bool) or not isinstance(self.kernel, int) or self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"kernel: expected an odd number of pixels, got {self.kernel!r}")
        for name, most in (("spread", 1), ("gain", 5), ("square", 1)):
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"{name}: expected a number from 0 to {most}, got {getattr(self, name)!r}")


class Structure(NamedTuple):
    """M of each image: kernel [B,k,k] of sum 1, gain [B,3], centre of the square [B,2] in pixels (down, across)."""

    kernel: Tensor
    gain: Tensor
    centre: Tensor


def structured_attack(
    logits_fn: Callable[[Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
    each_fn: Each,
    bounds: Bounds = Bounds(),
    steps: int = 20,
    restarts: int = 2,
    generator: torch.Generator | None = None,
    broken_fn: Each | None = None,
    seeds: Tensor | None = None,
) -> tuple[Tensor, Structure]:
    """(degraded images [B,3,H,W] in [0, 1], their M): of all points of the search those of the largest loss.

    Costs ``restarts`` * (``steps`` + 1) forward and ``restarts`` * ``steps`` backward passes.

    Args:
        logits_fn, images, labels, generator, seeds: as for :func:`lib.degrade.attacks.attack`.
        each_fn: (scores, labels) -> the loss of each image [B], to be raised; see lib.degrade.objectives.
        broken_fn: (scores, labels) -> bool [B]. An image keeps the first M that breaks it and drops out.

    Raises:
        ValueError: bad images, labels, seeds, generator or counts; a kernel larger than the image; scores or losses of a
            wrong shape or without gradient.
    """
    seeds = checked_search(images, labels, 0.0, 0.0, steps, generator, seeds)
    check_count("restarts", restarts)
    if bounds.kernel > min(images.shape[2:]):
        raise ValueError(f"kernel: {bounds.kernel} is larger than the image {list(images.shape[2:])}")
    with torch.inference_mode(False), torch.enable_grad(), untouched(logits_fn):
        images, labels = constant(images), constant(labels)
        best, left = None, torch.arange(len(images), device=images.device)
        for restart in range(restarts):
            free = _start(images[left], bounds, derive(seeds[left], restart))
            for step in range(steps + 1):
                if not len(left):
                    break
                here, there = images[left], labels[left]
                free = [part.detach().requires_grad_() for part in free]
                structure = bounded(free, here, bounds)
                with torch.set_grad_enabled(step < steps):
                    degraded = apply_structure(here, structure, bounds)
                    logits = logits_fn(degraded)
                    each = checked_each(each_fn, logits, there)
                broken = torch.zeros_like(left, dtype=torch.bool)
                if broken_fn is not None:
                    broken = check_broken(broken_fn(logits.detach(), there), len(here))
                now = [each.detach(), degraded.detach(), *(part.detach() for part in structure)]
                if best is None:
                    best = [part.clone() for part in now]
                else:
                    better = torch.nonzero(broken | (now[0] > best[0][left])).flatten()  # numbers: a GPU is waited for once
                    for old, new in zip(best, now):
                        old[left[better]] = new[better]
                if step < steps:
                    free = _climbed(each, free, RATE * (1 - 0.9 * step / steps))
                if broken_fn is not None:
                    stay = torch.nonzero(~broken).flatten()
                    left, free = left[stay], [part[stay] for part in free]
        return best[1], Structure(*best[2:])


def _climbed(each: Tensor, free: list[Tensor], rate: float) -> list[Tensor]:
    """The free numbers after a step up the losses ``each`` [B]; one rate serves kernels, gains and places."""
    if not each.requires_grad:
        raise ValueError("logits_fn, each_fn: the loss has no gradient to the images")
    gradients = torch.autograd.grad(each.sum(), free, allow_unused=True)
    if all(gradient is None for gradient in gradients):
        raise ValueError("logits_fn, each_fn: the loss does not depend on the images, so there is no gradient")
    return [
        part if gradient is None else part + rate * gradient / gradient.abs().amax(1, keepdim=True).clamp(min=1e-20)
        for part, gradient in zip(free, gradients, strict=True)
    ]


def bounded(free: list[Tensor], images: Tensor, bounds: Bounds) -> Structure:
    """Free numbers (kernel [B,k*k], gain [B,3], place [B,2]) -> the M within the bounds that they stand for."""
    size = bounds.kernel
    spread = torch.softmax(free[0], 1).view(-1, size, size)
    centre = torch.zeros_like(spread)
    centre[:, size // 2, size // 2] = 1
    lengths = fixed(tuple(images.shape[2:]), images.device, images.dtype)
    half = bounds.square * lengths.amin() / 2
    place = half - 0.5 + torch.sigmoid(free[2]) * (lengths - 2 * half)
    return Structure((1 - bounds.spread) * centre + bounds.spread * spread, torch.exp(bounds.gain * torch.tanh(free[1])), place)


def apply_structure(images: Tensor, structure: Structure, bounds: Bounds) -> Tensor:
    """F' of images [B,3,H,W] in [0, 1]; differentiable to M.

    A pixel that the square covers is exactly black and keeps its gradient to the square: nothing is clamped from below after it, for
    torch's clamp has no gradient at the bound itself (2.14; 2.11 has). What a gain lifts to 1 or above has none.
    """
    degraded = convolve(images, structure.kernel, "reflect").clamp(0, 1) if bounds.kernel > 1 and bounds.spread else images
    degraded = degraded * structure.gain[:, :, None, None]
    if bounds.square:
        degraded = degraded * (1 - _square(structure.centre, images, bounds))
    return degraded.clamp(max=1) if bounds.gain else degraded


def _square(centre: Tensor, images: Tensor, bounds: Bounds) -> Tensor:
    """[B,1,H,W]: the square, its edges one pixel wide; going back, edges half a square wide."""
    side = bounds.square * min(images.shape[2:])
    cover = []
    for width in (1.0, max(side / 2, 1.0)):
        lines = []
        for axis, length in enumerate(images.shape[2:]):
            place = torch.arange(length, device=images.device, dtype=images.dtype)
            inside = side / 2 - (place - centre[:, axis, None]).abs()
            lines.append((inside / width + 0.5).clamp(0, 1) if width == 1.0 else torch.sigmoid(4 * inside / width))
        cover.append((lines[0][:, :, None] * lines[1][:, None])[:, None])
    hard, soft = cover
    # the difference first, which is 0: a covered pixel is exactly black, whatever the rounding
    return hard.detach() + (soft - soft.detach())


def _start(images: Tensor, bounds: Bounds, seeds: Tensor) -> list[Tensor]:
    draw = uniform(seeds, 0, bounds.kernel**2 + 5, dtype=images.dtype)
    place = draw[:, -2:].clamp(0.05, 0.95)
    return [2 * draw[:, :-5] - 1, 2 * draw[:, -5:-2] - 1, torch.log(place / (1 - place))]
