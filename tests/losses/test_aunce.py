"""The AUNCE loss against a loop over anchors, finite differences, and what must hold of it."""

import math

import pytest
import torch

from lib.losses.aunce import BRANCHES, FIRST_RELEASE, _AnchorSum, anchor_losses, aunce_loss, draw_branches

B, D, K = 6, 5, 3


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


def ordered(y):
    """[M] labels -> the rows in the order of their labels (1, 0, unknown), and the numbers of the first two."""
    rows = [i for value in (1, 0) for i in range(len(y)) if y[i] == value]
    return rows + [i for i in range(len(y)) if i not in rows], (int((y == 1).sum()), int((y == 0).sum()))


def losses_of(u, y, branch, temperature=0.5, beta=(1.2, 0.8), released=False):
    """anchor_losses of one AU, u [M, D], in the order of the rows as they are."""
    rows, count = ordered(y)
    losses, gradient = anchor_losses(u[rows][None], [count], u.new_ones(1), [branch], temperature, beta, released)
    back = torch.tensor(rows).argsort()
    return losses[0, back], gradient[0, back]


def test_released_max_attracts_nothing_and_corrected_max_does():
    y = torch.tensor([1, 0, 1, 0, 0] * 2)
    u = torch.nn.functional.normalize(torch.eye(10) + 1, dim=1)  # all as far from each other
    for released in (True, False):
        attracted, alone = losses_of(u, y, "max", released=released)[1], losses_of(u, y, "self", released=released)[1]
        others = [0, 2, 5, 7]  # alike with row 0, of whose gradient the parts along the vectors of its own label are looked at
        along = attracted[0] - (attracted[0] @ u[0]) * u[0]
        assert bool((along @ u[others].T < -1e-6).any()) != released
        assert not torch.allclose(attracted, alone)


def test_a_lone_label_uses_its_own_other_view_in_max(batch):
    u1, u2, _ = batch
    y = torch.zeros(2 * B)
    y[[2, 2 + B]] = 1
    u = torch.cat([u1, u2])[..., 0]
    found, wanted = (losses_of(u, y, name, beta=(1, 1))[0] for name in ("max", "self"))
    assert torch.equal(found[[2, 2 + B]], wanted[[2, 2 + B]]) and not torch.allclose(found, wanted)


def test_positives_that_are_as_near_share_the_pull_of_max():
    y = torch.tensor([1, 1, 1, 0] * 2)
    u = torch.nn.functional.normalize(torch.randn(8, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    u[2] = u[1] = u[5] = u[6]  # the nearest of row 0
    gradient = losses_of(u.double(), y, "max")[1]
    assert torch.isfinite(gradient).all() and torch.allclose(gradient[1], gradient[2]) and torch.allclose(gradient[1], gradient[5])


@pytest.mark.parametrize("temperature", [0.3, 0.02])  # 0.02 shifts the logits: see SAFE
@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize("branch", BRANCHES)
def test_gradients_in_float64(batch, branch, released, temperature):
    u1, u2, labels = batch
    for k in range(K):
        y, u = torch.cat([labels, labels])[:, k], torch.cat([u1, u2])[..., k].double()
        slope, step = losses_of(u, y, branch, temperature, released=released)[1], 1e-6
        assert (slope[(y != 0) & (y != 1)] == 0).all()
        for i, d in torch.cartesian_prod(torch.arange(2 * B), torch.arange(D)).tolist():
            ends = []
            for sign in (1, -1):
                moved = u.clone()
                moved[i, d] += sign * step
                ends.append(losses_of(moved, y, branch, temperature, released=released)[0].sum().item())
            assert slope[i, d].item() == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("branch", BRANCHES)
def test_the_gradient_reaches_the_vectors(batch, branch):
    u1, u2, labels = (x.double() if x.is_floating_point() else x for x in batch)
    u = torch.cat([u1, u2]).mT.contiguous().requires_grad_()  # [M, K, D]
    orders, counts = zip(*(ordered(torch.cat([labels, labels])[:, k]) for k in range(K)))
    scale = torch.tensor([0.3, 0.5, 0.2], dtype=torch.float64)
    for branches in ([branch] * K, ["max", branch, "self"]):
        rest = (torch.tensor(orders), counts, scale, branches, 0.3, (1.2, 0.8), False)
        assert torch.autograd.gradcheck(lambda u: _AnchorSum.apply(u, *rest), u)


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
