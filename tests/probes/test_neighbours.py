"""Neighbours as tasks: their votes, what they are attacked through."""

import numpy as np
import pytest
import torch

from lib.conditions import attack_jobs
from lib.degrade.attacks import attack
from lib.probes.affect import affect_task
from lib.probes.expression import expression_task
from lib.probes.neighbours import BY_NEIGHBOURS, knn_task
from lib.probes.selection import test_rows as rows_for_testing

MAKE = {"expression": expression_task, "valence_arousal": affect_task}


@pytest.fixture(scope="module", params=BY_NEIGHBOURS)
def pair(request, synthetic_faces, pixel_encoder):
    table, encoder = synthetic_faces(), pixel_encoder(60)
    encoder.requires_grad_(False)
    rows = rows_for_testing(table, 0)[:40]
    base = MAKE[BY_NEIGHBOURS[request.param]](encoder, table, rows, l2=0.01, batch_size=64, device="cpu")
    return base, knn_task(base, encoder, batch_size=64, device="cpu")


def test_clean_scores_are_those_beside_the_linear_probe(pair):
    base, task = pair
    assert task.name == f"{base.name}_knn" and task.encoder is base.encoder and task.made_on is base
    with torch.no_grad():
        scores = task.scores_fn(torch.arange(40))(task.images.float() / 255)
    assert np.allclose(scores.numpy(), base.clean_only["knn"], atol=1e-6) and not task.clean_only
    counted = task.metrics[task.main_metric](task.count(scores.numpy(), np.arange(40)).sum(0))
    assert counted > (50 if base.classes else 20)


def test_they_see_the_images_made_against_the_linear_probe(pair, monkeypatch):
    base, task = pair
    made = {}

    def kept(name, model, images, labels, loss_fn, **more):
        found = attack(name, model, images, labels, loss_fn, **more)
        made.setdefault(current, []).append(found)
        return found

    monkeypatch.setattr("lib.conditions.attack", kept)
    for current in (base, task):
        jobs = list(attack_jobs(current, ["pgd", "difgsm"], 8, 2, 3, [4], items=10, batch_size=6, device="cpu"))
        scores = [job.run()[0] for job in jobs]
    assert len(made[task]) == len(made[base]) == 6 and all(torch.equal(a, b) for a, b in zip(made[task], made[base]))
    with torch.no_grad():
        expected = task.scores_fn(torch.arange(6))(made[task][0])
    assert np.allclose(scores[0][:6], expected.numpy())
