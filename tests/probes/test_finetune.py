"""Full fine-tuning: it learns, can be repeated and resumed to the bit, three epochs are told apart, recipes are what they say."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lib.probes.finetune
from lib.probes.augment import Augmentation
from lib.probes.finetune import RECIPES, FineTuningError, Goal, Recipe, finetune, optimizer_of

QUICK = Recipe(learning_rate=2e-3, batch_size=32, epochs=4, balanced=False, augmentation=Augmentation(0.0, 0.0, 0.0))


class Quiet:
    def __init__(self, total, label, start=0):
        self.total, self.done = total, start

    def step(self, n=1, note=""):
        self.done += n


class Killed(Quiet):
    at = 8

    def step(self, n=1, note=""):
        super().step(n, note)
        if self.done == self.at:
            raise KeyboardInterrupt


@pytest.fixture
def start(synthetic_faces, trainable_encoder, tmp_path):
    table = synthetic_faces()
    label = torch.tensor(table.column("expression"))
    goal = Goal(7, label, F.cross_entropy, lambda scores, truth: float((scores.argmax(1) == truth).mean()))
    rows = (np.arange(126), np.arange(126, 140), np.arange(140, 210))

    def run(recipe=QUICK, encoder=None, rows=rows, goal=goal, seed=1, **more):
        return finetune(
            encoder or trainable_encoder(128), table, goal, rows, recipe, seed=seed, batch_size=64, device="cpu", label="test",
            **({"progress": Quiet} | more),
        )  # fmt: skip

    run.table, run.goal, run.rows = table, goal, rows
    return run


def test_it_learns_and_leaves_the_encoder_as_it_was(start, trainable_encoder):
    encoder = trainable_encoder(128).train()
    before = [p.clone() for p in encoder.state_dict().values()]
    run = start(dataclasses.replace(QUICK, epochs=10), encoder)
    assert [row["epoch"] for row in run.history] == list(range(1, 11))
    assert run.history[-1]["loss"] < 0.5 * run.history[0]["loss"] and run.history[-1]["test"] > 0.9
    assert all(torch.equal(a, b) for a, b in zip(before, encoder.state_dict().values())) and encoder.training
    assert not torch.equal(run.model.body[2].weight, encoder[2].weight)  # every weight is trained, the encoder's too
    assert not run.model.training and not any(p.requires_grad for p in run.model.parameters())


def test_the_three_readings(start):
    """Scores by epoch are dictated: validation is best after epoch 2, test after epoch 3, and epoch 4 is the last."""
    validation, test = iter([0.1, 0.9, 0.5, 0.9]), iter([0.3, 0.2, 0.8, 0.8])
    seen = []

    def score(scores, truth):
        if len(truth) == 14:
            return next(validation)
        seen.append(scores)
        return next(test)

    run = start(goal=dataclasses.replace(start.goal, score=score))
    assert [(row["validation"], row["test"]) for row in run.history] == [(0.1, 0.3), (0.9, 0.2), (0.5, 0.8), (0.9, 0.8)]
    assert np.array_equal(run.best_on_test, seen[2]) and np.array_equal(run.last, seen[3])  # of equal ones the first
    images = start.table.images(torch.arange(140, 210)).float() / 255
    assert np.allclose(run.model(images).numpy(), seen[1], atol=1e-5)  # the chosen epoch's weights
    assert not np.allclose(seen[1], seen[3], atol=1e-3)


def test_two_runs_are_equal_and_other_seeds_differ(start):
    torch.manual_seed(5)
    first, state = start(), torch.get_rng_state()
    torch.manual_seed(6)
    again = start()
    assert np.array_equal(first.last, again.last) and first.history == again.history
    torch.manual_seed(5)
    assert torch.equal(state, torch.get_rng_state())  # torch's global numbers are left alone
    assert not np.array_equal(start(seed=2).last, first.last)


@pytest.mark.parametrize("recipe", [QUICK, dataclasses.replace(QUICK, optimizer="sgd", plateau=True, learning_rate=0.05)])
def test_a_killed_run_goes_on_and_ends_the_same(start, tmp_path, recipe):
    path = tmp_path / "deep" / "run.pt"
    with pytest.raises(KeyboardInterrupt):
        start(recipe, checkpoint=path, progress=Killed)  # in the third of four epochs of three steps
    meters = []
    resumed = start(recipe, checkpoint=path, progress=lambda *a, **k: meters.append(Quiet(*a, **k)) or meters[-1])
    assert meters[0].total == meters[0].done == 12
    whole = start(recipe)
    assert np.array_equal(resumed.last, whole.last) and resumed.history == whole.history
    assert np.array_equal(resumed.best_on_test, whole.best_on_test)
    for a, b in zip(resumed.model.state_dict().values(), whole.model.state_dict().values()):
        assert torch.equal(a, b)


def test_a_finished_run_is_read_back(start, tmp_path, monkeypatch):
    path = tmp_path / "run.pt"
    first = start(checkpoint=path)
    monkeypatch.setattr(lib.probes.finetune, "augmented", None)  # any step would fail now
    again = start(checkpoint=path)
    assert np.array_equal(first.last, again.last) and first.history == again.history
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(FineTuningError, match="run.pt: the checkpoint is cut short or broken; delete it"):
        start(checkpoint=path)


def test_the_rate_falls_as_a_cosine(start):
    rates = [row["lr"] for row in start().history]  # of the last of three steps of each epoch
    assert rates == pytest.approx([2e-3 * 0.5 * (1 + math.cos(math.pi * s / 12)) for s in (2, 5, 8, 11)])


def test_the_rate_waits_for_a_plateau(start, tmp_path):
    recipe = dataclasses.replace(QUICK, optimizer="sgd", plateau=True, learning_rate=0.01, epochs=9)
    better = itertools.count()  # on the test images, which must not matter; on the held-out ones best at once, then never again
    goal = dataclasses.replace(start.goal, score=lambda scores, truth: 0.5 if len(truth) == 14 else next(better))
    rates = [row["lr"] for row in start(recipe, goal=goal).history]
    assert rates == pytest.approx([0.01] * 7 + [0.0075] * 2)
    path = tmp_path / "run.pt"
    with pytest.raises(KeyboardInterrupt):
        start(recipe, goal=goal, checkpoint=path, progress=type("Later", (Killed,), {"at": 16}))
    assert [row["lr"] for row in start(recipe, goal=goal, checkpoint=path).history] == rates  # it has waited before, too


def test_recipes_have_the_published_numbers():
    affectnet, fer = RECIPES["affectnet"], RECIPES["fer2013"]
    assert (affectnet.batch_size, affectnet.epochs, affectnet.balanced, affectnet.crop) == (64, 20, True, 0)
    assert (fer.batch_size, fer.epochs, fer.plateau, fer.crop) == (64, 300, True, pytest.approx(40 / 48))
    assert affectnet.augmentation == Augmentation(colour=0.4, grey=0.2, blur=0.5, hue=0.2, mask=0.8)
    assert fer.augmentation == Augmentation(0.0, 0.0, 0.0, crop=0.8, rotation=10.0, shift=0.2, corner=40 / 48, erasing=0.5)
    adam, scheduler = optimizer_of(nn.Linear(2, 2), affectnet)
    assert isinstance(adam, torch.optim.Adam) and scheduler is None
    assert (adam.defaults["lr"], adam.defaults["weight_decay"]) == (1e-4, 5e-4)
    sgd, scheduler = optimizer_of(nn.Linear(2, 2), fer)
    wanted = {"lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4, "nesterov": True}
    assert isinstance(sgd, torch.optim.SGD) and {name: sgd.defaults[name] for name in wanted} == wanted
    assert (scheduler.mode, scheduler.factor, scheduler.patience) == ("max", 0.75, 5)


def test_the_landmarks_of_the_images_go_with_them(start, monkeypatch):
    seen = []
    monkeypatch.setattr(lib.probes.finetune, "augmented", lambda x, how, generator, points: seen.append((x, points)) or x)
    start(dataclasses.replace(QUICK, epochs=1))
    assert len(seen) == 3 and all(points is None for _, points in seen)
    number = np.arange(len(start.table), dtype=np.float32)[:, None, None]
    start.table._landmarks = np.broadcast_to(number, (len(number), 68, 2)).copy()
    start(dataclasses.replace(QUICK, epochs=1))
    for images, points in seen[3:]:
        assert torch.equal(images, start.table.images(points[:, 0, 0].long()).float() / 255) and points.shape == (32, 68, 2)


def test_ten_crops_are_learned_and_tested(start):
    recipe = dataclasses.replace(RECIPES["fer2013"], epochs=2, batch_size=32)
    encoder = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    learnt = []

    def loss(scores, labels):
        learnt.append((len(scores), labels))
        return F.cross_entropy(scores, labels)

    goal = dataclasses.replace(start.goal, loss=loss)
    run = start(recipe, encoder, goal=goal)
    for count, labels in learnt:  # every crop of an image has the image's label
        assert count == len(labels) == 320 and all(torch.equal(labels[:32], some) for some in labels.split(32))
    assert len(learnt) == 6 and run.last.shape == (70, 7) and run.model.body(torch.rand(2, 3, 16, 16)).shape == (2, 320)


def test_few_images_are_one_batch_and_bad_ones_are_named(start):
    run = start(dataclasses.replace(QUICK, epochs=1), rows=(np.arange(5), *start.rows[1:]))
    assert len(run.history) == 1
    with pytest.raises(ValueError, match=r"rows: expected at least 2 images to fit on.* got \[1, 14, 70\]"):
        start(rows=(np.arange(1), *start.rows[1:]))
    with pytest.raises(FineTuningError, match="test: the loss is nan in step 0; lower the recipe's learning_rate"):
        start(goal=dataclasses.replace(start.goal, loss=lambda scores, labels: scores.sum() * float("nan")))
    with pytest.raises(ValueError, match="optimizer: expected 'adam' or 'sgd', got 'lion'"):
        start(dataclasses.replace(QUICK, optimizer="lion"))
