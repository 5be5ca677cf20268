"""First weights of an encoder: from another encoder, from ImageNet, or none."""

import hashlib
from dataclasses import replace

import pytest
import timm
import torch

from lib.models.encoder import Encoder, EncoderConfig, save_encoder
from lib.models.start import started_encoder
from lib.workplace import PRETRAINED

SMALL = EncoderConfig(16, "resnet10t", {"channels": [8, 8, 8, 8], "stem_width": 8})


def make(seed: int, config=SMALL, **settings) -> Encoder:
    torch.manual_seed(seed)
    return Encoder(EncoderConfig(config.image_size, config.backbone, config.backbone_args, **settings))


def sha(file) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12]


def weights(encoder) -> dict:
    return {name: value.clone() for name, value in encoder.backbone.state_dict().items()}


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def start(init: str, seed: int = 0, config=SMALL, **settings) -> tuple[Encoder, str]:
    torch.manual_seed(seed)
    return started_encoder(replace(config, **settings), init)


def test_from_scratch_nothing_is_taken():
    encoder, digest = start("scratch")
    assert digest == "" and same(weights(encoder), weights(make(0)))


@pytest.mark.parametrize("given", ["folder", "file", "name"])
def test_from_another_encoder_the_backbone_is_taken_and_the_rest_stays(tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_STAGE", "pretrain@aunce")
    source = make(1)
    folder = tmp_path / (PRETRAINED / "simclr" if given == "name" else "mine")
    save_encoder(source, folder / "encoder.safetensors")
    file = folder / "encoder.safetensors"
    graph = {"units": 3, "width": 4}

    def begun() -> tuple[Encoder, str]:
        return start({"folder": f"{folder}@{sha(file)}", "file": f"{file}@{sha(file)}", "name": "simclr"}[given], au_graph=graph)

    encoder, digest = begun()
    assert same(weights(encoder), weights(source)) and not same(weights(encoder), weights(make(0)))
    fresh = make(0, au_graph=graph).au_graph.state_dict()
    assert all(torch.equal(value, fresh[name]) for name, value in encoder.au_graph.state_dict().items())
    save_encoder(make(2), file)
    assert len(digest) == 64 and begun()[1] != digest


def restoring(seed: int, backbone: str = SMALL.backbone) -> Encoder:
    """An encoder with everything that may stand before a backbone; its restorer is not the identity."""
    torch.manual_seed(seed)
    args = {} if backbone == "pixels" else SMALL.backbone_args
    config = EncoderConfig(16, backbone, args, {"stages": 2, "channels": 4, "hidden": 4}, photometric=True, blur=0.8)
    return Encoder(config).eval()


def test_what_stood_before_the_backbone_comes_along(tmp_path):
    source = restoring(1)
    save_encoder(source, tmp_path / "encoder.safetensors")
    init = f"{tmp_path}@{sha(tmp_path / 'encoder.safetensors')}"
    encoder, digest = start(init, au_graph={"units": 3, "width": 4}, centre=0.75)
    config = encoder.config
    assert (config.blur, config.photometric, config.restorer) == (0.8, True, source.config.restorer)
    assert (config.au_graph, config.centre) == ({"units": 3, "width": 4}, 0.75)
    images = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    # the backbone sees what it has learnt from: the restored image, here of a view that is cropped already
    assert torch.equal(encoder.eval().restored(images, centre=1), source.restored(images))
    assert not torch.equal(source.restored(images), source.prepare(images))
    assert torch.equal(encoder.tokens(source.restored(images)), source.tokens(source.restored(images)))
    assert torch.equal(encoder.restored(images), encoder.restored(images, centre=0.75))
    # what a figure shows as given is what the restorer was given
    assert torch.equal(encoder.restore(images)[0], encoder.restorer(encoder.prepare(images))[0][0])
    assert encoder.restored(images, centre=1).sub(encoder.restored(images)).abs().max() > 0.01

    for stage in source.restorer.parameters():
        stage.data += 1e-3
        break
    save_encoder(source, tmp_path / "encoder.safetensors")
    assert len(digest) == 128 and start(f"{tmp_path}@{sha(tmp_path / 'encoder.safetensors')}")[1] != digest


def test_an_encoder_of_restored_pixels_gives_its_restorer_alone(tmp_path):
    source = restoring(1, "pixels")
    save_encoder(source, tmp_path / "encoder.safetensors")
    encoder, digest = start(f"{tmp_path}@{sha(tmp_path / 'encoder.safetensors')}")
    given, taken = source.restorer.state_dict(), encoder.restorer.state_dict()
    assert same(given, taken) and len(digest) == 64 and encoder.backbone is not None


def test_from_imagenet_timm_is_asked_for_the_same_network(monkeypatch):
    asked, real = [], timm.create_model

    def create(name, pretrained=False, **args):  # the weights themselves are not on the machine that tests
        asked.append((name, pretrained, args))
        torch.manual_seed(5)
        return real(name, pretrained=False, **args)

    monkeypatch.setattr(timm, "create_model", create)
    encoder, digest = start("imagenet")
    assert digest and asked[1:] == [("resnet10t", True, {"num_classes": 0, **SMALL.backbone_args})]
    torch.manual_seed(5)
    assert same(weights(encoder), real("resnet10t", num_classes=0, **SMALL.backbone_args).state_dict())


def test_imagenet_weights_that_cannot_be_had_are_one_clear_error(monkeypatch):
    real = timm.create_model

    def offline(*name, pretrained, **args):
        if pretrained:
            raise OSError("no route to host")
        return real(*name, **args)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(ValueError, match=r"^init: the ImageNet weights of resnet10t cannot be had \(OSError: no route.*HF_HOME"):
        start("imagenet")


def test_weights_that_do_not_fit(tmp_path):
    other = EncoderConfig(16, "resnet10t", {"channels": [8, 8, 8, 12], "stem_width": 8})
    save_encoder(make(0, other), tmp_path / "wide/encoder.safetensors")
    save_encoder(Encoder(EncoderConfig(16, "pixels")), tmp_path / "pixels/encoder.safetensors")
    wide, pixels = (f"{tmp_path}/{name}@{sha(tmp_path / name / 'encoder.safetensors')}" for name in ("wide", "pixels"))
    with pytest.raises(ValueError, match=r"^init: .*wide.* does not fit the backbone of resnet10t: \d+ weights differ, the first is layer4"):
        start(wide)
    with pytest.raises(ValueError, match=r"^init: the encoder .*pixels.* is raw pixels and has no weights"):
        start(pixels)
    with pytest.raises(ValueError, match=r"^init: expected an encoder with .*PATH@DIGEST"):
        start(f"{tmp_path}/wide@{'0' * 12}")
    for nowhere in (f"{tmp_path}/nowhere@{'0' * 12}", "nowhere"):
        with pytest.raises(ValueError, match=r"^init: no encoder at .*nowhere"):
            start(nowhere)
