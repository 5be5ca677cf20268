import pytest
import torch
from torch import nn

from lib.probes.features import embed, held_still, to_float


def test_features_are_the_same_in_any_batches(synthetic_faces, pixel_encoder):
    table, encoder = synthetic_faces(), pixel_encoder(9)
    features = embed(encoder, table, [5, 2, 9], 2, "cpu")
    assert features.shape == (3, 9) and not features.requires_grad
    assert torch.allclose(features, encoder(table.images([5, 2, 9]).float() / 255), atol=1e-6)


def test_encoder_is_held_still_and_left_as_it_was():
    encoder = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout()).train()
    encoder[0].bias.requires_grad_(False)
    encoder[2].eval()
    with pytest.raises(RuntimeError), held_still(encoder):
        assert not any(module.training for module in encoder.modules())
        assert not any(p.requires_grad for p in encoder.parameters())
        raise RuntimeError
    assert [m.training for m in encoder] == [True, True, False]
    assert [p.requires_grad for p in encoder.parameters()] == [True, False, True, True]


def test_bad_input_is_named(synthetic_faces, pixel_encoder):
    with pytest.raises(ValueError, match="no image to embed"):
        embed(pixel_encoder(), synthetic_faces(), [], 2, "cpu")
    with pytest.raises(ValueError, match="must give features"):
        embed(nn.Identity(), synthetic_faces(), [1], 2, "cpu")
    broken = pixel_encoder(4)
    broken[1].bias.data.fill_(float("nan"))
    with pytest.raises(ValueError, match="not finite"):
        embed(broken, synthetic_faces(), [1], 2, "cpu")
    with pytest.raises(ValueError, match="uint8"):
        to_float(torch.rand(1, 3, 2, 2), "cpu")
