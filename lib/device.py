"""Where to compute, what lies there once and for all, and how numbers get there without waiting."""

from functools import lru_cache

import torch
from torch import Tensor


def best_device() -> torch.device:
    """The first CUDA device where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@lru_cache(maxsize=256)
def constant(values: tuple[float, ...], device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """A few fixed numbers as a tensor, copied to ``device`` only the first time: a copy to a GPU waits for all that it has to do.

    Not to be written into.
    """
    with torch.inference_mode(False):  # made in inference mode it could serve no gradient later
        return torch.tensor(values, dtype=dtype, device=device)


def sent(tensor: Tensor, device: torch.device | str) -> Tensor:
    """``tensor``, which is on the CPU, on ``device``; a GPU is not waited for: it fetches a copy in pinned memory when it gets there."""
    pinned = tensor.pin_memory() if torch.device(device).type == "cuda" else tensor
    return pinned.to(device, non_blocking=True)
