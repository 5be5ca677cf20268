"""Against Python's own colorsys, Pillow and plain arithmetic, one pixel or one image at a time."""

import colorsys

import numpy as np
import pytest
import torch
from PIL import Image

from lib.degrade import digital
from lib.degrade.corruptions import corrupt
from lib.degrade.levels import rows

STRENGTHS = [1, 2, 3, 4, 5]


def severity(images, strength):
    return torch.full((len(images),), strength)


@pytest.fixture
def pixels(make_images):
    images = make_images(2, 12)
    images[0, :, 0, 0], images[0, :, 0, 1], images[0, :, 0, 2] = 0.0, 1.0, 0.4  # black, white, grey
    images[0, :, 0, 3] = torch.tensor([0.0, 0.0, 0.7])
    return images


def through_hsv(images, change):
    expected = np.zeros(images.shape)
    for b, _, h, w in np.ndindex(len(images), 1, *images.shape[2:]):
        hue, saturation, value = colorsys.rgb_to_hsv(*images[b, :, h, w].double().tolist())
        expected[b, :, h, w] = colorsys.hsv_to_rgb(hue, *change(saturation, value))
    return expected


@pytest.mark.parametrize("strength", STRENGTHS)
def test_brightness_raises_the_value_of_hsv(pixels, strength):
    added = rows("brightness", 12)[strength - 1][0]
    expected = through_hsv(pixels, lambda s, v: (s, min(v + added, 1)))
    assert np.allclose(digital.brightness(pixels, severity(pixels, strength), None), expected, atol=1e-5)


@pytest.mark.parametrize("strength", STRENGTHS)
def test_saturate_changes_the_saturation_of_hsv(pixels, strength):
    factor, offset = rows("saturate", 12)[strength - 1]
    expected = through_hsv(pixels, lambda s, v: (min(max(s * factor + offset, 0), 1), v))
    assert np.allclose(digital.saturate(pixels, severity(pixels, strength), None), expected, atol=1e-4)


@pytest.mark.parametrize("strength", STRENGTHS)
def test_contrast(images, strength):
    factor = rows("contrast", 32)[strength - 1][0]
    for image, made in zip(images.numpy(), digital.contrast(images, severity(images, strength), None), strict=True):
        mean = image.mean(axis=(1, 2), keepdims=True)
        assert np.allclose(made, (image - mean) * factor + mean, atol=1e-5)


@pytest.mark.parametrize("strength", STRENGTHS)
def test_pixelate_is_pillows(make_images, strength):
    images = (make_images(1, 40, 64) * 255).round() / 255
    share = rows("pixelate", 40)[strength - 1][0]
    image = Image.fromarray((images[0] * 255).round().byte().permute(1, 2, 0).numpy())
    small = image.resize((int(64 * share), int(40 * share)), Image.BOX)
    expected = np.asarray(small.resize((64, 40), Image.BOX)).transpose(2, 0, 1) / 255
    got = digital.pixelate(images, severity(images, strength), None)[0].numpy()
    assert np.abs(got - expected).max() < 1.5 / 255  # Pillow rounds to 8 bits between the two


@pytest.mark.parametrize("strength", STRENGTHS)
def test_low_light_is_a_gain(images, strength):
    gain = rows("low_light", 32)[strength - 1][0]
    assert torch.allclose(digital.low_light(images, severity(images, strength), None), images * gain)


@pytest.mark.parametrize("strength", STRENGTHS)
def test_low_resolution_is_pillows_bilinear(make_images, strength):
    images = (make_images(1, 40, 64) * 255).round() / 255
    share = rows("low_resolution", 40)[strength - 1][0]
    image = Image.fromarray((images[0] * 255).round().byte().permute(1, 2, 0).numpy())
    small = image.resize((round(64 * share), round(40 * share)), Image.BILINEAR)
    expected = np.asarray(small.resize((64, 40), Image.BILINEAR)).transpose(2, 0, 1) / 255
    got = digital.low_resolution(images, severity(images, strength), None)[0].numpy()
    assert np.abs(got - expected).max() < 2 / 255  # Pillow rounds to 8 bits between the passes


def test_over_exposure_saturates(images):
    gain = rows("over_exposure", 32)[2][0]
    assert torch.allclose(corrupt(images, "over_exposure", 3), (images * gain).clamp(max=1))


@pytest.mark.parametrize("strength", STRENGTHS)
def test_a_colour_cast_keeps_the_luma_of_grey_and_turns_every_way(seeded, strength):
    grey = torch.full((400, 3, 4, 4), 0.5)
    got = digital.colour_cast(grey, severity(grey, strength), seeded())
    assert torch.allclose((got * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1), grey[:, 0], atol=1e-5)
    logs = got[:, :, 0, 0].log()
    spread = logs.amax(1) - logs.amin(1)
    strength = rows("colour_cast", 4)[strength - 1][0]
    assert spread.max() < 3**0.5 * strength + 1e-4 and spread.min() > 1.5 * strength - 1e-4
    assert set(got[:, :, 0, 0].argmax(1).tolist()) == {0, 1, 2}
