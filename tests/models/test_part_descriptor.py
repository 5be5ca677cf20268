"""MaskFN's descriptors: unit vectors of frozen networks, zero without landmarks, and one error where weights are missing."""

import hashlib

import pytest
import timm
import torch

from lib.degrade.occluders import MEAN_FACE
from lib.faces.parts import part_patches
from lib.methods.ssl_fer import SslFerConfig
from lib.models.encoder import Encoder, EncoderConfig, save_encoder
from lib.models.part_descriptor import PartDescriptor, less_mean


def faces(count, side=32):
    images = torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))
    return images, (torch.tensor(MEAN_FACE) * side).expand(count, -1, -1).clone()


@pytest.fixture(params=["pixels", "resnet10t", "encoder"])
def descriptor(request, tmp_path):
    torch.manual_seed(0)
    if request.param != "encoder":
        return PartDescriptor(request.param, pretrained=False)
    return PartDescriptor(f"{tmp_path}/run@{saved(tmp_path / 'run/encoder.safetensors')[:12]}")


def saved(path):
    """A small encoder at ``path``; its SHA-256."""
    save_encoder(Encoder(EncoderConfig(16, "resnet10t", {"channels": [8, 8, 8, 8], "stem_width": 8})), path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_unit_vectors_without_gradient_and_zero_without_landmarks(descriptor):
    images, landmarks = faces(5)
    landmarks[2, 40] = float("nan")
    found, valid = descriptor(images.requires_grad_(), landmarks)
    assert valid.tolist() == [True, True, False, True, True] and not found.requires_grad
    assert found.shape == (5, descriptor.dim)
    assert found.norm(dim=1).tolist() == pytest.approx([1, 1, 0, 1, 1], abs=1e-5)


def test_only_eyes_and_mouth_matter_and_the_batch_does_not(descriptor):
    images, landmarks = faces(4)
    before = descriptor(images, landmarks)[0]
    images[:, :, :4] = 0.0  # the brow's hair, above the eyes' patch
    assert torch.allclose(descriptor(images, landmarks)[0], before, atol=1e-5)
    assert torch.allclose(descriptor(images[1:2], landmarks[1:2])[0], before[1:2], atol=1e-5)
    images[0, :, 25:28, 14:18] = 1.0  # in the mouth
    change = (descriptor(images, landmarks)[0] - before).norm(dim=1)
    assert change[0] > 1e-3 and change[1:].max() < 1e-5


def test_it_stays_frozen_in_training(descriptor):
    parent = torch.nn.ModuleList([descriptor]).train()
    assert not any(module.training for module in parent[0].modules())
    assert not any(p.requires_grad for p in descriptor.parameters())
    before = {name: value.clone() for name, value in descriptor.state_dict().items()}
    descriptor(*faces(4))
    assert all(torch.equal(before[name], value) for name, value in descriptor.state_dict().items())


def test_a_timm_network_sees_eyes_then_mouth_normalised_its_way():
    torch.manual_seed(0)
    descriptor = PartDescriptor("resnet10t", pretrained=False)
    images, landmarks = faces(2)
    patches = part_patches(images, landmarks, 64)[0]
    mean, std = (torch.tensor(descriptor.network.default_cfg[k]).view(1, 3, 1, 1) for k in ("mean", "std"))
    with torch.no_grad():
        parts = [descriptor.network((patches[:, k] - mean) / std) for k in (0, 1)]
    expected = torch.nn.functional.normalize(torch.cat(parts, 1), dim=1)
    assert torch.allclose(descriptor(images, landmarks)[0], expected, atol=1e-5)


def test_pixels_do_not_see_brightness_but_see_shape():
    descriptor, (images, landmarks) = PartDescriptor("pixels"), faces(2)
    images = images * 0.5 + 0.2
    brighter = descriptor(images + 0.2, landmarks)[0]
    assert torch.allclose(brighter, descriptor(images, landmarks)[0], atol=1e-3)
    assert (descriptor(images, landmarks)[0][0] @ brighter[1]).abs() < 0.6


def test_less_mean():
    descriptors = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)) + 5
    descriptors[3] = 0
    rest = descriptors[[0, 1, 2, 4, 5]]
    found, expected = less_mean(descriptors), rest - rest.mean(0)
    assert torch.allclose(found[[0, 1, 2, 4, 5]], expected / expected.norm(dim=1, keepdim=True), atol=1e-5)
    assert found[3].abs().sum() == 0
    other = less_mean(descriptors[:2], descriptors)
    assert torch.allclose(other, found[:2], atol=1e-5)


def test_the_default_is_the_published_network(monkeypatch):
    """torchvision's ResNet-18 with torchvision's weights; timm's own ``resnet18`` has the same layers and other weights."""
    asked, plain = [], timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained, **more: asked.append((name, pretrained)) or plain(name, **more))
    descriptor = PartDescriptor()
    assert asked == [("resnet18.tv_in1k", True)] and SslFerConfig().descriptor == "resnet18.tv_in1k"
    assert timm.get_pretrained_cfg(asked[0][0]).tag == "tv_in1k" != timm.get_pretrained_cfg("resnet18").tag
    assert descriptor.dim == 2 * 512 and descriptor.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])


def test_missing_weights_are_one_clear_error(monkeypatch):
    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(ValueError, match=r"^descriptor: the weights of resnet18 cannot be had \(OSError\).*HF_HOME.*descriptor: pixels"):
        PartDescriptor("resnet18", pretrained=True)


def test_an_encoder_is_named_with_its_digest_and_no_other_file_is_taken(tmp_path):
    path = tmp_path / "encoder.safetensors"
    digest = saved(path)
    assert PartDescriptor(f"{path}@{digest[:8]}").dim == PartDescriptor(f"{tmp_path}@{digest}").dim
    for wrong in (str(path), f"{path}@", f"{path}@{digest[:7]}", f"{path}@{digest.upper()}", f"{path}@{'0' * 8}"):
        with pytest.raises(ValueError, match=rf"^descriptor: expected an encoder with .*PATH@DIGEST.*write .*@{digest[:12]}$"):
            PartDescriptor(wrong)
    torch.manual_seed(1)
    assert saved(path) != digest
    with pytest.raises(ValueError, match=f"^descriptor: .*got '.*{digest}'"):
        PartDescriptor(f"{path}@{digest}")
    path.write_bytes(b"no encoder")
    with pytest.raises(ValueError, match="^descriptor: .*encoder.safetensors: not a readable safetensors file"):
        PartDescriptor(f"{path}@{hashlib.sha256(b'no encoder').hexdigest()}")


@pytest.mark.parametrize(
    ("name", "message"),
    [("resnet81", "^descriptor: timm has no model 'resnet81'"), ("work/nowhere@12345678", "^descriptor: no encoder at work/nowhere/enc")],
)
def test_an_unknown_network_is_refused(name, message):
    with pytest.raises(ValueError, match=message):
        PartDescriptor(name, pretrained=False)
