import dataclasses

import numpy as np
import pandas as pd
import pytest
import warp as wp

from lib.faces import render, shading
from lib.faces.clips import make_clip
from lib.faces.expression import UNITS
from lib.faces.geometry import KINDS
from lib.faces.identity import make_identity
from lib.faces.sample import draw_takes, make_take, sample_faces
from lib.faces.scene import quaternion, rotate
from lib.faces.shading import MASK_NAMES, tone

SIZE = 64
PART = {name: index for index, name in enumerate(MASK_NAMES)}


def person_without(number=2, **changes):
    plain = {"glasses": False, "hair_style": "short", "beard_style": "none"}
    return dataclasses.replace(make_identity(number, 0), **(plain | changes))


def straight(person, number=0, expression="neutral", yaw=0.0, **levels):
    """A take of one frame that looks at the camera, with given unit levels."""
    take = make_take(person, 0, number, expression, 1)
    units = take.clip.units * 0
    for unit, level in levels.items():
        units[0, UNITS.index(int(unit[2:]))] = level
    clip = dataclasses.replace(take.clip, pose=np.array([[yaw, 0.0, 0.0]]), gaze=take.clip.gaze * 0, units=units)
    setting = dataclasses.replace(take.setting, shift=np.zeros(2), zoom=1.0)
    return dataclasses.replace(take, clip=clip, setting=setting)


def points(rows, i=0):
    return np.asarray(rows["landmarks"][i]).reshape(68, 2)


@pytest.fixture(scope="module")
def gallery():
    people = [person_without(k) for k in range(6)]
    return [draw_takes(person, [straight(person, k)], SIZE) for k, person in enumerate(people)]


def test_landmarks_lie_inside_and_in_order(gallery):
    for _, rows, _ in gallery:
        p = points(rows)
        assert (p > -1).all() and (p < SIZE).all()
        assert (np.diff(p[0:17, 0]) > -1).all()  # from the person's right ear along the jaw to the left one
        assert p[8, 1] == p[:17, 1].max()
        assert (np.diff(p[17:27, 0]) > 0).all() and (np.diff(p[27:31, 1]) > 0).all()
        assert (np.diff(p[31:36, 0]) > 0).all()
        right, left, mouth = p[36:42].mean(0), p[42:48].mean(0), p[48:68].mean(0)
        assert right[0] < left[0] and mouth[1] > left[1] and right[0] < mouth[0] < left[0]
        assert p[36, 0] < p[39, 0] < p[42, 0] < p[45, 0]
        assert (p[[37, 38], 1] < p[[41, 40], 1]).all() and (p[[43, 44], 1] < p[[47, 46], 1]).all()
        assert p[48, 0] == p[48:60, 0].min() and p[54, 0] == p[48:60, 0].max()
        assert p[51, 1] < p[57, 1] and p[19, 1] < p[37, 1]


def test_masks_agree_with_landmarks(gallery):
    for _, rows, masks in gallery:
        p = points(rows)

        def part_at(point, masks=masks):
            x, y = np.rint(point).astype(int)
            return MASK_NAMES[masks[0, y, x]]

        assert part_at(p[36:42].mean(0)) == "eye_right" and part_at(p[42:48].mean(0)) == "eye_left"
        assert part_at(p[[28, 29]].mean(0)) == "nose"
        assert part_at(p[[1, 31]].mean(0)) == "skin"
        assert masks[0, 0, 0] == PART["background"]
        ys, xs = np.nonzero(masks[0] == PART["brow_left"])
        assert len(ys) and abs(xs.mean() - p[22:27, 0].mean()) < 3 and abs(ys.mean() - p[22:27, 1].mean()) < 3
        assert (masks[0] == PART["hair"]).sum() > 100 and (masks[0] == PART["neck_cloth"]).sum() > 20


def test_jaw_drop_opens_the_mouth():
    person = person_without()
    closed = draw_takes(person, [straight(person)], SIZE)
    opened = draw_takes(person, [straight(person, au26=5)], SIZE)
    gap = [points(rows)[66, 1] - points(rows)[62, 1] for _, rows, _ in (closed, opened)]
    assert gap[0] < 1.5 and gap[1] > gap[0] + 2
    inside = [(masks == PART["mouth"]).sum() for _, _, masks in (closed, opened)]
    assert inside[1] > inside[0] + 10
    assert opened[1]["attr_mouth_open"][0] == 1 and closed[1]["attr_mouth_open"][0] == 0


def test_yaw_turns_the_face_to_the_right_of_the_picture():
    person = person_without()
    nose = {yaw: points(draw_takes(person, [straight(person, yaw=yaw)], SIZE)[1])[30, 0] for yaw in (-40, 0, 40)}
    assert nose[-40] < nose[0] - 3 and nose[40] > nose[0] + 3


