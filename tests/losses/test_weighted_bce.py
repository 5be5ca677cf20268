"""Inverse-rate weights and the weighted cross-entropy of action units."""

import math

import pytest
import torch

from lib.losses.weighted_bce import inverse_rate_weights, weighted_bce

LABELS = torch.tensor([[1, 0, 1, 0], [0, 0, 1, 0], [0, 9, 1, 0], [0, 1, 1, 0], [-1, 0, 1, 0]])


def test_weights_by_hand():
    # rates 1/4, 1/4 of the known, 1, and none: 4, 4, 1, - scaled to sum 3
    assert inverse_rate_weights(LABELS).tolist() == pytest.approx([4 / 3, 4 / 3, 1 / 3, 0])


def slow_bce(logits, labels, weights):
    terms = []
    for row, (scores, truth) in enumerate(zip(logits.tolist(), labels.tolist())):
        for k, (score, y) in enumerate(zip(scores, truth)):
            p = 1 / (1 + math.exp(-score))
            if y in (0, 1):
                terms.append(-float(weights[k]) * (y * math.log(p) + (1 - y) * math.log(1 - p)))
    return sum(terms) / len(terms)


def test_it_is_the_slow_one_with_its_gradient():
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    weights = torch.tensor([0.5, 2.0, 1.0, 0.1])
    value = weighted_bce(logits, LABELS, weights)
    assert value.item() == pytest.approx(slow_bce(logits, LABELS, weights), rel=1e-5)
    (grad,) = torch.autograd.grad(value, logits)
    known = (LABELS == 0) | (LABELS == 1)
    wanted = weights * (logits.sigmoid() - (LABELS == 1).float()) / known.sum()
    assert torch.allclose(grad, torch.where(known, wanted, 0.0), atol=1e-6)


def test_a_certain_and_wrong_answer_still_learns():
    logits = torch.tensor([[-80.0]], requires_grad=True)
    value = weighted_bce(logits, torch.ones(1, 1), torch.ones(1))
    value.backward()
    assert value.item() == pytest.approx(80) and logits.grad.item() == pytest.approx(-1)


def test_bad_input():
    logits = torch.zeros(5, 4)
    cases = [
        (lambda: inverse_rate_weights(torch.zeros(3, 2)), "labels: no action unit is known to be present"),
        (lambda: inverse_rate_weights(torch.zeros(3)), r"labels: expected \[N, K\]"),
        (lambda: inverse_rate_weights(LABELS + 1), "labels: expected 0, 1, or 9 or -1"),
        (lambda: weighted_bce(logits.long(), LABELS, torch.ones(4)), "logits: expected a non-empty float tensor"),
        (lambda: weighted_bce(logits, LABELS[:4], torch.ones(4)), r"labels: expected \[5, 4\]"),
        (lambda: weighted_bce(logits, LABELS, torch.ones(3)), r"weights: expected float \[4\]"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
