"""Argument checks that the losses share; each error names the argument, what was expected and what came."""

import torch
from torch import Tensor

from lib.device import constant

UNKNOWN = (-1, 9)  # how label files mark an action unit that was not coded


def float_matrix(name: str, value: Tensor, shape: str) -> None:
    """``value`` must be a non-empty floating matrix; ``shape`` is how the error calls its two dimensions."""
    if value.dim() != 2 or not value.is_floating_point():
        raise ValueError(f"{name}: expected a float tensor [{shape}], got {value.dtype} {list(value.shape)}")
    if not value.numel():
        raise ValueError(f"{name}: expected at least one row and one column, got an empty tensor {list(value.shape)}")


def same_shape(name: str, value: Tensor, other_name: str, other: Tensor) -> None:
    """``value`` must have the shape and kind of ``other``."""
    if value.shape != other.shape or not value.is_floating_point():
        raise ValueError(
            f"{name}: expected float {list(other.shape)} like {other_name}, got {value.dtype} {list(value.shape)}"
        )


def positive_number(name: str, value: float) -> None:
    """``value`` must be > 0 (NaN is not)."""
    if not value > 0:
        raise ValueError(f"{name}: expected a number > 0, got {value}")


def au_labels(labels: Tensor, batch: int, units: int) -> None:
    """``labels`` must be [batch, units] of 0, 1 or unknown (9, -1)."""
    au_labels_shape(labels, batch, units)
    wrong = no_au_label(labels)
    if wrong.any():
        raise ValueError(f"labels: expected 0, 1, or 9 or -1 (unknown), got {labels[wrong].unique()[:5].tolist()}")


def au_labels_shape(labels: Tensor, batch: int, units: int) -> None:
    """``labels`` must be [batch, units]."""
    if labels.shape != (batch, units):
        raise ValueError(f"labels: expected [{batch}, {units}], one an image and AU, got {list(labels.shape)}")


def no_au_label(labels: Tensor) -> Tensor:
    """Where ``labels`` are neither 0, 1 nor unknown (9, -1): bool of their shape, on their device."""
    return ~torch.isin(labels.float(), constant((0.0, 1.0, *UNKNOWN), labels.device))
