"""Everything that is drawn, as one mesh whose topology never changes: head, shells of hair, beard and cloth, glasses.

A shell is a copy of a patch of skin that is moved out along the normals; its coverage field (positive inside) and the
rasteriser's strand noise cut its edge. Fields are written in the coordinates of the mean head (decimetres, eyes at
y = 0), so they follow every shape and expression.
"""

import dataclasses
import functools

import numpy as np

from lib.faces.head_model import PARTS, head_model

KINDS = (*PARTS, "hair", "beard", "cloth", "glasses")
TWO_SIDED = ("long_hair", "cloth", "glasses")
RIM, TUBE, ARM, BRIDGE = 28, 4, 9, 7  # segments of a glasses rim, sides of its tube, points of an arm and the bridge
PIVOT = np.array([0.0, -1.0, -0.4], np.float32)  # where the head turns on the neck

# height of the hairline and of the upper beard edge against the angle round the head (0 front, 180 back)
HAIRLINE = np.array([[0, .72], [20, .71], [40, .60], [52, .38], [62, .10], [68, -.12], [76, -.2], [80, .04], [86, .1],
                     [104, .1], [109, -.2], [122, -.6], [180, -.8]])
BEARD_EDGE = np.array([[0, -.53], [12, -.55], [20, -.64], [34, -.62], [52, -.46], [64, -.28], [72, -.15], [79, -.15],
                       [82, -1.5], [180, -1.5]])


@dataclasses.dataclass(frozen=True)
class DrawMesh:
    """V vertices = head model (M), then shells (S), then glasses (G); T triangles.

    Attributes:
        triangles: int32 [T,3]. kind: int32 [T] index into ``KINDS``.
        canon: float32 [V,3] place on the mean head. marks: float32 [V,4] occlusion, lips, ears, rim of the eyelids.
        strand: float32 [V,2] noise coordinates across and along the hair. head_share: float32 [V], 1 moves with the
            head and 0 with the torso. source: int32 [S,2] the two skin vertices a shell vertex is the middle of.
        shells: kind -> slice into S.
        starts, around: triangles around each vertex.
    """

    triangles: np.ndarray
    kind: np.ndarray
    canon: np.ndarray
    marks: np.ndarray
    strand: np.ndarray
    head_share: np.ndarray
    source: np.ndarray
    shells: dict[str, slice]
    starts: np.ndarray
    around: np.ndarray
    model_count: int

    @property
    def glasses(self) -> slice:
        return slice(self.model_count + len(self.source), len(self.canon))


def smooth(low: float, high: float, x: np.ndarray) -> np.ndarray:
    """Smooth step from 0 at ``low`` to 1 at ``high``."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def angle(points: np.ndarray) -> np.ndarray:
    """Angle round the head in degrees, 0 at the front, 180 at the back."""
    return np.degrees(np.arctan2(np.abs(points[..., 0]), points[..., 2] + 0.3))


def hair_field(points: np.ndarray, lift: float = 0.0, recession: float = 0.0, crown: float = 0.0,
               fringe: float = 0.0) -> np.ndarray:
    """Signed distance to the hairline in decimetres, positive in the hair.

    Args:
        lift: raises the whole front hairline. recession: raises the temples. crown: bald patch from the front and top
            (1 = only a wreath is left). fringe: lowers the front line over the forehead, 0 to 1.
    """
    phi = angle(points)
    line = np.interp(phi, *HAIRLINE.T)
    front = 1 - smooth(40, 75, phi)
    line = line + lift * front + recession * 0.3 * np.exp(-(((phi - 36) / 16) ** 2))
    line = line - fringe * front * np.maximum(line - (0.26 + 0.002 * phi), 0)
    field = points[..., 1] - line
    if crown > 0:  # the wreath: hair only below a line that falls with baldness
        top = 1.25 - 0.85 * crown + 0.25 * smooth(60, 120, phi)
        field = np.minimum(field, top - points[..., 1])
    return field


def beard_field(points: np.ndarray, lips: np.ndarray, style: str) -> np.ndarray:
    """Signed distance to the edge of a full beard, a goatee or a moustache, positive inside."""
    x, y, z = np.abs(points[..., 0]), points[..., 1], points[..., 2]
    field = np.minimum(np.interp(angle(points), *BEARD_EDGE.T) - y, y + 1.32)
    field = np.minimum(field, 0.13 - np.hypot(x * 0.45, y + 0.755) + 10 * (np.hypot(x * 0.45, y + 0.755) > 0.125))
    moustache = np.minimum(0.36 - x - 0.3 * (y + 0.6), np.minimum(y + 0.70, -0.52 - 0.1 * x - y))
    if style == "moustache":
        field = moustache
    elif style == "goatee":
        field = np.minimum(np.maximum(np.minimum(field, 0.3 - x), moustache), z - 0.25)
    else:
        field = np.maximum(field, moustache)
    return field - 0.25 * lips


def cloth_field(points: np.ndarray, vee: float, height: float) -> np.ndarray:
    """Signed distance to the neckline, positive on the cloth; ``vee`` cuts a V, ``height`` raises the collar."""
    x, y, z = np.abs(points[..., 0]), points[..., 1], points[..., 2]
    line = -1.62 + height - 0.42 * (z - 0.1) - vee * np.clip(0.55 - 1.6 * x, 0, None) * (z > -0.3)
    return line - y


def tube(path: np.ndarray, radius: float, closed: bool) -> np.ndarray:
    """Square tube [n*TUBE,3] around a path [n,3] in planes spanned by the path's normal and the view direction."""
    ahead = np.roll(path, -1, 0) - np.roll(path, 1, 0) if closed else np.gradient(path, axis=0)
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    side = np.cross(ahead, np.where(np.abs(ahead[:, 2:]) > 0.7, [[0.0, 1.0, 0.0]], [[0.0, 0.0, 1.0]]))
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    other = np.cross(ahead, side)
    turns = np.pi / 4 + np.arange(TUBE) * 2 * np.pi / TUBE
    around = np.cos(turns)[None, :, None] * side[:, None] + np.sin(turns)[None, :, None] * other[:, None]
    return (path[:, None] + radius * around).reshape(-1, 3)


