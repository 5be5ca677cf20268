"""FaceSwap at work: whose head, whose expression, and what becomes of both. Rendered faces only."""

import numpy as np
from matplotlib.figure import Figure

from lib.faces.swap import swap_faces
from lib.report.figures.montage import as_pictures, draw_sheet
from lib.report.figures.style import FULL, drawn

ROWS = ("head", "expression", "swapped")


def swapped_faces(table, count: int = 8, seed: int = 0, feather: float = 0.08) -> dict:
    """Faces of a rendered set for :func:`face_swap_gallery`: 'head', 'expression', 'swapped', each [n, 3, H, W] on the CPU.

    ``n`` <= ``count`` people, drawn at random, give a head each; the next one's face comes on it. The failed swaps are left
    out, so none of them is shown as if it had worked; 'failed' is their number.

    Raises:
        ValueError: no rendered faces (photographs of people are not shown), no landmarks, or only one person.
    """
    if table.source != "rendered":
        raise ValueError(f"table: expected rendered faces, got {table.source}: photographs are not shown in reports")
    rng, identity = np.random.default_rng(seed), table.column("identity")
    people = rng.permutation(np.unique(identity))[:count]
    if len(people) < 2:
        raise ValueError(f"table: expected at least two people, got {len(people)}")
    rows = np.array([rng.choice(np.flatnonzero(identity == person)) for person in people])
    images, landmarks = table.images(rows).float() / 255, table.landmarks(rows)
    faces, places = images.roll(-1, 0), landmarks.roll(-1, 0)
    swapped = swap_faces(images, landmarks, faces, places, feather)
    shown = {"head": images, "expression": faces, "swapped": swapped.images}
    return {name: pictures[swapped.done] for name, pictures in shown.items()} | {"failed": int((~swapped.done).sum())}


@drawn
def face_swap_gallery(head, expression, swapped) -> Figure:
    """Three rows of n faces: heads, faces with an expression, and these faces on those heads; all [n, 3, H, W]."""
    pictures = [as_pictures(x, name, 4) for name, x in zip(ROWS, (head, expression, swapped))]
    if any(x.shape != pictures[0].shape for x in pictures):
        raise ValueError(f"expression, swapped: expected {pictures[0].shape} like head, got {[x.shape for x in pictures[1:]]}")
    grid = np.stack(pictures)
    count, size = grid.shape[1], grid.shape[-1]
    margin = 0.11  # of the width, for the names of the rows
    gap = max(1, size // 24)
    ratio = (3 * size + 2 * gap + size // 6) / (count * (size + gap))
    figure = Figure(figsize=(FULL, FULL * (1 - margin) * ratio))
    axes = figure.add_axes([margin, 0, 1 - margin, 1])
    y, _ = draw_sheet(axes, grid, gap=gap, row_gaps=[0, 0, size // 6])
    for at, name in zip(y, ROWS):
        axes.text(-size * 0.12, at, name, ha="right", va="center", fontsize=8)
    return figure
