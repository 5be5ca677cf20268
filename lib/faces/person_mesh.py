"""One person's mesh: head vertices, thickness and coverage of hair, beard and cloth, and the glasses."""

import dataclasses
import functools

import numpy as np

from lib.faces.geometry import KINDS, angle, beard_field, cloth_field, draw_mesh, glasses_vertices, hair_field, smooth
from lib.faces.head_model import PARTS, head_model, shaped
from lib.faces.identity import Identity
from lib.faces.noise_pictures import noise_pictures

# style -> (thickness in dm, how much volume varies it, silhouette roughness, fringe 0..1)
CAPS = {"bald": (0, 0, 0, 0), "wreath": (.06, .03, .1, 0), "buzz": (.035, .01, .05, 0), "short": (.10, .09, .25, 0),
        "volume": (.22, .16, .3, 0), "fringe": (.13, .08, .3, .8), "curly": (.26, .22, .7, 0),
        "bob": (.12, .08, .2, .0),
        "long": (.10, .08, .2, .0)}


@dataclasses.dataclass(frozen=True)
class PersonMesh:
    """rest: float32 [V,3]. offset: float32 [S,4] vector and distance along the normal. cover: float32 [V].
    shown: int32 [kinds], 0 absent, 1 solid, 2 cut by its coverage (glasses and cloth are decided by the clip)."""

    rest: np.ndarray
    offset: np.ndarray
    cover: np.ndarray
    shown: np.ndarray


def _noise_at(which: int, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    picture = noise_pictures()[which]
    side = picture.shape[0]
    return picture[np.floor(v * side).astype(int) % side, np.floor(u * side).astype(int) % side]


def person_mesh(person: Identity) -> PersonMesh:
    """The mesh of one person; see ``PersonMesh``."""
    mesh, model = draw_mesh(), head_model()
    head = shaped(model, person.shape)
    count = mesh.model_count
    rest = np.zeros_like(mesh.canon)
    rest[:count] = head
    rest[mesh.glasses] = glasses_vertices(head, *person.frame_shape)
    offset = np.zeros((len(mesh.source), 4), np.float32)
    cover = np.ones(len(mesh.canon), np.float32)
    shown = np.zeros(len(KINDS), np.int32)
    for kind in ("skin", "torso", "eye", "teeth", "tongue", "mouth"):
        shown[KINDS.index(kind)] = 1
    
    u0, v0 = person.texture
    thickness, more, rough, fringe = CAPS[person.hair_style]
    cap = mesh.shells["hair"]
    at = mesh.canon[count:][cap]
    field = hair_field(at, person.hair_lift, person.recession, crown=(
        0.65 + 0.35 * person.hair_length) if person.hair_style == "wreath" else 0.0,
        fringe=fringe * (0.6 + 0.4 * person.hair_length))
    shown[KINDS.index("hair")] = 2 if fringe else 3
    if person.hair_style == "bald":  # a smooth cover of skin, rounder than the coarse scalp
        offset[cap, 3] = 0.004
        cover[count:][cap] = (field + 0.05) * 30
    else:
        lumps = _noise_at(0, at[:, 0] * 0.6 + u0 + 0.4 * at[:, 2], at[:, 1] * 0.6 + v0) - 0.5
        high = smooth(-0.2, 0.9, at[:, 1])
        full = (thickness + more * person.hair_volume) * (0.35 + 0.65 * high) * (1 + rough * 2 * lumps)
        offset[cap, 3] = 0.008 + full * smooth(-0.02, 0.30 if fringe == 0 else 0.15, field)
        offset[cap, 2] = 0.25 * full * smooth(0.5, 0.7, at[:, 2]) * (fringe > 0)
        cover[count:][cap] = field * 9
    if person.hair_style in ("bob", "long"):
        long = model.part("long_hair")
        shown[KINDS.index("long_hair")] = 2
        place = model.vertices[long]
        shortest, more = (-0.75, -0.35) if person.hair_style == "bob" else (-1.5, -1.2)
        length = shortest + more * person.hair_length
        opening = np.maximum(place[:, 1] - 0.72, (angle(place) - 62 - 14 * smooth(0.3, -0.6, place[:, 1])) / 60)
        cover[long] = np.clip(np.minimum((place[:, 1] - length) * 5, opening * 12), -2, 1)
    hairs = mesh.shells["beard"]
    if person.beard_style in ("moustache", "goatee", "full"):
        at = mesh.canon[count:][hairs]
        field = beard_field(at, model.lips[mesh.source[hairs, 0]], person.beard_style)
        shown[KINDS.index("beard")] = 3
        low = smooth(-0.75, -1.1, at[:, 1])
        offset[hairs, 3] = 0.008 + (0.03 + 0.14 * person.hair_length * low) * smooth(-0.03, 0.12, field)
        cover[count:][hairs] = field * 10
    return PersonMesh(rest, offset, cover, shown)


def dress(mesh_of: PersonMesh, vee: float, height: float) -> PersonMesh:
    """The same person with a given neckline."""
    mesh = draw_mesh()
    cloth = mesh.shells["cloth"]
    at = mesh.canon[mesh.model_count:][cloth]
    field = cloth_field(at, vee, height)
    offset, cover, shown = mesh_of.offset.copy(), mesh_of.cover.copy(), mesh_of.shown.copy()
    offset[cloth, 3] = 0.03 + 0.05 * smooth(0.3, 0.0, field)
    cover[mesh.model_count:][cloth] = field * 30 + 0.5
    shown[KINDS.index("cloth")] = 2
    return PersonMesh(mesh_of.rest, offset, cover, shown)


@functools.cache
def eye_vertices() -> tuple[np.ndarray, np.ndarray]:
    """Vertices of the left and of the right eyeball."""
    model = head_model()
    eyes = np.unique(model.triangles[model.parts == PARTS.index("eye")])
    return eyes[model.vertices[eyes, 0] > 0], eyes[model.vertices[eyes, 0] < 0]


