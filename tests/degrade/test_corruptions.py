import pytest
import torch

from lib.degrade.corruptions import CORRUPTIONS, IMAGENET_C, REGISTRY, corrupt
from lib.degrade.levels import NOT_MONOTONE

LINEAR = tuple(name for name, kind in REGISTRY.items() if kind.linear)
# nothing is drawn for them: the same image gives the same result
FIXED = {
    "defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression", "gaussian_blur", "saturate",
    "low_light", "over_exposure", "low_resolution",
}  # fmt: skip


def psnr(a, b):
    return -10 * torch.log10(((a - b) ** 2).mean((1, 2, 3))).mean().item()


def test_names_and_parts():
    assert IMAGENET_C == (
        "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "snow",
        "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression",
    )  # fmt: skip
    assert set(CORRUPTIONS[15:19]) == {"speckle_noise", "gaussian_blur", "spatter", "saturate"}
    assert len(CORRUPTIONS) == 29 and {kind.part for kind in REGISTRY.values()} == {"M", "eps", "M + eps"}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_stronger_with_severity(make_images, seeded, name):
    rises = []
    for side, count in ((48, 16), (112, 8), (224, 6)):
        # each image at its own place, so that pixelate's grid does not meet the edges by chance
        images = torch.stack([x[:, i : side + i, -i - side - 1 : -i - 1] for i, x in enumerate(make_images(count, side + 17))])
        heights = [psnr(corrupt(images, name, strength, seeded()), images) for strength in range(1, 6)]
        rises.append(all(later < earlier for earlier, later in zip(heights, heights[1:])))
        assert max(heights) < 50 and min(heights) > 5
    assert all(rises) is (name not in NOT_MONOTONE), rises


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("shape", [(8, 8), (21, 33), (48, 48)])
def test_any_size_same_seed_same_result_input_untouched(make_images, seeded, name, shape):
    images = make_images(3, *shape)
    before = images.clone()
    for dtype in (torch.float32, torch.float64):
        got = corrupt(images.to(dtype), name, 3, seeded())
        assert got.shape == images.shape and got.dtype == dtype and torch.isfinite(got).all()
        assert got.min() >= 0 and got.max() <= 1
        assert torch.equal(got, corrupt(images.to(dtype), name, 3, seeded()))
    assert torch.equal(images, before)
    for flat in (torch.zeros_like(images), torch.ones_like(images)):
        assert torch.isfinite(corrupt(flat, name, 5, seeded())).all()


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_randomness_is_for_each_image(make_images, seeded, name):
    twins = make_images(1, 32).repeat(6, 1, 1, 1)
    got = corrupt(twins, name, 4, seeded())
    drawn = name not in FIXED
    assert torch.allclose(got[0], got[1], atol=1e-6) is not drawn
    if drawn:
        assert not torch.equal(got, corrupt(twins, name, 4, seeded(1)))


def unclamped(name, images, generator):
    """Severities 1, 3 and 5 of three images, before the clamp."""
    return REGISTRY[name].function(images, torch.tensor([1, 3, 5]), generator)


@pytest.mark.parametrize("name", LINEAR)
def test_linear_ones_are_linear_and_the_part_says_how(make_images, seeded, name):
    first, second = make_images(3, 32), make_images(3, 32, seed=1)
    black = unclamped(name, torch.zeros_like(first), seeded())
    apply = lambda images: unclamped(name, images, seeded())  # noqa: E731
    mixed = 0.3 * apply(first) + 0.6 * apply(second) + 0.1 * black
    assert torch.allclose(apply(0.3 * first + 0.6 * second), mixed, atol=1e-5)
    assert torch.allclose(black, torch.zeros_like(black), atol=1e-6) is (REGISTRY[name].part == "M")
    added = torch.allclose(apply(first) - first, apply(second) - second, atol=1e-5)
    assert added is (REGISTRY[name].part == "eps")


@pytest.mark.parametrize("name", [name for name in CORRUPTIONS if name not in LINEAR])
def test_the_others_are_not(make_images, seeded, name):
    first, second = make_images(3, 32), make_images(3, 32, seed=1)
    first[:, :2, :8], first[:, 2, :8], second[:, :, :8] = 0, 1, 0.5  # snow whitens all but a colour as strong as blue
    apply = lambda images: unclamped(name, images, seeded())  # noqa: E731
    assert not torch.allclose(apply(0.4 * first + 0.6 * second), 0.4 * apply(first) + 0.6 * apply(second), atol=1e-3)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_runs_at_imagenet_size(make_images, seeded, name):
    images = make_images(1, 224)
    got = corrupt(images, name, 5, seeded())
    assert torch.isfinite(got).all() and 5 < psnr(got, images) < 45


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "hail"}, "name: expected one of gaussian_noise.*, got 'hail'"),
        ({"severity": 0}, "severity: expected an integer from 1 to 5, got 0"),
        ({"severity": 6}, "severity: expected"),
        ({"severity": 2.5}, "severity: expected"),
        ({"severity": True}, "severity: expected"),
        ({"images": torch.zeros(2, 3, 16, 16, dtype=torch.uint8)}, "images: expected float32 .* divide 8-bit"),
        ({"images": torch.rand(2, 3, 16, 16) * 255}, r"images: expected values in \[0,1\], got a range"),
        ({"images": torch.rand(2, 3, 16, 16).sub(0.5)}, r"images: expected values in \[0,1\]"),
        ({"images": torch.rand(2, 3, 16, 16).log() * float("inf")}, "images: expected values"),
        ({"images": torch.full((2, 3, 16, 16), float("nan"))}, "images: .* got NaN"),
        ({"images": torch.rand(0, 3, 16, 16)}, "images: expected at least one image"),
        ({"images": torch.rand(3, 16, 16)}, r"images: expected shape \[B,3,H,W\], got \[3, 16, 16\]"),
        ({"images": torch.rand(2, 16, 16, 3)}, "images: expected shape"),
        ({"images": torch.rand(2, 3, 1, 1)}, "images: expected at least 8 x 8 pixels"),
        ({"images": [[0.5]]}, "images: expected a float tensor .* got list"),
        ({"landmarks": torch.zeros(2, 5, 2)}, r"landmarks: expected a float tensor \[2,68,2\] in pixels, got .*\[2, 5, 2\]"),
        ({"landmarks": torch.full((2, 68, 2), float("inf"))}, "landmarks: expected finite places, or NaN"),
        ({"generator": 0}, "generator: expected a torch.Generator or None, got int"),
    ],
)
def test_bad_input(change, message):
    with pytest.raises(ValueError, match=message):
        corrupt(**{"images": torch.rand(2, 3, 16, 16), "name": "fog", "severity": 1, **change})
