"""The training mixture: a corruption and a severity drawn for each image, with all other types held out for testing."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lib.degrade.checks import check_generator, check_images
from lib.degrade.corruptions import CORRUPTIONS, SMALLEST, apply

TRAIN_CORRUPTIONS = (
    "gaussian_noise", "impulse_noise", "gaussian_blur", "motion_blur", "pixelate", "contrast", "low_light", "occlusion",
)
IDENTITY = -1


class Degraded(NamedTuple):
    """Degraded images and what was done to each."""

    images: Tensor  # [B,3,H,W] in [0,1]
    op: Tensor  # [B] long: index into the ops, -1 where the image stayed as it was
    severity: Tensor  # [B] long: 1 to 5, 0 where the image stayed as it was


def degrade(
    images: Tensor,
    generator: torch.Generator | None = None,
    ops: Sequence[str] = TRAIN_CORRUPTIONS,
    severities: Sequence[int] = (1, 2, 3),
    identity: float = 0.1,
) -> Degraded:
    """Give each image its own corruption and severity, drawn evenly; leave a share of ``identity`` as it is.

    Args:
        images: float RGB [B,3,H,W] in [0,1].
        generator: draws everything, on the device of ``images``; None uses the global state.
        ops: names from ``CORRUPTIONS``. severities: from 1 to 5. identity: probability from 0 to 1.

    Raises:
        ValueError: bad images, generator, ops, severities or identity.
    """
    check_mixture(ops, severities)
    if not 0 <= identity <= 1:
        raise ValueError(f"identity: expected a probability from 0 to 1, got {identity!r}")
    check_images(images, SMALLEST)
    check_generator(generator, images)
    draw = torch.rand(3, len(images), generator=generator, device=images.device, dtype=torch.float64)
    op = (draw[0] * len(ops)).long()
    severity = torch.tensor(tuple(severities), device=images.device)[(draw[1] * len(severities)).long()]
    op, severity = op.masked_fill(draw[2] < identity, IDENTITY), severity.masked_fill(draw[2] < identity, 0)
    return Degraded(_apply(images, op, severity, generator, ops), op, severity)


def degrade_with(
    images: Tensor,
    op: Tensor,
    severity: Tensor,
    generator: torch.Generator | None = None,
    ops: Sequence[str] = TRAIN_CORRUPTIONS,
) -> Tensor:
    """Apply recorded (op, severity) to other images: the same kind and strength of degradation, drawn anew.

    Args:
        images: float RGB [B,3,H,W] in [0,1].
        op, severity: [B] long as in :class:`Degraded`. ops: the names that ``op`` counts in.

    Returns:
        [B,3,H,W] in [0,1].

    Raises:
        ValueError: bad images, generator or ops; op or severity of another shape, type or range.
    """
    check_mixture(ops)
    check_images(images, SMALLEST)
    check_generator(generator, images)
    for key, value in (("op", op), ("severity", severity)):
        if not isinstance(value, Tensor) or value.dtype != torch.long or value.shape != images.shape[:1]:
            got = f"{value.dtype} {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"{key}: expected a long tensor [{len(images)}], got {got}")
    if bool(((op < IDENTITY) | (op >= len(ops))).any()):
        raise ValueError(f"op: expected -1 to {len(ops) - 1}, got {op.min().item()} to {op.max().item()}")
    if bool(((op != IDENTITY) & ((severity < 1) | (severity > 5))).any()):
        raise ValueError("severity: expected 1 to 5 wherever op is not -1")
    return _apply(images, op, severity, generator, ops)


def check_mixture(ops: Sequence[str], severities: Sequence[int] = (1,), key: str = "ops") -> None:
    """Raise ``ValueError`` unless ``ops`` are names from ``CORRUPTIONS``, each once, and ``severities`` from 1 to 5."""
    unknown = [name for name in ops if name not in CORRUPTIONS] if not isinstance(ops, str) else [ops]
    if unknown or not ops:
        raise ValueError(f"{key}: expected names from {', '.join(CORRUPTIONS)}, got {unknown or ops!r}")
    if len(set(ops)) != len(ops):
        raise ValueError(f"{key}: expected each name once, got {list(ops)}")
    if not severities or any(isinstance(s, bool) or not isinstance(s, int) or not 1 <= s <= 5 for s in severities):
        raise ValueError(f"severities: expected integers from 1 to 5, got {severities!r}")


def _apply(images: Tensor, op: Tensor, severity: Tensor, generator: torch.Generator | None, ops) -> Tensor:
    """One pass over the ops, each on its own images; op and severity come to the CPU once."""
    recorded = torch.stack([op, severity]).cpu()
    result = images.detach().clone()
    for number, name in enumerate(ops):
        where = (recorded[0] == number).nonzero().squeeze(1)
        if len(where):
            index = where.to(images.device)
            result[index] = apply(result[index], name, recorded[1][where], generator)
    return result
