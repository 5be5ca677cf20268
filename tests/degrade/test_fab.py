"""FAB's projection against linear programming, and the attack against a model whose boundary is known."""

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import nn

from lib.degrade.draws import derive
from lib.degrade.fab import fab_targeted, project
from lib.degrade.objectives import misclassified
from lib.degrade.search import random_start


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


def test_several_targets_at_once_find_what_one_after_the_other_finds(make_images):
    """An image alone is searched one target after the other; beside many that have dropped out, towards several at once."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.Tanh(), nn.Flatten(), nn.Linear(8 * 36, 16), nn.Tanh(), nn.Linear(16, 5)
    ).double().eval()  # fmt: skip
    net[0].weight.data *= 10  # so curved that for one image a less likely class is reached in fewer steps than a likelier one
    net[3].weight.data *= 10
    images = make_images(30, 8).double()
    net[-1].bias.data -= net(images).mean(0).detach()
    labels, seeds, sizes = net(images).argmax(1), torch.arange(30), []
    labels[:8] = (labels[:8] + 1) % 5
    alone = [fab_targeted(net, images[[i]], labels[[i]], 0.012, steps=20, seeds=seeds[[i]]) for i in range(30)]
    got = fab_targeted(lambda x: sizes.append(len(x)) or net(x), images, labels, 0.012, steps=20, seeds=seeds)
    assert torch.allclose(got, torch.cat(alone), atol=1e-12)
    assert 8 < misclassified(net(got), labels).sum() < 30 and max(sizes) <= 30
    assert any(later > earlier for earlier, later in zip(sizes, sizes[1:])) and len(sizes) < 1 + 4 * 2 * 20
    sizes.clear()
    model = lambda x: sizes.append(len(x)) or net(x)  # noqa: E731
    assert torch.allclose(fab_targeted(model, images, labels, 0.012, steps=20, seeds=seeds, most_rows=88), got, atol=1e-12)
    assert sizes[:2] == [30, 88] and len(sizes) <= 1 + 2 * 20  # all 4 targets of 22 images


def slow_search(net, clean, label, target, eps, steps, start):
    """Section 3 of the paper for one image and one target, in vectors: every point at which the model was asked."""
    x, asked = start, []
    for step in range(steps):
        x = x.detach().requires_grad_()
        logits = net(x.view(1, 3, 8, 8))[0]
        gap = logits[target] - logits[label]
        (w,) = torch.autograd.grad(gap, x)
        x, gap = x.detach(), gap.item()
        b = gap - w @ x  # the plane w . z + b = 0
        near, far = (project(z[None], w[None], -b[None])[0] for z in (x, clean))
        a, c = (near - x).abs().max(), (far - clean).abs().max()
        alpha = min((a / (a + c)).item(), 0.1)
        x = ((1 - alpha) * (x + 1.05 * (near - x)) + alpha * (clean + 1.05 * (far - clean))).clamp(0, 1)
        asked.append(x)
        logits = net(x.view(1, 3, 8, 8))[0]
        if logits.argmax() != label:
            if (x - clean).abs().max() <= eps:
                break
            x = clean + 0.9 * (x - clean)
        if step < steps - 1:
            asked.append(x)  # once more, for the gradient
    return asked


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("eps", [0.001, 0.05])
def test_visits_the_points_of_the_published_search(make_images, place, eps):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.Tanh(), nn.Flatten(), nn.Linear(8 * 36, 16), nn.Tanh(), nn.Linear(16, 3)
    ).double().eval()  # fmt: skip
    images = make_images(6, 8).double()
    net[-1].bias.data -= net(images).mean(0).detach()
    logits = net(images)
    labels, order = logits.argmax(1), logits.argsort(1, descending=True)
    lengths, asked = [], []
    for number in range(6):
        clean, seed = images[number : number + 1], torch.tensor([number])
        starts = [clean, random_start(clean, eps, derive(seed, 1))]
        expected = [
            slow_search(net, clean.flatten(), labels[number], order[number, 1 + p], eps, 12, starts[p].flatten()) for p in (0, 1)
        ]
        asked.clear()
        fab_targeted(
            lambda x: asked.append(x.detach().flatten()) or net(x), clean, labels[number : number + 1], eps,
            steps=12, targets=1 + place, seeds=seed,
        )  # fmt: skip
        passes = [clean.flatten(), clean.flatten(), *expected[0]]  # is it right at all; the first gradient
        if place and (expected[0][-1] - clean.flatten()).abs().max() > eps:
            passes += [starts[1].flatten(), *expected[1]]
        assert len(asked) == len(passes) and torch.allclose(torch.stack(asked), torch.stack(passes), atol=1e-12)
        lengths.append(len(asked))
    assert (max(lengths) > 14) if eps == 0.001 else (max(lengths) < 14)  # where the budget is large it ends early
