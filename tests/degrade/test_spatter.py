"""Spatter against SciPy's distance transform and loops over pixels."""

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt, gaussian_filter

from lib.degrade import spatter
from lib.degrade.levels import rows


@pytest.fixture
def wet():
    field = torch.randn(3, 1, 40, 51, generator=torch.Generator().manual_seed(2)).numpy()
    wet = np.stack([gaussian_filter(image[0], 2.0) > 0.05 for image in field])
    wet[2] = False  # an image without drops
    return wet


def outline(wet):
    """Drop pixels with a dry one among their eight neighbours."""
    found = np.zeros_like(wet)
    for row, column in np.ndindex(wet.shape):
        around = wet[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        found[row, column] = wet[row, column] and not around.all()
    return found


def test_distance_to_the_outlines(wet):
    got = spatter.outline_distance(torch.from_numpy(wet)[:, None], torch.float32)[:, 0].numpy()
    for image, drops in zip(got[:2], wet, strict=False):
        assert np.allclose(image, np.minimum(distance_transform_edt(~outline(drops)), 20), atol=1e-5)
    assert (got[2] == 20).all()


def test_equalised_by_the_cumulative_histogram(images):
    levels = (images[:, :1] * 40 + 3).round()
    for image, got in zip(levels.numpy().astype(int), spatter.equalised(levels).numpy(), strict=True):
        counts = np.bincount(image.ravel(), minlength=256)
        first = counts[image.min()]
        table = np.round(255 * (counts.cumsum() - first) / (image.size - first))
        assert np.allclose(got, table[image], atol=1e-3)


def test_water_adds_light_of_its_colour_and_mud_covers(make_images, seeded):
    images = make_images(4, 64)
    for strength in (1, 2, 3):
        added = spatter.spatter(images, torch.full((4,), strength), seeded()) - images
        amount = rows("spatter", 64)[strength - 1][4]
        assert added.min() > -1e-6 and torch.allclose(added.amax((2, 3))[:, 1], torch.full((4,), amount * 238 / 255), atol=1e-5)
        assert torch.allclose(added[:, 0] * 238, added[:, 1] * 175, atol=1e-3)
    for strength in (4, 5):
        draw = torch.randn(4, 1, 64, 64, generator=seeded())[0, 0].double().numpy()
        mean, sigma, smooth, threshold, spread, _ = rows("spatter", 64)[strength - 1]
        splash = gaussian_filter(mean + sigma * draw, smooth, mode="nearest") >= threshold
        cover = gaussian_filter(splash.astype(float), spread, mode="nearest")
        cover[cover < 0.8] = 0
        mud = np.array(spatter.MUD)[:, None, None]
        expected = images[0].numpy() * (1 - cover) + cover * mud
        got = spatter.spatter(images, torch.full((4,), strength), seeded())[0].numpy()
        assert np.abs(got - expected).max() < 1e-3 and (cover > 0.8).mean() > 0.01
