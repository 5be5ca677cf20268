"""AUNCE and its ancestor: views with labels, losses, training in a loop of the test's own."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from lib.datasets.action_units import au_labels
from lib.losses.aunce import aunce_loss
from lib.losses.weighted_bce import inverse_rate_weights
from lib.methods import build_method
from lib.methods.aunce import PUBLISHED, Aunce, AunceConfig
from lib.models.encoder import Encoder, EncoderConfig, load_encoder, save_encoder
from lib.training import Schedule, fingerprint, train
from lib.views import Views

UNITS = [1, 4, 12]
SMALL = {"units": UNITS, "width": 12, "neighbours": 2, "learning_rate": 3e-3}


@pytest.fixture
def make(network):
    def build(seed=0, **settings):
        torch.manual_seed(seed)
        return Aunce(AunceConfig(**SMALL | settings), network, Views())

    return build


@pytest.fixture
def labelled():
    """``labelled(n)``: a bright bar at one of three heights for each AU that is there, on noise; every tenth label unknown."""

    def draw(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        g = torch.Generator().manual_seed(seed)
        labels = (torch.rand(count, 3, generator=g) < torch.tensor([0.5, 0.3, 0.4])).long()
        images = 0.3 * torch.rand(count, 3, 16, 16, generator=g)
        for k, rows in enumerate((slice(1, 4), slice(6, 9), slice(11, 14))):
            images[:, :, rows] += 0.6 * labels[:, k, None, None, None]
        return images, labels.masked_fill(torch.rand(count, 3, generator=g) < 0.1, 9)

    return draw


def trained(method, images, labels, steps):
    """Own small loop: the training loop hands a method no labels."""
    method.train()
    if method.weighs_units:
        method.learn_rates(labels)
    optimizer, losses = method.optimizer(), []
    for step in range(steps):
        g = torch.Generator().manual_seed(step)
        rows = torch.randperm(len(images), generator=g)[:32]
        for views in method.views(images[rows], g, labels[rows]):
            terms = method.loss(views)
            optimizer.zero_grad()
            terms["loss"].backward()
            optimizer.step()
            losses.append(terms["loss"].item())
    return losses


@pytest.mark.parametrize("settings", [
    {"variant": "corrected"}, {"variant": "released"}, {"variant": "first_release"}, {"objective": "cross_entropy"},
])
def test_the_loss_falls_and_the_units_become_separable(make, labelled, settings):
    method, fresh = make(**settings), make(**settings)
    losses = trained(method, *labelled(128), 100)
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])
    images, labels = labelled(300, seed=1)

    def right(method) -> float:
        """Share of labels that the direction between the two labels' mean vectors tells, mean over the units."""
        method.eval()
        with torch.no_grad():
            u, shares = method.encoder()(images).view(300, 3, 12), []
        for k in range(3):
            known = labels[:, k] != 9
            x, y = u[known, k], labels[known, k] == 1
            score = x @ (x[y].mean(0) - x[~y].mean(0))
            shares.append(((score > (score[y].mean() + score[~y].mean()) / 2) == y).float().mean().item())
        return sum(shares) / 3

    assert right(fresh) < 0.8 and right(method) > 0.93


@pytest.mark.parametrize("variant, beta, released", [
    ("corrected", (1.2, 0.8), False), ("released", (1.2, 0.8), True), ("first_release", (1.2, 0.4), True),
])
def test_the_loss_is_that_of_the_variant(make, labelled, variant, beta, released):
    method = make(variant=variant)
    images, labels = labelled(8)
    method.learn_rates(labels)
    (views,) = method.views(images, torch.Generator().manual_seed(3), labels)
    assert views["images"].shape == (16, 3, 14, 14) and len(views["branch"]) == 3
    found = method.loss(views)
    first, second = method.embed(views["images"]).chunk(2)
    weights = inverse_rate_weights(labels) if variant == "first_release" else None
    wanted = aunce_loss(first, second, labels, views["branch"], 0.5, beta, released, weights)
    assert found["loss"].item() == pytest.approx(wanted.item(), rel=1e-4)
    assert torch.equal(found["embedding"], first.flatten(1)) or torch.allclose(found["embedding"], first.flatten(1), atol=1e-5)


