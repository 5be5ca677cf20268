"""Encoders: preprocessing inside, files that round-trip and that plain timm reads, errors that name the key."""

import json

import pytest
import safetensors.torch
import timm
import torch

import lib
from lib.models.controls import CONTROLS
from lib.models.encoder import Encoder, EncoderConfig, gaussian_blur, load_encoder, save_encoder
from lib.models.photometric import undo_gain_and_offset

TINY = {"channels": [8, 8, 16, 16], "stem_width": 8}
PLAIN = EncoderConfig(32, "resnet10t", TINY)
RESTORING = EncoderConfig(32, "resnet10t", TINY, {"stages": 2, "channels": 4, "hidden": 4})


@pytest.fixture
def images():
    return torch.rand(2, 3, 48, 40, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("config", [
    PLAIN, RESTORING, EncoderConfig(16, "pixels"), EncoderConfig(16, "pixels", {}, {"stages": 1}),
    EncoderConfig(32, "resnet10t", TINY, photometric=True, keep_image=True),
])  # fmt: skip
def test_file_round_trip(config, images, tmp_path):
    encoder = Encoder(config).eval()
    save_encoder(encoder, tmp_path / "encoder.safetensors")
    for path in (tmp_path, tmp_path / "encoder.safetensors"):
        loaded = lib.load_encoder(path)
        assert torch.equal(loaded(images), encoder(images))
        assert loaded.config == config and loaded.dim == encoder(images).shape[1] and not loaded.training


def test_plain_timm_loads_a_plain_backbone(images, tmp_path):
    encoder = Encoder(PLAIN).eval()
    save_encoder(encoder, tmp_path / "e.safetensors")
    backbone = timm.create_model("resnet10t", num_classes=0, checkpoint_path=str(tmp_path / "e.safetensors"), **TINY).eval()
    assert torch.allclose(encoder.represent(encoder.prepare(images)), backbone((encoder.prepare(images) - 0.45) / 0.25), atol=1e-5)


def test_gradient_reaches_the_pixels(images):
    images.requires_grad_()
    Encoder(RESTORING).eval()(images).sum().backward()
    assert images.grad.abs().sum() > 0


def test_features_do_not_depend_on_the_rest_of_the_batch(images):
    encoder = Encoder(RESTORING).eval()
    assert torch.allclose(encoder(images)[:1], encoder(images[:1]), atol=1e-5)


def test_a_part_of_a_representation_does_not_weigh_by_its_size(images):
    """Each of n values is weighed by sqrt(mean n / n): a part of 3,072 values does not drown one of 64 in a cosine."""
    config = EncoderConfig(32, "resnet10t", {**TINY, "features_only": True, "out_indices": [3, 4]}, keep_image=True)
    encoder = Encoder(config).eval()
    image = encoder.prepare(images)
    parts = [image, *encoder.backbone((image - 0.45) / 0.25)]
    mean = encoder.dim / 3
    slow = torch.cat([part.flatten(1) * (mean / part[0].numel()) ** 0.5 for part in parts], 1)
    assert torch.allclose(encoder(images), slow, atol=1e-6)
    assert encoder.dim == 3 * 32 * 32 + sum(part[0].numel() for part in parts[1:])


def test_gaussian_blur_is_a_slow_convolution():
    image, sigma = torch.rand(1, 3, 12, 10), 1.0
    out = gaussian_blur(image, sigma)
    weights = torch.tensor([[torch.exp(torch.tensor(-(i * i + j * j) / 2 / sigma**2)) for j in range(-3, 4)] for i in range(-3, 4)])
    expected = (image[0, 1, 3:10, 2:9] * weights / weights.sum()).sum()
    assert torch.allclose(out[0, 1, 6, 5], expected, atol=1e-6)


def test_controls(images):
    encoder = Encoder(RESTORING).eval()
    prepared = encoder.prepare(images)
    assert torch.equal(CONTROLS["raw_pixels"](encoder)(images), prepared.flatten(1))
    assert torch.allclose(CONTROLS["identity_restorer"](encoder)(images), encoder.represent(prepared), atol=1e-6)
    untrained = CONTROLS["untrained"](encoder)
    assert not torch.allclose(untrained(images), encoder(images))
    assert torch.equal(untrained(images), CONTROLS["untrained"](encoder)(images))
    blurred = CONTROLS["blur"](encoder)
    assert torch.allclose(blurred(images), encoder(gaussian_blur(prepared, 1.0)), atol=1e-5)
    pixels = CONTROLS["photometric_pixels"](encoder)
    assert torch.allclose(pixels(images), undo_gain_and_offset(prepared).flatten(1))
    photometric = CONTROLS["photometric"](encoder)
    assert torch.allclose(photometric(images), photometric(0.5 * images + 0.2), atol=1e-4)
    assert not torch.allclose(encoder(images), encoder(0.5 * images + 0.2), atol=1e-2)
    with pytest.raises(ValueError, match="no restorer to take out"):
        CONTROLS["identity_restorer"](Encoder(PLAIN))


@pytest.fixture
def written(tmp_path):
    """``written(config changes, weights changes)``: the file of a tiny encoder with these changed; ``...`` takes a key away."""
    path = tmp_path / "e.safetensors"
    save_encoder(Encoder(RESTORING), path)
    weights = safetensors.torch.load_file(path)

    def change(config=(), **tensors):
        kept = {name: value for name, value in (RESTORING.__dict__ | dict(config)).items() if value is not ...}
        safetensors.torch.save_file(weights | tensors, path, {"config": json.dumps(kept)})
        return path

    return change


@pytest.mark.parametrize(("config", "said"), [
    ({"fancy": 3}, "written by another version of dar-faces (its config has 'fancy'); train it again, or use that version"),
    ({"backbone": ...}, "written by another version of dar-faces (its config has no 'backbone'); train it again, or use that version"),
    ({"restorer": {"steps": 2}}, "no encoder can be built from its config (TypeError: "),
    ({"backbone": "resnet9999"}, "no encoder can be built from its config (RuntimeError: Unknown model (resnet9999)"),
    ({"image_size": 4}, "no encoder can be built from its config (ValueError: image_size: expected at least 8 px, got 4); if another"),
])  # fmt: skip
def test_a_file_of_another_version_is_named_with_the_key_and_the_remedy(written, config, said):
    path = written(config)
    with pytest.raises(ValueError) as caught:
        load_encoder(path)
    assert str(caught.value).startswith(f"{path}: {said}") and "train it again, or use that version" in str(caught.value)


def test_a_config_without_what_has_a_default_is_read_and_one_that_is_no_json_is_named(written, images):
    assert load_encoder(written({"centre": ..., "blur": ...})).config == RESTORING
    path = written()
    weights = safetensors.torch.load_file(path)
    for text in ("{", "[1]"):
        safetensors.torch.save_file(weights, path, {"config": text})
        with pytest.raises(ValueError, match="e.safetensors: the 'config' in its metadata cannot be read .*; train it or copy it again"):
            load_encoder(path)


@pytest.mark.parametrize("name", ["conv1.0.weight", "restorer.stages.0.alpha"])
def test_a_weight_of_another_shape_or_that_is_not_finite_is_named(written, name):
    whole = load_encoder(written()).state_dict()
    good = whole[name if name.startswith("restorer") else f"backbone.{name}"]
    path = written(**{name: torch.zeros(*good.shape, 2)})
    with pytest.raises(ValueError) as caught:
        load_encoder(path)
    shapes = f"has the shape {[*good.shape, 2]}, its config asks for {list(good.shape)}; train it or copy it again"
    assert str(caught.value) == f"{path}: the weight {name!r} {shapes}"
    for value in (float("nan"), float("inf")):
        broken = good.clone(memory_format=torch.contiguous_format)
        broken.view(-1)[-1] = value
        with pytest.raises(ValueError, match=rf"e.safetensors: the weight '{name}' is not finite \(1 such weights in all\)"):
            load_encoder(written(**{name: broken}))


def test_where_a_path_that_is_not_absolute_was_looked_for_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError) as caught:
        load_encoder("work/pretrain/mine")
    assert str(caught.value).startswith(f"no encoder at work/pretrain/mine ({tmp_path / 'work/pretrain/mine'}): `dvc repro pretrain`")
    (tmp_path / "mine").mkdir()
    with pytest.raises(FileNotFoundError) as caught:
        load_encoder(tmp_path / "mine")
    assert str(caught.value).startswith(f"no encoder at {tmp_path / 'mine' / 'encoder.safetensors'}: `dvc")


