"""What surrounds a clip: light, background, camera and clothes; and the shader's record for one frame."""

import dataclasses
import math

import numpy as np

from lib.faces.clips import Clip
from lib.faces.expression import UNITS
from lib.faces.geometry import PIVOT
from lib.faces.head_model import head_model
from lib.faces.identity import Identity
from lib.faces.landmarks import landmark_vertices
from lib.faces.look import Look

SPAN = 1.09  # a picture spans this many face heights
RECORD = Look.numpy_dtype()


@dataclasses.dataclass(frozen=True)
class Setting:
    """One clip's surroundings; it does not depend on the person, so it says nothing about who is seen.

    ``wears_glasses`` counts for people who own glasses. Colours are linear RGB, ``fov`` is in degrees, ``shift`` in
    picture widths, ``contrast`` in 0..1: see ``lib.faces.shading.tone``.
    """

    key_direction: np.ndarray
    key: np.ndarray
    fill_direction: np.ndarray
    fill: np.ndarray
    sky: np.ndarray
    ground: np.ndarray
    exposure: float
    contrast: float
    background: dict[str, np.ndarray]
    fov: float
    zoom: float
    shift: np.ndarray
    cloth: np.ndarray
    cloth_second: np.ndarray
    stripes: float
    vee: float
    collar: float
    wears_glasses: bool


def _direction(azimuth: float, height: float) -> np.ndarray:
    a, h = np.radians(azimuth), np.radians(height)
    return np.array([np.sin(a) * np.cos(h), np.sin(h), np.cos(a) * np.cos(h)])


def _temperature(t: float) -> np.ndarray:
    """Linear RGB of light from warm (-1) to cool (1), of about equal brightness."""
    return np.array([1.0 - 0.16 * t, 1.0 - 0.02 * abs(t), 1.0 + 0.20 * t])


