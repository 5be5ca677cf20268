"""Dynamic weight average: the published formula, its two first epochs, and its memory."""

import math

import pytest
import torch

from lib.methods.dwa import DynamicWeightAverage

NAMES = ("a", "b")


def plain(weights):
    return {name: weight.item() for name, weight in weights.items()}


def test_the_first_two_epochs_weigh_all_terms_alike():
    average = DynamicWeightAverage(NAMES)
    assert plain(average.weights()) == {"a": 1, "b": 1}
    average.record({"a": 3.0, "b": 1.0})
    assert plain(average.weights()) == {"a": 1, "b": 1}


@pytest.mark.parametrize("temperature", [2.0, 0.5])
def test_weights_are_the_formula(temperature):
    average = DynamicWeightAverage(NAMES, temperature)
    for means in ({"a": 9.0, "b": 9.0}, {"a": 4.0, "b": 2.0}, {"a": 3.0, "b": 0.5}):
        average.record(means | {"other": 7.0})
    a, b = math.exp(3 / 4 / temperature), math.exp(0.5 / 2 / temperature)
    assert plain(average.weights()) == pytest.approx({"a": 2 * a / (a + b), "b": 2 * b / (a + b)}, rel=1e-6)


def test_weights_sum_to_the_number_of_terms_and_favour_the_slow_one():
    average = DynamicWeightAverage(("a", "b", "c"))
    for means in ({"a": 1.0, "b": 1.0, "c": 1.0}, {"a": 0.9, "b": 0.5, "c": 0.1}):
        average.record(means)
    weights = plain(average.weights())
    assert sum(weights.values()) == pytest.approx(3) and weights["a"] > weights["b"] > weights["c"]


def test_the_past_travels_with_the_state():
    average, resumed = DynamicWeightAverage(NAMES), DynamicWeightAverage(NAMES)
    average.record({"a": 4.0, "b": 2.0})
    resumed.load_state_dict(average.state_dict())
    for one in (average, resumed):
        one.record({"a": 3.0, "b": 0.5})
    assert plain(resumed.weights()) == plain(average.weights()) != {"a": 1, "b": 1}


def test_weights_carry_no_gradient():
    average = DynamicWeightAverage(NAMES)
    average.record({"a": 1.0, "b": 1.0})
    average.record({"a": 0.5, "b": 1.0})
    assert not any(weight.requires_grad for weight in average.weights().values())
    assert not list(average.parameters())


def test_a_missing_term_is_an_error():
    with pytest.raises(KeyError, match="b"):
        DynamicWeightAverage(NAMES).record({"a": torch.tensor(1.0)})
