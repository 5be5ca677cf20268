import numpy as np
import pytest
import torch

from lib.datasets.pairs import verification_pairs
from lib.metrics import tar_at_far
from lib.probes.features import embed
from lib.probes.task import TaskLeftOut
from lib.probes.verification import verification_task


def fit(table, encoder, pairs=200):
    return verification_task(encoder, table, np.arange(len(table)), pairs=pairs, seed=0, batch_size=64, device="cpu")


@pytest.fixture(scope="module")
def task(synthetic_faces, pixel_encoder):
    return fit(synthetic_faces(labelled=False), pixel_encoder(30))


def test_scores_thresholds_and_metrics_follow_a_slow_reference(task):
    table = task.table
    person = table.column("identity")
    pairs = verification_pairs(person, folds=10, pairs_per_fold=20, generator=torch.Generator().manual_seed(0))
    first, second, same, fold = (np.asarray(x) for x in (pairs.first, pairs.second, pairs.same, pairs.fold))
    features = embed(task.encoder, table, np.arange(len(table)), 64, "cpu").double().numpy()
    cosine = np.zeros(200)
    for i in range(200):
        shown = sorted({j for k in range(200) if fold[k] != fold[i] for j in (first[k], second[k])})
        a, b = features[[first[i], second[i]]] - features[shown].mean(0)
        cosine[i] = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    right, accepted = [], []
    for i in range(200):
        others = fold != fold[i]
        grid = np.sort(cosine[others])
        grid = np.r_[-2, (grid[1:] + grid[:-1]) / 2, 2]
        best = max(np.mean((cosine[others] > t) == same[others]) for t in grid)
        threshold = min(t for t in grid if np.mean((cosine[others] > t) == same[others]) == best)
        right.append((cosine[i] > threshold) == same[i])
        impostors = np.sort(cosine[others & ~same.astype(bool)])
        assert len(impostors) == 90
        accepted.append(cosine[i] > impostors[-10])  # 9 of 90 pass
    scores = task.scores_fn(torch.arange(200))(task.images.float() / 255).detach().numpy()
    assert np.sort(scores) == pytest.approx(np.sort(cosine), abs=1e-5)
    counts = task.count(scores, np.arange(200)).sum(0)
    assert task.metrics["accuracy"](counts) == pytest.approx(100 * np.mean(right)) and np.mean(right) > 0.7
    assert task.metrics["tar_at_far_0.1"](counts) == pytest.approx(100 * np.mean(np.array(accepted)[same.astype(bool)]))
    assert task.metrics["tar_at_far_0.1"](counts) / 100 == pytest.approx(tar_at_far(cosine, same, 0.1), abs=0.05)
    assert (
        task.correct(torch.tensor(scores), torch.arange(200)).numpy() == task.count(scores, np.arange(200))[:, 0]
    ).all()


def test_attacker_parts_genuine_pairs_and_joins_impostors(task):
    pixels = (task.images[:40].float() / 255).requires_grad_()
    model = task.scores_fn(torch.arange(40))
    before = model(pixels)
    (gradient,) = torch.autograd.grad(task.loss_fn(before, task.labels[:40]), pixels)
    after = model(pixels + gradient.sign() / 255)
    genuine = task.labels[:40]
    assert genuine.sum() == 20  # every beginning is balanced
    assert (after < before)[genuine].all() and (after > before)[~genuine].all()


def test_bad_numbers_of_pairs_are_named(synthetic_faces, pixel_encoder):
    for pairs in (0, 30):
        with pytest.raises(ValueError, match=f"pairs must be a positive multiple of 20 .* got {pairs}"):
            fit(synthetic_faces(labelled=False), pixel_encoder(4), pairs)


def test_too_few_people_leave_the_task_out(synthetic_faces, pixel_encoder):
    table = synthetic_faces(labelled=False)
    with pytest.raises(TaskLeftOut, match="10 folds need at least 20 people, 10 of them with two images.*got 19"):
        fit(table.select(table.column("identity") < 19), pixel_encoder(4))
    with pytest.raises(TaskLeftOut, match="genuine pairs.*ask for fewer pairs"):
        fit(table, pixel_encoder(4), 2000)
