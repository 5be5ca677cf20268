"""SSL-FER: its loss is the reference loss of what its strategies say, and every combination of strategies trains."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lib.degrade.occluders import MEAN_FACE
from lib.loading import ClipBatch
from lib.losses import contrastive, maskfn
from lib.losses.maskfn import maskfn_loss
from lib.methods import build_method
from lib.methods.ssl_fer import SslFer, SslFerConfig
from lib.views import Views

MILD = Views(crop=0.9, rotation=5, colour=0.1, grey=0)
OFF = {"time_aug": False, "hard_neg": False, "face_swap": False, "mask_fn": False}
SMALL = {"head_hidden": 32, "head_dim": 16, "learning_rate": 3e-3, "descriptor": "pixels", "temperature": 0.2}


@pytest.fixture
def make(network):
    def build(seed=0, **settings):
        torch.manual_seed(seed)
        return SslFer(SslFerConfig(**SMALL | settings), network, MILD)

    return build


@pytest.fixture
def clips(blobs):
    """``clips(count, frames)``: frames of a clip differ a little, landmarks are those of the mean face, moved."""

    def build(count, frames, seed=0):
        g = torch.Generator().manual_seed(seed)
        images = blobs(count, seed)[:, None] + torch.rand(count, frames, 1, 1, 1, generator=g) * 0.2 - 0.1
        landmarks = torch.tensor(MEAN_FACE) * 16 + torch.randn(count, frames, 68, 2, generator=g) * 0.3
        return ClipBatch(images.clamp(0, 1), landmarks, torch.arange(count))

    return build


def slow_nt_xent(z, temperature):
    rows, total = [v / v.norm() for v in z], 0.0
    for i, row in enumerate(rows):
        weights = {j: math.exp(float(row @ other) / temperature) for j, other in enumerate(rows) if j != i}
        total -= math.log(weights[(i + len(z) // 2) % len(z)] / sum(weights.values()))
    return total / len(rows)


@pytest.mark.parametrize("hard", [False, True])
def test_without_mask_fn_it_is_nt_xent_over_all_rows(make, clips, seeded, hard):
    method = make(**OFF | {"hard_neg": hard})
    (views,) = method.views(clips(5, 4 if hard else 2), seeded())
    assert views["images"].shape == (20 if hard else 10, 3, 16, 16)
    terms = method.loss(views)
    z = method.embed(views["images"]).detach()
    assert terms["loss"].item() == pytest.approx(slow_nt_xent(z, 0.2), rel=1e-4)
    assert set(terms) == {"loss", "embedding"} and torch.equal(terms["embedding"].detach(), z[: len(z) // 2])


def test_rows_are_anchors_negative_anchors_positives_and_their_positives(make, clips, seeded):
    method = make(**OFF | {"hard_neg": True}, part_mask=0.0)
    batch = clips(3, 4)
    marked = torch.arange(12).view(3, 4, 1, 1, 1) / 20 + torch.zeros(3, 4, 3, 16, 16)  # plain grey: views change its level a little
    method.pairs.view_config = Views(crop=1.0, rotation=0, colour=0.0, grey=0)
    images = method.views(ClipBatch(marked, batch.landmarks, batch.clip), seeded())[0]["images"]
    order = (images.mean((1, 2, 3)) * 20).round().int().tolist()
    assert order == [0, 4, 8, 2, 6, 10, 1, 5, 9, 3, 7, 11]  # A; N; P; Q


def test_mask_fn_protects_hard_negatives_invalid_faces_and_what_is_unlike(make, clips, seeded):
    method = make(face_swap=False, false_threshold=0.2)
    batch = clips(6, 4)
    batch.landmarks[2, 0] = float("nan")
    (views,) = method.views(batch, seeded())
    similarity, protected = views["similarity"], views["protected"]
    clip = torch.arange(6).repeat(4)
    assert protected[clip[:, None] == clip].all() and protected[2].all() and protected[:, 2].all()
    rest = (clip[:, None] != clip) & (torch.arange(24) != 2) & (torch.arange(24) != 2)[:, None]
    assert torch.equal(protected[rest], similarity[rest] <= 0.2) and 0 < protected[rest].float().mean() < 1
    terms = method.loss(views)
    z, positive = method.embed(views["images"]), torch.arange(24).roll(12)
    expected = maskfn_loss(z, positive, similarity, 0.2, 0.8, protected, spare_views=True)
    assert torch.equal(terms["loss"], expected)
    open_rows = ~(protected | torch.eye(24, dtype=torch.bool)).all(1)
    assert terms["picked"].item() == pytest.approx(open_rows.float().mean().item())


def test_released_mask_fn_protects_nothing_and_faces_without_landmarks_pick_each_other(make, clips, seeded):
    method = make(face_swap=False, variant="released", part_mask=0.0)
    batch = clips(6, 4)
    batch.landmarks[[1, 4], 0] = float("nan")
    (views,) = method.views(batch, seeded())
    assert views["protected"] is None
    similarity = views["similarity"].clone()
    similarity.fill_diagonal_(-2)
    assert similarity[1].argmax() == 4 and similarity[4].argmax() == 1
    expected = maskfn_loss(method.embed(views["images"]), torch.arange(24).roll(12), views["similarity"], 0.2, 0.8)
    terms = method.loss(views)
    assert terms["loss"].item() == pytest.approx(expected.item(), rel=1e-4) and terms["picked"] == 1


def test_what_mask_fn_picks_is_looked_for_once_a_step(make, clips, seeded, monkeypatch):
    looked, plain = [], maskfn.false_negatives
    monkeypatch.setattr(maskfn, "false_negatives", lambda *a: looked.append(plain(*a)) or looked[-1])
    method = make(face_swap=False)
    terms = method.loss(method.views(clips(6, 4), seeded())[0])
    assert len(looked) == 1 and terms["picked"] == (looked[0] >= 0).float().mean()


@pytest.mark.parametrize("mask_fn", [False, True])
def test_the_loss_does_not_depend_on_the_tile(make, clips, seeded, monkeypatch, mask_fn):
    found, tiles = {}, []
    plain = contrastive.row_cross_entropy
    monkeypatch.setattr(contrastive, "row_cross_entropy", lambda *a: tiles.append(a[-1]) or plain(*a))
    for tile in (0, 5):
        method = make(**OFF | {"hard_neg": True, "mask_fn": mask_fn}, tile=tile)
        terms = method.loss(method.views(clips(6, 4), seeded())[0])
        terms["loss"].backward()
        found[tile] = terms["loss"].item(), method.head[0].weight.grad
    assert found[5][0] == pytest.approx(found[0][0], rel=1e-5) and torch.allclose(found[5][1], found[0][1], atol=1e-5)
    assert tiles == ([24, 24, 5, 5] if mask_fn else [24, 5])


def test_face_swap_puts_positives_on_the_donors_head_and_leaves_anchors(make, clips, seeded):
    method = make(**OFF | {"hard_neg": True, "face_swap": True}, part_mask=0.0, mix_probability=1.0)
    method.pairs.view_config = Views(crop=1.0, rotation=0, colour=0.0, grey=0)
    level = torch.rand(8, 5, 1, 1, 1, generator=seeded(1)) * 0.8 + 0.1  # every frame a grey of its own
    batch = clips(8, 5)
    level = level.expand(-1, -1, 3, 16, 16)
    pairs = method.pairs(ClipBatch(level, batch.landmarks, batch.clip), seeded())
    corner = lambda x: x[:, :, -1, :2].mean((1, 2)), lambda x: x[:, :, -1, -2:].mean((1, 2))  # noqa: E731
    anchors, positives = torch.cat([level[:, 0], level[:, 2]]), level[:, 4].repeat(2, 1, 1, 1)  # P and Q: the same head
    for side in corner:  # views may be mirrored; a corner is outside all hulls
        assert torch.allclose(side(pairs.first), side(anchors), atol=0.05)
        assert torch.allclose(side(pairs.second), side(positives), atol=0.05)
    assert pairs.swap_failed == 0
    assert torch.equal(pairs.frames, torch.cat([level[:, k] for k in (0, 2, 1, 3)]))


def test_a_failed_swap_is_counted_and_leaves_the_frame(make, clips, seeded):
    method = make(**OFF | {"face_swap": True}, part_mask=0.0, mix_probability=1.0)
    batch = clips(8, 3)
    batch.landmarks[:2, 2] = float("nan")  # donors
    terms = method.loss(method.views(batch, seeded())[0])
    assert terms["swap_failed"].item() == pytest.approx(0.25)
    assert torch.isfinite(terms["loss"])


@pytest.mark.parametrize("variant", ["corrected", "released"])
@pytest.mark.parametrize("switches", list(product([False, True], repeat=5)))
def test_every_combination_of_strategies_takes_a_step(make, clips, seeded, variant, switches):
    names = ("time_aug", "hard_neg", "face_swap", "mask_fn", "cut_mix")
    method = make(**dict(zip(names, switches)), variant=variant)
    frames = 2 + 2 * switches[1] + switches[2]
    (views,) = method.views(clips(4, frames), seeded())
    terms = method.loss(views)
    terms["loss"].backward()
    assert torch.isfinite(terms["loss"]) and views["images"].min() >= 0 and views["images"].max() <= 1
    for part in (method.network.backbone, method.head):
        assert sum(p.grad.abs().sum() for p in part.parameters()) > 0
    assert ("swap_failed" in terms) == switches[2] and ("picked" in terms) == switches[3]


@pytest.mark.parametrize("settings", [OFF, {}, {"face_swap": False, "cut_mix": True}])
def test_the_loss_falls(make, clips, seeded, settings):
    method = make(**settings).train()
    optimizer = method.optimizer()
    batch = clips(24, 2 + 2 * method.config.hard_neg + method.config.face_swap)
    losses = []
    for step in range(25):
        terms = method.loss(method.views(batch, seeded(step))[0])
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        losses.append(terms["loss"].item())
    assert np.mean(losses[-5:]) < 0.9 * losses[0]


def test_the_released_part_is_drawn_once_the_corrected_for_each_image(make, clips, seeded):
    released = make(variant="released")
    assert released.pairs.parts.shape == (2,) and "pairs.parts" in released.state_dict()
    found = {tuple(make(seed, variant="released").pairs.parts.tolist()) for seed in range(40)}
    assert len(found) == 9


def test_views_are_drawn_from_the_generator_alone(make, clips, seeded):
    method, batch = make(), clips(4, 5)
    one, same, other = (method.views(batch, seeded(s))[0]["images"] for s in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_the_descriptor_is_not_trained(make):
    method = make(descriptor="resnet10t", descriptor_pretrained=False)
    optimised = {id(p) for group in method.optimizer().param_groups for p in group["params"]}
    assert optimised == {id(p) for part in (method.network, method.head) for p in part.parameters()}
    method.train()
    assert not method.descriptor.network.training


def test_built_by_name(network):
    method = build_method("ssl_fer", SslFerConfig(**SMALL), network, MILD)
    assert isinstance(method, SslFer) and method.encoder() is method.network
    config = SslFerConfig()
    assert config.time_aug and config.hard_neg and config.face_swap and config.mask_fn and not config.cut_mix


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("variant", "fixed"), ("weighting", "falling"), ("fps", 0.0), ("interval", -1.0), ("hard_interval", 0.0),
        ("mix_probability", 1.5), ("part_mask", -0.1), ("swap_feather", -1.0), ("temperature", 0.0), ("false_weight", -1.0),
        ("false_threshold", 1.5), ("learning_rate", 0.0), ("weight_decay", -1.0), ("head_dim", 0), ("tile", -1),
    ],
)  # fmt: skip
def test_odd_settings_are_refused(name, value):
    with pytest.raises(ValueError, match=f"^{name}: .*{value}"):
        SslFerConfig(**{name: value})


def test_released_the_rate_falls_by_epochs_over_a_period_of_steps(make):
    """As torch's scheduler does it when it is told of epochs while its period counts steps."""
    steps, weight = 7, torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps, eta_min=0)
    method = make(variant="released", mask_fn=False)
    for epoch in range(30):
        for step in (0, steps - 1):
            assert method.rate(epoch * steps + step, steps) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-6)
        optimizer.step()
        if epoch >= 10:
            scheduler.step()
    assert make(mask_fn=False).rate(3, steps) is None


class Waiting(TorchDispatchMode):
    """Remembers what would make the processor wait for a GPU: values asked for, masks that become indices."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function._schema.name.removeprefix("aten::")
        asks = name in ("_local_scalar_dense", "nonzero", "equal", "is_nonzero", "masked_select")
        if asks or (name.startswith("index") and any(x is not None and x.dtype == torch.bool for x in args[1])):
            self.found.append(name)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("variant", ["corrected", "released"])
@pytest.mark.parametrize("descriptor", ["pixels", "resnet10t"])
def test_neither_views_nor_a_loss_wait_for_a_gpu(make, clips, seeded, variant, descriptor):
    method = make(variant=variant, cut_mix=True, descriptor=descriptor, descriptor_pretrained=False)
    method.pairs.view_config = Views(hue=0.2, blur=0.5)
    with Waiting() as waiting:
        torch.ones(3)[torch.ones(3) > 0].sum().item()
    assert waiting.found == ["index", "_local_scalar_dense"]  # so it sees them
    with Waiting() as waiting:
        (views,) = method.views(clips(4, 5), seeded())
        method.loss(views)["loss"].backward()
    assert waiting.found == []
