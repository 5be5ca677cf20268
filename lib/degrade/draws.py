"""Random numbers that belong to an image: from its own seed, a purpose and a count, and from nothing else.

So the result of an attack does not depend on what else is in the batch, nor on who has dropped out of it, nor on the
device. The generator is SplitMix64 (Steele, Lea, Flood, OOPSLA 2014) as a function of its counter. :func:`drawn_here` alone is
about torch's own generators.
"""

import hashlib
import math

import torch
from torch import Tensor

GOLDEN = -0x61C8864680B583EB  # 2^64 / golden ratio, as a signed number; sums and products wrap around
MIX = ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15))


def drawn_here(generator: torch.Generator | None) -> torch.Generator | None:
    """What draws numbers that the processor needs at once: ``generator`` itself if it is on the CPU (None: the global one there).

    A number drawn on a GPU would have to be waited for. For a generator there this is one on the CPU, seeded by its state,
    which the processor knows; the state then moves on, so that the next call gives another.
    """
    if generator is None or generator.device.type == "cpu":
        return generator
    digest = hashlib.sha256(generator.get_state().numpy().tobytes()).digest()
    torch.rand(1, generator=generator, device=generator.device)
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def new_seeds(count: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
    """[count] long, drawn by ``generator`` (None: the global one)."""
    return torch.randint(2**62, (count,), generator=generator, device=device)


def derive(seeds: Tensor, tag: int) -> Tensor:
    """[B] long: further seeds, one of each of the ``seeds`` [B] long for each ``tag``: a restart, a target, a part.

    Mixed, not added: neighbouring seeds are common (numbers of items), and item 1 must not start where item 0 starts again.
    """
    return _mixed(_mixed(seeds) + _signed((tag + 1) * GOLDEN))


def uniform(seeds: Tensor, purpose: int, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """[B,*shape] in [0,1), multiples of 2^-24: the numbers of ``purpose`` of each of the ``seeds`` [B] long."""
    return uniforms(seeds, range(purpose, purpose + 1), math.prod(shape), dtype).view(len(seeds), *shape)


def uniforms(seeds: Tensor, purposes: range, count: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """[B,P,count]: the first ``count`` numbers of each of ``purposes``, as :func:`uniform` gives them one by one."""
    tag, place = (torch.arange(start, stop, device=seeds.device) for start, stop in ((purposes.start, purposes.stop), (0, count)))
    derived = _mixed(_mixed(seeds)[:, None] + (tag + 1) * GOLDEN)
    bits = _mixed(derived[:, :, None] + (place + 1) * GOLDEN)
    return ((bits >> 40) & (2**24 - 1)).to(dtype).mul_(2.0**-24)


def _mixed(z: Tensor) -> Tensor:
    for shift, factor in MIX:
        z = (z ^ _logical(z, shift)) * factor
    return z ^ _logical(z, 31)


def _signed(number: int) -> int:
    """The 64-bit integer that ``number`` wraps around to."""
    return (number + 2**63) % 2**64 - 2**63


def _logical(z: Tensor, shift: int) -> Tensor:
    """Right shift that brings in zeros."""
    return (z >> shift) & (2 ** (64 - shift) - 1)
