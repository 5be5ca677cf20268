"""Constants are copied to their device once, and serve gradients whoever made them."""

import torch

from lib.device import constant


def test_a_constant_is_made_once():
    cpu = torch.device("cpu")
    with torch.inference_mode():
        made = constant((0.25, 4.0), cpu)
    assert made.tolist() == [0.25, 4.0] and made.dtype == torch.float32
    assert constant((0.25, 4.0), cpu) is made and constant((0.25, 4.0), cpu, torch.float64).dtype == torch.float64
    x = torch.ones(2, requires_grad=True)
    (x * made).sum().backward()
    assert x.grad.tolist() == [0.25, 4.0]
