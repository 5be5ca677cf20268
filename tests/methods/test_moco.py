"""MoCo v2: its loss is the reference loss, its queue is first in first out, its key encoder follows."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lib.degrade.occluders import MEAN_FACE
from lib.loading import ClipBatch
from lib.methods import build_method
from lib.methods.moco import MoCo, MoCoConfig
from lib.models.part_descriptor import less_mean
from lib.views import Views

MILD = Views(crop=0.9, rotation=5, colour=0.1, grey=0)
SMALL = {"head_hidden": 32, "head_dim": 16, "learning_rate": 3e-3, "descriptor": "pixels", "queue": 20, "momentum": 0.9}


@pytest.fixture
def make(network):
    def build(seed=0, **settings):
        torch.manual_seed(seed)
        return MoCo(MoCoConfig(**SMALL | settings), network, MILD)

    return build


@pytest.fixture
def clips(blobs):
    def build(count, frames, seed=0):
        g = torch.Generator().manual_seed(seed)
        images = blobs(count, seed)[:, None] + torch.rand(count, frames, 1, 1, 1, generator=g) * 0.2 - 0.1
        landmarks = torch.tensor(MEAN_FACE) * 16 + torch.randn(count, frames, 68, 2, generator=g) * 0.3
        return ClipBatch(images.clamp(0, 1), landmarks, torch.arange(count) + 100 * seed)

    return build


def slow_info_nce(query, key, negatives, temperature):
    """``negatives``: one list of vectors a query."""
    total = 0.0
    for q, k, others in zip(query, key, negatives):
        score = [math.exp(float(F.cosine_similarity(q, v, 0)) / temperature) for v in (k, *others)]
        total -= math.log(score[0] / sum(score))
    return total / len(query)


@pytest.mark.parametrize("hard", [False, True])
def test_the_loss_is_info_nce_against_the_queue(make, clips, seeded, hard):
    method = make(hard_neg=hard)
    (views,) = method.views(clips(5, 4 if hard else 2), seeded())
    loss = method.loss(views)["loss"]
    with torch.no_grad():
        query = method.head(method.network(views["query"]))
        key = method.key_head(method.key_network(views["key"]))
    negatives = [list(method.queue) for _ in query]
    if hard:  # the clip's other pair
        negatives = [[*others, key[(i + 5) % 10]] for i, others in enumerate(negatives)]
    assert loss.item() == pytest.approx(slow_info_nce(query, key, negatives, 0.2), rel=1e-4)


def test_the_queue_is_first_in_first_out(make, clips, seeded):
    method, entered = make(queue=20), []
    for step in range(4):
        method.loss(method.views(clips(7, 2, seed=step), seeded(step))[0])
        entered += zip(method._new[0], method._new[1].tolist())
        method.after_step(step)
    last = entered[-20:]
    assert sorted(method.queue_clip.tolist()) == sorted(clip for _, clip in last)
    for key, clip in last:
        assert torch.equal(method.queue[method.queue_clip == clip][0], key)
    assert method.place.item() == 28 % 20
    assert torch.allclose(method.queue.norm(dim=1), torch.ones(20), atol=1e-5)


def test_the_key_encoder_follows_and_is_not_trained(make, clips, seeded):
    method = make()
    before = [p.clone() for p in method.key_network.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(before, method.network.parameters(), strict=True))
    optimizer = method.optimizer()
    optimised = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert optimised == {id(p) for part in (method.network, method.head) for p in part.parameters()}
    method.loss(method.views(clips(6, 2), seeded())[0])["loss"].backward()
    optimizer.step()
    method.after_step(0)
    for was, target, online in zip(before, method.key_network.parameters(), method.network.parameters(), strict=True):
        assert torch.allclose(target, 0.9 * was + 0.1 * online, atol=1e-6) and target.grad is None
    assert any(not torch.equal(a, b) for a, b in zip(before, method.key_network.parameters(), strict=True))


def test_mask_fn_picks_the_most_similar_key_of_another_clip(make, clips, seeded):
    method = make(mask_fn=True, false_threshold=-1.0)
    first = clips(10, 2)
    (views,) = method.views(first, seeded())
    method.loss(views)
    method.after_step(0)
    stored = method.queue_descriptor[:10].clone()
    assert torch.equal(stored, views["descriptors"][10:])  # the keys', not the queries'
    (views,) = method.views(ClipBatch(first.images[:6], first.landmarks[:6], first.clip[:6]), seeded(1))
    own = views["descriptors"][:6]
    similarity = less_mean(own) @ less_mean(stored, own).T  # the mean is that of the queries' frames
    similarity[torch.arange(6), torch.arange(6)] = -2  # the same clip
    assert torch.equal(views["picked"], similarity.argmax(1))
    assert method.loss(views)["picked"] == 1
    strict = make(mask_fn=True, false_threshold=1.0)
    assert (strict.views(first, seeded())[0]["picked"] == -1).all()


def test_mask_fn_picks_neither_what_fills_the_queue_nor_a_face_without_landmarks(make, clips, seeded):
    method = make(mask_fn=True, false_threshold=-1.0)
    assert (method.views(clips(6, 2), seeded())[0]["picked"] == -1).all()  # the queue holds what it was filled with
    batch = clips(10, 2)
    batch.landmarks[3, 1] = float("nan")  # of a key
    method.loss(method.views(batch, seeded())[0])
    method.after_step(0)
    other = clips(6, 2, seed=1)
    other.landmarks[2, 0] = float("nan")  # of a query
    picked = method.views(ClipBatch(other.images, other.landmarks, other.clip + 100), seeded())[0]["picked"]
    assert picked[2] == -1 and ((picked >= 0) & (picked < 10) & (picked != 3))[[0, 1, 3, 4, 5]].all()


@pytest.mark.parametrize("switches", list(product([False, True], repeat=5)))
def test_every_combination_of_strategies_takes_two_steps(make, clips, seeded, switches):
    names = ("time_aug", "hard_neg", "face_swap", "mask_fn", "cut_mix")
    method = make(**dict(zip(names, switches)))
    for step in range(2):
        terms = method.loss(method.views(clips(4, 2 + 2 * switches[1] + switches[2], seed=step), seeded(step))[0])
        terms["loss"].backward()
        method.after_step(step)
    assert torch.isfinite(terms["loss"])
    assert ("swap_failed" in terms) == switches[2] and ("picked" in terms) == switches[3]


def test_the_loss_falls_once_the_queue_is_full(make, clips, seeded):
    method = make(queue=64).train()
    optimizer, batch, losses = method.optimizer(), clips(32, 2), []
    for step in range(40):
        terms = method.loss(method.views(batch, seeded(step))[0])
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        method.after_step(step)
        losses.append(terms["loss"].item())
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[2:7])


def test_a_queue_below_a_batch_is_refused(make, clips, seeded):
    with pytest.raises(ValueError, match="^queue: expected at least the 21 keys of a batch, got 20"):
        make().views(clips(21, 2), seeded())


def test_built_by_name(network):
    method = build_method("moco", MoCoConfig(**SMALL), network, MILD)
    assert isinstance(method, MoCo) and method.encoder() is method.network


@pytest.mark.parametrize(("name", "value"), [("variant", "released"), ("queue", 0), ("momentum", 1.0), ("temperature", -1.0)])
def test_odd_settings_are_refused(name, value):
    with pytest.raises(ValueError, match=f"^{name}: .*{value}"):
        MoCoConfig(**{name: value})
