"""Fine-tuned tasks: the linear probe's items, labels and metrics, another model; class imbalance; who is held out."""

import dataclasses

import numpy as np
import pytest
import torch

from lib.losses.balanced_softmax import balanced_softmax
from lib.probes import finetuned
from lib.probes.affect import affect_task
from lib.probes.augment import Augmentation
from lib.probes.expression import expression_task
from lib.probes.finetune import Recipe
from lib.probes.finetuned import FINETUNED, finetuned_task, rows_for
from lib.probes.selection import test_rows as rows_for_testing

RECIPE = Recipe(learning_rate=2e-3, batch_size=32, epochs=10, augmentation=Augmentation(0.0, 0.0, 0.0))
MAKE = {"expression": expression_task, "valence_arousal": affect_task}


@pytest.fixture(scope="module", params=FINETUNED)
def pair(request, synthetic_faces, trainable_encoder):
    table, encoder = synthetic_faces(), trainable_encoder(128)
    rows = rows_for_testing(table, 0)[:70]
    base = MAKE[FINETUNED[request.param]](encoder, table, rows, l2=0.01, batch_size=64, device="cpu")
    return base, finetuned_task(base, encoder, RECIPE, seed=0, batch_size=64, device="cpu")


def test_it_is_the_linear_task_with_another_model(pair):
    base, tuned = pair
    assert tuned.name == f"{base.name}_finetuned" and tuned.metrics is base.metrics and tuned.classes == base.classes
    assert torch.equal(tuned.rows, base.rows) and torch.equal(tuned.labels, base.labels)
    assert tuned.encoder is not base.encoder and not tuned.encoder.training
    assert set(tuned.clean_only) == {"last", "best_on_test"}
    scores = tuned.scores_fn(torch.arange(70))(tuned.images.float() / 255)
    value = tuned.metrics[tuned.main_metric](tuned.count(scores.numpy(), np.arange(70)).sum(0))
    best = tuned.metrics[tuned.main_metric](tuned.count(tuned.clean_only["best_on_test"], np.arange(70)).sum(0))
    assert value > (60 if base.classes else 40) and best >= value - 10
    assert tuned.losses(scores[5:9], torch.arange(5, 9)).shape == (4,)


def test_gradients_go_through_all_of_it(pair):
    _, tuned = pair
    pixels = (tuned.images[:3].float() / 255).requires_grad_()
    tuned.loss_fn(tuned.scores_fn(torch.arange(3))(pixels), tuned.labels[:3]).backward()
    assert (pixels.grad.flatten(1).abs().sum(1) > 0).all()
    assert all(p.grad is None for p in tuned.encoder.parameters())


def test_people_of_fit_validation_and_test_are_apart(synthetic_faces):
    table = synthetic_faces()
    for name in FINETUNED:
        fit, validation = rows_for(name, table)
        people = [set(table.column("identity")[rows]) for rows in (fit, validation)]
        assert not people[0] & people[1] and people[0] | people[1] == set(range(20))


def test_expressions_are_weighed_by_the_counts_of_the_images_fitted_on(synthetic_faces, pixel_encoder, monkeypatch):
    table = synthetic_faces()
    keep = (table.column("expression") != 3) | (table.column("identity") % 3 == 0)
    table = table.select(keep)
    rows = rows_for_testing(table, 0)[:50]
    base = expression_task(pixel_encoder(8), table, rows, l2=0.01, batch_size=64, device="cpu")
    goals, rows_given = [], []
    take = lambda encoder, table, goal, rows, *a, **k: goals.append(goal) or rows_given.append(rows) or 1 / 0  # noqa: E731
    monkeypatch.setattr(finetuned, "finetune", take)
    for recipe in (RECIPE, dataclasses.replace(RECIPE, balanced=False)):
        with pytest.raises(ZeroDivisionError):
            finetuned_task(base, pixel_encoder(8), recipe, seed=0, batch_size=64, device="cpu")
    fit, validation = rows_for("expression_finetuned", table)
    for given in rows_given:
        assert [part.tolist() for part in given] == [fit.tolist(), validation.tolist(), rows.tolist()]
    counts = np.bincount(table.column("expression")[fit], minlength=7)
    assert counts[3] < 0.6 * counts[2]
    scores, labels = torch.randn(9, 7, generator=torch.Generator().manual_seed(0)), torch.arange(9) % 7
    balanced, plain = (goal.loss(scores, labels) for goal in goals)
    assert torch.allclose(balanced, balanced_softmax(scores, labels, torch.from_numpy(counts)))
    assert torch.allclose(plain, torch.nn.functional.cross_entropy(scores, labels))
