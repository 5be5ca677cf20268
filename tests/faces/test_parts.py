"""Parts of a face: covered by an ellipse, or cut out as square patches."""

import pytest
import torch

from lib.degrade.occluders import MEAN_FACE
from lib.faces.parts import MASKED, cover_part, part_patches


def faces(count, side=48):
    g = torch.Generator().manual_seed(3)
    images = torch.rand(count, 3, side, side, generator=g)
    landmarks = torch.tensor(MEAN_FACE) * side + torch.rand(count, 1, 2, generator=g) * 6 - 3
    return images, landmarks


@pytest.mark.parametrize("part", [0, 1, 2])
def test_the_ellipse_over_a_part_has_the_mean_colour(part):
    images, landmarks = faces(4)
    covered = cover_part(images, landmarks, torch.full((4,), part), torch.tensor([True, True, False, True]), 0.05)
    assert torch.equal(covered[2], images[2])
    for i in (0, 1, 3):
        points = landmarks[i, MASKED[part]]
        (left, top), (right, bottom) = points.amin(0).tolist(), points.amax(0).tolist()
        for y in range(48):
            for x in range(48):
                a = (x - (left + right) / 2) / ((right - left) / 2 + 0.05 * 48)
                b = (y - (top + bottom) / 2) / ((bottom - top) / 2 + 0.05 * 48)
                expected = images[i].mean((1, 2)) if a * a + b * b <= 1 else images[i, :, y, x]
                assert torch.allclose(covered[i, :, y, x], expected, atol=1e-6)


def test_each_image_has_its_own_part_and_no_landmarks_leave_it_alone():
    images, landmarks = faces(4)
    landmarks[3, 0] = float("nan")
    covered = cover_part(images, landmarks, torch.tensor([0, 1, 2, 2]), torch.ones(4, dtype=torch.bool))
    changed = (covered != images).any(1)
    middle = [changed[i].nonzero().float().mean(0) for i in range(3)]
    assert middle[0][1] < 24 < middle[1][1] and middle[2][0] > middle[0][0] + 10
    assert not changed[3].any()


def slow_patch(image, low, high, size):
    """Zero-padded to a square, then resized bilinearly: one place at a time."""
    centre, side = (low + high) / 2, (high - low).max() / 2
    patch = torch.zeros(3, size, size)
    for row in range(size):
        for column in range(size):
            x = centre[0] + ((column + 0.5) / size * 2 - 1) * side
            y = centre[1] + ((row + 0.5) / size * 2 - 1) * side
            if not (low[0] <= x <= high[0] and low[1] <= y <= high[1]):
                continue
            for j in (int(torch.floor(y)), int(torch.floor(y)) + 1):
                for i in (int(torch.floor(x)), int(torch.floor(x)) + 1):
                    if 0 <= i < image.shape[2] and 0 <= j < image.shape[1]:
                        patch[:, row, column] += image[:, j, i] * (1 - abs(x - i)) * (1 - abs(y - j))
    return patch


def test_patches_are_the_slow_ones():
    images, landmarks = faces(3)
    patches, valid = part_patches(images, landmarks, 16, margin=0.1)
    assert patches.shape == (3, 2, 3, 16, 16) and valid.all()
    for i in range(3):
        eyes, mouth = landmarks[i, 36:48], landmarks[i, 48:68]
        grow = torch.tensor([0.0, 4.8])
        assert torch.allclose(patches[i, 0], slow_patch(images[i], eyes.amin(0) - grow, eyes.amax(0) + grow, 16), atol=1e-4)
        assert torch.allclose(patches[i, 1], slow_patch(images[i], mouth.amin(0), mouth.amax(0), 16), atol=1e-4)


def test_what_cannot_be_cut_out_is_black_and_not_valid():
    images, landmarks = faces(5)
    landmarks[0, 50, 1] = float("inf")
    landmarks[1, 48:68] = 7.0  # no extent
    landmarks[2] += 100.0  # outside
    landmarks[3] += torch.tensor([25.0, 0.0])  # in part outside
    patches, valid = part_patches(images, landmarks)
    assert valid.tolist() == [False, False, False, True, True]
    assert patches[:3].abs().sum() == 0 and torch.isfinite(patches).all() and patches[3].sum() > 0


def test_bad_landmarks():
    images, landmarks = faces(3)
    for wrong in (landmarks[:2], landmarks[:, :67], landmarks.long()):
        with pytest.raises(ValueError, match=r"^landmarks: expected float \[3, 68, 2\], one face an image"):
            part_patches(images, wrong)
        with pytest.raises(ValueError, match=r"^landmarks: expected float \[3, 68, 2\], one face an image"):
            cover_part(images, wrong, torch.zeros(3, dtype=torch.long), torch.ones(3, dtype=torch.bool))