def test_rotation_matches_a_matrix():
    """Yaw about y, then pitch about the turned x, then roll about the twice turned z."""
    y, p, r = np.radians([30, 12, -9])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(-p), -np.sin(-p)], [0, np.sin(-p), np.cos(-p)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    points = np.random.default_rng(0).normal(size=(5, 3))
    np.testing.assert_allclose(rotate(quaternion(30, 12, -9), points), points @ (about_y @ about_x @ about_z).T,
                               atol=1e-12)


def test_same_bytes_twice_and_in_any_batch(monkeypatch):
    person = make_identity(4, 1)
    takes = [make_take(person, 1, k, "happiness", 3) for k in range(2)]
    together = draw_takes(person, takes, SIZE)
    again = draw_takes(person, takes, SIZE)
    monkeypatch.setattr(render, "BATCH", 1)
    alone = [draw_takes(person, [take], SIZE) for take in takes]
    joined = [np.concatenate([part[k] for part in alone]) for k in range(3)]
    for other in (again, joined):
        np.testing.assert_array_equal(together[0], other[0])
        np.testing.assert_array_equal(together[2], other[2])
    pd.testing.assert_frame_equal(together[1], again[1])


def test_tone_curve_is_an_s():
    """The camera's curve keeps black, grey and white where they are and is steepest in the middle."""

    @wp.kernel
    def curve(contrast: float, out: wp.array(dtype=float)):
        i = wp.tid()
        out[i] = tone(float(i) / 100.0, contrast)

    for contrast in (0.0, 0.5, 1.0):
        out = wp.zeros(101, dtype=float, device="cpu")
        wp.launch(curve, 101, [contrast, out], device="cpu")
        y = out.numpy()
        assert np.allclose(y[[0, 50, 100]], [0, 0.5, 1], atol=1e-6) and (np.diff(y) >= 0).all()
        assert np.isclose((y[51] - y[49]) * 50, 1 + 0.5 * contrast, atol=1e-3)


def test_silhouette_is_antialiased():
    """A bald head in flat light before a plain background: pixels on the outline take values between both sides."""
    person = person_without(5, hair_style="bald")
    take = straight(person)
    plain = {name: np.full(3, 0.9) for name in take.setting.background if name.startswith(("back", "blob")) and
             np.size(take.setting.background[name]) == 3}
    background = take.setting.background | plain | {"grain": 0.0}
    take = dataclasses.replace(take, setting=dataclasses.replace(take.setting, background=background))
    images, _, masks = draw_takes(person, [take], 96)
    grey, inside = images[0].mean(2), masks[0] != 0
    edge = inside & ~(np.roll(inside, 1, 0) & np.roll(inside, -1, 0) & np.roll(inside, 1, 1) & np.roll(inside, -1, 1))
    assert len(np.unique(np.rint(grey[edge][: edge.sum() // 2]))) > 20


def test_people_differ_more_than_settings():
    """Mean landmark distance, after size and place are removed: within a person it is far below between people."""
    shapes = []
    for k in range(6):
        for setting in range(2):
            person = person_without(10 + k, asymmetry=0.0)
            p = points(draw_takes(person, [straight(person, setting)], SIZE)[1])
            p = p - p.mean(0)
            shapes.append(p / np.linalg.norm(p))
    shapes = np.array(shapes).reshape(6, 2, 68, 2)
    within = np.linalg.norm(shapes[:, 0] - shapes[:, 1], axis=(1, 2)).mean()
    between = np.mean([np.linalg.norm(shapes[a, 0] - shapes[b, 0]) for a in range(6) for b in range(a)])
    assert between > 2 * within


def test_a_clip_moves_smoothly():
    person = person_without()
    take = make_take(person, 0, 0, "surprise", 25)
    _, rows, _ = draw_takes(person, [take], SIZE)
    p = np.stack([points(rows, i) for i in range(25)])
    speed = np.abs(np.diff(p, axis=0)).max()
    assert 0.05 < speed < 2.5
    assert np.abs(np.diff(p, n=2, axis=0)).max() < 1.5


def test_sample_faces():
    images, rows, masks = sample_faces(3, seed=2, image_size=32, expression="anger", frontal=True)
    assert images.shape == (3, 32, 32, 3) and images.dtype == np.uint8 and masks.shape == (3, 32, 32)
    assert rows["identity"].tolist() == [0, 1, 2] and (rows["expression"] == 6).all() and (rows["yaw"] == 0).all()
    assert images.std() > 10 and masks.max() < len(MASK_NAMES)


def test_errors():
    with pytest.raises(ValueError, match="n: expected"):
        sample_faces(0)
    with pytest.raises(ValueError, match="expression"):
        sample_faces(1, expression="joy")
    with pytest.raises(ValueError, match="image_size"):
        sample_faces(1, image_size=8)
    with pytest.raises(ValueError, match="frames"):
        render.draw([], np.array([]), [], 64)
    with pytest.raises(ValueError, match="number, seed"):
        make_identity(-1, 0)
    with pytest.raises(ValueError, match="frames"):
        make_clip(make_identity(0, 0), None, np.random.default_rng(0), 0)


def test_kernel_constants_are_the_kinds():
    for name in ("SKIN", "TORSO", "EYE", "TEETH", "TONGUE", "LONG_HAIR", "MOUTH", "HAIR", "BEARD", "CLOTH"):
        assert KINDS[int(getattr(shading, name))] == name.lower()
