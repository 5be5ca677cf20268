"""The 68 landmarks of iBUG 300-W as vertices of the head model.

Each landmark is given as a place on the mean head (decimetres, left half only; the right half mirrors it) and is the
nearest vertex of the right kind: rim of the eyelids, rim of the mouth, or skin. Order: jaw 0-16, right brow 17-21, left
brow 22-26, nose 27-35, right eye 36-41, left eye 42-47, outer lips 48-59, inner lips 60-67; "right" is the person's.
"""

import functools

import numpy as np

from lib.faces.geometry import rim_vertices
from lib.faces.head_model import PARTS, head_model

COUNT = 68
JAW = [(0, -1.16, .62), (.17, -1.13, .58), (.33, -1.05, .44), (.46, -.95, .27), (.57, -.82, .12), (.63, -.65, .0),
       (.68, -.46, -.08), (.72, -.26, -.12), (.75, -.03, -.12)]  # chin to ear
BROW = [(.10, .170, .72), (.20, .205, .70), (.32, .222, .66), (.44, .215, .60), (.55, .180, .50)]  # inner to outer
NOSE = [(0, .01, .70), (0, -.13, .77), (0, -.28, .84), (0, -.42, .89)]
NOSTRILS = [(0, -.51, .80), (.07, -.50, .77), (.14, -.475, .72)]  # middle to outer
EYE = [(.20, -.03), (.27, .03), (.38, .035), (.46, -.01), (.38, -.055), (.27, -.055)]  # inner corner over the top
OUTER_LIPS = [(0, -.655, .80), (.07, -.632, .79), (.16, -.672, .74), (.255, -.745, .66), (.155, -.83, .73),
              (.08, -.865, .75), (0, -.875, .76)]  # top middle to corner to bottom middle
INNER_LIPS = [(0, -.728), (.10, -.728), (.20, -.74), (.10, -.74), (0, -.74)]


@functools.cache
def landmark_vertices() -> np.ndarray:
    """Vertex index of each of the 68 landmarks, int64 [68]."""
    model = head_model()
    place = model.vertices
    skin = model.triangles[model.parts == PARTS.index("skin")]
    surface, rim, mouth = np.unique(skin), rim_vertices(skin), model.part("mouth")
    lids = rim[(np.abs(place[rim, 0]) < 0.6) & (np.abs(place[rim, 1]) < 0.2) & (place[rim, 2] > 0.3)]
    inner = np.intersect1d(surface, mouth)

    def nearest(target, among, mirror):
        target = np.array(target) * ([-1, 1, 1][: len(target)] if mirror else [1, 1, 1][: len(target)])
        return int(among[np.argmin(((place[among][:, : len(target)] - target) ** 2).sum(1))])

    def both(target, among):
        return nearest(target, among, True), nearest(target, among, False)

    out = np.zeros(COUNT, np.int64)
    for i, target in enumerate(JAW):
        out[8 - i], out[8 + i] = both(target, surface)
    for i, target in enumerate(BROW):
        out[21 - i], out[22 + i] = both(target, surface)
    for i, target in enumerate(NOSE):
        out[27 + i] = nearest(target, surface, False)
    for i, target in enumerate(NOSTRILS):
        out[33 - i], out[33 + i] = both(target, surface)
    for i, target in enumerate(EYE):
        out[(39, 38, 37, 36, 41, 40)[i]], out[42 + i] = both(target, lids)
    for i, target in enumerate(OUTER_LIPS):
        out[(51, 50, 49, 48, 59, 58, 57)[i]], out[(51, 52, 53, 54, 55, 56, 57)[i]] = both(target, surface)
    upper, lower = _lip_sides(inner)
    for i, target in enumerate(INNER_LIPS):
        among = upper if i < 2 else lower if i > 2 else inner
        out[(62, 61, 60, 67, 66)[i]], out[(62, 63, 64, 65, 66)[i]] = both(target, among)
    return out


def _lip_sides(inner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Upper and lower half of the mouth's rim: what an open jaw leaves in place and what it takes along."""
    model = head_model()
    starts, vertex, delta = model.action
    row = model.action_names.index("jawOpen")
    fall = np.zeros(len(model.vertices))
    fall[vertex[starts[row]:starts[row + 1]]] = delta[starts[row]:starts[row + 1], 1]
    falls = fall[inner] < 0.5 * fall[inner].min()
    return inner[~falls], inner[falls]
