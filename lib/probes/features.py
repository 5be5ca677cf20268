"""Features of many images: an encoder held still, batch after batch, on its device."""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn


@contextlib.contextmanager
def held_still(encoder: nn.Module) -> Iterator[nn.Module]:
    """Eval mode and no parameter gradients inside (an attack then needs the backward pass to the pixels only).

    Mode and requires_grad are put back afterwards.
    """
    modes = [(module, module.training) for module in encoder.modules()]
    flags = [(parameter, parameter.requires_grad) for parameter in encoder.parameters()]
    encoder.eval()
    for parameter, _ in flags:
        parameter.requires_grad_(False)
    try:
        yield encoder
    finally:
        for module, training in modes:
            module.training = training
        for parameter, flag in flags:
            parameter.requires_grad_(flag)


def to_float(pixels: Tensor, device: torch.device | str) -> Tensor:
    """uint8 [n,3,H,W] -> float32 RGB in [0,1] on ``device``."""
    if pixels.dtype != torch.uint8:
        raise ValueError(f"pixels must be uint8, got {pixels.dtype}")
    return pixels.to(device).float().div_(255)


@torch.no_grad()
def embed(encoder: nn.Module, table, rows, batch_size: int, device: torch.device | str) -> Tensor:
    """Features of the images ``rows`` [n] of a face table -> float32 [n,D] on ``device``; read in batches."""
    rows = torch.as_tensor(rows)
    if len(rows) == 0:
        raise ValueError(f"rows: there is no image to embed in {table.name!r}")
    with held_still(encoder):
        features = [encoder(to_float(table.images(part), device)) for part in rows.split(batch_size)]
    features = torch.cat(features).float()
    if features.dim() != 2 or len(features) != len(rows):
        raise ValueError(f"encoder must give features [B,D], got {list(features.shape)} for {len(rows)} images")
    if not torch.isfinite(features).all():
        raise ValueError(f"encoder gave features that are not finite for clean images of {table.name!r}")
    return features
