"""Views against slow loops: one image, one pixel at a time, with the same random numbers drawn again."""

import colorsys
import math

import pytest
import torch
from scipy.ndimage import map_coordinates

from lib import views as lib_views
from lib.views import (
    Views, colour_jitter, cut_mix, gradient_magnitude, hue_jitter, quadrant_crops, random_blur, random_crop, random_view,
    sum_grid, uniform, uniforms, window_crop,
)  # fmt: skip


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(count=4, height=12, width=12, seed=5):
    return torch.rand(count, 3, height, width, generator=seeded(seed))


def draws(generator, count, *ranges):
    """The numbers that ``uniform`` gives, one list a range."""
    return [[float(v) * (high - low) + low for v in torch.rand(count, generator=generator)] for low, high in ranges]


def test_numbers_drawn_at_once_are_those_drawn_one_range_after_the_other():
    images, ranges = pictures(37), ((-1, 1), (0.2, 0.7), (0, 1), (3, 4))
    one, other = seeded(), seeded()
    found, wanted = uniforms(images, ranges, one), [uniform(images, *bounds, other).flatten() for bounds in ranges]
    assert torch.equal(found, torch.stack(wanted)) and torch.equal(one.get_state(), other.get_state())


def luma(pixel):
    return 0.299 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2]


def mirrored(position, size):
    """Index of a position beyond the edge, the edge pixel not repeated."""
    position = abs(position)
    return position if position < size else 2 * (size - 1) - position


@pytest.mark.parametrize("size", [(12, 12), (16, 10)])
@pytest.mark.parametrize("views", [Views(), Views(0.2, 90, 1.0, 1.0, 1.0), Views(1.0, 0, 0, 0, 0)])
def test_a_view_keeps_shape_range_and_is_drawn_from_its_generator_alone(size, views):
    x = pictures(5, *size)
    one, same, other = (random_view(x, views, seeded(s)) for s in (1, 1, 2))
    assert one.shape == x.shape and one.dtype == x.dtype
    assert one.min() >= 0 and one.max() <= 1
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_views_of_the_images_of_a_batch_differ():
    x = pictures(1).expand(6, -1, -1, -1)
    view = random_view(x, Views(), seeded())
    assert min((view[i] - view[j]).abs().max() for i in range(6) for j in range(i)) > 1e-3


@pytest.mark.parametrize(("least_area", "rotation"), [(1.0, 0.0), (0.3, 0.0), (0.5, 40.0)])
def test_crop_is_the_slow_one(least_area, rotation):
    x = pictures(6, 11, 14)
    fast = random_crop(x, least_area, rotation, seeded(3))
    ranges = ((least_area, 1), (-0.2877, 0.2877), (-rotation, rotation), (-1, 1), (-1, 1), (-1, 1))
    numbers = zip(*draws(seeded(3), 6, *ranges))
    for image, result, (area, log_aspect, angle, dx, dy, mirror) in zip(x, fast, numbers):
        aspect = math.exp(log_aspect)  # width / height
        width, height = min(1, math.sqrt(area * aspect)), min(1, math.sqrt(area / aspect))
        for row in range(11):
            for column in range(14):
                u, v = width * ((2 * column + 1) / 14 - 1), height * ((2 * row + 1) / 11 - 1)
                u = -u if mirror < 0 else u
                a = math.radians(angle)
                u, v = u * math.cos(a) - v * math.sin(a), u * math.sin(a) + v * math.cos(a)
                u, v = u + dx * (1 - width), v + dy * (1 - height)
                place = [[((v + 1) * 11 - 1) / 2], [((u + 1) * 14 - 1) / 2]]
                slow = [map_coordinates(c.numpy(), place, order=1, mode="reflect")[0] for c in image]
                assert result[:, row, column].tolist() == pytest.approx(slow, abs=2e-5)


def test_a_crop_without_rotation_shows_nothing_but_the_image():
    ramp = torch.linspace(0.2, 0.8, 32).expand(50, 3, 32, 32)
    crop = random_crop(ramp, 0.3, 0, seeded())
    assert crop.min() >= 0.2 - 1e-6 and crop.max() <= 0.8 + 1e-6
    span = crop.amax((1, 2, 3)) - crop.amin((1, 2, 3))
    assert span.min() > 0.6 * 0.3 and span.max() <= 0.6 + 1e-6  # no crop is narrower than area and aspect ratio allow


@pytest.mark.parametrize("size", [(12, 12), (5, 9), (1, 1)])
def test_the_grid_of_other_devices_is_torchs(size):
    theta = torch.randn(3, 2, 3, generator=seeded(), dtype=torch.float64)
    expected = torch.nn.functional.affine_grid(theta, [3, 1, *size], align_corners=False)
    assert torch.allclose(sum_grid(theta, size), expected, atol=1e-12)
    assert torch.allclose(sum_grid(theta.float(), size), expected.float(), atol=1e-5)


