"""The input checks that every degradation shares: what an image batch is, and whose generator draws for it."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

NOT_FINITE = "logits_fn: expected finite scores, got NaN or infinity"


def check_images(images: Tensor, smallest: int = 2) -> None:
    """Raise ``ValueError`` unless ``images`` is float RGB [B,3,H,W] in [0,1] with B >= 1 and H, W >= ``smallest``.

    float32 or float64 only: half precision cannot hold a budget of 1/255 near 1. One pass over the pixels (one
    device synchronisation) finds NaN and values out of range.
    """
    if not isinstance(images, Tensor):
        raise ValueError(f"images: expected a float tensor [B,3,H,W], got {type(images).__name__}")
    if images.dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"images: expected float32 or float64 RGB in [0,1], got dtype {images.dtype}"
            + (": divide 8-bit pixels by 255" if not images.is_floating_point() else ": call .float() first")
        )
    if images.dim() != 4 or images.shape[1] != 3:
        raise ValueError(f"images: expected shape [B,3,H,W], got {list(images.shape)}")
    if images.shape[0] == 0:
        raise ValueError(f"images: expected at least one image, got an empty batch {list(images.shape)}")
    if min(images.shape[2:]) < smallest:
        raise ValueError(f"images: expected at least {smallest} x {smallest} pixels, got {list(images.shape)}")
    low, high = torch.stack(torch.aminmax(images.detach())).tolist()
    if low != low or high != high:
        raise ValueError("images: expected values in [0,1], got NaN")
    if low < 0 or high > 1:
        raise ValueError(f"images: expected values in [0,1], got a range of [{low:.4g}, {high:.4g}]")


def check_scores(scores: object, rows: int) -> Tensor:
    """``scores`` if they are a finite tensor with ``rows`` rows, else a ``ValueError`` that names logits_fn."""
    _check_rows(scores, rows)
    if not torch.isfinite(scores).all():
        raise ValueError(NOT_FINITE)
    return scores


def _check_rows(scores: object, rows: int) -> None:
    if not isinstance(scores, Tensor) or scores.dim() == 0 or len(scores) != rows:
        got = list(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise ValueError(f"logits_fn: expected {rows} rows, one an image, got {got}")


def check_logits(logits: object, classes: Tensor) -> Tensor:
    """``logits`` if they are finite [B,C], C >= 2, and ``classes`` [B] long in 0..C-1, else a ``ValueError``."""
    if not isinstance(classes, Tensor) or classes.dtype != torch.long or classes.dim() != 1:
        got = f"{classes.dtype} {list(classes.shape)}" if isinstance(classes, Tensor) else type(classes).__name__
        raise ValueError(f"classes: expected a long tensor [B], got {got}")
    if not isinstance(logits, Tensor) or logits.dim() != 2 or logits.shape[1] < 2 or len(logits) != len(classes):
        got = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"logits_fn: expected logits [{len(classes)},C] of at least 2 classes, got {got}")
    check_scores(logits, len(classes))
    low, high = classes.min().item(), classes.max().item()
    if low < 0 or high >= logits.shape[1]:
        raise ValueError(f"classes: expected 0 to {logits.shape[1] - 1}, got {low} to {high}")
    return logits


def checked_each(each_fn: Callable[[Tensor, Tensor], Tensor], scores: object, labels: Tensor) -> Tensor:
    """``each_fn(scores, labels)`` if it is a finite loss for each image and the scores are as :func:`check_scores` wants them.

    Else a ``ValueError`` that names logits_fn or each_fn. Both are looked at in one go, so that a GPU is waited for once.
    """
    rows = len(labels)
    _check_rows(scores, rows)
    each = each_fn(scores, labels)
    if not isinstance(each, Tensor) or each.shape != (rows,):
        got = list(each.shape) if isinstance(each, Tensor) else type(each).__name__
        raise ValueError(f"each_fn: expected the loss of each image [{rows}], got {got}")
    if not (torch.isfinite(scores).all() & torch.isfinite(each).all()):
        raise ValueError("each_fn: expected finite losses" if torch.isfinite(scores).all() else NOT_FINITE)
    return each


def check_judged(judged: object, rows: int) -> tuple[Tensor, Tensor, bool]:
    """``judged`` if it is a finite loss [rows] and bool [rows], and whether any is True; else a ``ValueError`` that names judge.

    A GPU is waited for once.
    """
    if not isinstance(judged, tuple) or len(judged) != 2 or not all(isinstance(part, Tensor) for part in judged):
        got = [type(part).__name__ for part in judged] if isinstance(judged, tuple) else type(judged).__name__
        raise ValueError(f"judge: expected a loss and whether it is broken, two tensors [{rows}], got {got}")
    loss, broken = judged
    if loss.shape != (rows,) or not loss.is_floating_point():
        raise ValueError(f"judge: expected the loss of each image, floats [{rows}], got {loss.dtype} {list(loss.shape)}")
    if broken.shape != (rows,) or broken.dtype != torch.bool:
        raise ValueError(f"judge: expected which images are broken, bool [{rows}], got {broken.dtype} {list(broken.shape)}")
    finite, some = torch.stack([torch.isfinite(loss).all(), broken.any()]).tolist()
    if not finite:
        raise ValueError("judge: expected finite losses")
    return loss, broken, some


def check_broken(broken: object, rows: int) -> Tensor:
    """``broken`` if it is bool [rows], else a ``ValueError`` that names broken_fn."""
    if not isinstance(broken, Tensor) or broken.dtype != torch.bool or broken.shape != (rows,):
        got = f"{broken.dtype} {list(broken.shape)}" if isinstance(broken, Tensor) else type(broken).__name__
        raise ValueError(f"broken_fn: expected a bool tensor [{rows}], got {got}")
    return broken


def check_count(key: str, value: object) -> None:
    """Raise ``ValueError`` unless ``value`` is an integer >= 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{key}: expected an integer >= 1, got {value!r}")


def check_budget(eps: float, alpha: float, steps: int) -> None:
    """Raise ``ValueError`` unless 0 <= eps <= 1 and alpha >= 0 (finite, in units of pixel value) and steps >= 1."""
    for key, value in (("eps", eps), ("alpha", alpha)):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or value < 0:
            raise ValueError(f"{key}: expected a finite number >= 0, got {value!r}")
    if eps > 1:
        raise ValueError(f"eps: expected at most 1, got {eps!r}: pixels are in [0,1]; did you mean {eps:g}/255?")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps: expected an integer >= 1, got {steps!r}")


def check_labels(labels: Tensor, images: Tensor) -> None:
    """Raise ``ValueError`` unless ``labels`` is a tensor with a row for each image."""
    if not isinstance(labels, Tensor) or labels.dim() == 0 or len(labels) != len(images):
        got = list(labels.shape) if isinstance(labels, Tensor) else type(labels).__name__
        raise ValueError(f"labels: expected a tensor with {len(images)} rows, one an image, got {got}")


def check_generator(generator: torch.Generator | None, images: Tensor) -> None:
    """Raise ``ValueError`` unless ``generator`` is None or draws on the device of ``images``."""
    if generator is None:
        return
    if not isinstance(generator, torch.Generator):
        raise ValueError(f"generator: expected a torch.Generator or None, got {type(generator).__name__}")
    here, there = images.device, generator.device
    if here.type != there.type or None not in (here.index, there.index) and here.index != there.index:
        raise ValueError(
            f"generator: expected one on the images' device ({images.device}), got one on {generator.device}:"
            f" make it with torch.Generator(device={str(images.device)!r})"
        )
