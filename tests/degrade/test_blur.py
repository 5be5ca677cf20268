"""Each blur against the published algorithm for one image, in NumPy and SciPy loops."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from lib.degrade import blur
from lib.degrade.levels import rows

STRENGTHS = [1, 3, 5]


def severity(images, strength):
    return torch.full((len(images),), strength)


@pytest.mark.parametrize("strength", STRENGTHS)
def test_gaussian_blur(images, strength):
    sigma = rows("gaussian_blur", 32)[strength - 1][0]
    expected = ndimage.gaussian_filter(images.numpy(), (0, 0, sigma, sigma), mode="nearest", truncate=4.0)
    assert np.allclose(blur.gaussian_blur(images, severity(images, strength), None), expected, atol=1e-5)


@pytest.mark.parametrize("side", [32, 224])
@pytest.mark.parametrize("strength", STRENGTHS)
def test_defocus_blur(make_images, side, strength):
    images = make_images(1, side)
    radius, edge = rows("defocus_blur", side)[strength - 1]
    half, taps = (8, 1) if radius <= 8 else (int(radius), 2)
    line = np.array([math.exp(-0.5 * (i / edge) ** 2) for i in range(-taps, taps + 1)])
    axis = range(-half, half + 1)
    flat = np.array([[float(x * x + y * y <= radius**2) for x in axis] for y in axis])
    kernel = ndimage.correlate(flat / flat.sum(), np.outer(line, line) / line.sum() ** 2, mode="mirror")
    expected = np.stack([ndimage.correlate(channel, kernel, mode="mirror") for channel in images[0].double().numpy()])
    got = blur.defocus_blur(images, severity(images, strength), None)
    assert np.allclose(got[0], expected, atol=1e-4)


@pytest.mark.parametrize("strength", STRENGTHS)
def test_motion_blur(images, seeded, strength):
    got = blur.motion_blur(images, severity(images, strength), seeded())
    angles = (torch.rand(len(images), generator=seeded()) - 0.5) * math.pi / 2
    radius, sigma = rows("motion_blur", 32)[strength - 1]
    for image, angle, made in zip(images.numpy(), angles.tolist(), got, strict=True):
        weights = [math.exp(-(i**2) / (2 * sigma**2)) for i in range(2 * int(radius) + 1)]
        expected = np.zeros_like(image)
        padded = np.pad(image, ((0, 0), (32, 32), (32, 32)), mode="edge")
        for i, weight in enumerate(weights):
            down, across = math.ceil(i * math.sin(angle) - 0.5), math.ceil(i * math.cos(angle) - 0.5)
            expected += weight / sum(weights) * padded[:, 32 + down : 64 + down, 32 + across : 64 + across]
        assert np.abs(made.numpy() - expected).max() < 2e-3  # the path is cut at 4 sigmas
    assert abs(angles).max() <= math.pi / 4


@pytest.mark.parametrize("factor", [1.0, 1.01, 1.07, 1.25, 2.25, 4.5])
@pytest.mark.parametrize("length", [8, 48, 63])
def test_zoom_matrix_is_scipys_zoom_of_the_centre(factor, length):
    signal = np.random.default_rng(0).random(length)
    crop = math.ceil(length / factor)
    first = (length - crop) // 2
    stretched = ndimage.zoom(signal[first : first + crop], factor, order=1)
    trim = (len(stretched) - length) // 2
    expected = stretched[trim : trim + length]
    got = (blur.zoom_matrix(length, factor) @ torch.from_numpy(signal)).numpy()
    # SciPy reads just beyond the last pixel as 0 where rounding takes it there
    close = np.isclose(got, expected, atol=1e-9) | (expected == 0)
    assert len(expected) == length and close.all()


@pytest.mark.parametrize("strength", STRENGTHS)
def test_zoom_blur_is_the_mean_of_the_zooms_and_the_image(images, strength):
    count, step = rows("zoom_blur", 32)[strength - 1]
    zooms = [1 + step * i for i in range(int(count))]
    total = images.double()
    for factor in zooms:
        matrix = blur.zoom_matrix(32, factor)
        total = total + matrix @ images.double() @ matrix.T
    got = blur.zoom_blur(images, severity(images, strength), None)
    assert torch.allclose(got.double(), total / (len(zooms) + 1), atol=1e-5)


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("side", [24, 224])
def test_glass_blur_is_the_published_walk(make_images, seeded, side, strength):
    images = make_images(2, side) if side < 100 else make_images(1, side)[:, :, :40, :56].contiguous()
    height, width = images.shape[2:]
    side = min(height, width)
    sigma, reach, rounds = rows("glass_blur", side)[strength - 1]
    got = blur.glass_blur(images, severity(images, strength), seeded())
    draw = seeded()
    walked = ndimage.gaussian_filter(images.numpy(), (0, 0, sigma, sigma), mode="nearest", truncate=4.0)
    for _ in range(round(rounds)):
        uniform = torch.rand(2, len(images), height, width, generator=draw).numpy()
        shifts = np.floor(uniform * 2 * round(reach)) - round(reach)
        for number, image in enumerate(walked):
            for h in range(height - round(reach), round(reach), -1):
                for w in range(width - round(reach), round(reach), -1):
                    down, across = shifts[:, number, h, w].astype(int)
                    image[:, h, w] = image[:, h + down, w + across]
    expected = ndimage.gaussian_filter(walked, (0, 0, sigma, sigma), mode="nearest", truncate=4.0)
    assert np.allclose(got, expected, atol=1e-5)


def test_by_severity_puts_each_image_back(images):
    got = blur.by_severity(images, torch.tensor([3, 1, 3, 5]), lambda part, strength: part * 0 + strength)
    assert got[:, 0, 0, 0].tolist() == [3, 1, 3, 5]
