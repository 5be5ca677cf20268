"""Fog, plasma and snow against loops over pixels for one image; frost, which is ours, by its statistics."""

import math

import numpy as np
import pytest
import torch

from lib.degrade import weather
from lib.degrade.blur import zoom_matrix
from lib.degrade.levels import rows


def slow_plasma(side, decay, draw):
    """Diamond-square by single points, in the order in which the batched version draws."""
    field, amplitude, step = np.zeros((side, side)), 100.0**2, side
    while step >= 2:
        half, count = step // 2, side // step
        at = lambda row, column: field[row % side, column % side]  # noqa: E731
        for first, second, around in (
            (half, half, ((-half, -half), (-half, half), (half, -half), (half, half))),
            (0, half, ((-half, 0), (half, 0), (0, -half), (0, half))),
            (half, 0, ((-half, 0), (half, 0), (0, -half), (0, half))),
        ):
            noise = torch.rand(1, count, count, generator=draw).double().numpy()[0] * 2 - 1
            for i in range(count):
                for j in range(count):
                    row, column = first + i * step, second + j * step
                    field[row, column] = sum(at(row + a, column + b) for a, b in around) / 4 + amplitude * noise[i, j]
        step, amplitude = half, amplitude / decay**2
    return (field - field.min()) / (field.max() - field.min())


@pytest.mark.parametrize("decay", [3.0, 1.75])
def test_plasma_is_diamond_square(seeded, decay):
    images = torch.zeros(1, 3, 20, 27)
    got = weather.plasma(images, torch.full((1, 1, 1, 1), decay), seeded())
    assert np.allclose(got[0, 0], slow_plasma(32, decay, seeded())[:20, :27], atol=1e-4)


@pytest.mark.parametrize("strength", [1, 5])
def test_fog(make_images, seeded, strength):
    images = make_images(1, 16) * 0.8
    density, decay = rows("fog", 16)[strength - 1]
    image = images[0].numpy()
    expected = (image + density * slow_plasma(16, decay, seeded())) * image.max() / (image.max() + density)
    assert np.allclose(weather.fog(images, torch.tensor([strength]), seeded())[0], expected, atol=1e-4)


@pytest.mark.parametrize("strength", [1, 3, 5])
def test_snow(make_images, seeded, strength):
    images = make_images(1, 24)
    mean, sigma, zoom, threshold, radius, spread, share = rows("snow", 24)[strength - 1]
    draw = seeded()
    flakes = torch.randn(1, 1, 24, 24, generator=draw)[0, 0].double() * sigma + mean
    angle = math.radians(torch.rand(1, generator=draw).item() * 90 - 135)
    matrix = zoom_matrix(24, zoom)
    flakes = (matrix @ flakes @ matrix.T).numpy()
    flakes = np.clip(np.where(flakes < threshold, 0, flakes), 0, 1)
    weights = [math.exp(-(i**2) / (2 * spread**2)) for i in range(2 * int(radius) + 1)]
    padded, blurred = np.pad(flakes, 40, mode="edge"), np.zeros((24, 24))
    for i, weight in enumerate(weights):
        down, across = math.ceil(i * math.sin(angle) - 0.5), math.ceil(i * math.cos(angle) - 0.5)
        blurred += weight / sum(weights) * padded[40 + down : 64 + down, 40 + across : 64 + across]
    image = images[0].numpy()
    grey = 0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2]
    expected = share * image + (1 - share) * np.maximum(image, grey * 1.5 + 0.5) + blurred + np.rot90(blurred, 2)
    assert np.abs(weather.snow(images, torch.tensor([strength]), seeded())[0].numpy() - expected).max() < 2e-3


def test_frost_is_bluish_ice_with_the_published_weights(seeded):
    black, grey = torch.zeros(64, 3, 48, 48), torch.full((64, 3, 48, 48), 0.5)
    for strength in (1, 5):
        keep, weight = rows("frost", 48)[strength - 1]
        severity = torch.full((64,), strength)
        ice = weather.frost(black, severity, seeded()) / weight
        assert torch.allclose(weather.frost(grey, severity, seeded()), keep * 0.5 + weight * ice, atol=1e-5)
        assert 0.35 < ice[:, 2].mean() < 0.65 and ice.max() <= 1 and (ice[:, 2] >= ice[:, 0]).all()
        assert ice[:, 2].std((1, 2)).mean() > 0.1 and not torch.equal(ice[0], ice[1])


def test_haze_is_the_scattering_model(make_images, seeded):
    images = make_images(3, 32)
    (thickness,) = rows("haze", 32)[3]
    black, white = (weather.haze(torch.full_like(images, v), torch.full((3,), 4), seeded()) for v in (0.0, 1.0))
    kept = white - black
    air = black / (1 - kept)
    assert torch.allclose(air, air.mean((1, 2, 3), keepdim=True).expand_as(air), atol=1e-4)  # one air an image
    assert 0.75 <= air.min() and air.max() <= 0.95
    assert math.exp(-1.3 * thickness) < kept.min() + 1e-5 and kept.max() < math.exp(-0.7 * thickness) + 1e-5
    assert torch.allclose(weather.haze(images, torch.full((3,), 4), seeded()), images * kept + black, atol=1e-5)


def test_rain_falls_in_bright_streaks_along_one_direction(seeded):
    black = torch.zeros(16, 3, 64, 64)
    veil = rows("rain", 64)[3][3] * weather.VEIL
    streaks = weather.rain(black, torch.full((16,), 4), seeded()) - veil
    assert streaks.min() > -1e-6 and 0.03 < (streaks[:, 0] > 0.05).float().mean() < 0.35
    down = (streaks[:, 0, 1:] * streaks[:, 0, :-1]).mean()
    across = (streaks[:, 0, :, 1:] * streaks[:, 0, :, :-1]).mean()
    assert down > 2 * across
