"""FAB's projection against linear programming, and the attack against a model whose boundary is known."""

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import nn

from lib.degrade.fab import fab_targeted, project
from lib.degrade.objectives import misclassified


def nearest_by_linear_programming(x, w, need):
    """Least t with |d| <= t, 0 <= x + d <= 1, w . (x + d) = need."""
    n = len(x)
    cost = np.r_[np.zeros(n), 1]
    eye = np.eye(n)
    upper = np.r_[np.c_[eye, -np.ones(n)], np.c_[-eye, -np.ones(n)]]
    found = linprog(
        cost, A_ub=upper, b_ub=np.zeros(2 * n), A_eq=np.r_[w, 0][None], b_eq=[need - w @ x],
        bounds=[*zip(-x, 1 - x, strict=True), (0, None)],
    )  # fmt: skip
    return found.fun if found.success else None


def test_projection_is_the_nearest_point_in_the_box():
    draw = torch.Generator().manual_seed(0)
    points = torch.rand(40, 6, generator=draw, dtype=torch.float64)
    slope = torch.randn(40, 6, generator=draw, dtype=torch.float64)
    need = (slope * torch.rand(40, 6, generator=draw, dtype=torch.float64)).sum(1)  # somewhere in the box
    got = project(points, slope, need)
    assert got.min() > -1e-9 and got.max() < 1 + 1e-9 and torch.allclose((got * slope).sum(1), need)
    for x, w, b, moved in zip(points.numpy(), slope.numpy(), need.tolist(), (got - points).abs().amax(1).tolist(), strict=True):
        assert moved == pytest.approx(nearest_by_linear_programming(x, w, b), abs=1e-7)


def test_where_no_point_is_on_the_plane_it_is_the_nearest_corner():
    points, slope = torch.full((1, 3), 0.5), torch.tensor([[1.0, -2.0, 0.5]])
    assert torch.allclose(project(points, slope, torch.tensor([9.0])), torch.tensor([[1.0, 0.0, 1.0]]))


@pytest.fixture
def linear(make_images):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 3)).double().eval()
    images = make_images(30, 8).double()
    return net, images, net(images).argmax(1)


def test_finds_what_a_linear_model_gives_away(linear):
    net, images, labels = linear
    weight, bias = net[1].weight.detach(), net[1].bias.detach()
    least = []
    for image, label in zip(images.flatten(1), labels, strict=True):
        sizes = []
        for other in {0, 1, 2} - {label.item()}:
            w = weight[other] - weight[label]
            moved = project(image[None], w[None], (bias[label] - bias[other])[None])
            if (moved @ w + bias[other] - bias[label]).item() > -1e-9:
                sizes.append((moved - image).abs().max().item())
        least.append(min(sizes))
    least = torch.tensor(least)
    eps = least.median().item() * 1.02
    got = fab_targeted(net, images, labels, eps, steps=20, seeds=torch.arange(30))
    broken = misclassified(net(got), labels)
    assert (got - images).abs().max() <= eps + 1e-9 and torch.equal(got[~broken], images[~broken])
    assert broken[least < eps * 0.97].all() and not broken[least > eps].any() and 10 < broken.sum() < 20


def test_broken_images_drop_out(linear):
    net, images, labels = linear
    sizes = []
    net.register_forward_hook(lambda module, inputs, output: sizes.append(len(output)))
    labels = labels.clone()
    labels[:4] = (labels[:4] + 1) % 3
    fab_targeted(net, images, labels, 0.02, steps=5, targets=1)
    assert sizes[:2] == [30, 26] and sizes[-1] < 26
