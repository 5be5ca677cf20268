"""The training mixture: a corruption and a severity drawn for each image, with all other types held out for testing.

All that was drawn is recorded: which corruption, how strong, its parameters at this size, and the state of the generator, by which
the very same M and eps of F' = F M + eps can be put on other faces (:func:`replay`) and told apart (:func:`part_sizes`).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lib.degrade.checks import check_generator, check_images
from lib.degrade.corruptions import CORRUPTIONS, REGISTRY, SMALLEST, apply
from lib.degrade.draws import drawn_here
from lib.degrade.levels import rows
from lib.device import constant, sent

TRAIN_CORRUPTIONS = (
    "gaussian_noise", "impulse_noise", "gaussian_blur", "motion_blur", "pixelate", "contrast", "low_light", "occlusion",
)
IDENTITY = -1


class Degraded(NamedTuple):
    """Degraded images, on their device, and what was done to each, on the CPU, which must know how many images an op has."""

    images: Tensor  # [B,3,H,W] in [0,1]
    op: Tensor  # [B] long: index into the ops, -1 where the image stayed as it was
    severity: Tensor  # [B] long: 1 to 5, 0 where the image stayed as it was
    level: Tensor  # [B,P]: the parameters of lib.degrade.levels at this size, in its order; NaN beyond those that the op has
    states: Tensor  # [ops,S] uint8: the generator before it drew for each of the ops


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
        generator: draws everything, on the device of ``images``; None uses the global state. Which op and severity is drawn on
            the CPU (:func:`lib.degrade.draws.drawn_here`).
        ops: names from ``CORRUPTIONS``. severities: from 1 to 5. identity: probability from 0 to 1.

    Raises:
        ValueError: bad images, generator, ops, severities or identity.
    """
    check_mixture(ops, severities)
    if not 0 <= identity <= 1:
        raise ValueError(f"identity: expected a probability from 0 to 1, got {identity!r}")
    check_images(images, SMALLEST)
    check_generator(generator, images)
    return checked_degrade(images, generator, ops, severities, identity)


def checked_degrade(
    images: Tensor, generator: torch.Generator | None, ops: Sequence[str], severities: Sequence[int], identity: float
) -> Degraded:
    """:func:`degrade` of arguments that are known to be right, which are not looked at: a GPU is not waited for."""
    draw = torch.rand(3, len(images), generator=drawn_here(generator), dtype=torch.float64)
    op = (draw[0] * len(ops)).long()
    severity = torch.tensor(severities)[(draw[1] * len(severities)).long()]
    op, severity = op.masked_fill(draw[2] < identity, IDENTITY), severity.masked_fill(draw[2] < identity, 0)
    changed, states = _apply(images, op, severity, generator, ops)
    return Degraded(changed, op, severity, _levels(images, op, severity, ops), states)


