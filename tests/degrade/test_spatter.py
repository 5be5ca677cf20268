"""Spatter against SciPy's distance transform and loops over pixels."""

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt, gaussian_filter, label

from lib.degrade import spatter
from lib.degrade.levels import rows


@pytest.fixture
def drops():
    field = torch.randn(3, 1, 40, 51, generator=torch.Generator().manual_seed(2)).numpy()
    smooth = np.stack([gaussian_filter(image[0], 1.2) for image in field])
    drops = np.where(smooth > 0.1, np.floor(np.clip(170 + 200 * smooth, 0, 255)), 0)
    drops[2] = 0  # an image without drops
    return drops


def canny(image):
    """By loops over pixels, after Canny's paper with OpenCV's choices: L1 size, thresholds 50 and 150."""
    height, width = image.shape
    padded = np.pad(image, 1, mode="edge")
    gx, gy = np.zeros(image.shape), np.zeros(image.shape)
    for row, column in np.ndindex(image.shape):
        a = padded[row : row + 3, column : column + 3]
        gx[row, column] = a[0, 2] + 2 * a[1, 2] + a[2, 2] - a[0, 0] - 2 * a[1, 0] - a[2, 0]
        gy[row, column] = a[2, 0] + 2 * a[2, 1] + a[2, 2] - a[0, 0] - 2 * a[0, 1] - a[0, 2]
    size = np.pad(np.abs(gx) + np.abs(gy), 1)
    peak = np.zeros(image.shape, bool)
    for row, column in np.ndindex(image.shape):
        here, x, y = size[row + 1, column + 1], gx[row, column], gy[row, column]
        at = lambda dr, dc: size[row + 1 + dr, column + 1 + dc]  # noqa: E731, B023
        angle = np.degrees(np.arctan2(abs(y), abs(x)))
        if angle < 22.5:
            peak[row, column] = here > at(0, -1) and here >= at(0, 1)
        elif angle > 67.5:
            peak[row, column] = here > at(-1, 0) and here >= at(1, 0)
        else:
            side = -1 if x * y < 0 else 1
            peak[row, column] = here > at(-1, -side) and here > at(1, side)
    size = size[1:-1, 1:-1]
    labels, _ = label(peak & (size > 50), structure=np.ones((3, 3)))
    kept = np.unique(labels[peak & (size > 150)])
    return np.isin(labels, kept[kept > 0])


def test_outlines_are_cannys_edges(drops):
    got = spatter.outlines(torch.from_numpy(drops)[:, None])[:, 0].numpy()
    for image, edges in zip(drops, got, strict=True):
        assert np.array_equal(edges, canny(image))
    assert got[0].sum() > 100 and not got[2].any()


def test_distance_to_the_outlines(drops):
    outlines = spatter.outlines(torch.from_numpy(drops)[:, None])
    outlines[1, :, 8:] = False  # far away from any
    got = spatter.outline_distance(outlines, torch.float32)[:, 0].numpy()
    for image, edges in zip(got[:2], outlines[:, 0].numpy(), strict=False):
        assert np.allclose(image, np.minimum(distance_transform_edt(~edges), 20), atol=1e-5)
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
