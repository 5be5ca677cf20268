"""The readout: finds the pixels that move and the main components, scales both, stays in the encoder's file."""

import numpy as np
import pytest
import torch

from lib.models.controls import CONTROLS, build_control
from lib.models.encoder import Encoder, EncoderConfig, load_encoder, save_encoder
from lib.models.readout import Readout, fit_readout, moving_share, principal_components, whole_clips

SIZE, PEOPLE, FRAMES = 8, 12, 3
TINY = {"channels": [8, 8, 16, 16], "stem_width": 8}


class Clips:
    """Clips of random faces in which nothing but the pixels (2..3, 5..6) changes from frame to frame."""

    def __init__(self, size=SIZE, clips=True):
        generator = torch.Generator().manual_seed(0)
        faces = torch.randint(0, 256, (PEOPLE, 1, 3, size, size), generator=generator).expand(-1, FRAMES, -1, -1, -1).clone()
        faces[..., 2:4, 5:7] = torch.randint(0, 256, (PEOPLE, FRAMES, 3, 2, 2), generator=generator)
        self.pixels = faces.flatten(0, 1).byte()
        self.columns = ("clip",) if clips else ()

    def __len__(self):
        return len(self.pixels)

    def column(self, name):
        return np.arange(len(self)) // FRAMES * 7  # clip numbers need not be consecutive

    def images(self, index):
        return self.pixels[index]


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return Encoder(EncoderConfig(SIZE, "pixels")).eval()