def degrade_with(
    images: Tensor,
    op: Tensor,
    severity: Tensor,
    generator: torch.Generator | None = None,
    ops: Sequence[str] = TRAIN_CORRUPTIONS,
) -> Tensor:
    """Apply recorded (op, severity) to other images: the same kind and strength of degradation, drawn anew.

    See :func:`replay` for the same draws.

    Args:
        images: float RGB [B,3,H,W] in [0,1].
        op, severity: [B] long as in :class:`Degraded`; a copy on another device than the CPU is fetched from there first.
        ops: the names that ``op`` counts in.

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
    op, severity = op.cpu(), severity.cpu()
    if bool(((op < IDENTITY) | (op >= len(ops))).any()):
        raise ValueError(f"op: expected -1 to {len(ops) - 1}, got {op.min().item()} to {op.max().item()}")
    if bool(((op != IDENTITY) & ((severity < 1) | (severity > 5))).any()):
        raise ValueError("severity: expected 1 to 5 wherever op is not -1")
    return checked_degrade_with(images, op, severity, generator, ops)


def checked_degrade_with(
    images: Tensor, op: Tensor, severity: Tensor, generator: torch.Generator | None, ops: Sequence[str]
) -> Tensor:
    """:func:`degrade_with` of arguments that are known to be right, which are not looked at: a GPU is not waited for."""
    return _apply(images, op, severity, generator, ops)[0]


def replay(images: Tensor, degraded: Degraded, ops: Sequence[str] = TRAIN_CORRUPTIONS) -> Tensor:
    """The very degradations of ``degraded`` on other images: M and eps of image i, its angle, place and noise, on face i.

    What a face itself draws (the photons of shot_noise) is its own.

    Args:
        images: float RGB of the shape and on the device of ``degraded.images``. ops: those that ``degrade`` was given.

    Returns:
        [B,3,H,W] in [0,1].

    Raises:
        ValueError: bad images or ops, or of another shape, device or number than were recorded.
    """
    check_mixture(ops)
    check_images(images, SMALLEST)
    _check_record(images, degraded, ops)
    return _apply(images, degraded.op, degraded.severity, degraded.states, ops)[0]


def part_sizes(images: Tensor, degraded: Degraded, ops: Sequence[str] = TRAIN_CORRUPTIONS) -> tuple[Tensor, Tensor]:
    """How large M and eps were for each image: the root mean squares [B] of F M - F and of eps over all pixels, after clamping.

    A corruption that is M has no eps, one that is eps leaves F M = F; of one that is both, eps is what the same draws make of
    a black face. Costs these corruptions once more.

    Args:
        images: the clean images that ``degrade`` was given. ops: those that it was given.

    Raises:
        ValueError: as :func:`replay`.
    """
    check_mixture(ops)
    check_images(images, SMALLEST)
    _check_record(images, degraded, ops)
    kinds = [REGISTRY[name].part for name in ops]
    both, alone = (torch.tensor([kind == part for kind in kinds]) for part in ("M + eps", "eps"))
    mixed = (degraded.op >= 0) & both[degraded.op]
    black = _apply(torch.zeros_like(images), degraded.op.where(mixed, IDENTITY), degraded.severity, degraded.states, ops)[0]
    change = degraded.images - images
    whole = sent((degraded.op >= 0) & alone[degraded.op], images.device)[:, None, None, None]
    eps = torch.where(whole, change, black)
    structured, additive = (part.square().mean((1, 2, 3)).sqrt() for part in (change - eps, eps))
    return structured, additive


def check_mixture(ops: Sequence[str], severities: Sequence[int] = (1,), key: str = "ops") -> None:
    """Raise ``ValueError`` unless ``ops`` are names from ``CORRUPTIONS``, each once, and ``severities`` from 1 to 5."""
    unknown = [name for name in ops if name not in CORRUPTIONS] if not isinstance(ops, str) else [ops]
    if unknown or not ops:
        raise ValueError(f"{key}: expected names from {', '.join(CORRUPTIONS)}, got {unknown or ops!r}")
    if len(set(ops)) != len(ops):
        raise ValueError(f"{key}: expected each name once, got {list(ops)}")
    if not severities or any(isinstance(s, bool) or not isinstance(s, int) or not 1 <= s <= 5 for s in severities):
        raise ValueError(f"severities: expected integers from 1 to 5, got {severities!r}")


def _check_record(images: Tensor, degraded: Degraded, ops: Sequence[str]) -> None:
    if images.shape != degraded.images.shape or images.device != degraded.images.device:
        recorded = f"{list(degraded.images.shape)} on {degraded.images.device}"
        raise ValueError(f"images: expected {recorded}, as were degraded, got {list(images.shape)} on {images.device}")
    if len(degraded.states) != len(ops):
        raise ValueError(f"ops: expected the {len(degraded.states)} names that degrade was given, got {len(ops)}")


def _levels(images: Tensor, op: Tensor, severity: Tensor, ops: Sequence[str]) -> Tensor:
    """[B,P]: what is recorded as ``level``."""
    listed = [rows(name, min(images.shape[2:])) for name in ops]
    most = max(len(row) for one in listed for row in one)
    # math.nan is one object: a tuple that holds it is found again among the constants
    padded = tuple(number for one in listed for row in one for number in (*row, *[math.nan] * (most - len(row))))
    table = constant(padded, op.device, images.dtype).view(len(ops), 5, most)
    return table[op, severity - 1].masked_fill((op == IDENTITY)[:, None], math.nan)


def _apply(
    images: Tensor, op: Tensor, severity: Tensor, source: torch.Generator | Tensor | None, ops: Sequence[str]
) -> tuple[Tensor, Tensor]:
    """One pass over the ops, each on its own images; ``op`` and ``severity`` are on the CPU, and which images these are is sent once.

    ``source``: what draws; or the recorded states [ops,S], to draw the same again. Also returns the states before each op.
    """
    order = op.argsort(stable=True)  # the images that stay first, then those of each op
    counts = torch.bincount(op - IDENTITY, minlength=len(ops) + 1).tolist()
    strength, index = (part.split(counts)[1:] for part in (severity[order], sent(order, images.device)))
    result = images.detach().clone()
    generator = torch.Generator(images.device) if isinstance(source, Tensor) else source
    states = []
    for number, name in enumerate(ops):
        if isinstance(source, Tensor):
            generator.set_state(source[number].clone())  # torch reads a view from its storage's beginning
        states.append(_state(generator, images.device))
        if counts[number + 1]:
            result[index[number]] = apply(result[index[number]], name, strength[number], generator)
    return result, torch.stack(states)


def _state(generator: torch.Generator | None, device: torch.device) -> Tensor:
    if generator is not None:
        return generator.get_state()
    return torch.get_rng_state() if device.type == "cpu" else torch.get_device_module(device).get_rng_state(device)
