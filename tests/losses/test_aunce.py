"""The AUNCE loss against a loop over anchors, finite differences, and what must hold of it."""

import math

import pytest
import torch

from lib.losses.aunce import BRANCHES, FIRST_RELEASE, aunce_loss, draw_branches
from lib.losses.aunce_matrices import losses_by_matrices

B, D, K = 6, 5, 3


@pytest.fixture(params=["blocks", "matrices"], autouse=True)
def way(request, monkeypatch):
    """A CPU goes by blocks; the way of a GPU is tried here too."""
    if request.param == "matrices":
        monkeypatch.setattr("lib.losses.aunce.losses_by_blocks", losses_by_matrices)


@pytest.fixture
def batch():
    g = torch.Generator().manual_seed(4)
    u1, u2 = (torch.nn.functional.normalize(torch.randn(B, D, K, generator=g), dim=1) for _ in range(2))
    labels = torch.tensor([[0, 1, 0], [1, 0, 0], [0, 0, 1], [1, 1, 0], [0, 0, 0], [0, 9, -1]])
    return u1, u2, labels


def slow_aunce(u1, u2, labels, branch, temperature=0.5, beta=(1.2, 0.8), released=False, weights=None):
    """Anchor by anchor, with plain exponentials; an unknown row is taken out of the lists."""
    per_unit = []
    for k in range(u1.shape[2]):
        name = branch if isinstance(branch, str) else branch[k]
        rows = [(view, i) for view in range(2) for i in range(len(u1)) if int(labels[i, k]) in (0, 1)]
        vector = {(view, i): (u1, u2)[view][i, :, k] for view, i in rows}

        def s(a, b):
            return float(vector[a] @ vector[b]) / temperature

        losses = []
        for a in rows:
            other_view = (1 - a[0], a[1])
            y = int(labels[a[1], k])
            alike = [b for b in rows if int(labels[b[1], k]) == y]
            power = beta[0] if y == 1 else beta[1]
            negative = sum(math.exp(power * s(a, b)) for b in rows if int(labels[b[1], k]) != y)
            if name == "self":
                positive = math.exp(s(a, other_view))
            elif name == "mean":
                if released:
                    positive = sum(math.exp(s(a, b)) for b in alike) / len(rows)
                else:
                    positive = sum(math.exp(s(a, b)) for b in alike if b != a) / (len(alike) - 1)
            elif released:
                positive = max(math.exp(s(a, b)) for b in alike)
            else:
                others = [b for b in alike if b[1] != a[1]] or [other_view]
                positive = max(math.exp(s(a, b)) for b in others)
            losses.append(-math.log(positive / (positive + negative)))
        if losses:
            per_unit.append(sum(losses) / len(losses) * (1 if weights is None else float(weights[k])))
    return sum(per_unit) / len(per_unit)


@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize("branch", [*BRANCHES, ["self", "max", "mean"], ["mean", "self", "mean"]])
@pytest.mark.parametrize("beta", [(1.2, 0.8), (0.5, 2.0)])
def test_it_is_the_slow_one(batch, branch, released, beta):
    wanted = slow_aunce(*batch, branch, 0.3, beta, released)
    assert aunce_loss(*batch, branch, 0.3, beta, released).item() == pytest.approx(wanted, rel=1e-5)


def test_the_defaults_are_the_published_ones(batch):
    assert aunce_loss(*batch, "mean").item() == pytest.approx(slow_aunce(*batch, "mean", 0.5, (1.2, 0.8), False), rel=1e-5)


def test_the_first_release(batch):
    weights = torch.tensor([0.5, 1.5, 1.0])
    wanted = slow_aunce(*batch, "mean", 0.5, (1.2, 0.4), True, weights)
    assert aunce_loss(*batch, "mean", weights=weights, **FIRST_RELEASE).item() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("released", [False, True])
def test_unknown_rows_count_as_if_they_were_not_there(batch, released):
    u1, u2, labels = batch
    labels = labels[:, :1].clone()
    labels[[1, 4]] = torch.tensor([[9], [-1]])
    rest = [0, 2, 3, 5]
    for branch in BRANCHES:
        whole = aunce_loss(u1[..., :1], u2[..., :1], labels, branch, released=released)
        part = aunce_loss(u1[rest, :, :1], u2[rest, :, :1], labels[rest], branch, released=released)
        assert whole.item() == pytest.approx(part.item(), rel=1e-6)


def test_an_au_unknown_everywhere_is_left_out_and_nothing_known_is_no_loss(batch):
    u1, u2, labels = batch
    labels = labels.clone()
    labels[:, 1] = 9
    two = aunce_loss(u1[..., [0, 2]], u2[..., [0, 2]], labels[:, [0, 2]], "mean")
    assert aunce_loss(u1, u2, labels, "mean").item() == pytest.approx(two.item(), rel=1e-6)
    u1 = u1.clone().requires_grad_()
    nothing = aunce_loss(u1, u2, torch.full((B, K), -1), "max")
    nothing.backward()
    assert nothing.item() == 0 and (u1.grad == 0).all()


@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize("branch", BRANCHES)
def test_without_negatives_there_is_no_loss_and_no_gradient(batch, branch, released):
    u1, u2, _ = batch
    u1 = u1.clone().requires_grad_()
    value = aunce_loss(u1, u2, torch.ones(B, K), branch, released=released)
    value.backward()
    assert value.item() == 0 and (u1.grad == 0).all()


