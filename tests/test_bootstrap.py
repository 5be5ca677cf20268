import numpy as np
import pytest

from lib.bootstrap import interval, subject_draws, subject_sums


def test_draws_times_sums_is_resampling_persons():
    rng = np.random.default_rng(0)
    person, counts = rng.integers(0, 6, 40), rng.random((40, 2))
    draws = subject_draws(6, 50, seed=3)
    assert draws.shape == (51, 6) and (draws.sum(1) == 6).all() and (draws[0] == 1).all()
    totals = draws @ subject_sums(counts, person, 6)
    for w, total in zip(draws, totals):
        slow = sum(counts[person == p].sum(0) * w[p] for p in range(6))
        assert total == pytest.approx(slow)
    assert (draws == subject_draws(6, 50, seed=3)).all()


def test_images_of_one_person_do_not_narrow_the_interval():
    rng = np.random.default_rng(1)
    score = rng.normal(size=30)
    widths = []
    for images in (1, 20):  # all images of a person are alike: more of them are no more information
        person = np.repeat(np.arange(30), images)
        sums = subject_draws(30, 2000, 0) @ subject_sums(np.stack([score[person], np.ones(len(person))], 1), person, 30)
        value, low, high = interval(sums[:, 0] / sums[:, 1])
        assert value == pytest.approx(score.mean()) and low < value < high
        widths.append(high - low)
    assert widths[0] == pytest.approx(widths[1]) == pytest.approx(2 * 1.96 * score.std() / 30**0.5, rel=0.1)


def test_interval_leaves_out_empty_resamples():
    assert interval(np.array([5.0, np.nan, 4, 6])) == (5, pytest.approx(4.05), pytest.approx(5.95))
    assert interval(np.array([5.0, np.nan])) == (5, 5, 5)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="subjects must be"):
        subject_draws(0, 5, 0)
    with pytest.raises(ValueError, match="resamples must be"):
        subject_draws(5, 0, 0)
