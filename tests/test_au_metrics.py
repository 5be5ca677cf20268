"""Scores in folds against scikit-learn, by hand, and what they say is left out."""

import warnings

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from lib.au_metrics import au_auc, au_auc_resampled, au_counts, fold_scores
from lib.metrics import au_f1


@pytest.fixture
def scored():
    rng = np.random.default_rng(0)
    labels = rng.choice([0, 1, 9, -1], (240, 4), p=[0.5, 0.3, 0.1, 0.1])
    scores = np.round(rng.normal(size=labels.shape) + (labels == 1), 1)  # ties
    return scores, labels, np.arange(240) % 3


def test_every_number_is_scikit_learns(scored):
    scores, labels, fold = scored
    found = fold_scores(scores, labels, fold, [1, 2, 4, 6], threshold=0.5)
    for f in range(3):
        for k in range(4):
            known = (fold == f) & (labels[:, k] >= 0) & (labels[:, k] != 9)
            truth, score = labels[known, k], scores[known, k]
            assert found.f1[f, k] == pytest.approx(f1_score(truth, score >= 0.5))
            assert found.accuracy[f, k] == pytest.approx(accuracy_score(truth, score >= 0.5))
            assert found.auc[f, k] == pytest.approx(roc_auc_score(truth, score))
            assert found.support[f, k] == truth.sum()
    assert found.f1_macro == pytest.approx(found.f1.mean()) and found.left_out == ()
    assert found.fold_f1.tolist() == pytest.approx(found.f1.mean(1)) and found.mean_f1.tolist() == pytest.approx(found.f1.mean(0))
    pooled = au_f1((scores >= 0.5).astype(int), labels)
    assert found.pooled_f1.tolist() == pytest.approx(pooled) and found.pooled_f1_macro == pytest.approx(pooled.mean())
    assert abs(found.pooled_f1_macro - found.f1_macro) > 1e-4  # not the same number


def test_pooled_and_mean_over_folds_by_hand():
    # fold 0: one hit, no mistake -> 1; fold 1: one hit, two misses -> 1/2; pooled 2 * 2 / (4 + 2) = 2/3
    found = fold_scores([[1], [1], [-1], [-1]], [[1], [1], [1], [1]], [0, 1, 1, 1], [12])
    assert found.f1.ravel().tolist() == [1, 0.5] and found.f1_macro == 0.75 and found.pooled_f1[0] == pytest.approx(2 / 3)


def test_a_score_on_the_threshold_is_present():
    assert fold_scores([[0.0], [0.0]], [[1], [0]], [0, 0], [1]).f1[0, 0] == pytest.approx(2 / 3)


def test_areas_of_resampled_people_are_those_of_their_images(scored):
    scores, labels, _ = scored
    rng = np.random.default_rng(3)
    person = rng.integers(0, 6, 240)
    draws = np.concatenate([np.ones((1, 7)), rng.multinomial(7, np.full(7, 1 / 7), size=8)])  # nobody is person 6
    found = au_auc_resampled(scores, labels, person, draws)
    assert found[0].tolist() == pytest.approx(au_auc(scores, labels))
    for drawn, areas in zip(draws, found):
        rows = np.repeat(np.arange(240), drawn[person].astype(int))  # each image as often as its person is drawn
        assert areas == pytest.approx(au_auc(scores[rows], labels[rows]))
    alone = np.where(person == 2, 1, 0)
    labels = np.where(alone[:, None] == 1, np.abs(labels) % 2, 0)  # person 2 alone shows anything
    draws = np.array([[1.0, 1, 0, 1, 1, 1, 1]])
    assert np.isnan(au_auc_resampled(scores, labels, person, draws)).all()


def test_what_cannot_be_scored_is_left_out_and_named(scored):
    scores, labels, fold = scored
    labels = labels.copy()
    labels[(fold == 1) & (labels[:, 2] == 1), 2] = 0  # nobody shows it in fold 1
    labels[:, 3] = 9
    learned = np.ones((3, 4), bool)
    learned[2, 0] = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = fold_scores(scores, labels, fold, [1, 2, 4, 6], learned=learned)
    assert np.isnan(found.f1[1, 2]) and np.isnan(found.f1[2, 0]) and np.isnan(found.f1[:, 3]).all()
    assert np.isnan(found.mean_f1[3]) and np.isnan(found.accuracy[0, 3]) and np.isnan(found.auc[1, 2])
    assert found.fold_f1[0] == pytest.approx(found.f1[0, :3].mean())
    assert found.fold_f1[2] == pytest.approx(found.f1[2, 1:3].mean())
    assert found.left_out == (
        "folds 1, 3 leave out AU 6: no test image is known to show it",
        "fold 2 leaves out AU 4, 6: no test image is known to show it",
        "fold 3 leaves out AU 1: no training image is known to show it",
    )


def test_bad_input(scored):
    scores, labels, fold = scored
    cases = [
        (lambda: au_counts(scores > 0, labels + 1), r"labels must be 0, 1 or unknown \(-1, 9\), got \[0, 1, 2, 10\]"),
        (lambda: au_counts(scores, labels), "pred must be decisions 0 or 1"),
        (lambda: au_counts(scores[:5] > 0, labels), "must have one shape"),
        (lambda: au_auc(scores * np.nan, labels), "scores must be finite"),
        (lambda: fold_scores(scores, labels, fold[:9], [1, 2, 4, 6]), r"must fit, got .* 4 units"),
        (lambda: fold_scores(scores, labels, fold, [1]), "must fit, got .* 1 units"),
        (lambda: fold_scores(scores, labels, fold, [1, 2, 4, 6], learned=np.ones((2, 4))), r"learned must have shape \(3, 4\)"),
        (lambda: fold_scores([], [], [], []), r"labels must be \[N, K\]"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
