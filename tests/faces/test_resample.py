import numpy as np
import pytest
import torch

from lib.faces.resample import area_matrix, crop_box, fit, fit_masks, fit_points


@pytest.mark.parametrize("before, after", [(7, 3), (112, 48), (5, 5), (9, 1), (92, 48)])
def test_area_weights_against_fine_counting(before, after):
    fine = before * after  # cells that divide both grids
    expected = np.zeros((after, before))
    for cell in range(fine):
        expected[cell // before, cell // after] += 1 / before
    np.testing.assert_allclose(area_matrix(before, after).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("height, width, size, box", [
    (112, 92, (48, 48), (10, 0, 92, 92)), (92, 112, (48, 48), (0, 10, 92, 92)), (48, 48, (48, 48), (0, 0, 48, 48)),
    (100, 100, (50, 25), (0, 25, 100, 50)), (1, 300, (4, 4), (0, 149, 1, 1)),
])
def test_crop_box(height, width, size, box):
    assert crop_box(height, width, size) == box


def test_fit_keeps_a_block_mean_and_shrinking_a_fine_pattern_gives_grey():
    images = torch.zeros(1, 3, 12, 12, dtype=torch.uint8)
    images[..., ::2, :] = 200
    assert (fit(images, (4, 4)) - torch.tensor([133, 67, 133, 67], dtype=torch.uint8)[:, None] == 0).all()
    assert (fit(images, (6, 6)) == 100).all()


def test_fit_to_the_same_size_changes_nothing_and_growing_stays_in_range():
    images = torch.randint(0, 256, (2, 3, 10, 10), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(fit(images, (10, 10)), images)
    assert fit(images, (25, 25)).shape == (2, 3, 25, 25)


def test_points_and_masks_stay_on_the_image():
    images = torch.zeros(1, 3, 120, 92, dtype=torch.uint8)
    images[..., 52:60, 40:48] = 255  # its centre is (43.5, 55.5)
    masks = (images[:, 0] > 0).to(torch.uint8)
    small, small_masks = fit(images, (46, 46)), fit_masks(masks, (46, 46))
    x, y = fit_points(torch.tensor([[[43.5, 55.5]]]), (120, 92), (46, 46))[0, 0].tolist()
    ys, xs = torch.nonzero(small[0, 0], as_tuple=True)
    assert (xs.float().mean().item(), ys.float().mean().item()) == pytest.approx((x, y))
    assert torch.equal(small_masks[0] > 0, small[0, 0] > 127)


@pytest.mark.parametrize("images, size, message", [
    (torch.zeros(1, 3, 4, 4), (2, 2), "uint8"), (torch.zeros(3, 4, 4, dtype=torch.uint8), (2, 2), "got torch.uint8"),
    (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), (0, 2), "size: expected at least one pixel"),
])
def test_bad_input(images, size, message):
    with pytest.raises(ValueError, match=message):
        fit(images, size)
