"""The further attacks of an evaluation, through whole tasks: their strength, their bounds, their rows."""

import dataclasses

import pytest
import torch

from lib.evaluation import tasks_of
from lib.probe_params import ProbeParams
from lib.strong_attacks import ATTACK, PARTS_OF_M, STRONG, Strong, strong_jobs

PARAMS = ProbeParams(images=50, pairs=20, batch_size=16)
QUICK = Strong(items=20, steps=8, queries=20)


@pytest.fixture
def tasks(synthetic_faces, pixel_encoder):
    encoder = pixel_encoder(40)
    encoder.requires_grad_(False)
    return {task.name: task for task in tasks_of(encoder, synthetic_faces(), PARAMS, "cpu")}


def test_one_job_for_each_and_autoattack_for_classes_alone(tasks):
    for name, task in tasks.items():
        jobs = list(strong_jobs(task, QUICK, 8, 16, "cpu"))
        found = [cell.condition for job in jobs for cell in job.cells]
        assert found == [attack for attack in STRONG if attack != "autoattack" or name == "expression"]
        for job in jobs:
            (scores,) = job.run()
            assert len(scores) == 20 and job.cost > 0 and (scores == job.run()[0]).all()


@pytest.mark.parametrize("name", ["expression", "verification", "action_units"])
def test_each_makes_the_tasks_loss_rise_within_its_bounds(tasks, name):
    task, items = tasks[name], torch.arange(20)
    images = task.images[:20].float() / 255
    loss = lambda x: task.losses(task.scores_fn(items)(x), items)  # noqa: E731
    for kind in STRONG:
        if kind == "autoattack" and name != "expression":
            continue
        got = ATTACK[kind](task, images, items, 8 / 255, QUICK, items)
        assert got.min() >= 0 and got.max() <= 1 and not torch.equal(got, images)
        if not kind.startswith("m_"):
            assert (got - images).abs().max() <= 8 / 255 + 1e-6
        assert loss(got).mean() > loss(images).mean() or kind == "ssp"
    features = task.encoder(images)
    moved = torch.cosine_similarity(task.encoder(ATTACK["ssp"](task, images, items, 8 / 255, QUICK, items)), features)
    noise = torch.cosine_similarity(task.encoder((images + 8 / 255 * torch.randn_like(images).sign()).clamp(0, 1)), features)
    assert moved.mean() < noise.mean()


def test_an_item_has_the_same_attack_in_any_batch(tasks):
    task = tasks["verification"]
    whole, apart = ([job.run()[0] for job in strong_jobs(task, QUICK, 8, size, "cpu")] for size in (20, 7))
    for a, b in zip(whole, apart, strict=True):
        assert abs(a - b).mean() < 0.01  # sums are rounded otherwise, which turns a sign here and there


def test_the_parts_of_m_are_searched_apart(tasks):
    task, items = tasks["expression"], torch.arange(20)
    images = task.images[:20].float() / 255
    got = {name: ATTACK[name](task, images, items, 0.0, QUICK, items) for name in PARTS_OF_M}
    change = got["m_occluder"] != images
    assert 0.02 < change.float().mean() < 0.08  # a square of a fifth of the side, its edges
    gain = got["m_gain"].clamp(1e-3) / images.clamp(1e-3)
    inside = (got["m_gain"] < 0.99) & (images > 0.05)
    assert gain[inside].log().abs().max() <= 0.3 + 1e-3
    assert (got["m_blur"].mean((2, 3)) - images.mean((2, 3))).abs().max() < 0.05  # light is spread, not made


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attacks": ["apgd", "cw"]}, "attacks must be among apgd, autoattack, ssp, m_blur, m_gain, m_occluder, got cw"),
        ({"attacks": ["ssp", "ssp"]}, "attacks must hold each entry once"),
        ({"items": 0}, "items must be at least 1"),
        ({"steps": 0}, "steps must be at least 1"),
    ],
)
def test_bad_settings(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(QUICK, **change)
