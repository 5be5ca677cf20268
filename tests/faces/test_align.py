import math

import numpy as np
import pytest
import torch

from lib.faces.align import TEMPLATE, five_points, move, similarity, to_template, warp


def random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def umeyama(a, b):
    """The textbook form, by singular value decomposition, one face at a time."""
    a_mean, b_mean = a.mean(0), b.mean(0)
    u, s, vt = np.linalg.svd((b - b_mean).T @ (a - a_mean))
    flip = np.diag([1, np.sign(np.linalg.det(u @ vt))])
    turn = u @ flip @ vt
    scale = np.trace(np.diag(s) @ flip) / np.square(a - a_mean).sum()
    return np.concatenate([scale * turn, (b_mean - scale * turn @ a_mean)[:, None]], 1)


def test_similarity_against_umeyama():
    a, b = random(20, 7, 2) * 50, random(20, 7, 2, seed=1) * 30
    b[0] = a[0] * torch.tensor([-1.0, 1.0])  # a mirror image must not be answered by a mirror
    expected = np.stack([umeyama(x, y) for x, y in zip(a.double().numpy(), b.double().numpy())])
    np.testing.assert_allclose(similarity(a, b).numpy(), expected, rtol=1e-4, atol=1e-3)


def test_similarity_finds_a_known_transform_and_move_applies_it():
    points, angle = random(3, 68, 2) * 100, 0.7
    turn = 0.4 * torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    target = points @ turn.T + torch.tensor([5.0, -3.0])
    torch.testing.assert_close(move(points, similarity(points, target)), target, rtol=0, atol=1e-4)


def test_the_template_is_reached_by_a_face_of_its_shape():
    landmarks = random(1, 68, 2)
    for place, rows in zip(TEMPLATE, (range(36, 42), range(42, 48), [30], [48], [54])):
        landmarks[0, list(rows)] = torch.tensor(place)
    moved = move(landmarks * 300 + 40, to_template(landmarks * 300 + 40, (48, 48)))
    expected = torch.tensor(TEMPLATE) * 48 - 0.5
    torch.testing.assert_close(five_points(moved)[0], expected, rtol=0, atol=1e-3)


def test_warp_by_the_identity_changes_nothing():
    images = (random(2, 3, 9, 11) * 255).to(torch.uint8)
    same = torch.tensor([[1.0, 0, 0], [0, 1, 0]]).expand(2, 2, 3)
    assert torch.equal(warp(images, same, (9, 11)), images)
    shifted = warp(images, same + torch.tensor([[0, 0, 2.0], [0, 0, 1.0]]), (9, 11))
    assert torch.equal(shifted[..., 1:, 2:], images[..., :-1, :-2])


@pytest.mark.parametrize("scale", [1.7, 0.6, 0.21, 0.05])
def test_image_and_landmark_stay_together_at_every_scale(scale):
    size = max(240, int(64 / scale))  # wide enough that the border stays off the spot
    at = (0.54 * size, 0.42 * size)
    spot = torch.tensor([[at]])
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    wide = 5 / min(scale, 1)
    images = torch.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * wide**2)).expand(1, 3, size, size)
    angle = 0.3
    turn = scale * torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    transform = torch.cat([turn, (torch.tensor([[30.0], [31.0]]) - turn @ spot[0].T)], 1)[None]
    drawn = warp(images, transform, (64, 64))[0, 0]
    v, u = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    centre = [(drawn * u).sum() / drawn.sum(), (drawn * v).sum() / drawn.sum()]
    assert torch.stack(centre).tolist() == pytest.approx(move(spot, transform)[0, 0].tolist(), abs=0.1)


def test_shrinking_a_fine_pattern_gives_grey_not_stripes():
    images = torch.zeros(1, 3, 301, 301)
    images[..., ::2] = 1
    transform = torch.tensor([[[0.1, 0.02, 2.0], [-0.02, 0.1, 4.0]]])
    inside = warp(images, transform, (32, 32))[..., 9:28, 9:28]
    assert (inside - 0.5).abs().max() < 0.03


def test_faces_of_every_size_in_one_batch_are_drawn_as_alone():
    images = random(6, 3, 200, 180)
    scale = torch.tensor([2.0, 0.9, 0.4, 0.2, 0.05, 0.001])
    transform = torch.zeros(6, 2, 3)
    transform[:, 0, 0] = transform[:, 1, 1] = scale
    together = warp(images, transform, (16, 16))
    for i in range(6):
        alone = warp(images[i:i + 1], transform[i:i + 1], (16, 16))[0]
        torch.testing.assert_close(alone, together[i], rtol=0, atol=1e-5)


def test_nearest_keeps_the_labels():
    masks = torch.tensor([0, 7], dtype=torch.uint8).repeat(50)[None, None, None].expand(1, 1, 100, 100).contiguous()
    drawn = warp(masks, torch.tensor([[[0.33, 0.1, 0.0], [-0.1, 0.33, 5.0]]]), (30, 30), nearest=True)
    assert set(drawn.unique().tolist()) <= {0, 7}


@pytest.mark.parametrize("call, message", [
    (lambda: similarity(torch.zeros(2, 5, 2), torch.rand(5, 2)), r"faces \[0, 1\].*all in one place"),
    (lambda: similarity(torch.full((1, 5, 2), math.nan), torch.rand(5, 2)), "not finite"),
    (lambda: similarity(torch.zeros(5, 2), torch.rand(5, 2)), "source, target"),
    (lambda: five_points(torch.zeros(2, 5, 2)), r"landmarks: expected \[B,68,2\], got \[2, 5, 2\]"),
    (lambda: warp(torch.zeros(1, 3, 4, 4), torch.zeros(2, 2, 3), (4, 4)), "images, transform"),
])
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
