"""First weights of a backbone: from another encoder, from ImageNet, or none."""

import hashlib

import pytest
import timm
import torch

from lib.models.encoder import Encoder, EncoderConfig, save_encoder
from lib.models.start import start_backbone
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


def test_from_scratch_nothing_changes():
    encoder = make(0)
    before = weights(encoder)
    assert start_backbone(encoder, "scratch") == "" and same(weights(encoder), before)


@pytest.mark.parametrize("given", ["folder", "file", "name"])
def test_from_another_encoder_the_backbone_is_taken_and_the_rest_stays(tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_STAGE", "pretrain@aunce")
    source = make(1)
    folder = tmp_path / (PRETRAINED / "simclr" if given == "name" else "mine")
    save_encoder(source, folder / "encoder.safetensors")
    encoder = make(0, au_graph={"units": 3, "width": 4})
    graph = {name: value.clone() for name, value in encoder.au_graph.state_dict().items()}
    file = folder / "encoder.safetensors"

    def init() -> str:
        return {"folder": f"{folder}@{sha(file)}", "file": f"{file}@{sha(file)}", "name": "simclr"}[given]

    digest = start_backbone(encoder, init())
    assert same(weights(encoder), weights(source)) and not same(weights(encoder), weights(make(0)))
    assert all(torch.equal(value, graph[name]) for name, value in encoder.au_graph.state_dict().items())
    save_encoder(make(2), file)
    assert len(digest) == 64 and start_backbone(encoder, init()) != digest


def test_from_imagenet_timm_is_asked_for_the_same_network(monkeypatch):
    asked, real = [], timm.create_model

    def create(name, pretrained=False, **args):  # the weights themselves are not on the machine that tests
        asked.append((name, pretrained, args))
        torch.manual_seed(5)
        return real(name, pretrained=False, **args)

    encoder = make(0)
    monkeypatch.setattr(timm, "create_model", create)
    assert start_backbone(encoder, "imagenet")
    assert asked == [("resnet10t", True, {"num_classes": 0, **SMALL.backbone_args})]
    torch.manual_seed(5)
    assert same(weights(encoder), real("resnet10t", num_classes=0, **SMALL.backbone_args).state_dict())


def test_imagenet_weights_that_cannot_be_had_are_one_clear_error(monkeypatch):
    encoder = make(0)

    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(ValueError, match=r"^init: the ImageNet weights of resnet10t cannot be had \(OSError: no route.*HF_HOME"):
        start_backbone(encoder, "imagenet")


def test_weights_that_do_not_fit(tmp_path):
    other = EncoderConfig(16, "resnet10t", {"channels": [8, 8, 8, 12], "stem_width": 8})
    save_encoder(make(0, other), tmp_path / "wide/encoder.safetensors")
    save_encoder(Encoder(EncoderConfig(16, "pixels")), tmp_path / "pixels/encoder.safetensors")
    wide, pixels = (f"{tmp_path}/{name}@{sha(tmp_path / name / 'encoder.safetensors')}" for name in ("wide", "pixels"))
    with pytest.raises(ValueError, match=r"^init: .*wide.* does not fit the backbone resnet10t: \d+ weights differ, the first is layer4"):
        start_backbone(make(0), wide)
    with pytest.raises(ValueError, match=r"^init: the encoder .*pixels.* is raw pixels and has no backbone"):
        start_backbone(make(0), pixels)
    with pytest.raises(ValueError, match=r"^init: expected an encoder with .*PATH@DIGEST"):
        start_backbone(make(0), f"{tmp_path}/wide@{'0' * 12}")
    for nowhere in (f"{tmp_path}/nowhere@{'0' * 12}", "nowhere"):
        with pytest.raises(ValueError, match=r"^init: no encoder at .*nowhere"):
            start_backbone(make(0), nowhere)
