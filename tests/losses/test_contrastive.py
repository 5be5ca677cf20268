"""NT-Xent and mixed InfoNCE against loops, finite differences and bad inputs."""

import math

import pytest
import torch

from lib.losses.contrastive import mixed_info_nce, nt_xent, other_view, two_view_nt_xent


def unit(v):
    return v / v.norm()


def slow_nt_xent(z, positive, temperature, exclude=None):
    total = 0.0
    for i in range(len(positive)):
        weights = {}
        for j in range(len(z)):
            if j != i and not (exclude is not None and exclude[i, j]):
                weights[j] = math.exp(float(unit(z[i]) @ unit(z[j])) / temperature)
        total -= math.log(weights[int(positive[i])] / sum(weights.values()))
    return total / len(positive)


def slow_mixed(query, key, negatives, mix, temperature):
    total = 0.0
    for i in range(len(query)):
        q = unit(query[i])
        weights = [math.exp(float(q @ unit(key[i])) / temperature)]
        for j in range(negatives.shape[1]):
            n = negatives[i, j]
            if mix is not None:
                w = mix[0][i, j]
                n = w * n + (1 - w) * negatives[i, mix[1][j]]
            weights.append(math.exp(float(q @ unit(n)) / temperature))
        total -= math.log(weights[0] / sum(weights))
    return total / len(query)


@pytest.fixture
def pairs():
    g = torch.Generator().manual_seed(3)
    return torch.randn(8, 5, generator=g), (torch.arange(8) + 4) % 8, g


def test_nt_xent_is_the_slow_one(pairs):
    z, positive, _ = pairs
    assert nt_xent(z, positive, 0.3).item() == pytest.approx(slow_nt_xent(z, positive, 0.3), rel=1e-5)


def test_nt_xent_of_two_views_is_the_slow_one(pairs):
    z, positive, _ = pairs
    assert torch.equal(other_view(8, z.device), positive)
    wanted = slow_nt_xent(z, positive, 0.3)
    for tile in (None, 3):
        assert two_view_nt_xent(z[:4], z[4:], 0.3, tile).item() == pytest.approx(wanted, rel=1e-5)
    halves = [half.double().requires_grad_() for half in z.split(4)]
    assert torch.autograd.gradcheck(lambda *both: two_view_nt_xent(*both, 0.3), halves, atol=1e-3, eps=1e-3)  # sums in float32
    for arguments, message in (
        ((z[:4], z[4:7], 0.3), "second: expected float .* like first"), ((z[:4], z[4:], 0.0), "temperature: expected a number > 0"),
        ((z[:4], z[4:], 0.3, -3), "tile: expected None or an integer >= 1"), ((z[0], z[0]), r"first: expected .*\[n, D\]"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            two_view_nt_xent(*arguments)


def test_nt_xent_leaves_excluded_pairs_out_of_the_denominator(pairs):
    z, positive, g = pairs
    exclude = torch.rand(8, 8, generator=g) < 0.3
    exclude[torch.arange(8), positive] = False
    value = nt_xent(z, positive, 0.3, exclude)
    assert value.item() == pytest.approx(slow_nt_xent(z, positive, 0.3, exclude), rel=1e-5)
    assert value < nt_xent(z, positive, 0.3)


def test_nt_xent_with_fewer_anchors_than_rows(pairs):
    z, positive, _ = pairs
    assert nt_xent(z, positive[:4], 0.3).item() == pytest.approx(slow_nt_xent(z, positive[:4], 0.3), rel=1e-5)


def test_nt_xent_ignores_the_length_of_embeddings(pairs):
    z, positive, _ = pairs
    assert torch.allclose(nt_xent(z, positive), nt_xent(z * torch.rand(8, 1).add(0.5), positive), atol=1e-5)


@pytest.mark.parametrize("mixed", [False, True])
def test_mixed_info_nce_is_the_slow_one(mixed):
    g = torch.Generator().manual_seed(1)
    query, key, negatives = (torch.randn(s, generator=g) for s in ((4, 6), (4, 6), (4, 7, 6)))
    mix = (torch.rand(4, 7, generator=g), torch.randperm(7, generator=g)) if mixed else None
    assert mixed_info_nce(query, key, negatives, mix, 0.2).item() == pytest.approx(slow_mixed(query, key, negatives, mix, 0.2), rel=1e-5)


def finite_difference(f, x, step=1e-3):
    gradient = torch.zeros_like(x)
    for i in range(x.numel()):
        for sign in (1, -1):
            moved = x.clone()
            moved.view(-1)[i] += sign * step
            gradient.view(-1)[i] += sign * f(moved).item() / (2 * step)
    return gradient


def test_gradients(pairs):
    z, positive, g = pairs
    z.requires_grad_()
    nt_xent(z, positive, 0.5).backward()
    assert torch.allclose(z.grad, finite_difference(lambda x: nt_xent(x, positive, 0.5), z.detach()), atol=2e-3)
    negatives = torch.randn(8, 3, 5, generator=g, requires_grad=True)
    mix = (torch.rand(8, 3, generator=g), torch.tensor([1, 2, 0]))
    query, key = z.detach(), torch.randn(8, 5, generator=g)
    mixed_info_nce(query, key, negatives, mix, 0.5).backward()
    slow = finite_difference(lambda x: mixed_info_nce(query, key, x, mix, 0.5), negatives.detach())
    assert torch.allclose(negatives.grad, slow, atol=2e-3)


def test_float32_under_autocast(pairs):
    z, positive, _ = pairs
    with torch.autocast("cpu", torch.bfloat16):
        value = nt_xent(z, positive, 0.07)
    assert value.dtype == torch.float32
    assert torch.equal(value, nt_xent(z, positive, 0.07))


def test_bad_input(pairs):
    z, positive, _ = pairs
    own = positive.clone()
    own[2] = 2
    exclude = torch.zeros(8, 8, dtype=torch.bool)
    exclude[0, 4] = True
    cases = [
        (lambda: nt_xent(z.long(), positive), "z: expected a float tensor"),
        (lambda: nt_xent(z[:0], positive), "at least one row"),
        (lambda: nt_xent(z, own), "cannot be its own positive"),
        (lambda: nt_xent(z, positive + 4), "positive: expected rows 0..7"),
        (lambda: nt_xent(z, positive.float()), "positive: expected a long tensor"),
        (lambda: nt_xent(z, positive, 0.0), "temperature: expected a number > 0"),
        (lambda: nt_xent(z, positive, exclude=exclude), "takes out a row's own positive"),
        (lambda: nt_xent(z, positive, exclude=exclude.float()), "exclude: expected bool"),
        (lambda: mixed_info_nce(z, z[:4], z[:, None]), "key: expected float"),
        (lambda: mixed_info_nce(z, z, z), "negatives: expected"),
        (lambda: mixed_info_nce(z, z, z[:, None], (torch.full((8, 1), 1.5), torch.tensor([0]))), r"weights must lie in \[0, 1\]"),
        (lambda: mixed_info_nce(z, z, z[:, None], (torch.ones(8, 2), torch.tensor([0]))), "mix: expected weights"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
