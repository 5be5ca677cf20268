"""Linear evaluation of action units: heads against torch's own layers, honest choice of epochs, what is left out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from torch.nn import functional as F

from lib.au_metrics import fold_scores
from lib.cores import few_threads
from lib.datasets.action_units import BP4D_UNITS, au_labels
from lib.losses.weighted_bce import inverse_rate_weights
from lib.probes.au_linear import CHOICES, AuHeads, Recipe, evaluate_action_units, fit_folds, linear_evaluation, trained_heads
from lib.probes.selection import held_out_people
from lib.splits import with_split

UNITS = (1, 4, 12)
SHORT = Recipe(epochs=30, batch_size=32, learning_rate=0.03)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def data():
    """30 people x 8 images; AU k shows in feature k, with noise; every tenth label unknown."""
    g = seeded(1)
    labels = (torch.rand(240, 3, generator=g) < torch.tensor([0.5, 0.2, 0.35])).long()
    features = torch.randn(240, 6, generator=g)
    features[:, :3] += 3.0 * labels
    labels = labels.masked_fill(torch.rand(240, 3, generator=g) < 0.1, -1)
    person = np.arange(240) // 8
    return features, labels, person % 3, person


def test_steps_are_those_of_torchs_own_layers(data):
    features, labels = data[0][:20], data[1][:20]
    recipe = Recipe(epochs=1, batch_size=8, learning_rate=0.1, weight_decay=0.3)  # the last batch holds 4
    draws = seeded(5)
    start, order = AuHeads(3, 6, draws), torch.randperm(20, generator=draws)
    (heads,) = trained_heads(features, labels, recipe, seeded(5))
    layer = torch.nn.Linear(6, 3)
    layer.weight.data, layer.bias.data = start.weight.detach().clone(), start.bias.detach().clone()
    weights, known = inverse_rate_weights(labels), labels >= 0
    optimizer = torch.optim.Adam(layer.parameters(), 0.1, weight_decay=0.3)
    for rows in order.split(8):
        optimizer.zero_grad()
        truth = (labels[rows] == 1).float()
        each = F.binary_cross_entropy_with_logits(layer(features[rows]), truth, reduction="none") * weights
        each[known[rows]].mean().backward()
        optimizer.step()
    assert torch.allclose(heads.weight, layer.weight, atol=1e-5) and torch.allclose(heads.bias, layer.bias, atol=1e-5)
    assert torch.allclose(heads(features), layer(features), atol=1e-5)


def test_heads_with_a_vector_each_see_no_other(data):
    heads = AuHeads(3, 2, seeded())
    x = torch.randn(5, 3, 2, generator=seeded(2))
    changed = x.clone()
    changed[:, 1] += 1
    assert ((heads(changed) != heads(x)) == torch.tensor([False, True, False])).all()
    assert torch.allclose(heads(x)[:, 2], x[:, 2] @ heads.weight[2] + heads.bias[2])


def test_the_three_choices(data):
    features, labels, fold, person = data
    found = linear_evaluation(features, labels, fold, person, UNITS, SHORT, seed=0)
    assert set(found.scores) == {"last", "validation", "best_on_test"} and found.left_out == ()
    assert found.epochs["last"] == (30, 30, 30) and all(1 <= e <= 30 for e in found.epochs["validation"])
    for scores in found.scores.values():
        assert scores.f1_macro > 0.8 and scores.units == UNITS and scores.folds == (0, 1, 2)
    best = found.scores["best_on_test"].fold_f1
    assert (best >= found.scores["last"].fold_f1 - 1e-12).all() and (best >= found.scores["validation"].fold_f1 - 1e-12).all()
    assert (best > found.scores["last"].fold_f1).any()  # looking at the test images flatters


def test_the_scores_are_those_of_the_heads_of_the_chosen_epoch(data):
    features, labels, fold, person = data
    found = linear_evaluation(features, labels, fold, person, UNITS, SHORT, seed=3)
    for choice, epochs in found.epochs.items():
        scores = torch.empty(240, 3)
        for f in range(3):
            train = torch.as_tensor(fold != f)
            for epoch, heads in enumerate(trained_heads(features[train], labels[train], SHORT, seeded(3000 + f)), 1):
                if epoch == epochs[f]:
                    scores[~train] = heads(features[~train]).detach()
        again = fold_scores(scores.numpy(), labels.numpy(), fold, UNITS)
        np.testing.assert_allclose(found.scores[choice].f1, again.f1)


def test_held_out_people_choose_the_epoch(data):
    features, labels, fold, person = data
    labels[:, 1] = torch.where(labels[:, 0] >= 0, (torch.rand(240, generator=seeded(9)) < 0.4).long(), -1)  # nothing to learn
    found = linear_evaluation(features, labels, fold, person, UNITS, SHORT, seed=2)
    for f in range(3):
        train = np.flatnonzero(fold != f)
        held = held_out_people(person[train], SHORT.held_out, 2)
        macro = []
        for heads in trained_heads(features[train[~held]], labels[train[~held]], SHORT, seeded(2000 + f)):
            said, truth = (heads(features[train[held]]) >= 0).numpy(), labels[train[held]].numpy()
            macro.append(np.mean([f1_score(truth[truth[:, k] >= 0, k], said[truth[:, k] >= 0, k]) for k in range(3)]))
        assert found.epochs["validation"][f] == 1 + int(np.argmax(macro))
    assert set(found.epochs["validation"]) != {30}


def test_validation_does_not_look_at_test_labels(data):
    features, labels, fold, person = data
    before = linear_evaluation(features, labels, fold, person, UNITS, SHORT, seed=0)
    labels = labels.clone()
    test = torch.as_tensor(fold == 0)
    labels[test] = torch.where(labels[test] >= 0, 1 - labels[test], labels[test])
    after = linear_evaluation(features, labels, fold, person, UNITS, SHORT, seed=0)
    assert before.epochs["validation"][0] == after.epochs["validation"][0]
    assert after.scores["validation"].fold_f1[0] < 0.5 < before.scores["validation"].fold_f1[0]


def test_whole_people_are_held_out():
    person = np.repeat(np.arange(10), 7)
    held = held_out_people(person, 0.2, 1)
    assert held.reshape(10, 7).all(1).sum() == 2 and held.reshape(10, 7).any(1).sum() == 2
    assert (held == held_out_people(person, 0.2, 1)).all() and (held != held_out_people(person, 0.2, 2)).any()
    assert held_out_people(person, 0.01, 0).sum() == 7 and held_out_people(person, 0.99, 0).sum() == 63
    with pytest.raises(ValueError, match="person: expected at least two people to hold one out, got 1"):
        held_out_people(np.zeros(4), 0.2, 0)


def test_what_cannot_be_learned_or_tested_is_named(data):
    features, labels, fold, person = data
    labels = labels.clone()
    labels[torch.as_tensor(fold != 1) & (labels[:, 0] == 1), 0] = -1
    labels[torch.as_tensor(fold == 2), 1] = 0
    found = linear_evaluation(features, labels, fold, person, UNITS, SHORT, 0, left_out=["3 coded frames without an image"])
    assert found.left_out == (
        "3 coded frames without an image",
        "fold 1 leaves out AU 1: no test image is known to show it",
        "fold 2 leaves out AU 1: no training image is known to show it",
        "fold 3 leaves out AU 1, 4: no test image is known to show it",
    )
    last = found.scores["last"]
    assert last.f1_macro == pytest.approx((last.f1[:2, 1:].mean(1).sum() + last.f1[2, 2]) / 3)
    assert np.isnan(last.f1[:, 0]).all() and np.isnan(last.f1[2, 1]) and (last.f1[:, 2] > 0.8).all()


def test_a_table_without_folds_is_told_how_to_get_them(synthetic_faces, pixel_encoder):
    table = synthetic_faces()
    bare = table.with_rows(table.rows.drop(columns="fold"))
    with pytest.raises(ValueError, match=r"has no column 'fold', .*: lib\.splits\.with_split\(table, root\) deals .*, or give the set a"):
        evaluate_action_units(pixel_encoder(24), bare)
    dealt = with_split(bare, Path("set"))
    assert len(evaluate_action_units(pixel_encoder(24), dealt, recipe=Recipe(epochs=1)).scores["last"].fold_f1) == 3


def test_the_encoder_is_frozen_and_in_eval_mode(synthetic_faces, pixel_encoder):
    table = synthetic_faces()
    table.notes = ("1 images without a coded frame: x.png",)
    table.rows.loc[0, "fold"] = -1
    table.rows.loc[[1, 2], [f"au_{unit}" for unit in BP4D_UNITS]] = np.nan
    table.rows.loc[0:6, "identity"] = 99  # the person without a fold
    table.rows.loc[0:6, "fold"] = [-1, *[0] * 6]
    plain = pixel_encoder(24)
    encoder = torch.nn.Sequential(plain, torch.nn.BatchNorm1d(24), torch.nn.Dropout(0.9)).train()
    state = {name: value.clone() for name, value in encoder.state_dict().items()}
    found = evaluate_action_units(encoder, table, recipe=Recipe(epochs=2), batch_size=50)
    assert all(torch.equal(state[name], value) for name, value in encoder.state_dict().items()) and encoder.training
    assert found.left_out[:3] == (
        "1 images without a coded frame: x.png", "1 images without a fold", "2 images of which no action unit is known",
    )  # fmt: skip
    rows = np.setdiff1d(np.arange(len(table)), [0, 1, 2])
    features = encoder.eval()(table.images(rows).float() / 255).detach()
    rest = (torch.as_tensor(au_labels(table)[rows]), table.column("fold")[rows], table.column("identity")[rows], BP4D_UNITS)
    again = linear_evaluation(features, *rest, Recipe(epochs=2), 0)
    np.testing.assert_allclose(found.scores["last"].f1, again.scores["last"].f1)
    own = evaluate_action_units(encoder, table, recipe=Recipe(epochs=2), own_vectors=True)
    split = linear_evaluation(features.view(-1, 12, 2), *rest, Recipe(epochs=2), 0)
    np.testing.assert_allclose(own.scores["last"].f1, split.scores["last"].f1)


def test_standardised_heads_take_plain_features(data):
    """Of any scale and offset: training on standardised features, with the mean and scale folded into the heads."""
    features, labels = data[0], data[1]
    mean, scale = features.mean(0), features.std(0, correction=0)
    recipe = Recipe(epochs=3, batch_size=32, learning_rate=0.03)
    for plain in (features, 50 * features + 7):
        *_, found = trained_heads(plain, labels, replace(recipe, standardise=True), seeded(2))
        *_, wanted = trained_heads((features - mean) / scale, labels, recipe, seeded(2))
        assert torch.allclose(found(plain), wanted((features - mean) / scale), atol=1e-3) and not found.weight.requires_grad
    constant = features.clone()
    constant[:, 5] = 3.0
    *_, found = trained_heads(constant, labels, replace(recipe, standardise=True), seeded(2))
    assert (found.weight[:, 5] == 0).all()


def test_only_folds_with_test_images_are_fitted(data):
    features, labels, fold, person = data
    tested = (fold == 2) & (np.arange(240) % 4 == 0)
    found = fit_folds(features, labels, fold, person, SHORT, 0, tested)
    every = fit_folds(features, labels, fold, person, SHORT, 0)
    assert found.folds == (2,) and every.folds == (0, 1, 2)
    assert torch.equal(found.weight["last"][0], every.weight["last"][2])
    assert found.epochs["validation"][0] == every.epochs["validation"][2]
    own = found.scores(features[tested], torch.zeros(tested.sum(), dtype=torch.long), "best_on_test")
    macro = [
        np.mean([f1_score(labels[tested, k] == 1, s[:, k] >= 0, sample_weight=labels[tested, k] >= 0) for k in range(3)])
        for s in [h(features[tested]) for h in trained_heads(features[fold != 2], labels[fold != 2], SHORT, seeded(2))]
    ]
    best = np.mean([f1_score(labels[tested, k] == 1, own[:, k] >= 0, sample_weight=labels[tested, k] >= 0) for k in range(3)])
    assert best == pytest.approx(max(macro)) and found.epochs["best_on_test"][0] == 1 + int(np.argmax(macro))


@pytest.mark.parametrize("side_by_side", [0, 10**9])
def test_runs_side_by_side_are_those_one_after_the_other(data, monkeypatch, side_by_side):
    features, labels, fold, person = data
    monkeypatch.setattr("lib.probes.au_linear.SIDE_BY_SIDE", side_by_side)
    found = []
    for threads in (1, 4):
        with few_threads(threads):
            found.append(fit_folds(features, labels, fold, person, SHORT, 0))
    assert found[0].epochs == found[1].epochs
    for choice in CHOICES:
        assert torch.allclose(found[0].weight[choice], found[1].weight[choice], atol=1e-5)


def test_an_error_in_one_run_ends_them_all(data, monkeypatch):
    def fails(heads, labels):
        raise RuntimeError("no macro F1")

    monkeypatch.setattr("lib.probes.au_linear._macro", fails)
    with few_threads(4), pytest.raises(RuntimeError, match="no macro F1"):  # the runs that wait for another's epoch do not hang
        fit_folds(*data, SHORT, 0)


def test_bad_input(data):
    features, labels, fold, person = data
    def run(labels=labels, fold=fold, units=UNITS):
        return linear_evaluation(features, labels, fold, person, units, SHORT, 0)

    cases = [
        (lambda: run(fold=fold * 0), r"fold: expected at least two folds >= 0, got \[0\]"),
        (lambda: run(fold=np.arange(240) % 3), r"persons in more than one fold: \[0"),
        (lambda: run(units=(1, 2)), "units: expected one for each of 3 columns of labels, got 2"),
        (lambda: run(fold=fold[:9]), r"labels, fold, person: expected \[N, K\], \[N\], \[N\], got \[240, 3\], 9, 240"),
        (lambda: run(fold=fold - 1), "fold: expected folds >= 0"),
        (lambda: run(labels=labels * 0), "no action unit is known to be present outside fold 1"),
        (lambda: next(trained_heads(features[:5], labels, SHORT, seeded())), r"features: expected float \[240, D\]"),
        (lambda: next(trained_heads(features.view(240, 2, 3), labels, SHORT, seeded())), "one vector for each of 3 units, got 2"),
        (lambda: Recipe(epochs=0), "epochs: expected at least 1"),
        (lambda: Recipe(held_out=1.0), r"held_out: expected a share in \(0, 1\)"),
        (lambda: Recipe(learning_rate=0.0), "learning_rate, weight_decay: expected"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()


def test_an_encoder_or_table_that_does_not_fit(synthetic_faces, pixel_encoder):
    table = synthetic_faces()
    with pytest.raises(ValueError, match="own_vectors: 25 features are not 12 equal parts"):
        evaluate_action_units(pixel_encoder(25), table, recipe=Recipe(epochs=1), own_vectors=True)
    table.rows["fold"] = -1
    with pytest.raises(ValueError, match="no image has a fold and a known action unit"):
        evaluate_action_units(pixel_encoder(24), table)