def test_errors(images, tmp_path):
    with pytest.raises(FileNotFoundError, match="dvc repro pretrain"):
        load_encoder(tmp_path / "none")
    path = tmp_path / "e.safetensors"
    path.write_bytes(b"no tensors here")
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        load_encoder(path)
    encoder = Encoder(RESTORING)
    save_encoder(encoder, path)
    weights = safetensors.torch.load_file(path)
    metadata = {"config": json.dumps(RESTORING.__dict__)}
    safetensors.torch.save_file({k: v for k, v in weights.items() if k != "restorer.stages.0.alpha"}, path, metadata)
    with pytest.raises(ValueError, match="missing key 'restorer.stages.0.alpha'"):
        load_encoder(path)
    safetensors.torch.save_file(weights | {"extra": torch.zeros(1)}, path, metadata)
    with pytest.raises(ValueError, match="unexpected key 'extra'"):
        load_encoder(path)
    safetensors.torch.save_file(weights, path)
    with pytest.raises(ValueError, match="no 'config' in its metadata"):
        load_encoder(path)
    with pytest.raises(ValueError, match="images: expected float RGB"):
        encoder((images * 255).byte())
    with pytest.raises(ValueError, match="at least one image"):
        encoder(images[:0])
    with pytest.raises(ValueError, match="no restorer"):
        Encoder(PLAIN).restore(images)
