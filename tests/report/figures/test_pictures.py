"""Galleries, restoration and the sheet they are laid out on."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from lib.report.figures import gallery, montage, moving, restoration


def texts(figure) -> set[str]:
    return {text.get_text() for axes in figure.axes for text in axes.texts}


def test_sheet_puts_each_picture_at_its_place():
    grid = np.zeros((2, 2, 3, 4, 4), np.float32)
    grid[0, 1, 0] = 1  # red
    grid[1, 0, 2] = 1  # blue
    axes = Figure().subplots()
    y, x = montage.draw_sheet(axes, grid, gap=2, row_gaps=[0, 3])
    sheet = np.asarray(axes.images[0].get_array())
    assert list(y) == [2, 11] and list(x) == [2, 8] and sheet.shape == (13, 10, 3)
    assert sheet[2, 8].tolist() == [255, 0, 0] and sheet[11, 2].tolist() == [0, 0, 255]
    assert sheet[5, 5].tolist() == [255, 255, 255]


def test_pictures_from_uint8_and_float_agree():
    whole = np.arange(48, dtype=np.uint8).reshape(1, 3, 4, 4)
    assert np.array_equal(montage.as_pictures(whole, "x", 4), montage.as_pictures(whole / 255, "x", 4))
    with pytest.raises(ValueError, match="x: expected pictures with 4 dimensions"):
        montage.as_pictures(whole[0], "x", 4)


def test_corruption_gallery_names_all_types(panels, run):
    data = panels["corruptions"]
    shown = texts(gallery.corruption_gallery(data["names"], data["images"], run["seen_corruptions"]))
    assert {"gaussian noise", "JPEG", "elastic", "types seen in training", "types not seen in training"} <= shown
    with pytest.raises(ValueError, match="clean and five severities"):
        gallery.corruption_gallery(data["names"], data["images"][:, :4])


def test_attack_gallery_magnifies_the_perturbation(panels):
    data = panels["attacks"]
    clean = np.full((1, 3, 8, 8), 0.5, np.float32)
    attacked = np.stack([clean, clean + data["eps"]])
    figure = gallery.attack_gallery(("pgd", "bim"), clean, attacked, data["eps"])
    sheet = np.asarray(figure.axes[0].images[0].get_array())
    assert sheet[-1, -1].tolist() == [255, 255, 255]  # + eps is white
    assert sheet[-1, 14].tolist() == [128, 128, 128]  # nothing changed is mid-grey
    assert "change\n×16" in texts(figure)
    with pytest.raises(ValueError, match="images: expected"):
        gallery.attack_gallery(("pgd",), clean, attacked, data["eps"])


def test_restoration_shows_all_stages_and_errors(panels):
    data = panels["restoration"]
    figure = restoration.restoration(data["labels"], data["seen"], data["degraded"], data["restored"], data["clean"])
    shown = texts(figure)
    assert {"input y", "$x_1$", "$x_3$", "$n_3$ ×2", "target", "face F'", *data["labels"]} <= shown
    assert f"{255 * np.abs(data['degraded'][0] - data['clean'][0]).mean():.1f}" in shown
    with pytest.raises(ValueError, match="restored: expected"):
        restoration.restoration(data["labels"][:2], data["seen"], data["degraded"], data["restored"], data["clean"])


def test_restoration_takes_the_rest_from_the_input_of_the_restorer(panels):
    """With a restorer that does nothing n_k is flat grey, and y and x_1 are equally far from the target."""
    data = panels["restoration"]
    degraded = data["degraded"] * 1.5 - 0.4  # beyond 0..1, as faces whose gain was undone may be
    figure = restoration.restoration(data["labels"], data["seen"], degraded, degraded[:, None], data["clean"])
    sheet = figure.axes[0].images[0].get_array()
    size, gap = degraded.shape[-1], max(1, degraded.shape[-1] // 24)
    left = 3 * (size + gap) + 3 * (size // 10)  # F', y, x_1, then n_1
    assert (sheet[:size, left : left + size] == 128).all()
    shown = [text.get_text() for text in figure.axes[0].texts]
    first = f"{255 * np.abs(degraded[0] - data['clean'][0]).mean():.1f}"
    assert shown.count(first) >= 2


def test_moving_pixels_keep_their_colour_and_the_others_turn_pale(panels):
    data = panels["moving"]
    figure = moving.moving(data["images"], data["pixels"])
    (sheet,) = figure.axes[0].images
    size = data["images"].shape[-1]
    below = sheet.get_array()[-size:, :size] / 255
    face = data["images"][0].transpose(1, 2, 0)
    assert np.allclose(below[data["pixels"]], face[data["pixels"]], atol=1 / 255)
    assert (below[~data["pixels"]] >= 0.87).all()
    with pytest.raises(ValueError, match="pixels: expected bool"):
        moving.moving(data["images"], data["pixels"][:5])
