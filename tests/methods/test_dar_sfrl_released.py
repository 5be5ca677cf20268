"""DAR-SFRL, released: what the published code does, its errors included, against slow references."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lib.methods import build_method, dar_sfrl_released
from lib.methods.dar_sfrl import DarSfrl, DarSfrlConfig
from lib.methods.dar_sfrl_released import DarSfrlReleased, all_but, augment, mixing
from lib.models.encoder import EncoderConfig
from lib.views import Views

SMALL = {"variant": "released", "stages": 2, "channels": 2, "hidden": 4, "head_hidden": 32, "head_dim": 8,
         "temperature": 0.2, "learning_rate": 3e-3, "noise": 0.4, "sensitive_batch": 3, "sensitive_negatives": 4}  # fmt: skip


@pytest.fixture
def make(network):
    def build(seed=0, **settings):
        torch.manual_seed(seed)
        return DarSfrlReleased(DarSfrlConfig(**SMALL | settings), network, Views())

    return build


def unit(v):
    return v / v.norm()


def slow_difference(a, b):
    a, b = a - a.mean(0), b - b.mean(0)
    a, b = (torch.stack([row / (row.norm() + 1e-6) for row in x]) for x in (a, b))
    return sum(float(a[:, i] @ b[:, j]) ** 2 for i in range(a.shape[1]) for j in range(b.shape[1])) / (a.shape[1] * b.shape[1])


def slow_mixed_info_nce(query, key, negatives, mix, temperature):
    """``negatives``: one list of unit vectors for each row."""
    total = 0.0
    for i, own in enumerate(negatives):
        scores = [math.exp(float(unit(query[i]) @ unit(key[i])) / temperature)]
        for j in range(len(own)):
            w = float(mix[0][i, j])
            mixed = unit(w * own[j] + (1 - w) * own[int(mix[1][j])])
            scores.append(math.exp(float(unit(query[i]) @ mixed) / temperature))
        total -= math.log(scores[0] / sum(scores))
    return total / len(negatives)


def untouched(monkeypatch):
    """Take augmentations away, so that the tests see which image stands where."""
    monkeypatch.setattr(dar_sfrl_released, "augment", lambda images, generator: images)


def test_it_is_what_the_variant_asks_for(network):
    assert isinstance(build_method("dar_sfrl", DarSfrlConfig(**SMALL), network, Views()), DarSfrlReleased)
    corrected = DarSfrlConfig(**SMALL | {"variant": "corrected"})
    assert isinstance(build_method("dar_sfrl", corrected, network, Views()), DarSfrl)


def test_the_losses_fall(make, blobs, train_for):
    before, after = train_for(make(), blobs(16), 20)
    assert after["loss"] < 0.95 * before["loss"]


@pytest.mark.parametrize(("step", "term"), enumerate(["restore", "robust_contrast", "sensitive_contrast"]))
def test_each_step_lowers_its_own_term(make, blobs, train_for, step, term):
    method = make()
    method.views = lambda *given: DarSfrlReleased.views(method, *given)[step : step + 1]
    before, after = train_for(method, blobs(16), 20)
    assert after[term] < 0.95 * before[term]


def test_three_optimiser_steps_an_iteration(make, blobs, seeded):
    method = make()
    steps = method.views(blobs(6), seeded())
    assert [views["step"] for views in steps] == ["restore", "robust", "sensitive"]
    terms = [method.loss(views) for views in steps]
    assert [set(t) for t in terms] == [
        {"loss", "restore", "orthogonal", "mirror"},
        {"loss", "robust_contrast", "embedding"},
        {"loss", "sensitive_contrast"},
    ]
    assert all(torch.isfinite(value).all() for t in terms for value in t.values())
    assert type(method.optimizer()) is torch.optim.Adam
    assert not any(views["images"].requires_grad for views in steps)


def test_the_representation_is_the_restored_image_flattened(make, blobs):
    encoder = make().encoder()
    x = blobs(2)
    assert encoder.backbone is None and encoder.dim == 3 * 16 * 16
    assert torch.equal(encoder(x), encoder.restorer(x)[0][-1].flatten(1))


def test_projections_of_the_difference_loss_are_frozen_and_not_optimised(make, blobs, seeded):
    method = make()
    frozen = [*method.clean_projection.parameters(), *method.noise_projection.parameters()]
    optimised = {id(p) for group in method.optimizer().param_groups for p in group["params"]}
    assert not optimised & {id(p) for p in frozen}
    assert optimised == {id(p) for p in method.parameters()} - {id(p) for p in frozen}
    method.loss(method.views(blobs(6), seeded())[0])["orthogonal"].backward()
    assert all(p.grad is None for p in frozen)
    assert sum(p.grad.abs().sum() for p in method.network.restorer.parameters() if p.grad is not None) > 0


def test_projections_stay_what_they_are_in_training(make, blobs, train_for):
    method = make()
    before = [p.clone() for p in method.clean_projection.parameters()]
    train_for(method, blobs(6), 2)
    assert all(torch.equal(a, b) for a, b in zip(before, method.clean_projection.parameters()))


@pytest.mark.parametrize(("step", "head"), [("robust", "clean_head"), ("sensitive", "noise_head")])
def test_each_contrast_trains_the_restorer_and_its_own_head(make, blobs, seeded, step, head):
    method = make()
    method.loss(next(v for v in method.views(blobs(6), seeded()) if v["step"] == step))["loss"].backward()
    reached = {name.split(".")[0] for name, p in method.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert reached == {"network", head}


def test_restoration_terms_are_summed_over_stages_and_both_mirrors(make, blobs, seeded):
    method = make()
    views = method.views(blobs(6), seeded())[0]
    terms = method.loss(views)
    with torch.no_grad():
        restored, noise = method.network.restorer(views["images"])
        restore = orthogonal = mirror = 0.0
        for x, n in zip(restored, noise):
            a, b = method.clean_projection(x.flatten(1)), method.noise_projection(n.flatten(1))
            for half in (slice(0, 6), slice(6, 12)):
                restore += (x[half] - views["target"][half]).abs().mean().item()
                orthogonal += slow_difference(a[half], b[half])
            mirror += ((x[:6] - x[6:]) ** 2).mean().item()
    assert terms["restore"].item() == pytest.approx(restore, rel=1e-4)
    assert terms["orthogonal"].item() == pytest.approx(orthogonal, rel=1e-3)
    assert terms["mirror"].item() == pytest.approx(mirror, rel=1e-4)
    assert terms["loss"].item() == pytest.approx(restore + orthogonal + mirror, rel=1e-4)


def test_the_mirror_term_is_not_mirrored_back(make, blobs):
    """A restorer that treats mirror images alike is punished (published), it would not be if the term were mirrored back."""
    method = make()
    x = blobs(4)
    both = torch.cat([x, x.flip(3)])
    term = method.restore_terms(both, torch.zeros_like(both), both)["mirror"]
    back = (x - both[4:].flip(3)).square().mean()
    assert back == 0 and term.item() == pytest.approx((x - x.flip(3)).square().mean().item()) and term > 1e-3
    symmetric = torch.cat([(x + x.flip(3)) / 2] * 2)
    assert method.restore_terms(symmetric, torch.zeros_like(both), both)["mirror"] == 0


def test_both_mirrors_are_noisy_and_their_targets_are_the_image(make, blobs, seeded):
    x = blobs(50)
    views = make(identity=1.0).views(x, seeded())[0]
    assert torch.equal(views["target"], torch.cat([x, x.flip(3)]))
    noise = views["images"] - views["target"]
    assert noise.mean().item() == pytest.approx(0, abs=0.01) and noise.std().item() == pytest.approx(0.4, abs=0.01)
    assert not torch.allclose(noise[:50], noise[50:].flip(3))  # each mirror has its own noise


def test_legacy_pairs_restore_towards_other_images(make, blobs, seeded):
    x = blobs(20)
    target = make(legacy_pairs=True).views(x, seeded())[0]["target"]
    matches = [[int(torch.equal(t, image)) for image in x] for t in target[:20]]
    assert [sum(row) for row in matches] == [1] * 20 and [sum(column) for column in zip(*matches)] == [1] * 20
    assert sum(matches[i][i] for i in range(20)) < 5
    assert torch.equal(target[20:], target[:20].flip(3))


def test_robust_contrast_has_the_other_rows_as_negatives(make, seeded):
    z = torch.randn(8, 5, generator=seeded())
    mix = mixing(8, 6, seeded(1))
    negatives = [[unit(z[j]) for j in range(8) if j not in (i, (i + 4) % 8)] for i in range(8)]
    slow = slow_mixed_info_nce(z, z.roll(4, 0), negatives, mix, 0.2)
    assert make().robust_contrast(z, mix).item() == pytest.approx(slow, rel=1e-4)


def test_all_but_two_rows():
    one, other = torch.tensor([0, 1, 2, 3, 4, 4]), torch.tensor([1, 0, 5, 2, 5, 0])
    wanted = [sorted({*range(6)} - {a, b}) for a, b in zip(one.tolist(), other.tolist(), strict=True)]
    assert all_but(one, other).tolist() == wanted


def test_robust_views_are_two_quadrants_of_the_noisy_image(make, seeded, monkeypatch):
    untouched(monkeypatch)
    place = (torch.arange(16) + 0.5) / 16
    x = torch.stack([place.expand(16, 16), place[:, None].expand(16, 16), torch.zeros(16, 16)]).expand(6, -1, -1, -1)
    views = make(identity=1.0).views(x, seeded())[1]
    first, second = views["images"].mean((2, 3))[:, :2].split(6)
    assert ((first - second).abs() > 0.4).any(1).all()
    assert views["mix"][0].shape == (12, 10) and sorted(views["mix"][1].tolist()) == list(range(10))


def test_sensitive_views_are_augmentation_major(make, blobs, seeded, monkeypatch):
    untouched(monkeypatch)
    x = blobs(6)
    views = make(identity=1.0).views(x, seeded())[2]
    assert views["count"] == 3 and len(views["images"]) == 3 + 3 + 4 * 3
    for row, image in enumerate(views["images"]):
        assert torch.equal(image, x[row] if row < 3 else x[row - 3] if row < 6 else x[(row - 6) % 3].flip(2))


def test_negatives_have_the_published_index_error(make, seeded):
    """An anchor's negatives are views of all images of the batch; its own mirrored image would be the right ones."""
    count, views = 3, 4
    mix = (torch.ones(count, views), torch.arange(views))
    for anchor in range(count):
        z = torch.randn(count * (2 + views), 8, generator=seeded(anchor))
        z[:count][torch.arange(count) != anchor] = 0  # the other anchors pull at nothing
        z.requires_grad_()
        make().sensitive_contrast(z, {"count": count, "mix": mix}).backward()
        seen = {int(row) for row in z.grad[2 * count :].abs().sum(1).nonzero()}
        assert seen == set(range(anchor * views, (anchor + 1) * views))  # consecutive rows of an augmentation-major list
        assert {row % count for row in seen} == set(range(count)) != {anchor}


