import numpy as np
import pytest
import torch
from scipy import ndimage

from lib.degrade.elastic import _sample, affine_places, elastic_transform
from lib.degrade.levels import rows


def test_affine_places_take_moved_points_back(make_images, seeded):
    images = make_images(3, 30, 45)
    shift = torch.full((3, 1, 1, 1), 4.0)
    places = affine_places(images, shift, seeded())
    moves = (2 * torch.rand(3, 3, 2, generator=seeded()) - 1) * 4
    fixed = np.array([[22 + 10, 15 + 10], [22 + 10, 15 - 10], [22 - 10, 15 - 10]])
    for number in range(3):
        moved = fixed + moves[number].numpy()
        for row, column in ((0, 0), (7, 31), (29, 44)):
            # the place as a mixture of the moved points is the same mixture of the fixed ones
            mixture = np.linalg.solve(np.vstack([moved.T, np.ones(3)]), [column, row, 1])
            assert np.allclose(places[number, row, column], mixture @ fixed, atol=1e-3)


@pytest.mark.parametrize(("edge_repeated", "mode"), [(True, "reflect"), (False, "mirror")])
def test_sampling_is_scipys(images, edge_repeated, mode):
    places = torch.rand(4, 32, 32, 2, generator=torch.Generator().manual_seed(0)) * 60 - 14
    got = _sample(images, places, edge_repeated)
    for image, place, made in zip(images.numpy(), places.double().numpy(), got, strict=True):
        for channel in range(3):
            expected = ndimage.map_coordinates(image[channel], (place[..., 1], place[..., 0]), order=1, mode=mode)
            assert np.allclose(made[channel], expected, atol=1e-4)


@pytest.mark.parametrize("strength", [1, 2, 5])
def test_whole_transform_for_one_image(make_images, seeded, strength):
    images = make_images(1, 32)
    factor, sigma, shift = (32 * share for share in rows("elastic_transform", 32)[strength - 1])
    draw = seeded()
    places = affine_places(images, torch.full((1, 1, 1, 1), shift), draw)[0].double().numpy()
    noise = torch.rand(1, 2, 32, 32, generator=draw)[0].double().numpy() * 2 - 1
    moved = [ndimage.gaussian_filter(field, sigma, mode="reflect", truncate=3.0) * factor for field in noise]
    rows_, columns = np.mgrid[:32, :32]
    got = elastic_transform(images, torch.tensor([strength]), seeded())
    for channel in range(3):
        image, where = images[0, channel].numpy(), (places[..., 1], places[..., 0])
        warped = ndimage.map_coordinates(image, where, order=1, mode="mirror")
        expected = ndimage.map_coordinates(warped, (rows_ + moved[1], columns + moved[0]), order=1, mode="reflect")
        assert np.allclose(got[0, channel], expected, atol=1e-3)
