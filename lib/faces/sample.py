"""Faces on demand: people, clips and settings put together, drawn, with a full annotation row for every picture."""

import dataclasses

import numpy as np
import pandas as pd

from lib.datasets.columns import EXPRESSIONS, NO_LABEL
from lib.faces.clips import Clip, make_clip
from lib.faces.expression import BP4D, UNITS, action_weights, affect
from lib.faces.identity import Identity, make_identity
from lib.faces.landmarks import landmark_vertices
from lib.faces.person_mesh import dress, eye_vertices, person_mesh
from lib.faces.render import draw
from lib.faces.scene import Setting, face_box, frame_of, make_setting

UNIT_COLUMNS = tuple(f"au_{unit}" for unit in BP4D)


@dataclasses.dataclass(frozen=True)
class Take:
    """One clip of one person in one setting, and which of its frames are drawn. ``number`` is unique in a set."""

    number: int
    clip: Clip
    setting: Setting
    frames: tuple[int, ...]


def make_take(person: Identity, seed: int, number: int, expression: str | None, frames: int,
              chosen: tuple[int, ...] | None = None) -> Take:
    """Draw a take: all from (seed, person, number), so that it is the same wherever it is made."""
    rng = np.random.default_rng([seed, 2, person.number, number])
    setting = make_setting(rng)
    clip = make_clip(person, expression, rng, frames)
    return Take(number, clip, setting, tuple(range(frames)) if chosen is None else chosen)


def attributes(person: Identity, take: Take, frame: int, glasses: bool) -> dict[str, int]:
    """Yes/no attributes of one picture."""
    level = dict(zip(UNITS, take.clip.units[frame], strict=True))
    facts = {"male": person.male, "young": person.shape.age < 0.5, "glasses": glasses,
             "beard": person.beard_style in ("goatee", "full"), "moustache": person.beard_style != "none"
             and person.beard_style != "stubble", "bald": person.hair_style in ("bald", "wreath"),
             "dark_hair": person.hair_name in ("black", "dark_brown"), "blonde_hair": person.hair_name == "blonde",
             "grey_hair": person.hair_name in ("grey", "white"), "long_hair": person.hair_style in ("bob", "long"),
             "fringe": person.hair_style == "fringe", "dark_skin": person.melanin > 0.55,
             "heavy": person.shape.weight > 0.4, "smiling": level[12] >= 2,
             "mouth_open": level[26] >= 1.5 or level[25] >= 2,
             "eyes_closed": level[43] >= 3}
    return {f"attr_{name}": int(value) for name, value in facts.items()}


def draw_takes(person: Identity, takes: list[Take], image_size: int, device: str | None = None
               ) -> tuple[np.ndarray, pd.DataFrame, np.ndarray]:
    """Draw the chosen frames of a person's takes.

    Returns:
        images uint8 [n,H,W,3]; n rows with the columns of a face table (see ``lib.datasets.columns``), less ``split``
        and ``fold``; masks uint8 [n,H,W] with indices into ``lib.faces.shading.MASK_NAMES``.
    """
    bare = person_mesh(person)
    eyes = np.stack([bare.rest[side].mean(0) for side in eye_vertices()])
    box = face_box(bare.rest)
    meshes = [dress(bare, take.setting.vee, take.setting.collar) for take in takes]
    slots, frames, rows = [], [], []
    for slot, take in enumerate(takes):
        weights = action_weights(take.clip.units, person.asymmetry)
        for at in take.frames:
            frame = frame_of(person, take.setting, take.clip, at, weights[at], eyes, box)
            slots.append(slot)
            frames.append(frame)
            rows.append(_row(person, take, at, frame.glasses))
    drawn = draw(meshes, np.array(slots), frames, image_size, device)
    table = pd.DataFrame(rows)
    points = drawn.points[:, landmark_vertices()].reshape(len(rows), -1)
    table["landmarks"] = [row for row in points.astype(np.float32)]
    return drawn.images, table, drawn.masks


def _row(person: Identity, take: Take, at: int, glasses: bool) -> dict:
    clip = take.clip
    intensity = float(clip.intensity[at])
    valence, arousal = affect(clip.expression, intensity, clip.units[at])
    label = EXPRESSIONS.index(clip.expression) if clip.expression is not None and at == clip.apex else NO_LABEL
    yaw, pitch, roll = (float(value) for value in clip.pose[at])
    units = {f"au_{unit}": float(clip.units[at, UNITS.index(unit)]) for unit in BP4D}
    return {"identity": person.number, "clip": take.number, "frame": at, "time": float(clip.time[at]),
            "expression": label, "intensity": intensity, "valence": valence, "arousal": arousal, **units,
            "yaw": yaw, "pitch": pitch, "roll": roll, **attributes(person, take, at, glasses)}


def sample_faces(n: int, seed: int = 0, image_size: int = 112, expression: str | None = None, frontal: bool = False,
                 device: str | None = None) -> tuple[np.ndarray, pd.DataFrame, np.ndarray]:
    """``n`` different people, one picture each, for galleries and notebooks.

    Args:
        expression: shown by all; None goes through the seven in turn. frontal: face and look straight at the camera.

    Returns:
        images uint8 [n,H,W,3], n annotation rows, masks uint8 [n,H,W].

    Raises:
        ValueError: n < 1, an unknown expression or too small an image.
    """
    if n < 1:
        raise ValueError(f"n: expected at least 1, got {n}")
    if expression is not None and expression not in EXPRESSIONS:
        raise ValueError(f"expression: expected one of {EXPRESSIONS}, got {expression!r}")
    parts = []
    for number in range(n):
        person = make_identity(number, seed)
        take = make_take(person, seed, number, expression or EXPRESSIONS[number % len(EXPRESSIONS)], 1)
        if frontal:
            clip = dataclasses.replace(take.clip, pose=take.clip.pose * 0, gaze=take.clip.gaze * 0)
            take = dataclasses.replace(take, clip=clip)
        parts.append(draw_takes(person, [take], image_size, device))
    images, rows, masks = zip(*parts, strict=True)
    return np.concatenate(images), pd.concat(rows, ignore_index=True), np.concatenate(masks)
