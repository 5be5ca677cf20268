"""The code that a GPU would run, on a device that is not there: no tensor may be left behind on the CPU.

Where there is a GPU, the same is run on it.
"""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lib.datasets import FaceTable
from lib.degrade.apgd import apgd, apgd_targeted
from lib.degrade.attacks import ATTACKS, attack
from lib.degrade.autoattack import PARTS, autoattack
from lib.degrade.corruptions import CORRUPTIONS, corrupt
from lib.degrade.masking import masking_checks
from lib.degrade.mixture import degrade, degrade_with, part_sizes, replay
from lib.degrade.objectives import cross_entropy, misclassified
from lib.degrade.occluders import MEAN_FACE
from lib.degrade.square import square_search
from lib.degrade.structured import structured_attack
from lib.evaluation import evaluate
from lib.loading import ClipBatch
from lib.losses.contrastive import nt_xent
from lib.methods import METHODS, build_method
from lib.methods.aunce import Aunce, AunceConfig
from lib.models.encoder import Encoder, EncoderConfig
from lib.probe_params import Attacked, Finetune, ProbeParams
from lib.probes.au_linear import Recipe, evaluate_action_units
from lib.step_values import under_way
from lib.strong_attacks import Strong
from lib.training import Schedule, if_it_has, train
from lib.views import Views
from tests.pretend_device import WAITS, pretend_device

TINY = EncoderConfig(16, "resnet10t", {"channels": [8, 8, 8, 8], "stem_width": 8, "features_only": True, "out_indices": [1, 2]})


@pytest.fixture
def device():
    if torch.cuda.is_available():
        yield torch.device("cuda")
        return
    with pretend_device() as device:
        yield device


def test_the_pretended_device_finds_what_was_left_behind():
    with pretend_device() as device:
        images = torch.rand(2, 3, 8, 8, device=device)
        assert (images * 2).device == device and (images + torch.tensor(1.0)).device == device
        assert images[torch.tensor([1])].device == device and images.cpu().device.type == "cpu"
        for wrong in (
            lambda: images + torch.rand(2, 3, 8, 8),
            lambda: F.conv2d(images, torch.rand(1, 3, 3, 3)),
            lambda: torch.rand(4, 4)[torch.tensor([1], device=device)],
            lambda: torch.cat([images, torch.rand(2, 3, 8, 8)]),
            lambda: images.clone().index_put_((torch.tensor([0]),), torch.rand(1, 3, 8, 8)),
            lambda: torch.rand(3, device=device, generator=torch.Generator()),
            lambda: torch.poisson(images, generator=torch.Generator()),
        ):
            with pytest.raises(RuntimeError, match="on the CPU"):
                wrong()


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corruptions(device, make_faces, name):
    images = make_faces(4).to(device)
    landmarks = (torch.rand(4, 68, 2) * 30).to(device)
    for places in (None, landmarks):
        got = corrupt(images, name, 4, torch.Generator(device).manual_seed(0), places)
        assert got.device.type == device.type and torch.isfinite(got).all()


@pytest.fixture
def make_faces():
    return lambda count, side=32: torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def test_mixture_and_every_attack(device, make_faces):
    images = make_faces(6, 16).to(device)
    generator = torch.Generator(device).manual_seed(0)
    degraded = degrade(images, generator)
    assert all(part.device.type == device.type for part in (degraded.images, *part_sizes(images, degraded)))
    assert all(record.device.type == "cpu" for record in degraded[1:])
    assert torch.equal(replay(images, degraded).cpu(), degraded.images.cpu())
    assert torch.equal(degrade(images, torch.Generator(device).manual_seed(0)).images.cpu(), degraded.images.cpu())
    assert not torch.equal(degrade(images, generator).op, degraded.op)  # the generator moves on
    assert degrade_with(images, degraded.op, degraded.severity.to(device), generator).device.type == device.type
    net = nn.Sequential(nn.Flatten(), nn.Linear(768, 7)).to(device)
    labels = torch.arange(6, device=device)
    results = [attack(name, net, images, labels, F.cross_entropy, steps=2, generator=generator) for name in ATTACKS]
    results.append(attack("pgd", net, images, labels, F.cross_entropy, steps=2, restarts=2, broken_fn=misclassified))
    results.append(apgd(net, images, labels, cross_entropy, steps=5, generator=generator, broken_fn=misclassified))
    results.append(apgd_targeted(net, images, labels, steps=3, generator=generator))
    results += [autoattack(net, images, labels, generator=generator, steps=3, queries=5, parts=(part,)) for part in PARTS]
    results.append(structured_attack(net, images, labels, cross_entropy, steps=2, generator=generator)[0])
    assert all(result.device.type == device.type and torch.isfinite(result).all() for result in results)
    rows = masking_checks(
        net, images, labels, F.cross_entropy, lambda z, y: z.argmax(1) == y, generator, steps=(1, 2), sweep=(0.1,), sweep_steps=2,
        restarts=2, queries=3,
    )  # fmt: skip
    assert len(rows) > 5


