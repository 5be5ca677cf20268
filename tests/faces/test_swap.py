"""FaceSwap: what must hold of it, and the construction step by step in NumPy and SciPy."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d, map_coordinates
from scipy.spatial import ConvexHull

from lib.degrade.occluders import MEAN_FACE
from lib.faces.hull import hull_cover
from lib.faces.sample import sample_faces
from lib.faces.swap import FITTED, LOWER, LOWER_RELEASED, UPPER, _blur_matrix, swap_faces

SIDE = 48


def turned(points, angle, scale, shift):
    """About their mean, then shifted."""
    c, s = np.cos(angle) * scale, np.sin(angle) * scale
    turn = torch.tensor([[c, -s], [s, c]], dtype=points.dtype)
    return (points - points.mean(-2, keepdim=True)) @ turn.T + points.mean(-2, keepdim=True) + torch.tensor(shift)


@pytest.fixture
def faces():
    """Smooth noise, and landmarks that differ by a similarity and some noise."""
    g = torch.Generator().manual_seed(5)
    images = torch.nn.functional.interpolate(torch.rand(6, 3, 7, 7, generator=g), (SIDE, SIDE), mode="bicubic").clamp(0.05, 0.95)
    mean = (torch.tensor(MEAN_FACE) - 0.5) * 0.7 * SIDE + SIDE / 2
    landmarks = torch.stack([turned(mean, a, s, d) for a, s, d in (
        (0.0, 1.0, [0.0, 0.0]), (0.2, 0.9, [2.0, -1.0]), (-0.3, 1.1, [-1.0, 2.0]), (0.1, 0.8, [3.0, 0.0]),
        (0.0, 1.0, [0.0, 3.0]), (-0.1, 1.0, [1.0, 1.0]),
    )])  # fmt: skip
    return images, landmarks + torch.randn(6, 68, 2, generator=g) * 0.3


def slow_swap(head, head_points, face, face_points, released):
    """One face, [3, H, W] and [68, 2], hard edges: singular value decomposition, SciPy's hull, spline-free sampling."""
    fitted = np.r_[FITTED]
    a, b = (p[fitted].astype(np.float64) for p in (head_points, face_points))
    a_mean, b_mean = a.mean(0), b.mean(0)
    a, b = a - a_mean, b - b_mean
    u, values, v = np.linalg.svd(a.T @ b)
    turn = (u @ v).T
    scale = b.std() / a.std() if released else values.sum() / (a**2).sum()
    to_face = lambda p: (p - a_mean) @ (scale * turn).T + b_mean  # noqa: E731
    back = lambda p: (p - b_mean) @ np.linalg.inv(scale * turn).T + a_mean  # noqa: E731
    y, x = np.mgrid[:SIDE, :SIDE]
    pixels = np.stack([x, y], -1).reshape(-1, 2).astype(np.float64)
    where = to_face(pixels)[:, ::-1].T
    mode = "grid-constant" if released else "nearest"
    warped = np.stack([map_coordinates(c, where, order=1, mode=mode).reshape(SIDE, SIDE) for c in face])
    cover = np.zeros((SIDE, SIDE), bool)
    for points in (head_points, back(face_points)):
        for span in (UPPER, (slice(27, 35), slice(48, 61)) if released else LOWER):
            equations = ConvexHull(points[np.r_[span]]).equations
            cover |= ((pixels @ equations[:, :2].T + equations[:, 2]).max(1) <= 0).reshape(SIDE, SIDE)
    apart = np.linalg.norm(head_points[42:48].mean(0) - head_points[36:42].mean(0))
    taps = int(0.6 * apart)
    taps += taps % 2 == 0
    sigma = 0.3 * ((taps - 1) * 0.5 - 1) + 0.8
    settings = {"mode": "mirror", "radius": taps // 2}
    blur = lambda c: gaussian_filter1d(gaussian_filter1d(c, sigma, 1, **settings), sigma, 2, **settings)  # noqa: E731
    blurred = blur(warped) * 255
    blurred = blurred + 128 * (blurred <= 1)
    inner = warped * 255 * blur(head) * 255 / blurred
    out = np.where(cover, inner, head * 255)
    return (np.floor(out) % 256 if released else out.clip(0, 255)) / 255, cover, back(face_points)


@pytest.mark.parametrize("released", [False, True])
def test_it_is_the_slow_one(faces, released):
    images, landmarks = faces
    swapped = swap_faces(images[:3], landmarks[:3], images[3:], landmarks[3:], 0.0, released)
    assert swapped.done.all()
    for i in range(3):
        slow, _, points = slow_swap(*(x.numpy() for x in (images[i], landmarks[i], images[3 + i], landmarks[3 + i])), released)
        if not released:
            soft = swapped.images[i].numpy()  # edges here are soft over a pixel
            assert (np.abs(soft - slow).max(0) < 2e-3).mean() > 0.9 and np.abs(soft - slow).mean() < 0.01
        else:
            difference = np.abs(swapped.images[i].numpy() - slow).max(0)
            assert (difference < 1.5 / 255).mean() > 0.99
        tolerance = 0.05 if released else 1e-3
        assert np.abs(swapped.landmarks[i].numpy() - points).max() < tolerance


def test_the_point_that_stands_twice_in_the_released_hull_changes_nothing(faces):
    points = faces[1]
    twice, once = np.r_[LOWER_RELEASED], np.r_[27:35, 48:61]
    assert len(twice) == len(np.r_[UPPER]) and set(twice) == set(once)
    soft, hard = ([hull_cover(points[:, chosen], (SIDE, SIDE), edge) for chosen in (twice, once)] for edge in (False, True))
    torch.testing.assert_close(*soft, rtol=0, atol=1e-4)
    assert torch.equal(*hard)


def test_released_wraps_around_and_is_black_beyond_the_image(faces):
    _, landmarks = faces
    g = torch.Generator().manual_seed(1)
    heads, pixels = torch.rand(3, 3, SIDE, SIDE, generator=g) * 0.2 + 0.8, torch.rand(3, 3, SIDE, SIDE, generator=g)
    places = landmarks[3:] + torch.randn(3, 68, 2, generator=g) * 2 + torch.tensor([14.0, 0.0])  # in part outside
    swapped = swap_faces(heads, landmarks[:3], pixels, places, released=True)
    for i in range(3):
        slow, cover, _ = slow_swap(*(x.numpy() for x in (heads[i], landmarks[i], pixels[i], places[i])), True)
        same = np.abs(swapped.images[i].numpy() - slow).max(0) < 1.5 / 255
        assert same[cover].mean() > 0.98 and (swapped.images[i].numpy()[:, cover] < 0.02).mean() > 0.01


def test_nothing_changes_far_from_the_face_and_everything_inside(faces):
    images, landmarks = faces
    swapped = swap_faces(images[:3], landmarks[:3], images[3:], landmarks[3:])
    for i in range(3):
        low, high = landmarks[i].amin(0), landmarks[i].amax(0)
        far = torch.ones(SIDE, SIDE, dtype=torch.bool)
        far[max(int(low[1]) - 8, 0) : int(high[1]) + 9, max(int(low[0]) - 8, 0) : int(high[0]) + 9] = False
        assert torch.equal(swapped.images[i][:, far], images[i][:, far])
    assert swapped.images.min() >= 0 and swapped.images.max() <= 1


def test_a_face_swapped_with_itself_stays(faces):
    images, landmarks = faces
    swapped = swap_faces(images, landmarks, images, landmarks)
    assert swapped.done.all() and (swapped.images - images).abs().max() < 1e-3
    assert torch.allclose(swapped.landmarks, landmarks, atol=1e-3)


def test_colours_become_those_of_the_head(faces):
    images, landmarks = faces
    dark = swap_faces(images[:3], landmarks[:3], images[3:] * 0.5, landmarks[3:]).images
    bright = swap_faces(images[:3], landmarks[:3], images[3:], landmarks[3:]).images
    assert (dark - bright).abs().max() < 0.02  # half as bright a face: the same picture


def test_feathering_softens_the_edge(faces):
    images, landmarks = faces
    head, face = torch.full_like(images[:3], 0.2), images[3:]
    hard, soft = (swap_faces(head, landmarks[:3], face, landmarks[3:], feather).images for feather in (0.0, 0.2))
    change = lambda x: (x - head).diff(dim=3).abs().amax((1, 2, 3))  # noqa: E731
    assert (change(soft) < change(hard)).all()


def test_failures_leave_image_and_landmarks_and_are_told(faces):
    images, landmarks = faces
    heads, points = landmarks[:3].repeat(2, 1, 1), landmarks[3:].repeat(2, 1, 1)
    heads[0, 5] = float("nan")
    points[1, 67, 1] = float("inf")
    points[2] = 3.0
    heads[3] = turned(heads[3], 0.0, 0.1, [0.0, 0.0])
    given = images[3:].repeat(2, 1, 1, 1)
    swapped = swap_faces(images[:3].repeat(2, 1, 1, 1), heads, given, points)
    assert swapped.done.tolist() == [False] * 4 + [True] * 2
    assert torch.equal(swapped.images[:4], given[:4]) and torch.equal(swapped.landmarks[:4], points[:4])
    assert torch.isfinite(swapped.images).all()
    alone = swap_faces(images[1:2], heads[4:5], given[4:5], points[4:5])
    assert torch.allclose(alone.images[0], swapped.images[4], atol=1e-5)


def test_what_is_not_wanted_stays(faces):
    images, landmarks = faces
    wanted = torch.tensor([True, False, True])
    every = swap_faces(images[:3], landmarks[:3], images[3:], landmarks[3:])
    some = swap_faces(images[:3], landmarks[:3], images[3:], landmarks[3:], wanted=wanted)
    assert torch.equal(some.done, wanted) and torch.equal(some.images[1], images[4]) and torch.equal(some.landmarks[1], landmarks[4])
    assert torch.equal(some.images[wanted], every.images[wanted])
    assert torch.equal(some.landmarks[wanted], every.landmarks[wanted])


@pytest.mark.parametrize("released", [False, True])
def test_a_head_can_get_several_faces(faces, released):
    images, landmarks = faces
    wanted, broken = torch.tensor([True, True, False, True]), landmarks.clone()
    broken[1, 20, 0] = float("nan")
    for places in (landmarks, broken):
        several = swap_faces(images[:2], places[:2], images[2:], places[2:], released=released, wanted=wanted)
        heads, on = images[:2].repeat(2, 1, 1, 1), places[:2].repeat(2, 1, 1)
        alone = swap_faces(heads, on, images[2:], places[2:], 0.08, released, wanted)
        assert torch.equal(several.done, alone.done) and several.done.sum() == (1 if places is broken else 3)
        assert torch.allclose(several.images, alone.images, atol=1e-5) and torch.allclose(several.landmarks, alone.landmarks)


@pytest.mark.parametrize(("length", "radius"), [(1, 3.0), (2, 9.0), (5, 2.0), (9, 20.0), (12, 5.0)])
def test_a_blur_matrix_mirrors_at_both_edges(length, radius):
    sigma = torch.tensor([1.5, 4.0])
    matrices = _blur_matrix(length, sigma, torch.full((2,), radius))
    radius = min(int(radius), length - 1)
    for matrix, s in zip(matrices, sigma.numpy()):
        rows = np.eye(length)
        weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / s) ** 2)
        padded = [np.pad(row, radius, "reflect") if radius else row for row in rows]
        slow = np.stack([np.convolve(row, weights / weights.sum(), "valid") for row in padded])
        assert np.allclose(matrix.numpy(), slow.T, atol=1e-6)


