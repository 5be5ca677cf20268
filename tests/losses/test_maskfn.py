"""MaskFN's loss against loops: what is picked, attracted, protected and spared."""

import math

import pytest
import torch

from lib.losses.contrastive import nt_xent
from lib.losses.maskfn import false_negatives, maskfn_loss, maskfn_with_picks


def unit(v):
    return v / v.norm()


def slow_maskfn(z, positive, similarity, temperature, weight, protected=None, spare=False):
    first, second = [], []
    for i in range(len(z)):
        p = int(positive[i])
        score = {j: math.exp(float(unit(z[i]) @ unit(z[j])) / temperature) for j in range(len(z)) if j != i}
        open_ = [j for j in range(len(z)) if j not in (i, p) and not (protected is not None and protected[i, j])]
        if not open_:
            first.append(-math.log(score[p] / sum(score.values())))
            continue
        picked = max(open_, key=lambda j: float(similarity[i, j]))
        out = {picked, p} | ({int(positive[picked])} if spare else set())
        negatives = sum(value for j, value in score.items() if j not in out)
        first.append(-math.log(score[p] / (score[p] + negatives)))
        second.append(-math.log(score[picked] / (score[picked] + negatives)))
    return sum(first) / len(first) + (weight * sum(second) / len(second) if second else 0.0)


@pytest.fixture
def batch():
    g = torch.Generator().manual_seed(4)
    z, descriptors = torch.randn(10, 5, generator=g), torch.randn(10, 6, generator=g)
    descriptors = descriptors / descriptors.norm(dim=1, keepdim=True)
    return z, torch.arange(10).roll(5), descriptors @ descriptors.T, g


@pytest.mark.parametrize("spare", [False, True])
@pytest.mark.parametrize("guarded", [False, True])
def test_it_is_the_slow_one(batch, spare, guarded):
    z, positive, similarity, g = batch
    protected = torch.rand(10, 10, generator=g) < 0.5 if guarded else None
    if guarded:
        protected[2] = True  # this row has nothing to pick
        assert false_negatives(similarity, positive, protected)[2] == -1
    expected = slow_maskfn(z, positive, similarity, 0.3, 0.7, protected, spare)
    for tile in (None, 1, 4):
        value = maskfn_loss(z, positive, similarity, 0.3, 0.7, protected, spare, tile)
        assert value.item() == pytest.approx(expected, rel=1e-5)


def test_the_defaults_are_the_published_ones(batch):
    z, positive, similarity, _ = batch
    value = maskfn_loss(z, positive, similarity)
    assert value.item() == pytest.approx(slow_maskfn(z, positive, similarity, 0.07, 0.8), rel=1e-4)


def test_with_everything_protected_it_is_nt_xent(batch):
    z, positive, similarity, _ = batch
    everything = torch.ones(10, 10, dtype=torch.bool)
    assert maskfn_loss(z, positive, similarity, 0.3, 0.8, everything).item() == pytest.approx(nt_xent(z, positive, 0.3).item())


def test_a_positive_that_is_not_mutual_is_not_spared_against_itself(batch):
    z, _, similarity, _ = batch
    positive = torch.tensor([1, 2, 3, 4, 0, 1, 1, 1, 1, 1])
    similarity[5, 6] = 2.0  # row 5 picks row 6, whose positive is its own
    value = maskfn_loss(z, positive, similarity, 0.3, 0.8, spare_views=True)
    assert value.item() == pytest.approx(slow_maskfn(z, positive, similarity, 0.3, 0.8, spare=True), rel=1e-5)


def test_what_is_picked():
    similarity = torch.tensor([[1, 0.9, 0.8, 0.7], [0.9, 1, 0.1, 0.2], [0.8, 0.1, 1, 0.95], [0.7, 0.2, 0.95, 1]])
    positive = torch.tensor([1, 0, 3, 2])
    assert false_negatives(similarity, positive).tolist() == [2, 3, 0, 0]
    protected = torch.zeros(4, 4, dtype=torch.bool)
    protected[0, 2] = protected[1] = True
    assert false_negatives(similarity, positive, protected).tolist() == [3, -1, 0, 0]


@pytest.mark.parametrize("guarded", [False, True])
def test_the_picks_come_with_the_very_same_loss(batch, guarded):
    z, positive, similarity, g = batch
    protected = torch.rand(10, 10, generator=g) < 0.8 if guarded else None
    arguments = (z, positive, similarity, 0.3, 0.7, protected, True, 4)
    loss, picked = maskfn_with_picks(*arguments)
    assert torch.equal(loss, maskfn_loss(*arguments))
    assert torch.equal(picked, false_negatives(similarity, positive, protected)) and (picked == -1).any() == guarded


def test_gradient(batch):
    z, positive, similarity, g = batch
    protected = torch.rand(10, 10, generator=g) < 0.4
    z = z.requires_grad_()
    maskfn_loss(z, positive, similarity, 0.5, 0.8, protected, True, 3).backward()
    step, slow = 1e-4, torch.zeros(10, 5, dtype=torch.double)
    for i in range(50):
        for sign in (1, -1):
            moved = z.detach().double().clone()
            moved.view(-1)[i] += sign * step
            slow.view(-1)[i] += sign * slow_maskfn(moved, positive, similarity, 0.5, 0.8, protected, True) / (2 * step)
    assert torch.allclose(z.grad.double(), slow, atol=1e-5)


def test_float32_under_autocast(batch):
    z, positive, similarity, _ = batch
    with torch.autocast("cpu", torch.bfloat16):
        value = maskfn_loss(z, positive, similarity)
    assert value.dtype == torch.float32 and torch.equal(value, maskfn_loss(z, positive, similarity))


def test_bad_input(batch):
    z, positive, similarity, _ = batch
    for call, message in (
        (lambda: maskfn_loss(z, positive, similarity[:9]), r"similarity: expected float \[10, 10\]"),
        (lambda: maskfn_loss(z, positive, similarity.long()), "similarity: expected float"),
        (lambda: maskfn_loss(z, positive[:5], similarity[:5, :5]), r"positive: expected long \[10\], one an embedding"),
        (lambda: maskfn_loss(z, positive, similarity, weight=-1.0), "weight: expected a number >= 0, got -1.0"),
        (lambda: maskfn_loss(z, positive, similarity, temperature=0.0), "temperature: expected a number > 0"),
        (lambda: maskfn_loss(z, positive, similarity, tile=0), "tile: expected None or an integer >= 1, got 0"),
        (lambda: maskfn_loss(z, positive, similarity, protected=similarity), r"protected: expected bool \[10, 10\]"),
        (lambda: maskfn_loss(z, positive + 5, similarity), "positive: expected rows 0..9, got 5..14"),
        (lambda: maskfn_loss(z, torch.arange(10), similarity), "cannot be its own positive"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