def test_half_of_the_crops_are_mirrored():
    ramp = torch.linspace(0, 1, 8).expand(2000, 3, 8, 8)
    crop = random_crop(ramp, 1.0, 0, seeded())
    share = (crop[:, 0, :, 0] > crop[:, 0, :, -1]).float().mean().item()
    assert share == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize(("strength", "grey"), [(0.4, 0.5), (1.0, 0.0), (0.0, 1.0)])
def test_colour_jitter_is_the_slow_one(strength, grey):
    x = pictures(8, 5, 4)
    fast = colour_jitter(x, strength, grey, seeded(7))
    span = (1 - strength, 1 + strength)
    for image, result, (bright, contrast, colour, coin) in zip(x, fast, zip(*draws(seeded(7), 8, span, span, span, (0, 1)))):
        pixels = {(r, c): [float(v) * bright for v in image[:, r, c]] for r in range(5) for c in range(4)}
        mean = sum(luma(p) for p in pixels.values()) / 20
        colour = 0 if coin < grey else colour
        for place, pixel in pixels.items():
            pixel = [mean + (v - mean) * contrast for v in pixel]
            slow = [min(max(luma(pixel) + (v - luma(pixel)) * colour, 0), 1) for v in pixel]
            assert result[:, place[0], place[1]].tolist() == pytest.approx(slow, abs=1e-5)


def test_grey_views_are_grey_and_as_many_as_asked_for():
    view = colour_jitter(pictures(1000, 4, 4), 0.2, 0.3, seeded())
    grey = (view - view.mean(1, keepdim=True)).abs().amax((1, 2, 3)) < 1e-6
    assert grey.float().mean().item() == pytest.approx(0.3, abs=0.05)


def test_blur_of_white_is_not_whiter_than_white():
    view = random_blur(torch.ones(200, 3, 8, 8), 1.0, seeded(), 2.0)
    assert view.max() <= 1 and view.min() > 1 - 1e-5


@pytest.mark.parametrize("largest", [1.0, 2.0])
def test_blur_is_the_slow_one(largest):
    x = pictures(5, 8, 9)
    fast = random_blur(x, 0.6, seeded(4), largest)
    sigmas, coins = draws(seeded(4), 5, (0.1, largest), (0, 1))
    assert any(c < 0.6 for c in coins) and not all(c < 0.6 for c in coins)
    for image, result, sigma, coin in zip(x, fast, sigmas, coins):
        if coin >= 0.6:
            assert torch.equal(result, image)
            continue
        weight = {d: math.exp(-d * d / (2 * sigma**2)) for d in range(-3, 4)}
        total = sum(weight.values())
        for channel in range(3):
            for row in range(8):
                for column in range(9):
                    slow = sum(
                        weight[i] * weight[j] * float(image[channel, mirrored(row + i, 8), mirrored(column + j, 9)])
                        for i in weight for j in weight
                    ) / total**2  # fmt: skip
                    assert result[channel, row, column].item() == pytest.approx(slow, abs=1e-5)


def test_gradient_magnitude_is_the_slow_one():
    x = pictures(6, 6, 7)
    fast = gradient_magnitude(x, 0.5, seeded(2))
    (coins,) = draws(seeded(2), 6, (0, 1))
    assert any(c < 0.5 for c in coins) and not all(c < 0.5 for c in coins)
    for image, result, coin in zip(x, fast, coins):
        if coin >= 0.5:
            assert torch.equal(result, image)
            continue
        for row in range(6):
            for column in range(7):
                at = {
                    (i, j): float(luma(image[:, mirrored(row + i, 6), mirrored(column + j, 7)]))
                    for i in (-1, 0, 1) for j in (-1, 0, 1)
                }  # fmt: skip
                across = sum(k * (at[i, 1] - at[i, -1]) for i, k in ((-1, 1), (0, 2), (1, 1)))
                down = sum(k * (at[1, j] - at[-1, j]) for j, k in ((-1, 1), (0, 2), (1, 1)))
                slow = min(math.hypot(across, down), 1)
                assert result[:, row, column].tolist() == pytest.approx([slow] * 3, abs=1e-5)


def test_quadrant_crops_come_from_two_different_quadrants():
    size, count = 20, 300
    place = (torch.arange(size) + 0.5) / size  # a pixel's own coordinates are its colour
    x = torch.stack([place.expand(size, size), place[:, None].expand(size, size), torch.zeros(size, size)])
    first, second = quadrant_crops(x.expand(count, -1, -1, -1), seeded())
    chosen = []
    for crop in (first, second):
        assert crop.shape == (count, 3, size, size)
        centre = crop[:, :2].mean((2, 3))
        assert ((centre - 0.25).abs().lt(1e-4) | (centre - 0.75).abs().lt(1e-4)).all()
        span = crop[:, :2].amax((2, 3)) - crop[:, :2].amin((2, 3))
        assert torch.allclose(span, torch.full_like(span, 0.4 * (1 - 1 / size)), atol=1e-4)  # between pixel centres
        assert (crop[:, 0, :, -1] > crop[:, 0, :, 0]).all()  # not mirrored
        chosen.append([tuple((c > 0.5).tolist()) for c in centre])
    pairs = set(zip(*chosen))
    assert all(a != b for a, b in pairs) and len(pairs) == 12