@pytest.fixture
def images():
    return torch.rand(4, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def slow_moving_share(images: np.ndarray, clip: np.ndarray) -> np.ndarray:
    out = np.zeros(images.shape[2:])
    for y, x in np.ndindex(*out.shape):
        for channel in range(3):
            values = images[:, channel, y, x]
            within = [(values[clip == c] - values[clip == c].mean()) ** 2 for c in np.unique(clip)]
            out[y, x] += np.concatenate(within).mean() / values.var() / 3
    return out


def test_moving_share_is_the_slow_one():
    images = torch.rand(9, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    clip = torch.tensor([0, 0, 0, 1, 1, 2, 3, 3, 3])
    fast = moving_share(images, clip)
    assert np.allclose(fast, slow_moving_share(images.double().numpy(), clip.numpy()), atol=1e-5)
    assert 0 <= fast.min() and fast.max() <= 1


def test_it_finds_what_moves(encoder):
    readout = fit_readout(encoder, Clips(), moving=4 / SIZE**2, components=3, weight=1.0, device="cpu")
    found = [divmod(pixel, SIZE) for pixel in readout.pixels.tolist()]
    assert found == [(2, 5), (2, 6), (3, 5), (3, 6)]


def test_features_are_the_moving_pixels_and_the_principal_components(encoder, images):
    table, weight = Clips(), 0.7
    readout = fit_readout(encoder, table, moving=0.1, components=5, weight=weight, device="cpu")
    every = (table.images(slice(None)).float() / 255).flatten(1).double()
    centred = every - every.mean(0)
    _, _, basis = torch.linalg.svd(centred, full_matrices=False)
    components = (images.flatten(1).double() - every.mean(0)) @ basis[:5].T
    components = components / (centred @ basis[:5].T).square().sum(1).mean().sqrt()
    pixels = images.flatten(2)[:, :, readout.pixels].flatten(1).double()
    seen = (table.images(slice(None)).float() / 255).flatten(2)[:, :, readout.pixels].flatten(1).double()
    pixels = weight * pixels / (seen - seen.mean(0)).square().sum(1).mean().sqrt()
    out = readout(images, encoder.describe(images)).double()
    assert out.shape == (4, readout.dim) and readout.dim == 3 * round(0.1 * SIZE**2) + 5
    assert torch.allclose(out[:, :-5], pixels, atol=1e-5)
    assert torch.allclose(out[:, -5:].abs(), components.abs(), atol=1e-3)  # the sign of a component is free


def test_both_parts_count_alike_over_the_fitted_faces(encoder):
    table = Clips()
    readout = fit_readout(encoder, table, moving=0.1, components=5, weight=1.0, device="cpu")
    images = table.images(slice(None)).float() / 255
    out = readout(images, encoder.describe(images))
    for part in (out[:, :-5], out[:, -5:]):
        assert (part - part.mean(0)).square().sum(1).mean().item() == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize("shape", [(9, 30), (30, 9)])
def test_principal_components_are_those_of_the_singular_values(shape):
    points = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    points -= points.mean(0)
    basis = principal_components(points, 4)
    slow = torch.linalg.svd(points.double(), full_matrices=False)[2][:4].T
    assert torch.allclose(basis.double().T @ slow, torch.diag((basis.double() * slow).sum(0)), atol=1e-5)
    assert torch.allclose((basis.double() * slow).sum(0).abs(), torch.ones(4).double(), atol=1e-5)
    assert (basis.gather(0, basis.abs().argmax(0, keepdim=True)) > 0).all()


def test_without_clips_the_components_are_left_and_a_line_says_so(encoder, images, capsys):
    readout = fit_readout(encoder, Clips(clips=False), 0.1, 5, 1.0, "cpu")
    assert readout.dim == 5 and readout(images, encoder.describe(images)).shape == (4, 5)
    assert "no clip has two images" in capsys.readouterr().out


def test_file_round_trip_and_gradient(tmp_path):
    encoder = Encoder(EncoderConfig(32, "resnet10t", TINY, {"stages": 1}, photometric=True, keep_image=True)).eval()
    encoder.read_out(fit_readout(encoder, Clips(32), 0.2, 6, 0.5, "cpu"))
    save_encoder(encoder, tmp_path / "encoder.safetensors")
    loaded = load_encoder(tmp_path)
    images = torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(2)).requires_grad_()
    assert torch.equal(loaded(images), encoder(images))
    assert loaded.config == encoder.config and loaded.dim == loaded(images).shape[1] == 3 * round(0.2 * 32**2) + 6
    loaded(images).sum().backward()
    assert images.grad.abs().sum() > 0


def test_controls_of_an_encoder_with_a_readout(images, capsys):
    encoder = Encoder(EncoderConfig(SIZE, "pixels", {}, {"stages": 1}, photometric=True)).eval()
    assert torch.equal(CONTROLS["moving_pixels"](encoder)(images), CONTROLS["photometric_pixels"](encoder)(images))
    assert "saw nothing move" in capsys.readouterr().out
    encoder.read_out(fit_readout(encoder, Clips(), 0.1, 4, 1.0, "cpu"))
    pixels = CONTROLS["moving_pixels"](encoder)
    assert torch.allclose(pixels(images), encoder.prepare(images).flatten(2)[:, :, encoder.readout.pixels].flatten(1))
    assert pixels.dim == pixels(images).shape[1]
    image = encoder.prepare(images)
    assert torch.allclose(CONTROLS["identity_restorer"](encoder)(images), encoder.readout(image, image.flatten(1)))
    assert CONTROLS["untrained"](encoder).readout is None


def test_the_readout_of_plain_pixels_needs_no_network(images, capsys):
    encoder = Encoder(EncoderConfig(SIZE, "pixels", {}, {"stages": 1}, photometric=True)).eval()
    plain = CONTROLS["photometric_pixels"](encoder)
    assert torch.equal(build_control("pixel_readout", encoder, Clips())(images), plain(images))
    assert "has no readout" in capsys.readouterr().out
    encoder.read_out(fit_readout(encoder, Clips(), 0.1, 4, 0.8, "cpu"))
    control = build_control("pixel_readout", encoder, Clips())
    expected = fit_readout(plain, Clips(), 0.1, 4, 0.8, "cpu")
    image = plain.prepare(images)
    assert control.restorer is None and control.dim == encoder.dim
    assert torch.equal(control(images), expected(image, image.flatten(1)))


def test_whole_clips():
    clips = np.repeat(np.arange(10), 4)
    assert np.array_equal(whole_clips(clips, 40), np.arange(40))
    kept = whole_clips(clips, 13)
    names, counts = np.unique(clips[kept], return_counts=True)
    assert len(names) == 3 and (counts == 4).all() and names.max() - names.min() >= 5 and (np.diff(kept) > 0).all()
    assert np.array_equal(whole_clips(np.zeros(40, int), 13), np.arange(13))


def test_a_long_clip_does_not_push_the_others_out():
    clips = np.concatenate([np.zeros(9000, int), 1 + np.repeat(np.arange(100), 3)])
    assert np.array_equal(np.unique(clips[whole_clips(clips, 4096)]), np.arange(1, 101))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"moving": 1.5}, "moving: expected a share"),
        ({"components": -1}, "components, weight: expected 0 or more"),
        ({"weight": -1.0}, "components, weight: expected 0 or more"),
        ({"moving": 0.0, "components": 0}, "one of them must leave something"),
    ],
)
def test_bad_settings_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        Readout(SIZE, 10, **{"moving": 0.1, "components": 2, "weight": 1.0, **change})


def test_fewer_components_than_asked_for(encoder, capsys):
    """Twelve people whose two moving pixels are all that differs between frames: 36 images have at most 35 components."""
    readout = fit_readout(encoder, Clips(), 0.1, 36, 1.0, "cpu")
    basis = readout.basis
    assert basis.shape[1] < 36 and f"36 images have {basis.shape[1]} components, not 36" in capsys.readouterr().out
    assert torch.allclose(basis.T @ basis, torch.eye(basis.shape[1]), atol=1e-4)


def test_images_that_are_copies_give_as_many_components_as_differ():
    two = torch.randn(2, 12, generator=torch.Generator().manual_seed(0)).repeat(5, 1)
    assert principal_components(two - two.mean(0), 4).shape == (12, 1)
    assert principal_components(torch.zeros(5, 12), 4).shape == (12, 0)


@pytest.mark.parametrize(("moving", "clips"), [(0.1, False), (0.001, True)])
def test_nothing_left_is_said_and_leaves_the_description(encoder, capsys, moving, clips):
    assert fit_readout(encoder, Clips(clips=clips), moving, 0, 1.0, "cpu") is None
    assert "the whole description is the representation" in capsys.readouterr().out
