import pytest
import torch

from lib.degrade import noise
from lib.degrade.levels import rows


@pytest.fixture
def grey():
    return torch.full((64, 3, 32, 32), 0.4)


def drawn(name, grey, strength, seeded):
    return getattr(noise, name)(grey, torch.full((len(grey),), strength), seeded())


@pytest.mark.parametrize("strength", [1, 3, 5])
@pytest.mark.parametrize("name", ["gaussian_noise", "speckle_noise", "shot_noise"])
def test_mean_and_spread(name, strength, grey, seeded):
    value = drawn(name, grey, strength, seeded)
    parameter = rows(name, 32)[strength - 1][0]
    spreads = {"gaussian_noise": parameter, "speckle_noise": 0.4 * parameter, "shot_noise": (0.4 / parameter) ** 0.5}
    assert value.mean().item() == pytest.approx(0.4, abs=0.003)
    assert value.std().item() == pytest.approx(spreads[name], rel=0.02)
    assert not torch.equal(value[0], value[1]) and not torch.equal(value[0, 0], value[0, 1])


def test_shot_noise_counts_photons(grey, seeded):
    counts = drawn("shot_noise", grey, 5, seeded) * 15
    assert torch.allclose(counts, counts.round(), atol=1e-4) and counts.min() >= 0
    assert (counts == 0).float().mean().item() == pytest.approx(2.71828**-6, rel=0.2)  # Poisson with mean 0.4 x 15


@pytest.mark.parametrize("strength", [1, 5])
def test_impulse_noise_replaces_its_share_half_by_half(strength, grey, seeded):
    value = drawn("impulse_noise", grey, strength, seeded)
    share = rows("impulse_noise", 32)[strength - 1][0]
    for level, expected in ((0.0, share / 2), (1.0, share / 2), (0.4, 1 - share)):
        noise_of_count = (expected * (1 - expected) / value.numel()) ** 0.5
        assert (value == torch.tensor(level)).float().mean().item() == pytest.approx(expected, abs=4 * noise_of_count)


def test_severity_for_each_image(grey, seeded):
    severity = torch.arange(64) % 5 + 1
    value = noise.gaussian_noise(grey, severity, seeded())
    for strength in range(1, 6):
        sigma = rows("gaussian_noise", 32)[strength - 1][0]
        assert value[severity == strength].std().item() == pytest.approx(sigma, rel=0.03)
