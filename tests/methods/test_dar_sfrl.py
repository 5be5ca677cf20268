"""DAR-SFRL, corrected: its degraded views, its terms, and where their gradients go."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lib.degrade.mixture import TRAIN_CORRUPTIONS
from lib.methods import build_method, dar_sfrl
from lib.methods.dar_sfrl import DarSfrl, DarSfrlConfig, noise_contrast
from lib.views import Views

SMALL = {"stages": 2, "channels": 2, "hidden": 4, "head_hidden": 32, "head_dim": 8, "temperature": 0.2,
         "learning_rate": 3e-3, "attack_steps": 1}  # fmt: skip
MILD = Views(crop=0.9, rotation=5, colour=0.1, grey=0)
TERMS = {"restore", "leave", "robust_contrast", "sensitive_contrast", "orthogonal"}


@pytest.fixture
def make(network):
    def build(seed=0, **settings):
        torch.manual_seed(seed)
        return DarSfrl(DarSfrlConfig(**SMALL | settings), network, MILD)

    return build


def unit(v):
    return v / v.norm()


def slow_noise_contrast(clean, degraded, kind, temperature):
    batch, total = len(kind), 0.0
    for i in range(batch):
        partner = (i + batch // 2) % batch
        weights = {}
        for j in range(batch):
            if j == partner or (j != i and kind[j] != kind[i]):
                weights["degraded", j] = math.exp(float(unit(degraded[i]) @ unit(degraded[j])) / temperature)
            if kind[i] != -1:
                weights["clean", j] = math.exp(float(unit(degraded[i]) @ unit(clean[j])) / temperature)
        total -= math.log(weights["degraded", partner] / sum(weights.values()))
    return total / batch


def slow_difference(a, b):
    rows = []
    for x in (a, b):
        centre = sum(x) / len(x)
        rows.append([(row - centre) / ((row - centre).norm() + 1e-6) for row in x])
    entries = [
        sum(float(p[i] * q[j]) for p, q in zip(*rows)) ** 2 for i in range(a.shape[1]) for j in range(b.shape[1])
    ]  # fmt: skip
    return sum(entries) / len(entries)


@pytest.mark.parametrize("kind", [[3, 5, 3, 5], [3, 5, -1, 3, 5, -1], [4, 4, 4, 4], [-1, -1, -1, -1], [7, 7]])
def test_noise_contrast_is_the_slow_one(kind, seeded):
    clean, degraded = torch.randn(2, len(kind), 6, generator=seeded())
    fast = noise_contrast(torch.cat([clean, degraded]), torch.tensor(kind), 0.3)
    assert fast.item() == pytest.approx(slow_noise_contrast(clean, degraded, kind, 0.3), rel=1e-5, abs=1e-6)


def test_noise_contrast_rewards_telling_the_kind_and_not_the_image(seeded):
    kind = torch.tensor([0, 1, 2, 0, 1, 2])
    codes = torch.eye(8)
    by_kind = torch.cat([codes[7].expand(6, -1), codes[kind]])
    by_image = torch.cat([codes[:6], codes[:6]])
    assert noise_contrast(by_kind, kind, 0.1) < 0.01 < 1 < noise_contrast(by_image, kind, 0.1)


@pytest.mark.parametrize("settings", [{}, {"attack_steps": 0}, {"stages": 0}])
def test_the_loss_falls(make, blobs, train_for, settings):
    before, after = train_for(make(**settings), blobs(32), 90)
    assert after["loss"] < 0.9 * before["loss"]
    assert after["robust_contrast"] < 0.7 * before["robust_contrast"]


def test_it_learns_to_restore(make, blobs, train_for, seeded):
    """It begins as the identity, and after some steps gives back less noise than it was given."""
    settings = {"restore_weight": 1000.0, "attack_steps": 0, "identity": 1.0, "noise": 0.3, "restorer_learning_rate": 1e-2}
    method = make(channels=8, hidden=8, **settings)

    def errors():
        (views,) = method.views(blobs(32), seeded(5))
        given, truth = (method.network.prepare(views[name]) for name in ("degraded", "target"))
        with torch.no_grad():
            return (given - truth).abs().mean(), (method.network.restorer(given)[0][-1] - truth).abs().mean()

    given, restored = errors()
    assert torch.equal(given, restored)
    train_for(method, blobs(32), 60)
    assert errors()[1] < 0.7 * given


def test_views_are_three_pictures_of_each_image(make, blobs, seeded):
    (views,) = make().views(blobs(8), seeded())
    assert set(views) == {"clean", "target", "degraded", "kind"}
    for name in ("clean", "target", "degraded"):
        assert views[name].shape == (8, 3, 16, 16) and views[name].min() >= 0 and views[name].max() <= 1
        assert not views[name].requires_grad
    assert (views["clean"] - views["target"]).abs().amax((1, 2, 3)).min() > 0.01  # two different views


def test_partners_went_through_the_same_corruption(make, blobs, seeded, monkeypatch):
    recorded = {}

    def spy(images, op, severity, generator, ops):
        recorded.update(op=op.clone(), severity=severity.clone(), images=images.clone())
        return plain(images, op, severity, generator, ops)

    plain = dar_sfrl.checked_degrade_with
    monkeypatch.setattr(dar_sfrl, "checked_degrade_with", spy)
    (views,) = make(identity=0.3, attack_steps=0).views(blobs(40), seeded())
    kind = views["kind"]
    assert torch.equal(kind[:20], kind[20:])
    assert torch.equal(recorded["images"], views["target"][20:])
    for number, op, severity in zip(kind[20:].tolist(), recorded["op"].tolist(), recorded["severity"].tolist()):
        assert number == (-1 if op < 0 else op * 6 + severity)
    assert set(range(len(TRAIN_CORRUPTIONS))) >= {int(k) // 6 for k in kind if k >= 0} and (kind == -1).any()
    assert len({int(k) for k in kind}) > 5


def test_untouched_images_are_their_targets(make, blobs, seeded):
    (views,) = make(identity=1.0, noise=0.0, attack_steps=0).views(blobs(6), seeded())
    assert torch.equal(views["degraded"], views["target"]) and (views["kind"] == -1).all()


def test_noise_has_a_sigma_of_its_own_for_each_image(make, seeded):
    grey = torch.full((200, 3, 16, 16), 0.5)
    sigma = torch.cat(
        [(v["degraded"] - v["target"]).std((1, 2, 3)) for v in make(identity=1.0, noise=0.1, attack_steps=0).views(grey, seeded())]
    )
    assert sigma.min() < 0.01 and 0.09 < sigma.max() < 0.11 and sigma.mean().item() == pytest.approx(0.05, abs=0.01)


@pytest.mark.parametrize("eps", [4.0, 8.0])
def test_the_attack_stays_near_the_degraded_view_and_turns_its_embedding_away(make, blobs, seeded, train_for, eps):
    method = make(attack_steps=3, attack_eps=eps, attack_alpha=eps / 2)
    train_for(method, blobs(32), 5)  # so that the statistics of batch norm are those of blobs
    (attacked,) = method.views(blobs(16, seed=1), seeded())
    calm = make(attack_steps=0)
    calm.load_state_dict(method.state_dict())
    (plain,) = calm.views(blobs(16, seed=1), seeded())
    assert torch.equal(attacked["clean"], plain["clean"])
    change = (attacked["degraded"] - plain["degraded"]).abs().amax().item()
    assert 0.9 * eps / 255 < change <= eps / 255 + 1e-6
    method.eval()
    with torch.no_grad():
        clean, after, before = (method.embed(v) for v in (plain["clean"], attacked["degraded"], plain["degraded"]))
    after, before = F.cosine_similarity(after, clean), F.cosine_similarity(before, clean)
    assert after.mean() < before.mean() - 0.02 and (after < before).float().mean() > 0.8


def test_attacking_leaves_statistics_modes_and_gradients_alone(make, blobs, seeded, statistics):
    method = make(attack_steps=2).train()
    before = statistics(method)
    method.views(blobs(8), seeded())
    after = statistics(method)
    assert before and all(torch.equal(before[name], after[name]) for name in before if name != "weights.past")
    assert all(part.training for part in method.modules())
    assert all(p.requires_grad and p.grad is None for p in method.parameters())


def test_views_are_drawn_from_the_generator_alone(make, blobs, seeded):
    method = make()
    one, same, other = (method.views(blobs(8), seeded(s))[0] for s in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["degraded"], other["degraded"])


def test_every_term_is_the_slow_one(make, blobs, seeded):
    method = make(restore_weight=3.0, leave_weight=0.5, orthogonal_weight=0.5)
    for stage in method.network.restorer.stages:  # it begins as the identity, with nothing to leave
        torch.nn.init.normal_(stage.project.weight, std=0.1)
    (views,) = method.views(blobs(8), seeded())
    terms = method.loss(views)
    assert set(terms) == TERMS | {"loss", "embedding"}
    with torch.no_grad():
        image = method.network.prepare(torch.cat([views["clean"], views["degraded"], views["target"]]))
        truth = method.network.prepare(views["target"])
        restored, noise = method.network.restorer(image)
        face = method.face_head(method.network.describe(restored[-1]))
        sensitive = method.noise_head((image - restored[-1])[:16])
    restore = sum((x - g).abs().sum().item() for x_k in restored for x, g in zip(x_k[8:16], truth)) / (2 * truth.numel())
    assert terms["restore"].item() == pytest.approx(restore, rel=1e-4)
    leave = sum((x - y).abs().sum().item() for x_k in restored for x, y in zip(x_k[:8], image[:8])) / (2 * truth.numel())
    assert leave > 0 and terms["leave"].item() == pytest.approx(leave, rel=1e-4)
    contrast = slow_noise_contrast(sensitive[:8], sensitive[8:], views["kind"].tolist(), 0.2)
    assert terms["sensitive_contrast"].item() == pytest.approx(contrast, rel=1e-4)
    assert terms["orthogonal"].item() == pytest.approx(slow_difference(face[:16], sensitive), rel=1e-3)
    rows, unit, robust = torch.arange(16), F.normalize(face, dim=1), 0.0
    for other in (unit[8:16], unit[16:]):
        pair = torch.cat([unit[:8], other])
        logits = (pair @ pair.T / 0.2).fill_diagonal_(-torch.inf)
        robust = robust - logits.log_softmax(1)[rows, (rows + 8) % 16].mean() / 2
    assert terms["robust_contrast"].item() == pytest.approx(robust.item(), rel=1e-4)
    total = 3 * (restore + 0.5 * leave) + robust.item() + contrast + 0.5 * terms["orthogonal"].item()
    assert terms["loss"].item() == pytest.approx(total, rel=1e-4)
    assert all(torch.isfinite(value).all() for value in terms.values())


def test_finish_fits_the_readout_and_leaves_the_modes(make, seeded):
    class Clips:
        columns = ("clip",)

        def __len__(self):
            return 12

        def column(self, name):
            return np.arange(12) // 3

        def images(self, index):
            return torch.randint(0, 256, (12, 3, 16, 16), generator=torch.Generator().manual_seed(0)).byte()[index]

    method = make(moving=0.1, components=4).train()
    wide = method.network.dim
    method.finish(Clips(), "cpu")
    encoder = method.encoder()
    assert encoder.dim == 3 * round(0.1 * 16**2) + 4 != wide and all(m.training for m in encoder.modules() if m is not encoder.readout)
    assert encoder.config.readout == {"moving": 0.1, "components": 4, "weight": method.config.weight}
    (views,) = method.views(torch.rand(8, 3, 16, 16, generator=seeded()), seeded())
    assert torch.isfinite(method.loss(views)["loss"])  # it can be trained on
    ablation = make(moving=0.0, components=0)
    ablation.finish(Clips(), "cpu")
    assert ablation.encoder().dim == wide and ablation.encoder().readout is None


PARTS = {"restorer": "network.restorer.", "backbone": "network.backbone.", "face": "face_head.", "noise": "noise_head."}


@pytest.mark.parametrize(
    ("term", "reached"),
    [
        ("restore", {"restorer"}),
        ("robust_contrast", {"restorer", "backbone", "face"}),
        ("sensitive_contrast", {"restorer", "noise"}),
        ("orthogonal", {"restorer", "backbone", "face", "noise"}),
        ("loss", {"restorer", "backbone", "face", "noise"}),
    ],
)
def test_gradients_go_where_they_should(make, blobs, seeded, term, reached):
    method = make()
    with torch.no_grad():  # at the very start there is no noise image, for DAFR is the identity
        for parameter in method.network.restorer.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=seeded(1))
    method.loss(method.views(blobs(8), seeded())[0])[term].backward()
    moved = {
        part for part, prefix in PARTS.items()
        if any(p.grad is not None and p.grad.abs().sum() > 0 for n, p in method.named_parameters() if n.startswith(prefix))
    }  # fmt: skip
    assert moved == reached


def test_every_weight_is_trained(make, blobs, seeded):
    method = make()
    optimised = {id(p) for group in method.optimizer().param_groups for p in group["params"]}
    assert optimised == {id(p) for p in method.parameters()}
    method.loss(method.views(blobs(8), seeded())[0])["loss"].backward()
    assert all(p.grad is not None for p in method.parameters())


def test_the_contrasts_follow_the_dynamic_weights(make, blobs, seeded):
    method = make()
    (views,) = method.views(blobs(8), seeded())
    for robust, sensitive in ((2.0, 2.0), (2.0, 1.0)):
        method.after_epoch({"robust_contrast": robust, "sensitive_contrast": sensitive, "loss": 9.0})
    terms = method.loss(views)
    a, b = math.exp(1 / 2), math.exp(0.5 / 2)
    expected = terms["restore"] + terms["orthogonal"]
    expected = expected + 2 * (a * terms["robust_contrast"] + b * terms["sensitive_contrast"]) / (a + b)
    assert terms["loss"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_without_stages_there_is_no_restorer_and_one_term(make, blobs, seeded):
    method = make(stages=0)
    assert method.encoder().restorer is None and method.noise_head is None
    (views,) = method.views(blobs(8), seeded())
    terms = method.loss(views)
    assert set(terms) == {"loss", "robust_contrast", "embedding"} and terms["loss"] == terms["robust_contrast"]
    method.after_epoch({"robust_contrast": 1.0, "loss": 1.0})


def test_the_encoder_restores_and_then_represents(make, blobs):
    encoder = make().encoder().eval()
    x = blobs(3)
    restored = encoder.restorer(encoder.prepare(x))[0]
    assert len(restored) == 2
    assert torch.allclose(encoder(x), encoder.represent(restored[-1]), atol=1e-6)


def test_an_odd_batch_is_refused(make, blobs, seeded):
    with pytest.raises(ValueError, match="batch_size: .* even, got 7"):
        make().views(blobs(7), seeded())


@pytest.mark.parametrize(
    ("name", "value"),
    [("variant", "fixed"), ("identity", 1.5), ("identity", -0.1), ("stages", -1), ("noise", -0.1), ("attack_steps", -1),
     ("attack_eps", -8.0), ("restore_weight", -1.0), ("orthogonal_weight", -1.0)],
)  # fmt: skip
def test_odd_settings_are_refused(name, value):
    with pytest.raises(ValueError, match=f"^{name}: expected .*{value}"):
        DarSfrlConfig(**{name: value})


def test_built_by_name(network):
    method = build_method("dar_sfrl", DarSfrlConfig(**SMALL), network, MILD)
    assert isinstance(method, DarSfrl) and len(method.encoder().restorer.stages) == 2
