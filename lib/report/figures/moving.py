"""Which pixels a readout found to move."""

import numpy as np
from matplotlib.figure import Figure

from lib.report.figures.montage import as_pictures, draw_sheet
from lib.report.figures.style import FULL, drawn


@drawn
def moving(images, pixels) -> Figure:
    """A face a column: the picture, and below it the picture where it is kept, pale elsewhere.

    ``images`` [N,3,S,S] as the encoder prepares them, ``pixels`` bool [S,S].
    """
    faces, kept = as_pictures(images, "images", 4), np.asarray(pixels)
    if kept.dtype != bool or kept.shape != faces.shape[-2:]:
        raise ValueError(f"pixels: expected bool {list(faces.shape[-2:])}, got {kept.dtype} {list(kept.shape)}")
    pale = 0.88 + 0.12 * faces.mean(1, keepdims=True)
    grid = np.stack([faces, np.where(kept, faces, pale)])
    width = min(FULL, 1.1 * len(faces))
    figure = Figure(figsize=(width, 2 * width / len(faces) * 1.03))
    draw_sheet(figure.add_axes([0, 0, 1, 1]), grid, gap=max(1, faces.shape[-1] // 24))
    return figure