@pytest.mark.parametrize("name", ["crop", "rotation", "colour", "grey", "blur", "hue"])
@pytest.mark.parametrize("value", [-0.1, 1e6, math.nan])
def test_bad_views_name_the_value(name, value):
    with pytest.raises(ValueError, match=f"^{name}: expected .*{value}"):
        Views(**{name: value})


def test_an_empty_crop_is_refused():
    with pytest.raises(ValueError, match="crop"):
        Views(crop=0.0)


def test_bfloat16_images_stay_what_they_are():
    assert lib_views.random_crop(pictures().bfloat16(), 0.5, 10, seeded()).dtype == torch.bfloat16


def test_hue_is_turned_as_colorsys_turns_it():
    x = pictures(5, 4, 3)
    x[0, :, 0, 0], x[1, :, 0, 0] = 0.5, torch.tensor([0.7, 0.7, 0.2])  # grey; two channels the same
    fast = hue_jitter(x, 0.4, seeded(2))
    for image, result, (turn,) in zip(x, fast, zip(*draws(seeded(2), 5, (-0.4, 0.4)))):
        for r in range(4):
            for c in range(3):
                hue, saturation, value = colorsys.rgb_to_hsv(*image[:, r, c].tolist())
                slow = colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value)
                assert result[:, r, c].tolist() == pytest.approx(slow, abs=1e-5)


def test_views_turn_the_hue_where_they_are_told():
    x = pictures()
    assert not torch.equal(random_view(x, Views(hue=0.3), seeded()), random_view(x, Views(), seeded()))


def test_blur_of_fewer_taps_reaches_less_far():
    x = torch.zeros(40, 3, 9, 9)
    x[:, :, 4, 4] = 1
    touched = (random_blur(x, 1.0, seeded(), 2.0, radius=1) > 1e-9).any(1).float().amax(0)
    assert touched.nonzero().amin(0).tolist() == [3, 3] and touched.nonzero().amax(0).tolist() == [5, 5]


def test_a_window_has_its_share_of_each_side_and_half_are_mirrored():
    ramp = torch.linspace(0, 1, 64).expand(2000, 3, 64, 64)
    window = window_crop(ramp, 0.75, seeded())
    span = window.amax((1, 2, 3)) - window.amin((1, 2, 3))
    assert span.min() > 0.72 and span.max() < 0.76
    assert (window[:, 0, 0] - window[:, 0, -1]).abs().max() < 1e-5  # upright
    assert (window[:, 0, 0, 0] > window[:, 0, 0, -1]).float().mean().item() == pytest.approx(0.5, abs=0.04)
    low = window.amin((1, 2, 3))
    assert low.min() < 0.02 and low.max() > 0.23  # anywhere


def test_cut_mix_pastes_one_box_of_another_image():
    levels = torch.arange(400.0).view(-1, 1, 1, 1).expand(-1, 3, 20, 30) / 400
    mixed = cut_mix(levels, 0.6, seeded(), 0.5)
    foreign = (mixed != levels).any(1)
    share = foreign.float().mean((1, 2))
    assert (share > 0).float().mean().item() == pytest.approx(0.6, abs=0.08)
    assert share.max() < 0.56 and share.max() > 0.4
    shift = set()
    for i in foreign.flatten(1).any(1).nonzero().flatten().tolist():
        rows, columns = foreign[i].any(1).nonzero().flatten(), foreign[i].any(0).nonzero().flatten()
        assert foreign[i][rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()  # a box
        value = mixed[i, 0][foreign[i]].unique()
        assert len(value) == 1
        shift.add((round(value.item() * 400) - i) % 400)
    assert len(shift) == 1 and shift != {0}


def test_cut_mix_keeps_the_place_and_needs_two():
    x = pictures(2, 16, 16)
    mixed = cut_mix(x, 1.0, seeded(3))
    assert ((mixed == x) | (mixed == x.flip(0))).all()
    with pytest.raises(ValueError, match="^images: expected at least 2 to cut and mix, got 1"):
        cut_mix(x[:1], 1.0, seeded())


def test_views_are_exact_under_autocast():
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    views = Views(blur=0.5, hue=0.2, grey=0.2)
    exact = random_view(images, views, seeded(1))
    with torch.autocast("cpu", torch.bfloat16):
        half = random_view(images, views, seeded(1))
    assert half.dtype == torch.float32 and torch.equal(half, exact)


@pytest.mark.parametrize("colour, hue", [(0.4, 0.2), (0.0, 0.5), (0.8, 0.0)])
def test_colours_in_half_precision_are_those_of_single_but_for_its_steps(colour, hue):
    views = Views(colour=colour, hue=hue, grey=0.2)
    images = pictures(16)
    images[0] = 0.3  # grey: no hue, no chroma
    exact, half = (random_view(images, views, seeded(1), half) for half in (False, True))
    assert half.dtype == torch.float32 and torch.isfinite(half).all() and not torch.equal(half, exact)
    assert (half - exact).abs().max() < 1.5 / 255 and (half - exact).abs().mean() < 0.2 / 255
    assert (half[0].amax(0) - half[0].amin(0)).max() < 2 / 2048
