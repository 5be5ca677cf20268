import math

import torch

from lib.faces.align import move, to_template, warp
from lib.faces.framing import cut_faces, fit_faces
from lib.faces.resample import fit, fit_masks, fit_points


def random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_faces_without_all_landmarks_are_cut_to_the_central_box():
    images, masks = (random(4, 3, 40, 30) * 255).to(torch.uint8), (random(4, 40, 30, seed=1) * 9).to(torch.uint8)
    landmarks, size = random(4, 68, 2, seed=2) * 20 + 5, (16, 16)
    landmarks[1], landmarks[3, 5, 0] = math.nan, math.inf
    drawn, moved, labels = fit_faces(images, landmarks, size, masks)
    for row in (1, 3):
        assert torch.equal(drawn[row], fit(images, size)[row]) and torch.equal(labels[row], fit_masks(masks, size)[row])
        assert moved[row].isnan().all()  # wholly: what is known of such a face would lie in another frame
    transform = to_template(landmarks[[0, 2]], size)
    assert torch.equal(drawn[[0, 2]], warp(images[[0, 2]], transform, size))
    assert torch.equal(labels[[0, 2]], warp(masks[[0, 2], None], transform, size, nearest=True)[:, 0])
    torch.testing.assert_close(moved[[0, 2]], move(landmarks[[0, 2]], transform))
    none = fit_faces(images, None, size, masks)
    assert torch.equal(none[0], fit(images, size)) and none[1] is None and torch.equal(none[2], fit_masks(masks, size))
    assert fit_faces(images[1:2], landmarks[1:2], size)[2] is None


def test_cut_faces_are_central_boxes_though_their_landmarks_are_known():
    images, masks = (random(3, 3, 40, 30) * 255).to(torch.uint8), (random(3, 40, 30, seed=1) * 9).to(torch.uint8)
    landmarks, size = random(3, 68, 2, seed=2) * 20 + 5, (16, 16)
    landmarks[1, 5, 0] = math.inf
    drawn, moved, labels = cut_faces(images, landmarks, size, masks)
    assert torch.equal(drawn, fit(images, size)) and torch.equal(labels, fit_masks(masks, size))
    assert moved[1].isnan().all() and torch.equal(moved[[0, 2]], fit_points(landmarks[[0, 2]], (40, 30), size))
    assert cut_faces(images, landmarks, size)[2] is None