def test_how_often_a_search_waits_for_a_gpu(make_faces):
    """Once a step or query at most, to see what is finite and what is broken, and for some images that drop out."""
    with pretend_device() as device:
        images, net = make_faces(6, 16).to(device), nn.Sequential(nn.Flatten(), nn.Linear(768, 7)).to(device)
        labels, seeds = net(images).argmax(1), torch.arange(6, device=device)

        def judge(seen, rows):
            return cross_entropy(net(seen), labels[rows]), misclassified(net(seen), labels[rows])

        searches = {
            "pgd": (lambda: attack("pgd", net, images, labels, F.cross_entropy, steps=10, seeds=seeds), 3),
            "apgd": (lambda: apgd(net, images, labels, cross_entropy, steps=20, seeds=seeds), 21 + 4),
            "square": (lambda: square_search(judge, images, 1e-6, 100, seeds, stop=True), 100 + 1),
            "structured": (lambda: structured_attack(net, images, labels, cross_entropy, steps=20, restarts=1, seeds=seeds), 21 + 20 + 1),
            "zoom_blur": (lambda: corrupt(images, "zoom_blur", 3), 1),
        }
        for name, (search, wanted) in searches.items():
            search()  # constants are copied once
            WAITS.clear()
            search()
            assert len(WAITS) == wanted, name


@pytest.mark.parametrize("name, settings", [
    ("simclr", {"attack_steps": 1}),
    ("dar_sfrl", {"channels": 4, "hidden": 4, "attack_steps": 1, "moving": 0.2, "components": 3}),
    ("dar_sfrl", {"variant": "released", "channels": 4, "hidden": 4, "sensitive_batch": 2, "sensitive_negatives": 4}),
])  # fmt: skip
def test_training(device, synthetic_faces, tmp_path, name, settings):
    config = METHODS[name](head_hidden=16, head_dim=8, **settings)
    method = build_method(name, config, TINY, Views())
    faces = synthetic_faces()
    faces = faces.select(np.arange(16))
    history = train(
        method, faces, Schedule(8, 1, 0.5, "float32"), seed=1, data="x", out=tmp_path / "out", checkpoints=tmp_path / "ck",
        device=device, label=name,
    )  # fmt: skip
    assert np.isfinite(history[-1]["loss"]) and (tmp_path / "out" / "encoder.safetensors").is_file()


@pytest.mark.parametrize("settings", [{}, {"variant": "first_release"}, {"objective": "cross_entropy"}])
def test_aunce(device, make_faces, settings):
    method = Aunce(AunceConfig(units=[1, 2, 4], width=8, **settings), TINY, Views()).to(device)
    generator = torch.Generator(device).manual_seed(0)
    labels = torch.tensor([[0, 1, 9], [1, 0, 0], [0, 0, 1], [1, 1, -1]])
    method.learn_rates(labels)
    for _ in range(4):  # all kinds of positives
        (views,) = method.views(make_faces(4, 16).to(device), generator, labels)
        loss = method.loss(views)["loss"]
        loss.backward()
        assert loss.device.type == device.type and torch.isfinite(loss)


@pytest.mark.parametrize("settings", [{}, {"variant": "first_release"}, {"objective": "cross_entropy"}])
def test_a_step_of_aunce_waits_for_a_gpu_nowhere(make_faces, settings):
    """But in the first one, to see that the AUs' rates are known; whatever is drawn for the processor is drawn on the processor."""
    with pretend_device() as device:
        method = Aunce(AunceConfig(units=[1, 2, 4], width=8, **settings), TINY, Views()).to(device)
        generator = torch.Generator(device).manual_seed(0)
        labels = torch.tensor([[0, 1, 9], [1, 0, 0], [0, 0, 1], [1, 1, -1]])
        method.learn_rates(labels)
        images, seen = make_faces(4, 16).to(device), set()
        for _ in range(4):
            WAITS.clear()
            (views,) = method.views(images, generator, labels)
            method.loss(views)["loss"].backward()
            seen.add(tuple(views["branch"]))
        assert WAITS == []
        assert len(seen) > 1 or method.head is not None  # the generator moves on


@pytest.mark.parametrize("name, settings", [
    ("simclr", {}), ("simclr", {"attack_steps": 2}), ("byol", {"face_swap": True}), ("ssl_fer", {"descriptor": "pixels"}),
    ("moco", {"hard_neg": True, "mask_fn": True, "descriptor": "pixels", "queue": 64}),
    ("dar_sfrl", {"channels": 4, "hidden": 4}), ("dar_sfrl", {"channels": 4, "hidden": 4, "stages": 0}),
    ("dar_sfrl", {"variant": "released", "channels": 4, "hidden": 4, "sensitive_batch": 2, "sensitive_negatives": 4}),
])  # fmt: skip
def test_a_step_waits_for_a_gpu_nowhere(make_faces, name, settings):
    """But in the first one, for constants that are copied once."""
    with pretend_device() as device:
        method = build_method(name, METHODS[name](head_hidden=16, head_dim=8, **settings), TINY, Views(hue=0.1, blur=0.5)).to(device)
        generator, images = torch.Generator(device).manual_seed(0), make_faces(80, 16).to(device)  # all corruptions in every step
        places = (torch.tensor(MEAN_FACE) * 16).expand(16, 5, -1, -1).to(device)
        clips = ClipBatch(images.unflatten(0, (16, 5)), places, torch.arange(16, device=device))
        for step in range(2):
            WAITS.clear()
            for views in method.views(clips if hasattr(method, "items") else images, generator):
                terms = method.loss(views)
                embedding = terms.pop("embedding", None)
                terms["loss"].backward()
                under_way(terms, embedding)
            if_it_has(method, "after_step", step)
        assert WAITS == []


