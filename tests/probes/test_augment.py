"""Augmented batches: range and shape, what each part does, the same for the same generator, and one draw an image."""

import pytest
import torch

from lib.probes.augment import Augmentation, augmented, erased

NOTHING = Augmentation(colour=0.0, grey=0.0, blur=0.0)


@pytest.fixture
def faces():
    return torch.rand(200, 3, 12, 16, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1


def draw(images, how, seed=1):
    return augmented(images, how, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("how", [Augmentation(), Augmentation(0.0, 0.0, 0.0, 0.8, 10.0, 40 / 48, 0.5)])
def test_range_shape_and_repetition(faces, how):
    got = draw(faces, how)
    assert got.shape == (200, 3, *((10, 13) if how.corner else (12, 16)))
    assert got.min() >= 0 and got.max() <= 1 and torch.isfinite(got).all()
    assert torch.equal(got, draw(faces, how)) and not torch.equal(got, draw(faces, how, seed=2))


def test_half_of_the_images_are_mirrored_and_nothing_else(faces):
    got = draw(faces, NOTHING)
    mirrored = (got == faces.flip(-1)).flatten(1).all(1)
    assert (mirrored | (got == faces).flatten(1).all(1)).all() and 70 < mirrored.sum() < 130


def test_grey_and_colour_and_blur(faces):
    grey = draw(faces, Augmentation(colour=0.0, grey=0.2, blur=0.0))
    assert 20 < (grey[:, 0] - grey[:, 1]).abs().flatten(1).amax(1).lt(1e-5).sum() < 65
    colour = draw(faces, Augmentation(colour=0.4, grey=0.0, blur=0.0))
    assert (colour.mean((1, 2, 3)) - faces.mean((1, 2, 3))).abs().gt(0.01).float().mean() > 0.8
    blurred = draw(faces, Augmentation(colour=0.0, grey=0.0, blur=0.5))
    assert 60 < blurred.std((2, 3)).mean(1).lt(0.95 * faces.std((2, 3)).mean(1)).sum() < 120


def test_a_corner_is_one_of_five(faces):
    got = draw(faces, Augmentation(colour=0.0, grey=0.0, blur=0.0, corner=0.5))
    found = torch.zeros(5)
    for image, small in zip(faces, got):
        places = [(0, 0), (0, 8), (6, 0), (6, 8), (3, 4)]
        hits = [torch.equal(view[:, y : y + 6, x : x + 8], small) for y, x in places for view in (image, image.flip(-1))]
        assert sum(hits) == 1
        found[hits.index(True) // 2] += 1
    assert (found > 20).all()


def test_a_rectangle_is_erased_in_a_share_of_the_images():
    images = torch.ones(400, 3, 24, 24)
    got = erased(images, 0.5, torch.Generator().manual_seed(0))
    hit = (got == 0).flatten(1).any(1)
    assert 150 < hit.sum() < 250
    gone = (got == 0).all(1)
    area = gone[hit].float().mean((1, 2))
    assert 0.005 < area.min() and area.max() < 0.4 and 0.1 < area.mean() < 0.25
    for mask in gone[hit][:50]:  # one whole rectangle
        rows, columns = mask.any(1), mask.any(0)
        assert mask.sum() == rows.sum() * columns.sum() and mask[rows][:, columns].all()
    assert torch.equal(erased(images, 0.0, torch.Generator()), images)
