"""A network that follows another as a moving average: the key encoder of MoCo, the target of BYOL."""

import copy

import torch
from torch import nn


def follower(network: nn.Module) -> nn.Module:
    """A copy of ``network`` that no optimiser moves."""
    return copy.deepcopy(network).requires_grad_(False)


@torch.no_grad()
def follow(target: nn.Module, online: nn.Module, momentum: float) -> None:
    """target <- momentum * target + (1 - momentum) * online, parameter by parameter; buffers are the target's own."""
    torch._foreach_lerp_(list(target.parameters()), list(online.parameters()), 1 - momentum)
