import numpy as np
import pytest

from lib.faces.clips import SECONDS, course, ease, make_clip
from lib.faces.expression import MAXIMUM, PROTOTYPES, UNITS
from lib.faces.identity import make_identity

PERSON = make_identity(3, 0)


def clip(expression, seed=0, frames=41):
    return make_clip(PERSON, expression, np.random.default_rng(seed), frames)


def test_ease_and_course():
    t = np.linspace(-0.5, 1.5, 201)
    values = ease(t)
    assert values[0] == 0 and values[-1] == 1 and (np.diff(values) >= 0).all() and ease(np.array(0.5)) == 0.5
    time = np.linspace(0, 2, 401)
    values = course(time, 0.2, 0.9, 0.4, 0.6, 0.3)
    assert values[0] == 0 and values.max() == pytest.approx(1) and values[-1] == pytest.approx(0.3)
    np.testing.assert_allclose(values[(time > 0.91) & (time < 1.29)], 1, atol=1e-9)


@pytest.mark.parametrize("expression", ["happiness", "anger", None])
def test_clips_are_smooth_and_in_range(expression):
    for seed in range(5):
        c = clip(expression, seed)
        assert c.units.min() >= 0 and c.units.max() <= MAXIMUM
        lids = UNITS.index(43)  # a blink is fast
        assert np.abs(np.diff(np.delete(c.units, lids, 1), axis=0)).max() < 0.9
        assert np.abs(np.diff(c.pose, axis=0)).max() < 2.0 and np.abs(np.diff(c.gaze, axis=0)).max() < 2.0
        assert (np.abs(c.pose) <= [45, 20, 15]).all()
        assert c.time[0] == 0 and c.time[-1] == SECONDS and (np.diff(c.time) > 0).all()


@pytest.mark.parametrize("expression", ["happiness", "sadness", "surprise", "fear", "disgust", "anger"])
def test_expression_rises_to_its_apex_and_falls_part_of_the_way(expression):
    c = clip(expression)
    main = UNITS.index(max(PROTOTYPES[expression], key=PROTOTYPES[expression].get))
    course_of = c.units[:, main]
    assert course_of[0] < 1 < course_of[c.apex] and course_of[c.apex] == pytest.approx(course_of.max(), rel=0.02)
    assert 0.05 * course_of[c.apex] < course_of[-1] < 0.95 * course_of[c.apex]
    assert c.intensity[c.apex] == pytest.approx(c.intensity.max(), rel=0.02) and 0.6 <= c.intensity.max() <= 1


def test_free_clips_do_not_repeat_an_expression():
    """Which units are up must not be predictable from one another: pairwise correlations stay small."""
    peaks = np.stack([clip(None, seed, 9).units.max(0) > 1 for seed in range(300)]).astype(float)
    used = [UNITS.index(u) for u in (1, 2, 4, 6, 12, 15, 17, 24)]
    correlation = np.corrcoef(peaks[:, used].T) - np.eye(len(used))
    assert np.abs(correlation).max() < 0.25


def test_one_frame_is_the_apex_and_fewer_is_an_error():
    c = clip("fear", frames=1)
    assert c.apex == 0 and c.intensity[0] > 0.6
    with pytest.raises(ValueError, match="frames"):
        clip("fear", frames=0)
