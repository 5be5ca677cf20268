"""Evaluation mode for a while: attacks in training must not move batch-norm statistics."""

import contextlib
from collections.abc import Iterator

from torch import nn


@contextlib.contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """Every sub-module in eval mode and no gradient for the parameters; all put back at the end, errors included."""
    modes = {part: part.training for part in module.modules()}
    wanted = {parameter: parameter.requires_grad for parameter in module.parameters()}
    module.eval().requires_grad_(False)
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training
        for parameter, requires_grad in wanted.items():
            parameter.requires_grad_(requires_grad)
