from pathlib import Path

import numpy as np
import pytest
import torch

from lib.degrade.corruptions import CORRUPTIONS
from lib.degrade.levels import LEVELS, level, page, pick, rows
from lib.device import constant


def test_every_corruption_has_five_levels_of_equal_length():
    assert set(LEVELS) == set(CORRUPTIONS)
    for words, small, large in LEVELS.values():
        assert words and len(small) == len(large) == 5
        lengths = {len(row) if isinstance(row, tuple) else 1 for row in (*small, *large)}
        assert lengths == {words.split(";")[0].count(",") + 1}


@pytest.mark.parametrize(("side", "expected"), [(8, 0.5), (64, 0.5), (144, 0.75), (224, 1.0), (500, 1.0)])
def test_interpolated_between_64_and_224(side, expected):
    assert rows("gaussian_blur", side)[0][0] == pytest.approx(expected)
    assert rows("motion_blur", 144)[4] == pytest.approx((16, 9))


def test_pick_shares_one_row_where_it_can():
    stack = torch.arange(10).view(5, 2)
    assert pick(stack, torch.tensor([2, 2, 2])).tolist() == [[2, 3]]
    assert pick(stack, torch.tensor([5, 1, 5])).tolist() == [[8, 9], [0, 1], [8, 9]]


def test_level_follows_the_shorter_side_and_the_dtype():
    images = torch.rand(2, 3, 64, 300, dtype=torch.float64)
    density, decay = level("fog", torch.tensor([1, 5]), images)
    assert density.flatten().tolist() == [0.4, 2] and decay.shape == (2, 1, 1, 1) and decay.dtype == torch.float64


def test_the_table_is_copied_to_its_device_once_and_serves_gradients():
    images, severity = torch.rand(2, 3, 64, 64), torch.tensor([1, 5])
    with torch.inference_mode():
        level("low_light", severity, images)
    before = constant.cache_info()
    (gain,) = level("low_light", severity, images.requires_grad_())
    (images * gain).sum().backward()
    assert images.grad[:, 0, 0, 0].tolist() == pytest.approx([0.7, 0.2])
    assert constant.cache_info().misses == before.misses and constant.cache_info().hits == before.hits + 1


def test_the_committed_table_is_that_of_the_code():
    committed = Path(__file__).parents[2] / "reports/corruption_levels.md"
    assert committed.read_text() == page(), "write it again: python -m lib.degrade.levels > reports/corruption_levels.md"


def test_zooms_are_as_many_as_the_published_ranges_hold():
    """The published code says np.arange(1, end, step); how many numbers that is, is a matter of rounding."""
    ends = ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)), (
        (1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03),
    )  # fmt: skip
    for side, published in zip((64, 224), ends):
        assert rows("zoom_blur", side) == tuple((len(np.arange(1, end, step)), step) for end, step in published)
