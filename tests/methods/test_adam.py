"""Adam and AdamW: which form, and that groups are as they were given."""

import pytest
import torch
from torch import nn

from lib.methods.adam import adam, adamw


def test_adamw_is_torch_s_plain_loop_on_a_cpu_with_the_groups_as_given():
    torch.manual_seed(0)
    method = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    groups = [{"params": list(method[0].parameters())}, {"params": list(method[1].parameters()), "lr": 0.5}]
    optimizer = adamw(method, [dict(group) for group in groups], 0.1, 0.01)
    assert [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups] == [(0.1, 0.01), (0.5, 0.01)]
    assert not any(group["fused"] for group in optimizer.param_groups)
    before = [p.detach().clone() for p in method.parameters()]
    x = torch.randn(5, 3)
    method(x).square().sum().backward()
    optimizer.step()
    for p, old, rate in zip(method.parameters(), before, (0.1, 0.1, 0.5, 0.5)):  # the first step of AdamW: lr times the sign
        assert torch.allclose(p, old * (1 - rate * 0.01) - rate * p.grad / (p.grad.abs() + 1e-8), atol=1e-6)


def test_adamw_takes_a_group_without_parameters():
    method = nn.Linear(3, 2)
    optimizer = adamw(method, [{"params": list(method.parameters())}, {"params": [], "lr": 0.5}], 0.1, 0.0)
    method(torch.ones(1, 3)).sum().backward()
    optimizer.step()


@pytest.mark.parametrize("fixed", [False, True])
def test_adam_trains_what_is_trained(fixed):
    method = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1).requires_grad_(not fixed))
    (group,) = adam(method, 0.1, 0.0).param_groups
    assert len(group["params"]) == (2 if fixed else 4) and group["fused"]
