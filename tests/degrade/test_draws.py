"""Seeded draws against the published SplitMix64, and by their statistics."""

import torch

from lib.degrade.draws import derive, drawn_here, new_seeds, uniform, uniforms
from tests.pretend_device import pretend_device

WORD = 2**64


def mixed(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % WORD
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % WORD
    return z ^ (z >> 31)


def test_equals_splitmix64_number_by_number():
    seeds = torch.tensor([0, 1, 7, 2**62 - 1])
    for purpose in (0, 5, 4001):
        got = uniform(seeds, purpose, 3, 5, dtype=torch.float64).view(4, 15)
        for row, seed in zip(got.tolist(), seeds.tolist(), strict=True):
            state = (mixed(seed) + (purpose + 1) * 0x9E3779B97F4A7C15) % WORD
            state = mixed(state)
            for value in row:
                state = (state + 0x9E3779B97F4A7C15) % WORD
                assert value == (mixed(state) >> 40) / 2**24


def test_uniform_and_apart():
    draws = uniform(torch.arange(200), 0, 500)
    assert draws.min() >= 0 and draws.max() < 1 and abs(draws.mean() - 0.5) < 0.005 and abs(draws.var() - 1 / 12) < 0.001
    histogram = torch.histc(draws, 20, 0, 1) / draws.numel()
    assert (histogram - 0.05).abs().max() < 0.003
    others = [uniform(torch.arange(200) + 1, 0, 500), uniform(torch.arange(200), 1, 500)]
    for other in (*others, draws.roll(1, 1), draws.roll(1, 0)):
        assert abs(torch.corrcoef(torch.stack([draws.flatten(), other.flatten()]))[0, 1]) < 0.015


def test_seeds_come_from_the_generator():
    make = lambda seed: new_seeds(50, torch.Generator().manual_seed(seed), torch.device("cpu"))  # noqa: E731
    assert torch.equal(make(0), make(0)) and not torch.equal(make(0), make(1)) and len(make(0).unique()) == 50


def test_derived_seeds_are_splitmix64s_and_all_different():
    seeds = torch.arange(50)
    found = torch.stack([derive(seeds, tag) for tag in range(20)])
    for tag, seed in ((0, 0), (3, 7), (19, 49)):
        expected = mixed((mixed(seed) + (tag + 1) * 0x9E3779B97F4A7C15) % WORD)
        assert found[tag, seed].item() % WORD == expected
    again = derive(derive(seeds, 3), 4)
    assert len(torch.cat([found.flatten(), seeds, again]).unique()) == 20 * 50 + 50 + 50
    assert torch.equal(derive(seeds, 2**63), derive(seeds, 2**63 - 2**64))  # any integer will do


def test_many_purposes_at_once_are_the_same_numbers():
    seeds = torch.tensor([0, 1, 2**61, 5])
    several = uniforms(seeds, range(7, 12), 3)
    for place, purpose in enumerate(range(7, 12)):
        assert torch.equal(several[:, place], uniform(seeds, purpose, 3))
        assert torch.equal(several[:, place, :2], uniform(seeds, purpose, 2))


def test_what_the_processor_needs_is_drawn_on_the_processor():
    generator = torch.Generator().manual_seed(3)
    assert drawn_here(generator) is generator and drawn_here(None) is None
    with pretend_device() as device:
        one, same, other = (torch.Generator(device).manual_seed(s) for s in (1, 1, 2))
        drawn = [torch.rand(2, generator=drawn_here(g)).tolist() for g in (one, same, other, one, same)]
    assert drawn[0] == drawn[1] and drawn[3] == drawn[4]
    assert drawn[0] != drawn[2] and drawn[0] != drawn[3]
