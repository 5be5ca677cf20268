"""Augmented batches: range and shape, what each part does, the same for the same generator, and one draw an image."""

import dataclasses

import pytest
import torch
from torchvision.transforms import RandomResizedCrop

from lib.degrade.occluders import MEAN_FACE
from lib.faces.parts import cover_part
from lib.probes.augment import Augmentation, augmented, erased

NOTHING = Augmentation(colour=0.0, grey=0.0, blur=0.0)


@pytest.fixture
def faces():
    return torch.rand(200, 3, 12, 16, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1


def draw(images, how, seed=1):
    return augmented(images, how, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("how", [Augmentation(), Augmentation(0.0, 0.0, 0.0, 0.8, 10.0, 40 / 48, 0.5, 0.2, 0.2)])
def test_range_shape_and_repetition(faces, how):
    got = draw(faces, how)
    assert got.shape == ((2000, 3, 10, 13) if how.corner else (200, 3, 12, 16))
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


def test_an_image_becomes_its_ten_crops(faces):
    got = draw(faces, Augmentation(colour=0.0, grey=0.0, blur=0.0, corner=0.5)).unflatten(0, (10, -1))
    mirrored = 0
    for image, crops in zip(faces, got.unbind(1)):
        places = [(0, 0), (0, 8), (6, 0), (6, 8), (3, 4)]
        views = [torch.stack([view[:, y : y + 6, x : x + 8] for y, x in places]) for view in (image, image.flip(-1))]
        mirrored += torch.equal(crops[:5], views[1])
        assert torch.equal(crops[:5], views[0]) or torch.equal(crops[:5], views[1])
        assert torch.equal(crops[5:], crops[:5].flip(-1))
    assert 70 < mirrored < 130


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


def places(count, height=24, width=30):
    """Images that say where a pixel is from: x and y in pixels from the middle as shares of the sides, and 1."""
    x, y = (torch.arange(n, dtype=torch.float64) - (n - 1) / 2 for n in (width, height))
    x, y = (x / width).expand(height, -1), (y / height)[:, None].expand(-1, width)
    return torch.stack([x, y, torch.ones_like(x)]).expand(count, -1, -1, -1).clone()


def maps(images):
    """The affine map (pixels from the middle -> where they show pixels from) of each image of ``places``, from its seen middle.

    -> matrices [B,2,2], shifts [B,2], black [B,H,W].
    """
    height, width = images.shape[-2:]
    size = torch.tensor([width, height], dtype=torch.float64)
    x, y = (torch.arange(n, dtype=torch.float64) - (n - 1) / 2 for n in (width, height))
    at = torch.stack([x.expand(height, -1), y[:, None].expand(-1, width), torch.ones(height, width)], -1)
    black, found = images[:, 2] == 0, []
    for image, dark in zip(images, black):
        seen = ~dark & (image[0].abs() < 0.4) & (image[1].abs() < 0.4)  # the edge pixel goes on beyond its centre
        found.append(torch.linalg.lstsq(at[seen].double(), image[:2].permute(1, 2, 0)[seen] * size).solution.T)
    found = torch.stack(found)
    return found[:, :, :2], found[:, :, 2], black


def test_crops_are_those_of_torchvision():
    matrix, shift, black = maps(draw(places(600), dataclasses.replace(NOTHING, crop=0.8)))
    assert not black.any() and (matrix[:, [0, 1], [1, 0]].abs() < 1e-5).all()
    width, height = matrix[:, 0, 0].abs(), matrix[:, 1, 1]
    assert 0.4 < (matrix[:, 0, 0] < 0).float().mean() < 0.6  # mirrored
    for way, side, share in ((0, 30, width), (1, 24, height)):
        assert (shift[:, way].abs() <= side * (1 - share) / 2 + 1e-3).all()  # inside the image
    torch.manual_seed(0)
    blank = torch.zeros(3, 960, 1200)  # many pixels: theirs are whole
    theirs = torch.tensor([RandomResizedCrop.get_params(blank, (0.8, 1.2), (3 / 4, 4 / 3)) for _ in range(600)])
    area, their_area = width * height, theirs[:, 2] * theirs[:, 3] / 960 / 1200
    assert area.min() > 0.799 and area.max() < 1 + 1e-5
    assert area.mean().item() == pytest.approx(their_area.mean().item(), abs=0.01)
    assert (area > 0.9999).float().mean().item() == pytest.approx((their_area > 0.9999).float().mean().item(), abs=0.06)
    aspect, their_aspect = (width * 30 / height / 24).log(), (theirs[:, 3] / theirs[:, 2]).log()
    assert aspect.std().item() == pytest.approx(their_aspect.std().item(), rel=0.12)
    assert (shift[:, 0] / (1 - width).clamp(min=1e-9))[width < 0.95].std() > 0.4 * 15  # all over the image


def test_half_are_shifted_by_whole_pixels_and_black_comes_in():
    images = places(150)
    got = draw(images, dataclasses.replace(NOTHING, shift=0.2))
    found = set()
    for image, new in zip(images, got):
        hits = []
        for dx in range(-6, 7):
            for dy in range(-5, 6):
                moved = torch.zeros(3, 24, 30, dtype=torch.float64)
                moved[:, max(dy, 0) : 24 + min(dy, 0), max(dx, 0) : 30 + min(dx, 0)] = image[
                    :, max(-dy, 0) : 24 + min(-dy, 0), max(-dx, 0) : 30 + min(-dx, 0)
                ]
                hits += [(dx, dy) for seen in (moved, moved.flip(-1)) if torch.allclose(seen, new.double(), atol=1e-5)]
        assert len(hits) == 1
        found.add(hits[0])
    still = sum((new[2] == 1).all().item() for new in got)
    assert 55 < still < 95 and len(found) > 40 and max(abs(dx) for dx, _ in found) == 6


def test_half_are_rotated_about_the_middle_and_the_corners_are_black():
    matrix, shift, black = maps(draw(places(300), dataclasses.replace(NOTHING, rotation=10.0)))
    assert (shift.abs() < 1e-3).all()
    assert torch.allclose(matrix @ matrix.mT, torch.eye(2, dtype=torch.float64).expand(300, 2, 2), atol=1e-4)
    angle = torch.atan2(matrix[:, 1, 0], matrix[:, 1, 1]).rad2deg().abs()
    still = angle < 1e-3
    assert 120 < still.sum() < 180 and angle.max() < 10.001 and 4 < angle[~still].mean() < 6
    assert torch.equal(black.flatten(1).any(1), angle > angle[black.flatten(1).any(1)].min() - 1e-6)
    assert black[angle > 5][:, [0, 0, -1, -1], [0, -1, 0, -1]].all()


def test_a_part_is_covered_where_landmarks_are_known(faces):
    landmarks = torch.tensor(MEAN_FACE) * 48 + torch.zeros(200, 1, 1)
    landmarks[:50, 0] = float("nan")
    images = faces.repeat(1, 1, 4, 3)
    how, generators = dataclasses.replace(NOTHING, mask=0.8), [torch.Generator().manual_seed(1) for _ in range(2)]
    got = augmented(images, how, generators[0], landmarks)
    part = torch.randint(3, (200,), generator=generators[1])
    chosen = torch.rand(200, generator=generators[1]) < 0.8
    expected = cover_part(images, landmarks, part, chosen)
    mirrored = (got == expected.flip(-1)).flatten(1).all(1)
    assert (mirrored | (got == expected).flatten(1).all(1)).all()
    changed = (expected != images).flatten(1).any(1)
    assert not changed[:50].any() and 100 < changed.sum() < 140
    assert torch.equal(draw(images, how), draw(images, NOTHING))  # no landmarks at all


def test_the_hue_turns(faces):
    turned = draw(faces, dataclasses.replace(NOTHING, hue=0.2))
    straight = torch.isclose(turned.amax(1), faces.amax(1), atol=1e-5).flatten(1).all(1)  # value and chroma stay
    mirrored = torch.isclose(turned.amax(1), faces.amax(1).flip(-1), atol=1e-5).flatten(1).all(1)
    assert (straight | mirrored).all() and straight.sum() > 70
    assert torch.allclose(turned.amin(1)[straight], faces.amin(1)[straight], atol=1e-5)
    assert ((turned - faces)[straight].abs().amax((1, 2, 3)) > 0.02).float().mean() > 0.9