def test_a_rendered_expression_moves_to_another_head():
    images, rows, _ = sample_faces(2, seed=3, image_size=64, expression="happiness", frontal=True)
    images = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    landmarks = torch.from_numpy(np.stack(rows["landmarks"]).reshape(-1, 68, 2))
    swapped = swap_faces(images[:1], landmarks[:1], images[1:], landmarks[1:])
    mouth = lambda p: (p[0, 54] - p[0, 48]).norm() / (p[0, 42:48].mean(0) - p[0, 36:42].mean(0)).norm()  # noqa: E731
    assert mouth(swapped.landmarks).item() == pytest.approx(mouth(landmarks[1:]).item(), rel=1e-3)
    assert torch.equal(swapped.images[..., :8, :], images[:1, :, :8])  # hair and background are the head's
    assert (swapped.images - images[:1]).abs().max() > 0.1


def test_bad_input(faces):
    images, landmarks = faces
    for call, message in (
        (lambda: swap_faces(images[:2], landmarks[:2], images[:3], landmarks[:3]), r"faces: expected \[B, 3, H, W\] and \[k B, 3, H, W\]"),
        (lambda: swap_faces(images, landmarks, images[:3], landmarks[:3]), "heads, faces: expected"),
        (lambda: swap_faces(images, landmarks, images[:0], landmarks[:0]), "heads, faces: expected"),
        (lambda: swap_faces(images, landmarks[:2], images, landmarks), r"landmarks: expected float \[6, 68, 2\]"),
        (lambda: swap_faces(images, landmarks, images, landmarks, -0.1), "feather: expected a sigma >= 0, got -0.1"),
        (lambda: swap_faces(images, landmarks, images, landmarks, wanted=torch.ones(5).bool()), r"wanted: expected bool \[6\], got"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