def _colour(rng: np.random.Generator, low: float, high: float) -> np.ndarray:
    """A linear RGB colour with random hue, mostly muted, of log-uniform brightness."""
    hue, saturation = rng.random(), rng.beta(1.2, 2.2)
    value = np.exp(rng.uniform(np.log(low), np.log(high)))
    wheel = np.clip(np.abs((hue * 6 + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
    return value * (1 - saturation + saturation * wheel)


def make_setting(rng: np.random.Generator) -> Setting:
    """Draw the surroundings of one clip."""
    side = rng.choice([-1.0, 1.0])
    azimuth = side * rng.uniform(5, 65)
    strength = rng.uniform(0.9, 1.7)
    warm = rng.normal() * 0.55
    flat = rng.random()
    key = strength * _temperature(np.clip(warm, -1.2, 1.2))
    fill = strength * rng.uniform(0.12, 0.55) * _temperature(np.clip(-0.5 * warm + 0.4 * rng.normal(), -1.2, 1.2))
    sky = rng.uniform(0.22, 0.50) * (0.7 + 0.6 * flat) * _temperature(np.clip(0.6 * rng.normal(), -1, 1))
    ground = 0.6 * sky * _temperature(-0.4)
    a = np.concatenate([rng.uniform(0, 1, 2), rng.uniform(0.15, 0.6, 2)])
    b = np.concatenate([rng.uniform(-0.1, 1.1, 2), rng.uniform(0.08, 0.3, 2)])
    background = {"back_top": _colour(rng, 0.04, 1.4), "back_low": _colour(rng, 0.03, 1.1), "blob_a": a, "blob_b": b,
                  "blob_a_colour": _colour(rng, 0.03, 0.9), "blob_b_colour": _colour(rng, 0.03, 0.8),
                  "grain": rng.uniform(0.0, 1.0) ** 3 * 0.9,
                  "grain_scale": np.exp(rng.uniform(np.log(0.3), np.log(3.0))),
                  "grain_u": rng.random(), "grain_v": rng.random()}
    if rng.random() < 0.35:  # a plain wall
        background["back_low"] = background["back_top"] * rng.uniform(0.5, 1.1)
        background["blob_b_colour"] = background["back_top"]
    exposure = 1.05 / (0.5 * strength + 0.55 * sky.mean() + 0.3 * fill.mean() + 0.28)
    return Setting(
        key_direction=_direction(azimuth, rng.uniform(8, 55)), key=key,
        fill_direction=_direction(-side * rng.uniform(20, 80), rng.uniform(-10, 30)), fill=fill, sky=sky, ground=ground,
        exposure=float(exposure * np.exp(0.14 * rng.normal())), background=background, fov=float(rng.uniform(18, 38)),
        zoom=float(np.exp(0.06 * rng.normal())), shift=np.clip(rng.normal(size=2) * 0.035, -0.08, 0.08),
        cloth=_colour(rng, 0.02, 0.7),
        cloth_second=_colour(rng, 0.02, 0.8), stripes=float(rng.random() < 0.22) * 0.85,
        vee=float(rng.choice([0.0, 0.0, 0.5, 1.0])), collar=float(rng.choice([0.0, 0.0, 0.1, 0.22])),
        wears_glasses=bool(rng.random() < 0.8), contrast=float(rng.uniform(0.6, 1.0)))


def quaternion(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Rotation (x,y,z,w) by degrees: roll, then pitch, then yaw. Positive yaw turns the face to the picture's right,
    positive pitch lifts it, positive roll leans it to the picture's left."""
    y, p, r = (math.radians(angle) / 2 for angle in (yaw, -pitch, roll))
    sy, cy, sp, cp, sr, cr = math.sin(y), math.cos(y), math.sin(p), math.cos(p), math.sin(r), math.cos(r)
    return np.array([cy * sp * cr + sy * cp * sr, sy * cp * cr - cy * sp * sr, cy * cp * sr - sy * sp * cr,
                     cy * cp * cr + sy * sp * sr])


def rotate(q: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Rotate vectors [...,3] by a quaternion (x,y,z,w)."""
    x, y, z, w = q.tolist()
    rows = ((1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
            (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
            (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)))
    return np.stack([v[..., 0] * a + v[..., 1] * b + v[..., 2] * c for a, b, c in rows], -1)


@dataclasses.dataclass(frozen=True)
class Frame:
    """One picture to draw: its person's slot, action weights [52], rotations, translation [3], focal length, record."""

    actions: np.ndarray
    head: np.ndarray
    torso: np.ndarray
    shift: np.ndarray
    look: np.ndarray
    glasses: bool


def face_box(rest: np.ndarray) -> tuple[np.ndarray, float]:
    """Middle of a person's face [3] and its height from chin to top, decimetres; the camera frames it."""
    model = head_model()
    skin = rest[: len(model.vertices)][model.part("skin")]
    top, chin = skin[:, 1].max(), rest[landmark_vertices()[8], 1]
    return np.array([0.0, 0.5 * (top + chin) - 0.10, 0.25]), float(top - chin)


def frame_of(person: Identity, setting: Setting, clip: Clip, at: int, actions: np.ndarray, eyes: np.ndarray,
             box: tuple[np.ndarray, float]) -> Frame:
    """The frame ``at`` of a clip. ``eyes`` [2,3]: centres of the left and right eyeball; ``box``: see ``face_box``."""
    middle, height = box
    yaw, pitch, roll = clip.pose[at]
    head, torso = quaternion(yaw, pitch, roll), quaternion(0.45 * yaw, 0.1 * pitch, 0.15 * roll)
    focal = 0.5 / np.tan(np.radians(setting.fov) / 2)
    span = SPAN * height / setting.zoom
    distance = span * focal
    at_face = rotate(head, middle - PIVOT)
    shift = np.array([span * setting.shift[0], span * setting.shift[1], -distance]) - at_face
    look = np.zeros((), RECORD)
    for name in ("key_direction", "key", "fill_direction", "fill", "sky", "ground", "exposure", "contrast",
                 "cloth", "cloth_second"):
        look[name] = getattr(setting, name)
    for name, value in setting.background.items():
        look[name] = value
    for name in ("skin", "flush", "lip", "blush", "freckles", "blotches", "gloss", "wrinkles", "stubble", "brow",
                 "brow_thick", "brow_length", "brow_height", "brow_arch", "brow_dense", "lashes", "iris", "iris_size",
                 "hair", "beard", "frame"):
        look[name] = getattr(person, name)
    look["noise_u"], look["noise_v"] = person.texture
    look["focal"] = focal
    look["pupil"] = 0.40
    look["hair_gloss"] = 0.35
    look["hair_is_skin"] = int(person.hair_style == "bald")
    look["hair_streaks"] = 0.75
    look["hair_curl"] = 0.8 if person.hair_style == "curly" else 0.0
    look["cloth_stripes"] = setting.stripes
    look["head_up"] = rotate(head, np.array([0.0, 0.94, 0.34]))
    kx, ky, kz = setting.key_direction
    level_part = math.hypot(kx, kz)
    look["shadow_across"] = kz / level_part, 0.0, -kx / level_part
    look["shadow_up"] = -ky * kx / level_part, level_part, -ky * kz / level_part
    look["shadow_centre"] = at_face + shift
    level = dict(zip(UNITS, clip.units[at] / 5.0, strict=True))
    look["furrow"] = level[4]
    look["raised"] = max(level[1] * 0.8, level[2])
    look["smile"] = min(level[12] + 0.7 * level[10] + 0.5 * level[9], 1.0)
    look["sneer"] = level[9]
    look["squint"] = min(level[6] + 0.3 * level[7], 1.0)
    gaze_yaw, gaze_pitch = np.radians(clip.gaze[at])
    gaze = np.array([np.sin(gaze_yaw) * np.cos(gaze_pitch), np.sin(gaze_pitch), np.cos(gaze_yaw) * np.cos(gaze_pitch)])
    look["gaze_left"] = look["gaze_right"] = rotate(head, gaze)
    look["eye_left"], look["eye_right"] = rotate(head, eyes - PIVOT) + shift
    return Frame(actions, head, torso, shift, look, person.glasses and setting.wears_glasses)
