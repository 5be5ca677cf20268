import numpy as np
import pytest

from lib.faces import head_model as module
from lib.faces.head_model import PARTS, Shape, action_table, head_model, shaped


def test_shapes_and_ranges():
    model = head_model()
    v = len(model.vertices)
    assert model.vertices.shape == (v, 3) and model.triangles.max() == v - 1 and model.triangles.min() == 0
    assert model.parts.shape == (len(model.triangles),) and set(np.unique(model.parts)) == set(range(len(PARTS)))
    assert model.race.shape == (3, 2, 2, v, 3) and model.build.shape == (2, 2, 3, v, 3)
    assert len(model.action_names) == 52 and len(model.action[0]) == 53
    assert len(model.local[0]) == 2 * len(model.local_names) + 1
    for values in (model.vertices, model.race, model.build, model.local[2], model.action[2]):
        assert np.isfinite(values).all()
    for mask in (model.occlusion, model.lips, model.ears):
        assert mask.min() >= 0 and mask.max() <= 1.01


def test_default_shape_is_the_mean_head():
    np.testing.assert_allclose(shaped(head_model(), Shape()), head_model().vertices, atol=2e-3)


def test_mean_head_is_symmetric():
    skin = head_model().vertices[head_model().part("skin")]
    mirrored = skin * [-1, 1, 1]
    nearest = [np.sqrt(((skin - point) ** 2).sum(1).min()) for point in mirrored[::7]]
    assert max(nearest) < 0.01  # 1 mm


def test_front_of_the_face_looks_at_the_viewer():
    model = head_model()
    nose = model.vertices[model.part("skin")][model.vertices[model.part("skin")][:, 2].argmax()]
    assert abs(nose[0]) < 0.02 and nose[1] < 0
    corners = model.vertices[model.triangles[model.parts == 0]]
    out = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    front = corners[:, :, 2].mean(1) > 0.6
    assert (out[front, 2] > 0).mean() > 0.9


def test_local_axis_is_linear_and_one_sided():
    model = head_model()
    base = shaped(model, Shape())
    once = shaped(model, Shape(local={"chin-width": 0.5})) - base
    twice = shaped(model, Shape(local={"chin-width": 1.0})) - base
    np.testing.assert_allclose(twice, 2 * once, atol=1e-5)
    assert np.abs(once).max() > 0.02
    assert np.abs(shaped(model, Shape(local={"chin-width": -0.5})) - base + once).max() > 1e-4


def test_action_table_holds_every_delta():
    starts, action, delta = action_table()
    rows, vertex, values = head_model().action
    dense = np.zeros((52, len(head_model().vertices), 3), np.float32)
    for k in range(52):
        dense[k, vertex[rows[k]:rows[k + 1]]] = values[rows[k]:rows[k + 1]]
    back = np.zeros_like(dense)
    for v in range(len(starts) - 1):
        back[action[starts[v]:starts[v + 1]], v] = delta[starts[v]:starts[v + 1]]
    np.testing.assert_array_equal(back, dense)


def test_bad_shapes_are_named():
    with pytest.raises(ValueError, match="unknown axes.*'ear-colour'"):
        shaped(head_model(), Shape(local={"ear-colour": 1.0}))
    with pytest.raises(ValueError, match="ancestry"):
        shaped(head_model(), Shape(ancestry=(0, 0, 0)))


def test_missing_asset_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "ASSET", tmp_path / "head.npz")
    with pytest.raises(FileNotFoundError, match="extract_head_model"):
        head_model.__wrapped__()