def test_sensitive_contrast_is_the_slow_one(make, seeded):
    z = torch.randn(3 * (2 + 4), 8, generator=seeded())
    mix = mixing(3, 4, seeded(1))
    negatives = [[unit(z[6 + 4 * i + j]) for j in range(4)] for i in range(3)]
    slow = slow_mixed_info_nce(z[:3], z[3:6], negatives, mix, 0.2)
    assert make().sensitive_contrast(z, {"count": 3, "mix": mix}).item() == pytest.approx(slow, rel=1e-4)


def test_contrasts_are_summed_over_stages_and_weighted(make, blobs, seeded):
    method = make()
    _, robust, sensitive = method.views(blobs(6), seeded())
    for means in ({"robust_contrast": 2.0, "sensitive_contrast": 2.0}, {"robust_contrast": 2.0, "sensitive_contrast": 1.0}):
        method.after_epoch(means)
    a, b = math.exp(1 / 2), math.exp(0.5 / 2)
    for views, name, weight in ((robust, "robust_contrast", 2 * a / (a + b)), (sensitive, "sensitive_contrast", 2 * b / (a + b))):
        terms = method.loss(views)
        with torch.no_grad():
            restored, noise = method.network.restorer(views["images"])
            if name == "robust_contrast":
                slow = sum(method.robust_contrast(method.clean_head(x.flatten(1)), views["mix"]) for x in restored)
            else:
                slow = sum(method.sensitive_contrast(method.noise_head(n.flatten(1)), views) for n in noise)
        assert terms[name].item() == pytest.approx(slow.item(), rel=1e-4)
        assert terms["loss"].item() == pytest.approx(weight * slow.item(), rel=1e-4)