def test_each_head_of_the_ancestor_sees_its_own_unit(make, labelled):
    method = make(objective="cross_entropy").eval()
    x = torch.randn(2, 3 * 12, 1)
    logits = method.head(x)
    changed = x.clone()
    changed[:, 12:24] += 1
    assert ((method.head(changed) != logits).squeeze(-1) == torch.tensor([False, True, False])).all()
    images, labels = labelled(4)
    assert method.views(images, torch.Generator().manual_seed(0), labels)[0]["images"].shape == (4, 3, 14, 14)


def test_views_are_drawn_from_the_generator_alone(make, labelled):
    method = make()
    images, labels = labelled(6)
    one, same, other = (method.views(images, torch.Generator().manual_seed(s), labels)[0] for s in (1, 1, 5))
    assert torch.equal(one["images"], same["images"]) and one["branch"] == same["branch"]
    assert not torch.equal(one["images"], other["images"])


def test_everything_is_optimised_and_reached(make, labelled):
    for settings in ({}, {"objective": "cross_entropy"}):
        method = make(**settings)
        images, labels = labelled(16)
        method.learn_rates(labels)
        method.loss(method.views(images, torch.Generator().manual_seed(0), labels)[0])["loss"].backward()
        for part in filter(None, (method.network.backbone, method.network.au_graph, method.head)):
            assert sum(p.grad.abs().sum() for p in part.parameters()) > 0
        optimised = {id(p) for group in method.optimizer().param_groups for p in group["params"]}
        assert optimised == {id(p) for p in method.parameters()}