def tube_triangles(count: int, closed: bool) -> np.ndarray:
    rings = np.arange(count if closed else count - 1)
    sides = np.arange(TUBE)
    a = rings[:, None] * TUBE + sides
    b = rings[:, None] * TUBE + (sides + 1) % TUBE
    c = (rings[:, None] + 1) % count * TUBE + sides
    d = (rings[:, None] + 1) % count * TUBE + (sides + 1) % TUBE
    return np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([b, d, c], -1).reshape(-1, 3)])


def glasses_vertices(head: np.ndarray, width: float, height: float, square: float, radius: float) -> np.ndarray:
    """Glasses that sit on a given head [M,3]: rims around the eyes, a bridge, arms to the ears. float32 [G,3]."""
    model = head_model()
    eyes = head[model.part("eye")]
    ears = head[(model.ears > 0.5) & (model.vertices[:, 2] < -0.2)]
    left = eyes[eyes[:, 0] > 0]
    centre = left.mean(0)
    front = left[:, 2].max() + 0.11
    turns = np.linspace(0, 2 * np.pi, RIM, endpoint=False)
    power = 1 - 0.55 * square  # superellipse: 1 is an ellipse, smaller is boxier
    cos, sin = np.cos(turns), np.sin(turns)
    x = centre[0] + 0.015 + width * np.sign(cos) * np.abs(cos) ** power
    y = centre[1] - 0.035 + height * np.sign(sin) * np.abs(sin) ** power
    z = front - 0.16 * np.abs(x) ** 2.2
    rim = np.stack([x, y, z], 1)
    inner = x.min()
    s = np.linspace(-1, 1, BRIDGE)
    bulge = 1 - s**2
    bridge = np.stack([inner * s, centre[1] + 0.02 + 0.03 * bulge, front + 0.02 * bulge - 0.16 * inner**2.2], 1)
    hinge = np.array([x.max(), centre[1] + 0.04, front - 0.16 * x.max() ** 2.2])
    ear = ears[ears[:, 0] > 0]
    hook = np.array([np.percentile(ear[:, 0], 20) + 0.02, np.percentile(ear[:, 1], 88), ear[:, 2].mean()])
    along = np.linspace(0, 1, ARM)[:, None]
    arm = hinge * (1 - along) + hook * along
    arm[:, 0] += 0.05 * np.sin(np.pi * along[:, 0]) + 0.03
    mirror = np.array([-1.0, 1.0, 1.0])
    parts = [tube(rim, radius, True), tube(rim * mirror, radius, True), tube(bridge, radius, False),
             tube(arm, radius, False), tube(arm * mirror, radius, False)]
    return np.concatenate(parts).astype(np.float32)


def _glasses_triangles() -> np.ndarray:
    out, first = [], 0
    for count, closed in ((RIM, True), (RIM, True), (BRIDGE, False), (ARM, False), (ARM, False)):
        out.append(tube_triangles(count, closed) + first)
        first += count * TUBE
    return np.concatenate(out)


