"""Evaluation mode for a while: everything is as it was afterwards."""

import pytest
import torch
from torch import nn

from lib.methods.modes import eval_mode


def mixed():
    """A module whose parts are in different modes and partly frozen."""
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Sequential(nn.Dropout(), nn.Linear(3, 2))).train()
    module[2][0].eval()
    module[0].bias.requires_grad_(False)
    return module


def state(module):
    return [part.training for part in module.modules()], [p.requires_grad for p in module.parameters()]


def test_inside_all_parts_are_in_eval_mode_and_frozen():
    module = mixed()
    statistics = module[1].running_mean.clone()
    with eval_mode(module):
        assert not any(part.training for part in module.modules())
        assert not any(p.requires_grad for p in module.parameters())
        module(torch.randn(8, 3) + 5)
    assert torch.equal(module[1].running_mean, statistics)
    module(torch.randn(8, 3) + 5)
    assert not torch.equal(module[1].running_mean, statistics)


def test_every_part_gets_its_own_mode_back():
    module = mixed()
    before = state(module)
    with eval_mode(module), eval_mode(module):
        pass
    assert state(module) == before and len(set(before[0])) == len(set(before[1])) == 2


def test_an_error_inside_puts_everything_back_too():
    module = mixed()
    before = state(module)
    with pytest.raises(KeyError), eval_mode(module):
        raise KeyError
    assert state(module) == before
