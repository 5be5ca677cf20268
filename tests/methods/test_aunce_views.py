"""AUNCE's views: every operation against torchvision's of one image, and the ranges of what is drawn."""

import pytest
import torch
from torchvision.transforms.v2 import functional as TF

from lib.methods.aunce_views import blur3, brightness, contrast, crop_and_mirror, enhanced_view, saturation, turn_hue
from lib.views import luma


@pytest.fixture
def images():
    x = torch.rand(5, 3, 12, 10, generator=torch.Generator().manual_seed(0))
    x[0, :, :4] = x[0, :1, :4]  # grey pixels have no hue
    x[1, 0] = x[1, 1]  # two strongest channels
    return x


@pytest.mark.parametrize("ours, theirs, values", [
    (brightness, TF.adjust_brightness, (0.6, 0.9, 1.0, 1.2, 1.4)),
    (contrast, TF.adjust_contrast, (0.6, 0.9, 1.0, 1.2, 1.4)),
    (saturation, TF.adjust_saturation, (0.6, 0.9, 1.0, 1.2, 1.4)),
    (turn_hue, TF.adjust_hue, (-0.1, -0.03, 0.0, 0.05, 0.1)),
    (turn_hue, TF.adjust_hue, (-0.5, -0.3, 0.2, 0.4, 0.5)),
    (blur3, lambda image, sigma: TF.gaussian_blur(image, [3, 3], [sigma, sigma]), (0.1, 0.4, 0.8, 1.5, 2.0)),
])
def test_each_operation_is_torchvisions_with_a_value_per_image(images, ours, theirs, values):
    found = ours(images, torch.tensor(values).view(-1, 1, 1, 1))
    wanted = torch.stack([theirs(image, value) for image, value in zip(images, values)])
    assert torch.allclose(found, wanted, atol=2e-3)  # torchvision rounds the weights of grey to three or four digits


def test_crops_are_boxes_of_the_image_at_any_place_and_half_are_mirrored():
    x = torch.arange(8 * 6.0).view(1, 1, 8, 6).repeat(400, 1, 1, 1)
    crops = crop_and_mirror(x, 0.5, torch.Generator().manual_seed(1))
    assert crops.shape == (400, 1, 4, 3)
    boxes = {}
    for mirrored in (False, True):
        for top in range(5):
            for left in range(4):
                box = x[0, :, top : top + 4, left : left + 3]
                boxes[tuple((box.flip(2) if mirrored else box).flatten().tolist())] = (mirrored, top, left)
    found = [boxes[tuple(crop.flatten().tolist())] for crop in crops]
    assert len(set(found)) == 40 and 140 < sum(mirrored for mirrored, _, _ in found) < 260


def test_a_view_is_drawn_from_the_generator_alone_and_stays_in_range(images):
    one, same, other = (enhanced_view(images, 0.875, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert one.shape == (5, 3, 10, 9) and one.min() >= 0 and one.max() <= 1


def test_a_fifth_is_grey_and_the_others_differ_in_colour():
    flat = torch.tensor([0.6, 0.4, 0.3]).view(1, 3, 1, 1).expand(2000, 3, 4, 4)
    colours = enhanced_view(flat, 1.0, torch.Generator().manual_seed(3))[:, :, 1, 1]
    grey = (colours.amax(1) - colours.amin(1)) < 1e-5
    assert grey.float().mean().item() == pytest.approx(0.2, abs=0.03)
    untouched = torch.isclose(colours, flat[:, :, 0, 0], atol=1e-5).all(1)
    assert untouched.float().mean().item() == pytest.approx(0.2 * 0.8, abs=0.03)  # neither jittered nor grey
    assert torch.allclose(luma(flat)[0].flatten()[:1], torch.tensor([0.299 * 0.6 + 0.587 * 0.4 + 0.114 * 0.3]))