def subdivide(triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each triangle into four: (triangles [4T,3] of new numbers, the two old vertices each new one lies between)."""
    corners = np.unique(triangles)
    edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), 1)
    edges, which = np.unique(edges, axis=0, return_inverse=True)
    a, b, c = np.searchsorted(corners, triangles).T
    ab, bc, ca = which.reshape(3, -1) + len(corners)
    new = np.concatenate([np.stack(t, 1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])
    return new, np.concatenate([np.stack([corners, corners], 1), edges])


def lid_line() -> np.ndarray:
    """float32 [M]: 1 on the rim of the upper eyelids, less on that of the lower ones, 0 elsewhere."""
    model = head_model()
    rim = rim_vertices(model.triangles[model.parts == PARTS.index("skin")])
    place = model.vertices[rim]
    lids = (np.abs(place[:, 0]) < 0.6) & (np.abs(place[:, 1]) < 0.2) & (place[:, 2] > 0.3)
    out = np.zeros(len(model.vertices), np.float32)
    out[rim[lids]] = np.where(place[lids, 1] > -0.015, 1.0, 0.45)
    return out


def rim_vertices(triangles: np.ndarray) -> np.ndarray:
    """Vertices on the open border of a set of triangles."""
    edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), 1)
    unique, counts = np.unique(edges, axis=0, return_counts=True)
    return np.unique(unique[counts == 1])


def incidence(triangles: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Triangles around each vertex: (starts int32 [count+1], triangle int32 [3T])."""
    order = np.argsort(triangles.ravel(), kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(triangles.ravel(), minlength=count))])
    return starts.astype(np.int32), (order // 3).astype(np.int32)


@functools.cache
def draw_mesh() -> DrawMesh:
    """The mesh, built once from the head model."""
    model = head_model()
    place = model.vertices
    skin = model.triangles[model.parts == PARTS.index("skin")]
    body = model.triangles[np.isin(model.parts, (PARTS.index("skin"), PARTS.index("torso")))]
    ear_free = model.ears < 0.4
    fields = {  # the widest extent that any style reaches
        "hair": (skin, np.maximum(hair_field(place), hair_field(place, fringe=1.0)) + 0.12, ear_free),
        "beard": (skin, np.maximum(beard_field(place, model.lips, "full"),
                                   beard_field(place, model.lips, "goatee")) + 0.1,
                  ear_free & (place[:, 2] > -0.6)),
        "cloth": (body, cloth_field(place, 0.0, 0.25) + 0.2, place[:, 1] < -0.9),
    }
    triangles, kinds = [model.triangles], [model.parts]
    sources, shells, count = [], {}, len(place)
    for name, (patch, field, allowed) in fields.items():
        chosen = patch[((field > 0) & allowed)[patch].all(1)]
        if name == "hair":  # the scalp is too coarse for a round outline
            chosen, pairs = subdivide(chosen)
        else:
            used, chosen = np.unique(chosen, return_inverse=True)
            chosen, pairs = chosen.reshape(-1, 3), np.stack([used, used], 1)
        triangles.append(chosen + count)
        kinds.append(np.full(len(chosen), KINDS.index(name)))
        shells[name] = slice(count - len(place), count - len(place) + len(pairs))
        sources.append(pairs)
        count += len(pairs)
    source = np.concatenate(sources)
    frame = _glasses_triangles()
    triangles.append(frame + count)
    kinds.append(np.full(len(frame), KINDS.index("glasses")))
    triangles = np.concatenate(triangles).astype(np.int32)
    frame_count = frame.max() + 1
    canon = np.concatenate([place, place[source].mean(1), glasses_vertices(place, 0.26, 0.19, 0.3, 0.02)])
    marks = np.stack([model.occlusion, model.lips, model.ears, lid_line()], 1)
    marks = np.concatenate([marks, marks[source].mean(1), np.tile(np.float32([1, 0, 0, 0]), (frame_count, 1))])
    round_head = np.arctan2(canon[:, 0], canon[:, 2] + 0.55)
    strand = np.stack([round_head * 0.9, np.linalg.norm(canon - [0, 1.0, -0.5], axis=1) * 0.12], 1)
    beard = np.zeros(len(canon), bool)
    beard[len(place):][shells["beard"]] = True
    strand[beard] = canon[beard][:, [0, 1]] * [1.3, 0.5]
    share = smooth(-1.8, -1.02, canon[:, 1] + 0.35 * canon[:, 2])
    return DrawMesh(triangles, np.concatenate(kinds).astype(np.int32), canon.astype(np.float32),
                    marks.astype(np.float32), strand.astype(np.float32), share.astype(np.float32),
                    source.astype(np.int32), shells, *incidence(triangles, len(canon)), len(place))
