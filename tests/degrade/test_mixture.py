import pytest
import torch

from lib.degrade.corruptions import CORRUPTIONS, REGISTRY, apply
from lib.degrade.mixture import TRAIN_CORRUPTIONS, degrade, degrade_with


def test_training_types_are_a_small_part_and_of_every_kind():
    assert set(TRAIN_CORRUPTIONS) < set(CORRUPTIONS) and len(TRAIN_CORRUPTIONS) <= len(CORRUPTIONS) // 2
    assert {REGISTRY[name].part for name in TRAIN_CORRUPTIONS} == {"M", "eps", "M + eps"}


def test_ops_and_severities_are_drawn_evenly_and_by_the_seed(make_images, seeded):
    images = make_images(2000, 8)
    result = degrade(images, seeded())
    again = degrade(images, seeded())
    assert all(torch.equal(a, b) for a, b in zip(result, again, strict=True))
    assert result.op.dtype == result.severity.dtype == torch.long and result.images.shape == images.shape
    assert result.images.min() >= 0 and result.images.max() <= 1
    same = result.op == -1
    assert torch.equal(result.images[same], images[same]) and (result.severity[same] == 0).all()
    assert abs(same.float().mean() - 0.1) < 0.03
    shares = torch.bincount(result.op[~same], minlength=8) / (~same).sum()
    assert (shares - 1 / 8).abs().max() < 0.03
    strengths = torch.bincount(result.severity[~same], minlength=4)[1:] / (~same).sum()
    assert len(strengths) == 3 and (strengths - 1 / 3).abs().max() < 0.04


def test_each_image_gets_what_is_recorded(make_images, seeded):
    ops = ("contrast", "low_light", "pixelate", "gaussian_blur")  # nothing drawn, so each can be made again alone
    images = make_images(64, 32)
    before = images.clone()
    result = degrade(images, seeded(), ops, severities=(1, 3, 5), identity=0.2)
    assert torch.equal(images, before) and set(result.severity.tolist()) == {0, 1, 3, 5}
    for image, made, op, severity in zip(images, *result, strict=True):
        expected = apply(image[None], ops[op], severity[None], None)[0] if op >= 0 else image
        assert torch.allclose(made, expected, atol=1e-5)
    others = make_images(64, 32, seed=1)
    repeated = degrade_with(others, result.op, result.severity, seeded(), ops)
    for image, made, op, severity in zip(others, repeated, result.op, result.severity, strict=True):
        expected = apply(image[None], ops[op], severity[None], None)[0] if op >= 0 else image
        assert torch.allclose(made, expected, atol=1e-5)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_mixed_severities_in_one_batch_have_each_its_own_strength(make_images, seeded, name):
    images = make_images(120, 32)
    severity = torch.arange(120) % 3 * 2 + 1
    mixed = degrade_with(images, torch.zeros(120, dtype=torch.long), severity, seeded(), (name,))
    for value in (1, 3, 5):
        chosen = severity == value
        alone = apply(images[chosen], name, severity[chosen], seeded(1))
        distances = [((x - images[chosen]) ** 2).mean((1, 2, 3)).sqrt().mean().item() for x in (mixed[chosen], alone)]
        assert distances[0] == pytest.approx(distances[1], rel=0.2)


def test_extremes(images, seeded):
    assert torch.equal(degrade(images, seeded(), identity=1.0).images, images)
    assert (degrade(images, seeded(), ops=("contrast",), identity=0).op == 0).all()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = degrade(images, seeded())
    assert torch.equal(half.images, degrade(images, seeded()).images)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ops": ("fogg",)}, r"ops: expected names from .* got \['fogg'\]"),
        ({"ops": ()}, "ops: expected names"),
        ({"ops": "fog"}, "ops: expected names"),
        ({"severities": (0, 1)}, "severities: expected integers from 1 to 5"),
        ({"severities": ()}, "severities: expected integers from 1 to 5"),
        ({"identity": 1.5}, "identity: expected a probability"),
        ({"images": torch.rand(2, 3, 4, 4)}, "images: expected at least 8 x 8"),
        ({"generator": "0"}, "generator: expected"),
    ],
)
def test_bad_input(images, change, message):
    with pytest.raises(ValueError, match=message):
        degrade(**{"images": images, **change})


@pytest.mark.parametrize(
    ("op", "severity", "message"),
    [
        (torch.zeros(3, dtype=torch.long), torch.ones(4, dtype=torch.long), r"op: expected a long tensor \[4\]"),
        (torch.zeros(4), torch.ones(4, dtype=torch.long), r"op: expected a long tensor \[4\], got torch.float32"),
        (torch.full((4,), 8), torch.ones(4, dtype=torch.long), "op: expected -1 to 7, got 8 to 8"),
        (torch.zeros(4, dtype=torch.long), torch.zeros(4, dtype=torch.long), "severity: expected 1 to 5 wherever"),
        (torch.zeros(4, dtype=torch.long), [1, 1, 1, 1], "severity: expected a long tensor"),
    ],
)
def test_bad_record(images, op, severity, message):
    with pytest.raises(ValueError, match=message):
        degrade_with(images, op, severity)
