"""Masks and sunglasses: where they are, how much they cover, and that they follow the landmarks."""

import numpy as np
import pytest
import torch
from matplotlib.path import Path

from lib.degrade.corruptions import corrupt
from lib.degrade.levels import rows
from lib.degrade.occluders import mean_landmarks, occlusion, polygon_cover

WHITE = torch.ones(2, 3, 64, 64)


def covered(name, severity, landmarks=None, images=WHITE):
    """[B,H,W] bool: which pixels of a white image changed."""
    return corrupt(images, name, severity, torch.Generator().manual_seed(0), landmarks).amin(1) < 0.999


def test_a_polygons_cover_is_its_share_of_each_pixel():
    outline = torch.tensor([[[3.2, 2.1], [15.7, 5.0], [11.4, 17.3], [9.0, 9.5], [1.5, 14.2]]])
    got = polygon_cover(outline, (20, 21))[0, 0].numpy()
    fine = (np.arange(21 * 16) + 0.5) / 16 - 0.5
    x, y = np.meshgrid(fine, fine[: 20 * 16])
    inside = Path(outline[0].numpy()).contains_points(np.stack([x.ravel(), y.ravel()], 1)).reshape(x.shape)
    expected = inside.reshape(20, 16, 21, 16).mean((1, 3))
    assert np.abs(got - expected).max() < 0.2 and abs(got.sum() - expected.sum()) < 0.5
    assert np.allclose(polygon_cover(outline.flip(1), (20, 21))[0, 0], got, atol=1e-6)  # either way round


@pytest.mark.parametrize(("severity", "hidden", "seen"), [
    (1, (), (30, 33, 51)), (3, (57, 62), (27, 36, 45, 40)), (5, (57, 62, 33, 30), (37, 43, 19, 24)),
])  # fmt: skip
def test_a_mask_hides_what_it_should(severity, hidden, seen):
    shown = covered("mask", severity)[0]
    places = mean_landmarks(WHITE)[0].round().long()
    assert all(shown[places[i, 1], places[i, 0]] for i in hidden)
    assert not any(shown[places[i, 1], places[i, 0]] for i in seen)


def test_sunglasses_hide_the_eyes_and_nothing_below_the_nose():
    for severity in (1, 5):
        shown = covered("sunglasses", severity)[0]
        eyes = mean_landmarks(WHITE)[0, 36:48].round().long()
        assert shown[eyes[:, 1], eyes[:, 0]].all()
        assert not shown[40:].any()
    light, dark = (corrupt(WHITE, "sunglasses", s, torch.Generator().manual_seed(0)).amin() for s in (1, 5))
    assert 0.3 < light < 0.5 and dark < 0.2


@pytest.mark.parametrize("name", ["mask", "sunglasses"])
def test_they_follow_the_face(name):
    places = mean_landmarks(WHITE) * 0.6 + 12
    turn = torch.tensor([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]], dtype=torch.float32)
    turned = (places - 31.5) @ turn.T + 31.5
    upright, tilted = covered(name, 4, places)[0], covered(name, 4, turned)[0]
    y, x = torch.nonzero(upright, as_tuple=True)
    centre = torch.stack([x.float().mean(), y.float().mean()])
    expected = turn @ (centre - 31.5) + 31.5
    y, x = torch.nonzero(tilted, as_tuple=True)
    assert (torch.stack([x.float().mean(), y.float().mean()]) - expected).norm() < 1
    assert abs(tilted.sum() / upright.sum() - 1) < 0.1


@pytest.mark.parametrize("strength", [1, 2, 3, 4, 5])
def test_occlusion_is_one_black_rectangle_of_its_share(seeded, strength):
    images = torch.full((300, 3, 48, 40), 0.5)
    covered = occlusion(images, torch.full((len(images),), strength), seeded()) == 0
    assert torch.equal(covered[:, 0], covered[:, 1])
    share, shapes, tops = covered[:, 0].float().mean((1, 2)), [], []
    for mask in covered[:, 0]:
        down, across = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
        assert mask.sum() == len(down) * len(across)  # a filled rectangle, inside the image
        shapes.append(len(down) / 48 / (len(across) / 40))
        tops.append(int(down[0]))
    assert share.mean().item() == pytest.approx(rows("occlusion", 48)[strength - 1][0], rel=0.05)
    assert 0.4 < min(shapes) < 0.6 and 1.7 < max(shapes) < 2.4 and min(tops) == 0 and len(set(tops)) > 10


def test_with_landmarks_the_rectangle_lies_on_one_of_them(seeded):
    images = torch.ones(300, 3, 48, 48)
    places = mean_landmarks(images) * 0.5 + 10
    black = occlusion(images, torch.full((300,), 2), seeded(), places)[:, 0] == 0
    found = set()
    for image, points in zip(black, places, strict=True):
        y, x = torch.nonzero(image, as_tuple=True)
        centre = torch.stack([(x.min() + x.max()) / 2, (y.min() + y.max()) / 2])
        distance, which = (points - centre).norm(dim=1).min(0)
        assert distance < 1.01
        found.add(which.item())
    assert len(found) > 30


@pytest.mark.parametrize("name", ["occlusion", "mask", "sunglasses"])
def test_an_unknown_landmark_moves_its_own_image_only(name):
    images = torch.rand(3, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    places = mean_landmarks(images) * 0.6 + 12
    broken = places.clone()
    broken[1, 40, 0] = float("nan")
    make = lambda landmarks: corrupt(images, name, 3, torch.Generator().manual_seed(0), landmarks)  # noqa: E731
    whole, some, none = make(places), make(broken), make(None)
    assert torch.equal(some[[0, 2]], whole[[0, 2]]) and torch.equal(some[1], none[1]) and not torch.equal(whole[1], none[1])
