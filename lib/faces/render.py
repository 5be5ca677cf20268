"""Draw frames in batches with the kernels of ``raster`` and ``shading``."""

import dataclasses
import functools

import numpy as np
import warp as wp

from lib.faces import raster, shading
from lib.faces.geometry import KINDS, PIVOT, TWO_SIDED, draw_mesh
from lib.faces.head_model import action_table, head_model
from lib.faces.light import SHADOW_REACH, SHADOW_SIZE
from lib.faces.look import Look
from lib.faces.noise_pictures import noise_pictures
from lib.faces.person_mesh import PersonMesh, eye_vertices
from lib.faces.scene import Frame

BATCH = 16
CASTS = ("skin", "long_hair", "hair", "cloth", "beard")  # what throws a shadow


def default_device() -> str:
    """'cuda' where Warp has one, else 'cpu'."""
    wp.init()
    return "cuda" if wp.is_cuda_available() else "cpu"


@dataclasses.dataclass(frozen=True)
class Rendered:
    """images uint8 [n,H,W,3]; masks uint8 [n,H,W] index into ``shading.MASK_NAMES``; points float32 [n,V,2], where each
    vertex of the head model falls, in pixels (x, y); whole numbers are pixel centres."""

    images: np.ndarray
    masks: np.ndarray
    points: np.ndarray


@functools.cache
def _static(device: str) -> dict[str, wp.array]:
    """What all pictures share, on the device."""
    mesh = draw_mesh()
    starts, action, delta = action_table()
    eye = np.zeros(len(head_model().vertices), bool)
    eye[np.concatenate(eye_vertices())] = True  # the shader turns the eyes: no facial action may move them
    still = np.repeat(eye, np.diff(starts))
    delta = np.where(still[:, None], 0, delta).astype(np.float32)
    two_sided = np.array([int(kind in TWO_SIDED) for kind in KINDS], np.int32)

    def put(array, dtype):
        return wp.array(np.ascontiguousarray(array), dtype=dtype, device=device)

    return {"triangles": put(mesh.triangles, int), "kind": put(mesh.kind, int), "canon": put(mesh.canon, wp.vec3),
            "marks": put(mesh.marks, wp.vec4), "strand": put(mesh.strand, wp.vec2),
            "share": put(mesh.head_share, float),
            "source": put(mesh.source, int), "around_starts": put(mesh.starts, int), "around": put(mesh.around, int),
            "starts": put(starts, int), "action": put(action, int), "delta": put(delta, wp.vec3),
            "pictures": put(noise_pictures(), float), "two_sided": put(two_sided, int)}


def samples_for(image_size: int) -> int:
    """Points per pixel side: about 200 across the picture, at least 2."""
    return int(min(max(round(200 / image_size), 2), 4))


def draw(people: list[PersonMesh], person: np.ndarray, frames: list[Frame], image_size: int,
         device: str | None = None) -> Rendered:
    """Draw frames; picture i shows ``people[person[i]]``. The bytes do not depend on what else is in the call.

    Raises:
        ValueError: an image size below 16, no frames, or lists that do not fit together.
    """
    if image_size < 16:
        raise ValueError(f"image_size: expected at least 16, got {image_size}")
    if not frames or len(frames) != len(person):
        raise ValueError(f"frames: expected at least one and one person for each, got {len(frames)} and {len(person)}")
    device = device or default_device()
    out = [_draw_batch(people, np.asarray(person[i:i + BATCH]), frames[i:i + BATCH], image_size, device)
           for i in range(0, len(frames), BATCH)]
    names = [field.name for field in dataclasses.fields(Rendered)]
    return Rendered(*(np.concatenate([getattr(part, name) for part in out]) for name in names))


def _draw_batch(people: list[PersonMesh], person: np.ndarray, frames: list[Frame], image_size: int,
                device: str) -> Rendered:
    mesh, s = draw_mesh(), _static(device)
    count, total, n = mesh.model_count, len(mesh.canon), len(frames)
    samples = samples_for(image_size)
    size = samples * image_size

    slots, inverse = np.unique(person, return_inverse=True)
    chosen = [people[k] for k in slots]

    def put(array, dtype):
        return wp.array(np.ascontiguousarray(array), dtype=dtype, device=device)

    slot = put(inverse.astype(np.int32), int)
    shown = np.stack([people[k].shown for k in person])
    shown[:, KINDS.index("glasses")] = [int(frame.glasses) for frame in frames]
    cover = put(np.stack([p.cover for p in chosen]), float)
    looks = np.stack([frame.look for frame in frames])
    vertices = wp.empty((n, total), dtype=wp.vec3, device=device)
    normal = wp.zeros((n, total), dtype=wp.vec3, device=device)
    screen = wp.empty((n, total), dtype=wp.vec3, device=device)
    from_light = wp.empty((n, total), dtype=wp.vec3, device=device)
    keys = wp.zeros((n, size, size), dtype=wp.int64, device=device)
    shadow = wp.zeros((n, SHADOW_SIZE, SHADOW_SIZE), dtype=wp.int64, device=device)
    image = wp.empty((n, image_size, image_size, 3), dtype=wp.uint8, device=device)
    mask = wp.empty((n, image_size, image_size), dtype=wp.uint8, device=device)

    def launch(kernel, dim, *inputs):
        wp.launch(kernel, dim, inputs=list(inputs), device=device)

    shells = len(mesh.source)
    launch(raster.blend, (n, total), put(np.stack([p.rest for p in chosen]), wp.vec3), slot,
           put(np.stack([frame.actions for frame in frames]), float), s["starts"], s["action"], s["delta"], vertices)
    launch(raster.normals, (n, count), vertices, s["triangles"], s["around_starts"], s["around"], 0, normal)
    launch(raster.extrude, (n, shells), s["source"], slot, put(np.stack([p.offset for p in chosen]), wp.vec4), count,
           vertices, normal)
    launch(raster.normals, (n, total - count), vertices, s["triangles"], s["around_starts"], s["around"], count, normal)
    launch(raster.place, (n, total), vertices, normal, s["share"], put([f.head for f in frames], wp.quat),
           put([f.torso for f in frames], wp.quat), wp.vec3(*PIVOT.tolist()), put([f.shift for f in frames], wp.vec3))
    launch(raster.project, (n, total), vertices, put(looks["focal"], float), float(size), screen)
    launch(raster.project_light, (n, total), vertices, put(looks["shadow_across"], wp.vec3),
           put(looks["shadow_up"], wp.vec3), put(looks["key_direction"], wp.vec3), put(looks["shadow_centre"], wp.vec3),
           SHADOW_REACH, float(SHADOW_SIZE), from_light)
    casting = put(shown * np.array([kind in CASTS for kind in KINDS], np.int32), int)
    for points, what, side, buffer in ((from_light, casting, SHADOW_SIZE, shadow),
                                       (screen, put(shown, int), size, keys)):
        launch(raster.visibility, (n, len(mesh.triangles)), points, s["triangles"], s["kind"], what, s["two_sided"],
               cover, slot, s["strand"], s["pictures"], side, buffer)
    launch(shading.shade, (n, image_size, image_size), keys, shadow, wp.array(looks, dtype=Look, device=device),
           s["triangles"], s["kind"], screen, vertices, normal, s["canon"], s["marks"], s["strand"], cover, slot,
           s["pictures"], samples, image, mask)
    return Rendered(image.numpy(), mask.numpy(), screen.numpy()[:, :count, :2] / np.float32(samples) - np.float32(0.5))
