"""SimCLR and its adversarial positive."""

import math

import pytest
import torch
from torch.nn import functional as F

from lib.methods import build_method
from lib.methods.simclr import SimCLR, SimCLRConfig
from lib.views import Views

SMALL = {"head_hidden": 32, "head_dim": 16, "learning_rate": 3e-3}
MILD = Views(crop=0.9, rotation=5, colour=0.1, grey=0)


@pytest.fixture
def make(network):
    def build(seed=0, **settings):
        torch.manual_seed(seed)
        return SimCLR(SimCLRConfig(**SMALL | settings), network, MILD)

    return build


@pytest.mark.parametrize("attack_steps", [0, 2])
def test_the_loss_falls(make, blobs, train_for, attack_steps):
    before, after = train_for(make(attack_steps=attack_steps), blobs(32), 20)
    assert after["loss"] < 0.8 * before["loss"]


def slow_two_views(first, second, temperature):
    rows = [v / v.norm() for v in (*first, *second)]
    half, total = len(first), 0.0
    for i, row in enumerate(rows):
        weights = {j: math.exp(float(row @ other) / temperature) for j, other in enumerate(rows) if j != i}
        total -= math.log(weights[(i + half) % (2 * half)] / sum(weights.values()))
    return total / len(rows)


def test_plain_simclr_compares_two_views(make, blobs, seeded):
    method = make()
    (views,) = method.views(blobs(6), seeded())
    assert views["images"].shape == (12, 3, 16, 16) and views["count"] == 6
    terms = method.loss(views)
    z = method.embed(views["images"]).detach()
    assert set(terms) == {"loss", "contrast", "embedding"}
    assert terms["loss"].item() == pytest.approx(slow_two_views(z[:6], z[6:], 0.2), rel=1e-4)
    assert torch.equal(terms["embedding"].detach(), z[:6])


def test_the_adversarial_view_is_a_third_view_and_a_positive_of_the_second(make, blobs, seeded):
    method = make(attack_steps=2)
    (views,) = method.views(blobs(6), seeded())
    terms = method.loss(views)
    first, second, adversarial = method.embed(views["images"]).detach().split(6)
    assert set(terms) == {"loss", "contrast", "adversarial_contrast", "embedding"}
    assert terms["contrast"].item() == pytest.approx(slow_two_views(first, second, 0.2), rel=1e-4)
    assert terms["adversarial_contrast"].item() == pytest.approx(slow_two_views(adversarial, second, 0.2), rel=1e-4)
    assert terms["loss"].item() == pytest.approx((terms["contrast"] + terms["adversarial_contrast"]).item() / 2, rel=1e-5)


@pytest.mark.parametrize("eps", [2.0, 8.0])
def test_the_adversarial_view_is_near_the_first_and_looks_less_like_the_second(make, blobs, seeded, train_for, eps):
    method = make(attack_steps=3, attack_eps=eps, attack_alpha=eps / 2)
    train_for(method, blobs(32), 5)  # so that the statistics of batch norm are those of blobs
    first, second, adversarial = method.views(blobs(16, seed=1), seeded())[0]["images"].split(16)
    change = (adversarial - first).abs().amax().item()
    assert 0.9 * eps / 255 < change <= eps / 255 + 1e-6
    assert adversarial.min() >= 0 and adversarial.max() <= 1
    method.eval()
    with torch.no_grad():
        z = [method.embed(view) for view in (first, second, adversarial)]
    attacked, clean = F.cosine_similarity(z[2], z[1]), F.cosine_similarity(z[0], z[1])
    assert attacked.mean() < clean.mean() - 0.02 and (attacked < clean).float().mean() > 0.8


def test_attacking_leaves_statistics_modes_and_gradients_alone(make, blobs, seeded, statistics):
    method = make(attack_steps=2).train()
    before = statistics(method)
    method.views(blobs(8), seeded())
    after = statistics(method)
    assert before and all(torch.equal(before[name], after[name]) for name in before)
    assert all(part.training for part in method.modules())
    assert all(p.requires_grad and p.grad is None for p in method.parameters())


def test_views_are_drawn_from_the_generator_alone(make, blobs, seeded):
    method = make(attack_steps=1)
    one, same, other = (method.views(blobs(4), seeded(s))[0]["images"] for s in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_gradients_reach_backbone_and_head_and_all_is_optimised(make, blobs, seeded):
    method = make(attack_steps=1)
    method.loss(method.views(blobs(8), seeded())[0])["loss"].backward()
    for part in (method.network.backbone, method.head):
        assert sum(p.grad.abs().sum() for p in part.parameters()) > 0
    optimised = {id(p) for group in method.optimizer().param_groups for p in group["params"]}
    assert optimised == {id(p) for p in method.parameters()}


def test_built_by_name(network, blobs):
    method = build_method("simclr", SimCLRConfig(**SMALL), network, MILD)
    assert isinstance(method, SimCLR) and method.encoder()(blobs(2)).shape == (2, method.encoder().dim)
    with pytest.raises(ValueError, match="unknown 'simclear'; there are simclr, dar_sfrl"):
        build_method("simclear", SimCLRConfig(), network, MILD)


@pytest.mark.parametrize(("name", "value"), [("variant", "released"), ("attack_steps", -1)])
def test_odd_settings_are_refused(name, value):
    with pytest.raises(ValueError, match=f"^{name}: .*{value}"):
        SimCLRConfig(**{name: value})
