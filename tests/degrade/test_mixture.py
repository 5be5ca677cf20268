import pytest
import torch

from lib.degrade.corruptions import CORRUPTIONS, REGISTRY, apply
from lib.degrade.levels import LEVELS, rows
from lib.degrade.mixture import TRAIN_CORRUPTIONS, degrade, degrade_with, part_sizes, replay
from lib.device import constant


def test_training_types_are_a_small_part_and_of_every_kind():
    assert set(TRAIN_CORRUPTIONS) < set(CORRUPTIONS) and len(TRAIN_CORRUPTIONS) <= len(CORRUPTIONS) // 2
    assert {REGISTRY[name].part for name in TRAIN_CORRUPTIONS} == {"M", "eps", "M + eps"}


def test_ops_and_severities_are_drawn_evenly_and_by_the_seed(make_images, seeded):
    images = make_images(2000, 8)
    result = degrade(images, seeded())
    again = degrade(images, seeded())
    assert all(torch.equal(a.nan_to_num(-1), b.nan_to_num(-1)) for a, b in zip(result, again, strict=True))
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
    for image, made, op, severity in zip(images, *result[:3], strict=True):
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


@pytest.mark.parametrize("side", [32, 64, 100, 224])
def test_the_level_is_that_of_the_table_at_this_size(make_images, seeded, side):
    ops = ("gaussian_noise", "motion_blur", "contrast", "snow")  # one, two, one and seven parameters
    result = degrade(make_images(24, side), seeded(), ops, severities=(1, 2, 5), identity=0.2)
    assert result.level.shape == (24, 7) and (result.op == -1).any()
    for level, op, severity in zip(result.level.tolist(), result.op.tolist(), result.severity.tolist(), strict=True):
        wanted = rows(ops[op], side)[severity - 1] if op >= 0 else ()
        assert level[: len(wanted)] == pytest.approx(wanted) and all(x != x for x in level[len(wanted) :])
    small = degrade(make_images(40, 16), seeded(), ("gaussian_noise",), identity=0)
    assert small.level[:, 0].tolist() == pytest.approx([LEVELS["gaussian_noise"][1][s - 1] for s in small.severity.tolist()])


def test_tables_of_levels_are_copied_to_their_device_once(make_images, seeded):
    images = make_images(64, 32)
    first, before = degrade(images, seeded()), constant.cache_info()
    again = degrade(images, seeded())
    assert constant.cache_info().misses == before.misses and constant.cache_info().hits > before.hits
    assert torch.equal(first.level.nan_to_num(-1), again.level.nan_to_num(-1))


@pytest.mark.parametrize("generator", [torch.Generator().manual_seed(3), None])
def test_the_same_draws_on_other_faces(make_images, generator):
    """Of corruptions that are linear M F + eps: both come out again from their action on black and on single faces."""
    ops = ("shot_noise", "impulse_noise", "motion_blur", "occlusion", "gaussian_noise", "low_light")
    images, others = 0.4 + 0.1 * make_images(80, 16), 0.4 + 0.1 * make_images(80, 16, seed=1)
    result = degrade(images, generator, ops, identity=0.1)
    assert torch.equal(replay(images, result, ops), result.images)
    made = replay(others, result, ops)
    eps = replay(torch.zeros_like(images), result, ops)
    middle = replay((images + others) / 2, result, ops)
    linear = torch.tensor([REGISTRY[name].linear for name in ops])[result.op] | (result.op < 0)
    inside = [((x > 0.02) & (x < 0.98)) for x in (result.images, made, middle)]
    free = inside[0] & inside[1] & inside[2]  # where nothing was clamped
    error = ((result.images + made) / 2 - middle).abs()
    assert error[linear][free[linear]].max() < 1e-5 and free[linear].float().mean() > 0.8
    drawn_anew = degrade_with(others, result.op, result.severity, generator, ops)
    blurred, placed, noisy = (result.op == ops.index(name) for name in ("motion_blur", "occlusion", "gaussian_noise"))
    assert all((made[one] != drawn_anew[one]).any() for one in (blurred, placed, noisy))
    assert torch.equal((made - others)[result.op < 0], torch.zeros_like(made[result.op < 0])) and (eps[blurred] == 0).all()


def test_sizes_of_m_and_eps(make_images, seeded):
    ops = ("gaussian_noise", "contrast", "impulse_noise", "occlusion")
    images = 0.3 + 0.4 * make_images(200, 16)
    result = degrade(images, seeded(), ops, severities=(1, 3), identity=0.1)
    structured, additive = part_sizes(images, result, ops)
    black = replay(torch.zeros_like(images), result, ops)
    for i, op in enumerate(result.op.tolist()):
        change = result.images[i] - images[i]
        eps = {-1: 0 * change, 0: change, 1: 0 * change}.get(op, black[i])
        assert additive[i].item() == pytest.approx(eps.square().mean().sqrt().item(), abs=1e-6)
        assert structured[i].item() == pytest.approx((change - eps).square().mean().sqrt().item(), abs=1e-6)
    noise = result.op == 0
    assert structured[noise].max() == 0 and (additive / result.level[:, 0])[noise].mean() == pytest.approx(1, abs=0.03)
    assert additive[result.op == 1].max() == 0 and structured[result.op == 1].min() > 0
    impulses = result.op == 2  # a share p of the values is replaced by 0 or 1, half each
    assert (additive.square() / (result.level[:, 0] / 2))[impulses].mean() == pytest.approx(1, abs=0.1)
    assert (structured[result.op == -1] == 0).all() and (additive[result.op == -1] == 0).all()


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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": torch.rand(3, 3, 16, 16)}, r"images: expected \[4, 3, 16, 16\] on cpu, as were degraded, got \[3, 3, 16, 16\]"),
        ({"images": torch.rand(4, 3, 16, 16) + 1}, "images: expected values in"),
        ({"ops": ("contrast",)}, "ops: expected the 2 names that degrade was given, got 1"),
        ({"ops": ("contrast", "nothing")}, "ops: expected names from"),
    ],
)
@pytest.mark.parametrize("function", [replay, part_sizes])
def test_bad_replay(function, change, message):
    images = torch.rand(4, 3, 16, 16)
    degraded = degrade(images, ops=("contrast", "gaussian_noise"))
    with pytest.raises(ValueError, match=message):
        function(**{"images": images, "degraded": degraded, "ops": ("contrast", "gaussian_noise"), **change})
