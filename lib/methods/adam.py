"""Adam and AdamW over what a method trains."""

import torch
from torch import nn


def adam(method: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.Adam:
    """Adam (weight decay as an L2 term, not AdamW's) over the parameters that want a gradient.

    One fused kernel where torch has one: on the demo's small network the plain loop over the parameters takes a tenth of a
    step.
    """
    trained = [p for p in method.parameters() if p.requires_grad]
    fused = all(p.device.type in ("cpu", "cuda") for p in trained)
    return torch.optim.Adam(trained, learning_rate, weight_decay=weight_decay, fused=fused)


def adamw(method: nn.Module, parameters, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW over ``parameters`` (or groups of them) of ``method``: one fused kernel on a GPU.

    On the CPU torch's plain loop, which rounds otherwise: the committed run was trained with it.
    """
    fused = next(method.parameters()).is_cuda
    return torch.optim.AdamW(parameters, learning_rate, weight_decay=weight_decay, fused=fused or None)