def test_linear_evaluation_of_action_units(device, synthetic_faces, pixel_encoder):
    encoder = pixel_encoder(24).to(device)
    for own_vectors in (False, True):
        found = evaluate_action_units(encoder, synthetic_faces(), recipe=Recipe(epochs=2), device=device, own_vectors=own_vectors)
        assert 0 < found.scores["validation"].f1_macro < 1


@pytest.mark.parametrize("name, settings", [
    ("ssl_fer", {"cut_mix": True, "descriptor": "resnet10t", "descriptor_pretrained": False}),
    ("ssl_fer", {"variant": "released", "descriptor": "pixels"}),
    ("moco", {"time_aug": True, "hard_neg": True, "face_swap": True, "mask_fn": True, "descriptor": "pixels", "queue": 16}),
    ("byol", {"time_aug": True, "face_swap": True}),
])  # fmt: skip
def test_training_on_clips(device, tmp_path, name, settings):
    timing = {"fps": 1.0} | ({} if name == "byol" else {"hard_interval": 2.0})
    method = build_method(name, METHODS[name](head_hidden=16, head_dim=8, **timing, **settings), TINY, Views(hue=0.1))
    points = np.tile(np.array(MEAN_FACE, np.float32) * 16, (40, 1, 1))
    rows = pd.DataFrame({"clip": np.arange(40) // 5, "frame": np.arange(40) % 5, "identity": np.arange(40) // 10})
    faces = FaceTable(name="set", source="drawn", licence="-", credit="-", image_size=(16, 16), rows=rows,
                      reader=Noise(), landmarks=points)  # fmt: skip
    history = train(
        method, faces, Schedule(4, 2, 0.5, "float32"), seed=1, data="x", out=tmp_path / "out", checkpoints=tmp_path / "ck",
        device=device, label=name,
    )  # fmt: skip
    assert np.isfinite(history[-1]["loss"])


class Noise:
    has_masks = False

    def images(self, index):
        return np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), np.uint8)[index]


def test_nt_xent_in_tiles(device, make_faces):
    z = make_faces(12, 4).flatten(1).to(device).requires_grad_()
    nt_xent(z, torch.arange(12, device=device).roll(6), exclude=torch.full((12, 1), -1, device=device), tile=5).backward()
    assert z.grad.device.type == device.type


def test_evaluation(device, synthetic_faces, tmp_path):
    params = ProbeParams(
        images=30, pairs=20, attacked=Attacked(6, 6, 6), corruptions=["fog", "mask"], severities=[2], attacks=["pgd", "difgsm"],
        steps=2, sweep=[2], checked=5, check_steps=[1, 2], queries=4, strong=Strong(items=5, steps=2, queries=3),
        resamples=20, batch_size=16, au_epochs=2,
    )  # fmt: skip
    encoder, other = (Encoder(EncoderConfig(16, "pixels")).to(device) for _ in range(2))
    results = evaluate(
        encoder, [synthetic_faces()], params, method="pixels", seed=1, device=device, work=tmp_path / "work",
        shared=tmp_path / "kept", checks=True, surrogates={"other": other},
    )  # fmt: skip
    assert {"clean", "corruption", "attack", "sweep", "check", "strong"} == set(results.family)


@pytest.mark.parametrize("recipe", ["demo", "fer2013"])
def test_affect_and_fine_tuning(device, synthetic_faces, tmp_path, recipe):
    tasks = ["valence_arousal", "valence_arousal_finetuned", "valence_arousal_knn"]
    tasks += ["expression", "expression_finetuned", "expression_knn"] if recipe == "fer2013" else []
    params = ProbeParams(
        tasks=tasks, finetune=Finetune(recipe, 1), images=8, attacked=Attacked(expression=4, valence_arousal=4),
        corruptions=["contrast"], severities=[2], attacks=["pgd"], steps=1, sweep=[], resamples=5, batch_size=16,
    )  # fmt: skip
    table = synthetic_faces()
    table = table.select(np.isin(table.column("identity"), (0, 1, 2, 30, 31)))
    encoder = Encoder(EncoderConfig(16, "pixels")).to(device)
    results = evaluate(encoder, [table], params, method="pixels", seed=1, device=device, work=tmp_path / "work")
    assert set(results.task) == set(tasks) and {"clean", "corruption", "attack"} == set(results.family)
