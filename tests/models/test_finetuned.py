"""The fine-tuned model: its head as published, ten crops against a loop, gradients down to the pixels."""

import pytest
import torch
from torch import nn

from lib.models.finetuned import FineTuned, ten_crops, published_head


@pytest.fixture
def faces():
    return torch.rand(3, 3, 12, 12, generator=torch.Generator().manual_seed(0))


def test_head_is_the_published_one():
    linear = [layer for layer in published_head(2048, 8) if isinstance(layer, nn.Linear)]
    assert [tuple(layer.weight.shape) for layer in linear] == [(1024, 2048), (512, 1024), (8, 512)]
    assert [type(layer).__name__ for layer in published_head(2048, 8)] == [
        "Dropout", "Linear", "ReLU", "Dropout", "Linear", "Dropout", "Linear",
    ]  # fmt: skip
    assert all(layer.p == 0.5 for layer in published_head(64, 2) if isinstance(layer, nn.Dropout))
    small = [layer.out_features for layer in published_head(40, 7) if isinstance(layer, nn.Linear)]
    large = [layer.out_features for layer in published_head(9000, 7) if isinstance(layer, nn.Linear)]
    assert small == [20, 10, 7] and large == [1024, 512, 7]


def test_a_relu_in_front_changes_nothing_behind_a_resnet():
    head = published_head(32, 5).eval()
    features = torch.rand(4, 32)  # means of a ReLU's outputs are never negative
    assert torch.equal(nn.Sequential(nn.ReLU(), head)(features), head(features))


def test_scores_are_the_mean_over_ten_crops(faces):
    encoder = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())  # 12 features of any size
    model = FineTuned(encoder, 12, 4, crop=10 / 12).eval()
    single = model.head.head
    expected = []
    for face in faces:
        scores = []
        for top, left in ((0, 0), (0, 2), (2, 0), (2, 2), (1, 1)):
            crop = face[:, top : top + 10, left : left + 10]
            scores += [single(encoder(view[None]))[0] for view in (crop, crop.flip(2))]
        expected.append(torch.stack(scores).mean(0))
    assert torch.allclose(model(faces), torch.stack(expected), atol=1e-6)
    assert model.body(faces).shape == (3, 120) and torch.equal(model.head(model.body(faces)), model(faces))
    assert model.train()(faces[:, :, :10, :10]).shape == (3, 4) and model.body(faces).shape == (3, 12)


def test_gradients_reach_every_pixel_and_weight(faces):
    torch.manual_seed(0)  # with others' weights a ReLU of the head may be dead for the one crop that sees a corner
    for crop in (0.0, 10 / 12):
        model = FineTuned(nn.Sequential(nn.Flatten(), nn.LazyLinear(16)), 16, 4, crop).eval()
        pixels = faces.clone().requires_grad_()
        model(pixels).square().sum().backward()
        assert (pixels.grad != 0).all() and all(p.grad is not None for p in model.parameters())


def test_ten_crops_are_five_and_their_mirror_images(faces):
    ten = ten_crops(faces, 0.5)
    five = ten[:5]
    assert len(ten) == 10 and torch.equal(ten[5:], five.flip(-1))
    assert five.shape == (5, 3, 3, 6, 6)
    assert torch.equal(five[3], faces[..., 6:, 6:]) and torch.equal(five[4], faces[..., 3:9, 3:9])
    with pytest.raises(ValueError, match="share: expected a share of the side in"):
        ten_crops(faces, 1.2)
    with pytest.raises(ValueError, match="share: expected a share of the side in"):
        ten_crops(faces, 0.01)
