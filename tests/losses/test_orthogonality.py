"""The difference loss against a loop, its zero, its gradient and bad inputs."""

import pytest
import torch

from lib.losses.orthogonality import difference_loss


def slow(a, b):
    rows = []
    for x in (a, b):
        x = x - sum(x) / len(x)
        rows.append(torch.stack([row / (row.norm() + 1e-6) for row in x]))
    total = 0.0
    for i in range(a.shape[1]):
        for j in range(b.shape[1]):
            total += sum(float(rows[0][n, i] * rows[1][n, j]) for n in range(len(a))) ** 2
    return total / a.shape[1] / b.shape[1]


def test_is_the_slow_one():
    a, b = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))
    assert difference_loss(a, b).item() == pytest.approx(slow(a, b), rel=1e-4)


def test_zero_for_uncorrelated_columns_and_positive_else():
    a = torch.tensor([[1.0, 0], [-1, 0], [1, 0], [-1, 0]])
    b = torch.tensor([[0.0, 1], [0, 1], [0, -1], [0, -1]])
    assert difference_loss(a, b).item() == pytest.approx(0, abs=1e-12)
    assert difference_loss(a, a) > 0.1


def test_gradient_takes_the_norms_as_constants():
    a, b = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(1))
    a.requires_grad_()
    difference_loss(a, b).backward()
    centred = [x.detach() - x.detach().mean(0) for x in (a, b)]
    norms = [x.norm(dim=1, keepdim=True) + 1e-6 for x in centred]

    def with_fixed_norms(x):
        return ((((x - x.mean(0)) / norms[0]).T @ (centred[1] / norms[1])) ** 2).mean()

    gradient = torch.zeros_like(a)
    for i in range(a.numel()):
        for sign in (1, -1):
            moved = a.detach().clone()
            moved.view(-1)[i] += sign * 1e-2
            gradient.view(-1)[i] += sign * with_fixed_norms(moved).item() / 2e-2
    assert torch.allclose(a.grad, gradient, atol=1e-4)


def test_falls_under_descent():
    a = torch.randn(32, 8, generator=torch.Generator().manual_seed(2)).requires_grad_()
    b = a.detach() + 0.1
    before = difference_loss(a, b).item()
    for _ in range(50):
        (gradient,) = torch.autograd.grad(difference_loss(a, b), a)
        a = (a - 2 * gradient).detach().requires_grad_()
    assert difference_loss(a, b).item() < 0.5 * before


def test_bad_input():
    with pytest.raises(ValueError, match="b: expected float"):
        difference_loss(torch.rand(4, 3), torch.rand(4, 2))
    with pytest.raises(ValueError, match="a: expected a float tensor"):
        difference_loss(torch.rand(4), torch.rand(4))
