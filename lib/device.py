"""Where to compute, and what lies there once and for all."""

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
