"""BYOL: the reference loss both ways, no gradient into the target, and a momentum that rises to 1."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lib.degrade.occluders import MEAN_FACE
from lib.loading import ClipBatch
from lib.methods import build_method
from lib.methods.byol import BYOL, BYOLConfig
from lib.methods.moving_average import follow, follower
from lib.views import Views

MILD = Views(crop=0.9, rotation=5, colour=0.1, grey=0)
SMALL = {"head_hidden": 32, "head_dim": 16, "learning_rate": 3e-3, "momentum": 0.9}


@pytest.fixture
def make(network):
    def build(seed=0, **settings):
        torch.manual_seed(seed)
        return BYOL(BYOLConfig(**SMALL | settings), network, MILD)

    return build


@pytest.fixture
def clips(blobs):
    def build(count, frames=2):
        landmarks = (torch.tensor(MEAN_FACE) * 16).expand(count, frames, -1, -1)
        return ClipBatch(blobs(count)[:, None].expand(-1, frames, -1, -1, -1), landmarks, torch.arange(count))

    return build


def test_the_loss_is_two_minus_two_cosines_both_ways(make, clips, seeded):
    method = make()
    (views,) = method.views(clips(6), seeded())
    terms = method.loss(views)
    with torch.no_grad():
        online = [method.predictor(method.projector(method.network(views[k]))) for k in ("first", "second")]
        target = [method.target_projector(method.target_network(views[k])) for k in ("first", "second")]
    expected = sum(2 - 2 * F.cosine_similarity(p, t).mean() for p, t in ((online[0], target[1]), (online[1], target[0])))
    assert terms["loss"].item() == pytest.approx(expected.item(), rel=1e-4) and set(terms) == {"loss", "embedding"}


def test_only_the_online_parts_are_trained_and_the_target_follows(make, clips, seeded):
    method = make()
    optimizer = method.optimizer()
    optimised = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert optimised == {id(p) for part in (method.network, method.projector, method.predictor) for p in part.parameters()}
    before = [p.clone() for p in method.target_projector.parameters()]
    method.loss(method.views(clips(6), seeded())[0])["loss"].backward()
    optimizer.step()
    method.after_step(0)
    for was, target, online in zip(before, method.target_projector.parameters(), method.projector.parameters(), strict=True):
        assert torch.allclose(target, 0.9 * was + 0.1 * online, atol=1e-6) and target.grad is None
    assert any(not torch.equal(a, b) for a, b in zip(before, method.target_projector.parameters(), strict=True))


def test_the_momentum_rises_to_one_as_a_cosine(make):
    method = make()
    assert method.momentum(50) == 0.9
    method.begin(100)
    assert [method.momentum(step) for step in (0, 50, 100)] == pytest.approx([0.9, 0.95, 1.0])


def test_follow_is_the_weighted_mean_and_leaves_buffers():
    torch.manual_seed(0)
    online = torch.nn.BatchNorm1d(3)
    target = follower(online)
    online.weight.data += 1
    online.running_mean += 1
    follow(target, online, 0.75)
    assert torch.allclose(target.weight, torch.full((3,), 1.25)) and target.running_mean.abs().sum() == 0
    assert not target.weight.requires_grad and online.weight.requires_grad


@pytest.mark.parametrize("settings", [{}, {"time_aug": True, "face_swap": True, "cut_mix": True, "mix_probability": 0.3}])
def test_the_loss_falls_and_nothing_collapses(make, clips, seeded, settings):
    method = make(**settings).train()
    optimizer, losses = method.optimizer(), []
    for step in range(30):
        terms = method.loss(method.views(clips(24, 3), seeded(step))[0])
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        method.after_step(step)
        losses.append(terms["loss"].item())
    assert np.mean(losses[-5:]) < 0.8 * losses[0]
    assert F.normalize(terms["embedding"], dim=1).std(0).mean() > 0.05
    assert ("swap_failed" in terms) == bool(settings)


def test_built_by_name(network):
    method = build_method("byol", BYOLConfig(**SMALL), network, MILD)
    assert isinstance(method, BYOL) and method.encoder() is method.network


@pytest.mark.parametrize(("name", "value"), [("variant", "released"), ("momentum", 1.0), ("head_hidden", 0)])
def test_odd_settings_are_refused(name, value):
    with pytest.raises(ValueError, match=f"^{name}: .*{value}"):
        BYOLConfig(**{name: value})


def test_what_needs_negatives_is_no_setting():
    for name in ("hard_neg", "mask_fn"):
        with pytest.raises(TypeError, match=name):
            BYOLConfig(**{name: True})