def test_mixing_weights_are_beta_and_its_permutation_is_one(seeded):
    weights, permutation = mixing(200, 100, seeded())
    assert weights.min() >= 0 and weights.max() <= 1 and sorted(permutation.tolist()) == list(range(100))
    assert weights.mean().item() == pytest.approx(0.5, abs=0.01)
    assert weights.var().item() == pytest.approx(1 / (4 * (2 * 1.6 + 1)), rel=0.03)  # of Beta(a, a)


def test_augmentations_keep_the_range(blobs, seeded):
    x = augment(blobs(30), seeded())
    assert x.min() >= 0 and x.max() <= 1 and x.shape == (30, 3, 16, 16)


def test_views_are_drawn_from_the_generator_alone(make, blobs, seeded):
    method = make()
    one, same, other = (method.views(blobs(6), seeded(s)) for s in (1, 1, 2))
    assert all(torch.equal(a["images"], b["images"]) for a, b in zip(one, same))
    assert not any(torch.equal(a["images"], b["images"]) for a, b in zip(one, other))


def test_no_view_moves_the_statistics(make, blobs, seeded, statistics):
    method = make().train()
    before = {name: value for name, value in statistics(method).items() if name != "weights.past"}
    method.views(blobs(6), seeded())
    assert before and all(torch.equal(value, statistics(method)[name]) for name, value in before.items())


def test_it_needs_a_restorer():
    with pytest.raises(ValueError, match="stages: the released variant .* at least 1"):
        DarSfrlConfig(variant="released", stages=0)


def test_heads_are_two_layers_with_batch_norm(make):
    for head in (make().clean_head, make().noise_head):
        assert [type(layer) for layer in head] == [nn.Linear, nn.ReLU, nn.Linear, nn.BatchNorm1d]
        assert head[0].in_features == 768 and F.relu(head[0](torch.zeros(1, 768))).shape == (1, 32)


def test_a_gradient_is_the_same_bit_for_bit_whatever_the_threads_do():
    """With many rows the gradient of indexing is summed by several threads, in the order in which they come."""
    torch.manual_seed(0)
    method = DarSfrlReleased(DarSfrlConfig(variant="released", head_hidden=16, head_dim=64), EncoderConfig(16, "pixels"), Views())
    z = torch.randn(256, 64, requires_grad=True)
    mix = torch.rand(256, 254), torch.randperm(254)
    first, *others = [torch.autograd.grad(method.robust_contrast(z, mix), z)[0] for _ in range(6)]
    assert all(torch.equal(first, other) for other in others)
