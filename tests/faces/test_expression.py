import numpy as np
import pytest

from lib.datasets.columns import EXPRESSIONS
from lib.faces.expression import (ACTIONS, BP4D, BOTH, CIRCUMPLEX, OPTIONAL, PROTOTYPES, UNITS, action_weights, affect,
                                  apex, unit_matrix)
from lib.faces.head_model import head_model

HABIT = np.zeros(12)


def one(**levels):
    out = np.zeros((1, len(UNITS)))
    for unit, level in levels.items():
        out[0, UNITS.index(int(unit[2:]))] = level
    return out


def test_tables_name_existing_things():
    names = head_model().action_names
    assert set(ACTIONS) == set(UNITS) and set(BP4D) <= set(UNITS)
    assert set(PROTOTYPES) == set(OPTIONAL) == set(CIRCUMPLEX) == set(EXPRESSIONS)
    for actions in ACTIONS.values():
        for action in actions:
            assert (f"{action}Left" if action in BOTH else action) in names
    for table in (*PROTOTYPES.values(), *OPTIONAL.values()):
        assert set(table) <= set(UNITS)


def test_weights_grow_with_intensity_and_add_up():
    low, high = action_weights(one(au12=2)), action_weights(one(au12=4))
    np.testing.assert_allclose(high, 2 * low, rtol=1e-6)
    both = action_weights(one(au1=2, au12=2))
    np.testing.assert_allclose(both, low + action_weights(one(au1=2)), rtol=1e-6)


def test_asymmetry_moves_weight_to_the_left_side():
    names = head_model().action_names
    weights = action_weights(one(au12=4), asymmetry=0.2)[0]
    even = action_weights(one(au12=4))[0]
    left, right = names.index("mouthSmileLeft"), names.index("mouthSmileRight")
    assert weights[left] > even[left] == even[right] > weights[right]


def test_units_move_the_face_as_facs_says():
    """Places on the mean head: which way do brows, lids and mouth corners go?"""
    from lib.faces.landmarks import landmark_vertices

    model, marks = head_model(), landmark_vertices()
    starts, vertex, delta = model.action

    def moved(unit):
        out = np.zeros((len(model.vertices), 3))
        for k, weight in enumerate(unit_matrix()[UNITS.index(unit)]):
            out[vertex[starts[k]:starts[k + 1]]] += weight * delta[starts[k]:starts[k + 1]]
        return out[marks]

    inner_brow, outer_brow, corner, upper_lid, chin = [21, 22], [18, 25], [48, 54], [37, 38, 43, 44], [8]
    assert (moved(1)[inner_brow, 1] > 0.03).all()
    assert (moved(2)[outer_brow, 1] > 0.03).all()
    assert (moved(4)[inner_brow, 1] < -0.02).all()
    assert (moved(5)[upper_lid, 1] > 0).all()
    assert (moved(12)[corner, 1] > 0.03).all()
    assert (moved(15)[corner, 1] < -0.03).all()
    assert (moved(26)[chin, 1] < -0.1).all()
    assert (moved(43)[upper_lid, 1] < -0.03).all()


def test_apex_follows_the_prototype():
    rng = np.random.default_rng(0)
    for name in EXPRESSIONS[1:]:
        levels = np.mean([apex(name, rng, HABIT, HABIT, 1.0) for _ in range(60)], axis=0)
        for unit, level in PROTOTYPES[name].items():
            assert levels[UNITS.index(unit)] > 0.8 * min(level, 4.5)
        strongest = {UNITS[i] for i in np.argsort(levels)[-2:]}
        assert strongest <= set(PROTOTYPES[name])
    assert all(apex("neutral", rng, HABIT, HABIT, 1.0).max() < 1 for _ in range(20))


def test_affect_rule():
    units = np.zeros(len(UNITS))
    assert affect("happiness", 0.5, units) == (pytest.approx(0.425), pytest.approx(0.225))
    assert affect("neutral", 1.0, units) == (0.0, 0.0)
    assert affect(None, 1.0, one(au12=5)[0]) == (pytest.approx(0.55), pytest.approx(0.20))
    everything = np.full(len(UNITS), 5.0)
    assert all(-1 <= value <= 1 for value in affect(None, 1.0, everything))


def test_errors():
    with pytest.raises(ValueError, match="intensities: expected 0..5"):
        action_weights(one(au1=6))
    with pytest.raises(ValueError, match=r"intensities: expected \[F,20\]"):
        action_weights(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="expression"):
        apex("boredom", np.random.default_rng(0), HABIT, HABIT, 1.0)
