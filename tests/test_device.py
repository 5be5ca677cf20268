"""Constants are copied to their device once, and serve gradients whoever made them; what is sent is not waited for."""

import torch

from lib.device import constant, sent
from tests.pretend_device import WAITS, pretend_device


def test_a_constant_is_made_once():
    cpu = torch.device("cpu")
    with torch.inference_mode():
        made = constant((0.25, 4.0), cpu)
    assert made.tolist() == [0.25, 4.0] and made.dtype == torch.float32
    assert constant((0.25, 4.0), cpu) is made and constant((0.25, 4.0), cpu, torch.float64).dtype == torch.float64
    x = torch.ones(2, requires_grad=True)
    (x * made).sum().backward()
    assert x.grad.tolist() == [0.25, 4.0]


def test_what_is_sent_is_not_waited_for():
    numbers = torch.tensor([1, 5, 2])
    assert sent(numbers, "cpu") is numbers
    with pretend_device() as device:
        WAITS.clear()
        there = sent(numbers, device)
        assert WAITS == [] and there.device == device and there.tolist() == [1, 5, 2]
