"""Exploring an encoder: galleries, neighbours, label-free attacks, and the pictures of them."""

import matplotlib

matplotlib.use("Agg")  # before pyplot: tests draw without a screen

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from PIL import Image

from lib.datasets import DatasetError
from lib.degrade.attacks import ATTACKS
from lib.explore import Gallery, Space, open_gallery, trained_or_stand_in
from lib.explore_pictures import OTHER, OWN, change_figure, neighbours_figure, plt, psnr, restoration_figure
from lib.models.encoder import Encoder, EncoderConfig, save_encoder
from lib.params import Network

TINY = {"channels": [8, 8, 16, 16], "stem_width": 8}


@pytest.fixture(scope="module")
def space():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = Encoder(EncoderConfig(24, "resnet10t", TINY, {"stages": 2, "channels": 4, "hidden": 4}))
        images = torch.rand(10, 3, 24, 24) * torch.rand(10, 3, 1, 1)
    return Space(encoder, Gallery(images, [f"face {i}" for i in range(10)], "rendered"))


@pytest.fixture(autouse=True)
def no_open_figures():
    yield
    plt.close("all")


def titles(figure):
    return [ax.get_title() for ax in figure.axes]


def test_a_stand_in_until_the_encoder_is_trained(tmp_path, capsys):
    network = Network("resnet10t", TINY)
    stand_in = trained_or_stand_in(tmp_path, 24, network)
    said = capsys.readouterr().out
    assert "dvc repro pretrain" in said and "UNTRAINED" in said and str(tmp_path) in said
    assert stand_in.image_size == 24 and stand_in.restorer is not None and not stand_in.training
    save_encoder(Encoder(EncoderConfig(16, "pixels")), tmp_path / "encoder.safetensors")
    assert trained_or_stand_in(tmp_path, 24, network).dim == 3 * 16 * 16
    assert capsys.readouterr().out == ""


def test_nearest_against_a_loop(space):
    features = space.encoder(space.gallery.images).numpy().astype(np.float64)
    centred = features - features.mean(0)

    def cosine(a, b):
        return a @ b / np.sqrt((a @ a) * (b @ b))

    for query in (0, 7):
        expected = sorted((i for i in range(10) if i != query), key=lambda i: -cosine(centred[query], centred[i]))[:4]
        index, cosines = space.nearest(space.gallery.images[query : query + 1], 4, leave_out=query)
        assert index[0].tolist() == expected
        np.testing.assert_allclose(cosines[0], [cosine(centred[query], centred[i]) for i in expected], atol=1e-4)
    index, cosines = space.nearest(space.gallery.images[3:4], 99)
    assert index.shape == (1, 10) and index[0, 0] == 3 and cosines[0, 0] == pytest.approx(1)


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_turn_a_face_away_without_labels(space, name):
    face = space.gallery.images[2:3]
    attacked = space.attacked(face, name, 8)
    change = (attacked - face).abs().max()
    assert 0 < change <= 8 / 255 + 1e-6 and attacked.min() >= 0 and attacked.max() <= 1
    noise = (face + 8 / 255 * torch.randn(face.shape, generator=torch.Generator().manual_seed(1)).sign()).clamp(0, 1)
    assert space.likeness(face, attacked) < space.likeness(face, noise)
    assert torch.equal(attacked, space.attacked(face, name, 8))  # nothing is left to chance


def test_no_budget_no_change(space):
    face = space.gallery.images[:1]
    assert torch.equal(space.attacked(face, "pgd", 0), face)


def test_gallery_of_photographs_of_any_size(tmp_path):
    (tmp_path / "anna").mkdir()
    for i, size in enumerate([(40, 30), (32, 32), (50, 64)]):
        Image.fromarray(np.full((*size, 3), 40 * i, np.uint8)).save(tmp_path / "anna" / f"{i}.png")
    gallery = open_gallery(tmp_path, 24)
    assert gallery.images.shape == (3, 3, 24, 24) and gallery.captions == [f"anna/{i}.png" for i in range(3)]
    assert gallery.images.mean((1, 2, 3)).mul(255).round().tolist() == [0, 40, 80]
    assert open_gallery(tmp_path, 24, most=2).captions == ["anna/0.png", "anna/2.png"]
    with pytest.raises(DatasetError, match="nowhere"):
        open_gallery(tmp_path / "nowhere", 24)


def test_a_gallery_of_which_some_faces_have_landmarks(tmp_path):
    points = " ".join(map(str, np.random.default_rng(0).uniform(8, 24, 136)))
    for i in range(2):
        Image.effect_noise((32, 32), 60).save(tmp_path / f"{i}.png")
    (tmp_path / "labels.csv").write_text(f"file,landmarks,yaw\n0.png,{points},0\n1.png,,0\n")
    images = open_gallery(tmp_path, 24).images
    assert images.shape == (2, 3, 24, 24) and images.isfinite().all()
    (tmp_path / "labels.csv").unlink()
    plain = open_gallery(tmp_path, 24).images
    assert torch.equal(images[1], plain[1]) and not torch.equal(images[0], plain[0])


def test_faces_are_rendered_where_there_are_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    gallery = open_gallery(None, 24)
    assert gallery.source == "rendered" and len(gallery.images) == 70 and gallery.captions[8] == "person 8\nneutral"
    assert gallery.images.std((1, 2, 3)).min() > 0.02  # something is to be seen in every one


def test_neighbours_figure(space):
    figure = neighbours_figure(space, [0, 5], count=3)
    assert titles(figure)[4] == "query\nface 5" and len(figure.axes) == 8
    index, cosines = space.nearest(space.gallery.images[5:6], 1, leave_out=5)
    assert titles(figure)[5] == f"{float(cosines):.2f}\nface {int(index)}"


def test_change_figure_marks_new_neighbours(space):
    changed = space.gallery.images[8:9]  # so other a face that the neighbours change
    figure = change_figure(space, 1, changed, "swap", count=3)
    before = space.nearest(space.gallery.images[1:2], 3, leave_out=1)[0][0].tolist()
    after = space.nearest(changed, 3, leave_out=1)[0][0].tolist()
    frames = [to_hex(ax.patches[0].get_edgecolor()).upper() for ax in figure.axes if ax.patches]
    assert frames == [OWN if i in before else OTHER for i in after] and OTHER in frames
    assert "changed,\nrestored by DAFR" in [*titles(change_figure(space, 1, changed, "swap", count=4))]
    assert "largest 0/255" in titles(change_figure(space, 1, space.gallery.images[1:2], "nothing"))[2]


def test_restoration_figure(space):
    degraded = (space.gallery.images[:1] * 0.5).contiguous()
    shown = titles(restoration_figure(space, 0, degraded))
    assert shown[:3] == ["clean", "degraded", f"as DAFR gets it\n{psnr(degraded, space.gallery.images[:1]):.1f} dB"]
    assert shown[4].startswith("stage 2\n") and "cosine" in shown[4] and shown[8:] == ["noise image 1", "noise image 2"]


def test_psnr():
    clean = torch.full((1, 3, 4, 4), 0.5)
    assert psnr(clean + 0.1, clean) == pytest.approx(20, abs=1e-4) and psnr(clean, clean) == float("inf")