@pytest.mark.parametrize("branch", BRANCHES)
def test_the_gradient_reaches_the_vectors(batch, branch):
    u1, u2, labels = batch
    weights = torch.tensor([0.5, 1.5, 1.0])

    def value(one):
        return aunce_loss(one, u2, labels, branch, 0.3, weights=weights)

    u = u1.clone().requires_grad_()
    (slope,) = torch.autograd.grad(3 * value(u), u)
    direction = torch.randn(B, D, K, generator=torch.Generator().manual_seed(2))
    direction -= (direction * u1).sum(1, keepdim=True) * u1  # along the sphere, so that lengths stay 1
    step = 2e-3
    ends = [value(torch.nn.functional.normalize(u1 + sign * step * direction, dim=1)).item() for sign in (1, -1)]
    assert (slope * direction).sum().item() == pytest.approx(3 * (ends[0] - ends[1]) / (2 * step), rel=0.01)


def test_log_space_survives_any_temperature(batch):
    u1, u2, labels = batch
    u1 = u1.clone().requires_grad_()
    for branch in BRANCHES:
        value = aunce_loss(u1, u2, labels, branch, temperature=1e-3)
        (grad,) = torch.autograd.grad(value, u1)
        assert torch.isfinite(value) and torch.isfinite(grad).all() and grad.abs().max() > 0


def test_images_and_units_may_be_reordered(batch):
    u1, u2, labels = batch
    branch = ["max", "mean", "self"]
    images, units = torch.tensor([3, 0, 5, 1, 4, 2]), torch.tensor([2, 0, 1])
    moved = [x[images][..., units] for x in batch]
    found = aunce_loss(*moved, [branch[k] for k in units])
    assert found.item() == pytest.approx(aunce_loss(u1, u2, labels, branch).item(), rel=1e-6)
    assert aunce_loss(u2, u1, labels, branch).item() == pytest.approx(found.item(), rel=1e-6)


def test_a_scalar_in_float32_under_autocast_and_for_any_label_type(batch):
    u1, u2, labels = batch
    plain = aunce_loss(u1, u2, labels, "mean")
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(aunce_loss(u1, u2, labels.float(), "mean"), plain)
    half = aunce_loss(u1.bfloat16(), u2.bfloat16(), labels, "mean")
    assert half.dtype == plain.dtype == torch.float32 and half.item() == pytest.approx(plain.item(), rel=0.02)


def test_vectors_are_unit_or_zero(batch):
    u1, u2, labels = batch
    nodes = torch.randn(B, D, K, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match=r"u1, u2: expected vectors of length 1 \(or 0\).*got lengths from 1 to 7.9; norm"):
        aunce_loss(nodes * 2, u2, labels, "mean")
    longer, zero, broken = u1.clone(), u1.clone(), u1.clone()
    longer[3, :, 1] *= 1.02
    zero[3, :, 1] = 0
    broken[3, :, 1] = torch.nan
    with pytest.raises(ValueError, match="u1, u2: expected vectors of length 1 .* to 1.02;"):
        aunce_loss(u2, longer, labels, "self")
    wanted = slow_aunce(zero, u2, labels, "mean")
    assert aunce_loss(zero, u2, labels, "mean").item() == pytest.approx(wanted, rel=1e-5)
    for branch in BRANCHES:  # the training loop then says which step it was
        assert torch.isnan(aunce_loss(broken, u2, labels, branch))
    rounded = torch.nn.functional.normalize(nodes.bfloat16(), dim=1)
    assert torch.isfinite(aunce_loss(rounded, rounded, labels, "mean"))


def test_branches_are_drawn_as_published():
    drawn = draw_branches(20000, torch.Generator().manual_seed(0))
    for name, rate in zip(BRANCHES, (0.2, 0.6, 0.2)):
        assert drawn.count(name) / len(drawn) == pytest.approx(rate, abs=0.015)
    assert draw_branches(9, torch.Generator().manual_seed(1)) == draw_branches(9, torch.Generator().manual_seed(1))
    assert set(draw_branches(50, torch.Generator(), (0, 0, 1))) == {"self"}
    assert set(draw_branches(50, torch.Generator(), (1, 0, 0))) == {"max"}


def test_bad_input(batch):
    u1, u2, labels = batch
    cases = [
        (lambda: aunce_loss(u1[0], u2[0], labels, "max"), r"u1: expected a non-empty float tensor \[B, D, K\], got"),
        (lambda: aunce_loss(u1.long(), u2, labels, "max"), "u1: expected a non-empty float tensor"),
        (lambda: aunce_loss(u1[:0], u2[:0], labels[:0], "max"), "u1: expected a non-empty"),
        (lambda: aunce_loss(u1, u2[:4], labels, "max"), "u2: expected float .* like u1"),
        (lambda: aunce_loss(u1, u2, labels[:, :2], "max"), r"labels: expected \[6, 3\]"),
        (lambda: aunce_loss(u1, u2, labels + 1, "max"), r"labels: expected 0, 1, or 9 or -1 \(unknown\), got \[2, 10\]"),
        (lambda: aunce_loss(u1, u2, labels * torch.nan, "max"), "labels: expected 0, 1"),
        (lambda: aunce_loss(u1, u2, labels, "most"), "branch: expected one of max, mean, self, or 3 of these.*'most'"),
        (lambda: aunce_loss(u1, u2, labels, ["max"] * 2), "branch: expected"),
        (lambda: aunce_loss(u1, u2, labels, "max", 0.0), "temperature: expected a number > 0"),
        (lambda: aunce_loss(u1, u2, labels, "max", beta=(1.0, 0.0)), "beta: expected two numbers > 0"),
        (lambda: aunce_loss(u1, u2, labels, "max", weights=torch.ones(2)), r"weights: expected float \[3\]"),
        (lambda: draw_branches(3, torch.Generator(), (0.5, 0.2, 0.2)), "probabilities: expected three numbers"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