def test_it_begins_with_the_backbone_of_another_encoder(make, network, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_STAGE", "pretrain_continued@units")
    torch.manual_seed(9)
    other = Encoder(network)
    save_encoder(other, tmp_path / "work/pretrain/other/encoder.safetensors")
    fresh, method = make(), make(init="other")
    for name, value in other.backbone.state_dict().items():
        assert torch.equal(method.network.backbone.state_dict()[name], value)
    for name, value in fresh.network.au_graph.state_dict().items():
        assert torch.equal(method.network.au_graph.state_dict()[name], value)
    runs = [fingerprint(made, Schedule(8, 1, 0.0, "float32"), 1, "x") for made in (method, make(init="other"))]
    save_encoder(Encoder(network), tmp_path / "work/pretrain/other/encoder.safetensors")  # trained anew: another start
    runs.append(fingerprint(make(init="other"), Schedule(8, 1, 0.0, "float32"), 1, "x"))
    assert runs[0] == runs[1] != runs[2]


def test_what_it_begins_with_may_restore_and_that_is_trained_on(make, network, labelled, tmp_path):
    torch.manual_seed(9)
    restorer = {"stages": 2, "channels": 4, "hidden": 4}
    other = Encoder(replace(network, restorer=restorer, photometric=True)).eval()
    save_encoder(other, tmp_path / "encoder.safetensors")
    digest = hashlib.sha256((tmp_path / "encoder.safetensors").read_bytes()).hexdigest()
    method = make(init=f"{tmp_path}@{digest}", crop=0.75)
    assert method.encoder().config.restorer == restorer and method.encoder().config.photometric
    images, labels = labelled(64)
    before = {name: value.clone() for name, value in method.network.restorer.state_dict().items()}
    losses = trained(method, images, labels, 15)
    assert sum(losses[-5:]) < sum(losses[:5])
    assert all(not torch.equal(value, before[name]) for name, value in method.network.restorer.state_dict().items())
    method.eval()
    with torch.no_grad():  # a view is restored as the finished encoder restores the middle of the image
        seen = method.network.unit_vectors(method.network.restored(images[:, :, 2:14, 2:14], centre=1))
        assert torch.equal(method.embed(images[:, :, 2:14, 2:14]), seen)
        assert torch.allclose(method.encoder()(images), seen.mT.flatten(1), atol=1e-5)
    save_encoder(method.encoder(), tmp_path / "finished.safetensors")
    again = load_encoder(tmp_path / "finished.safetensors")
    assert torch.equal(again(images), method.encoder()(images))


def test_weights_are_kept_with_the_method(make, labelled):
    method, other = make(variant="first_release"), make(variant="first_release")
    method.learn_rates(labelled(64)[1])
    other.load_state_dict(method.state_dict())
    assert torch.equal(other.unit_weights, method.unit_weights) and other.unit_weights.sum().item() == pytest.approx(3)


def test_bad_input(make, labelled):
    images, labels = labelled(8)
    method = make(variant="first_release")
    views = method.views(images, torch.Generator(), labels)[0]
    with pytest.raises(ValueError, match=r"unit_weights: .*call learn_rates\(labels\) before training"):
        method.loss(views)
    with pytest.raises(ValueError, match=r"labels: expected \[8, 3\], .*got \[8, 2\]"):
        method.views(images, torch.Generator(), labels[:, :2])
    for name, value in (("variant", "new"), ("objective", "mse"), ("temperature", 0.0), ("units", [1, 1]), ("units", []),
                        ("crop", 1.5), ("width", -1), ("init", ""), ("probabilities", [1.0, 1.0, 0.0])):  # fmt: skip
        with pytest.raises(ValueError, match=f"^{name}: expected"):
            AunceConfig(**{name: value})


@pytest.mark.parametrize("network, tokens", [(PUBLISHED, (1, 49, 1024)), (EncoderConfig(224, "resnet50"), (1, 49, 2048))])
def test_the_published_networks(network, tokens):
    with torch.device("meta"):  # shapes only: nothing is computed
        encoder = Encoder(replace(network, au_graph={"units": 12}))
        assert encoder.tokens(torch.zeros(1, 3, 224, 224)).shape == tokens
        assert encoder.unit_vectors(torch.zeros(2, 3, 224, 224)).shape == (2, tokens[2], 12)


@pytest.mark.parametrize("settings", [{}, {"variant": "first_release"}, {"objective": "cross_entropy"}])
def test_the_training_loop_hands_it_the_labels_of_its_images(synthetic_faces, tmp_path, settings):
    table, seen = synthetic_faces(), []
    table = table.with_rows(table.rows.drop(columns="au_4"))  # of one unit nothing is known
    config = AunceConfig(units=[1, 2, 4], width=8, **settings)
    torch.manual_seed(0)
    method = build_method("aunce", config, EncoderConfig(16, "resnet10t", {"channels": [8, 8, 8, 8], "stem_width": 8}), Views())
    whole, views = au_labels(table, [1, 2, 4]), method.views

    def watched(images, generator, labels):
        pixels = (images * 255).round().byte()
        for image, label in zip(pixels, labels):
            (row,) = [i for i, other in enumerate(table.images()) if torch.equal(image, other)]
            seen.append(row)
            assert label.tolist() == whole[row].tolist() and label[2] == -1
        return views(images, generator, labels)

    method.views = watched
    history = train(method, table.select(np.arange(len(table))), Schedule(64, 1, 0.0, "float32"), seed=1, data="x",
                    out=tmp_path / "out", checkpoints=tmp_path / "ck", device=torch.device("cpu"), label="aunce")  # fmt: skip
    assert len(set(seen)) == len(seen) == 256 and np.isfinite(history[-1]["loss"])
    encoder = load_encoder(tmp_path / "out")
    assert encoder(torch.rand(2, 3, 16, 16)).shape == (2, 24)
