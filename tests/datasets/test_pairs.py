import itertools

import numpy as np
import pytest
import torch

from lib.datasets import pairs as module
from lib.datasets.pairs import _unrank, verification_pairs


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


ORL = np.repeat(np.arange(40), 10)


def check(pairs, identity, folds, pairs_per_fold):
    assert len(pairs) == folds * pairs_per_fold
    assert pairs.fold.tolist() == sorted(pairs.fold.tolist()) and set(pairs.fold.tolist()) == set(range(folds))
    assert (pairs.same == (identity[pairs.first] == identity[pairs.second])).all()
    assert len({frozenset(pair) for pair in zip(pairs.first.tolist(), pairs.second.tolist())}) == len(pairs)
    assert (pairs.first != pairs.second).all()
    people = []
    for fold in range(folds):
        here = pairs.fold == fold
        assert pairs.same[here].sum() == pairs_per_fold // 2
        people.append(set(identity[pairs.first[here]]) | set(identity[pairs.second[here]]))
    assert all(not a & b for a, b in itertools.combinations(people, 2))


def test_orl():
    identity = ORL[torch.randperm(400, generator=generator(5)).numpy()]
    pairs = verification_pairs(identity, folds=10, pairs_per_fold=120, generator=generator())
    check(pairs, identity, 10, 120)


def test_everything_there_is_can_be_asked_for():
    identity = np.repeat(np.arange(4), 3)  # a fold: 2 people x 3 images = 6 genuine and 9 impostor pairs
    check(verification_pairs(identity, 2, 12, generator()), identity, 2, 12)


def test_unequal_people_are_dealt_evenly():
    identity = np.concatenate([np.repeat(np.arange(10), 4), np.arange(10, 60)])
    check(verification_pairs(identity, 10, 10, generator()), identity, 10, 10)


def test_many_images_are_drawn_not_enumerated(monkeypatch):
    monkeypatch.setattr(module, "_ENUMERATE", 100)
    check(verification_pairs(ORL, 4, 60, generator()), ORL, 4, 60)


def test_the_generator_decides():
    first, again, other = (verification_pairs(ORL, 10, 60, generator(seed)) for seed in (1, 1, 2))
    assert (first.first == again.first).all() and (first.second == again.second).all()
    assert (first.first != other.first).any()


def test_genuine_pairs_cross_clips():
    clip = np.arange(400) // 2
    pairs = verification_pairs(ORL, 10, 60, generator(), clip=clip)
    check(pairs, ORL, 10, 60)
    assert (clip[pairs.first] != clip[pairs.second]).all()
    with pytest.raises(ValueError, match="30 genuine pairs from different clips, it has 0"):
        verification_pairs(ORL, 10, 60, generator(), clip=ORL)


def test_unrank_counts_all_pairs_once_also_where_floats_are_coarse():
    first, second = _unrank(np.arange(4950))
    assert sorted(zip(first, second)) == sorted(itertools.combinations(range(100), 2))
    large = 3_000_000_000
    rank = large * (large - 1) // 2 + np.array([-1, 0, large - 1])
    first, second = _unrank(rank)
    assert second.tolist() == [large - 1, large, large] and first.tolist() == [large - 2, 0, large - 1]


@pytest.mark.parametrize("options, message", [
    ({"identity": np.repeat(np.arange(19), 5)}, "10 folds need at least 20 people.*got 19 people, 19 with two or more"),
    ({"identity": np.arange(400)}, "got 400 people, 0 with two or more"),
    ({"identity": np.repeat(np.arange(40), 2)}, r"fold 1 of 10 \(4 people, 8 images\) needs 30 genuine pairs, it has 4"),
    ({"identity": np.repeat(np.arange(20), 10), "pairs_per_fold": 400}, "needs 200 genuine pairs, it has 90"),
    ({"identity": ORL.astype(float)}, r"identity: expected integers \[N\], got float64 \[400\]"),
    ({"folds": 1}, "folds: expected at least 2, got 1"),
    ({"pairs_per_fold": 61}, "pairs_per_fold: expected a positive even number, got 61"),
    ({"clip": np.zeros(3)}, r"clip: expected shape \[400\]"),
])
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        verification_pairs(**{"identity": ORL, "generator": generator()} | options)
