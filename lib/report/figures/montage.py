"""Faces laid out on one sheet: checks, tiles and labels shared by the picture figures."""

import numpy as np
from matplotlib.axes import Axes


def as_pictures(images, name: str, dims: int) -> np.ndarray:
    """float32 copy of uint8 or float pictures [..., 3, H, W], clipped to [0,1] for display.

    Raises:
        ValueError: not ``dims`` dimensions, or not three channels.
    """
    array = np.asarray(images)
    if array.ndim != dims or array.shape[-3] != 3 or array.size == 0:
        raise ValueError(f"{name}: expected pictures with {dims} dimensions [..., 3, H, W], got shape {array.shape}")
    array = array.astype(np.float32) / 255 if array.dtype == np.uint8 else array.astype(np.float32)
    return np.clip(array, 0, 1)


def draw_sheet(
    axes: Axes, grid: np.ndarray, gap: int = 3, row_gaps=None, column_gaps=None
) -> tuple[np.ndarray, np.ndarray]:
    """Draw pictures [rows, columns, 3, H, W] as one image and return the centres (y [rows], x [columns]) in its pixels.

    ``row_gaps`` and ``column_gaps``: extra white pixels before a row or column.
    """
    rows, columns, _, height, width = grid.shape
    down = np.cumsum([0 if i == 0 else height + gap for i in range(rows)]) + np.cumsum(
        row_gaps if row_gaps is not None else [0] * rows
    )
    across = np.cumsum([0 if i == 0 else width + gap for i in range(columns)]) + np.cumsum(
        column_gaps if column_gaps is not None else [0] * columns
    )
    sheet = np.ones((int(down[-1]) + height, int(across[-1]) + width, 3), np.float32)
    for i, top in enumerate(down):
        for j, left in enumerate(across):
            sheet[top : top + height, left : left + width] = grid[i, j].transpose(1, 2, 0)
    axes.imshow(
        (sheet * 255).round().astype(np.uint8),
        interpolation="nearest",
        aspect="equal",
        extent=(0, sheet.shape[1], sheet.shape[0], 0),
    )
    axes.set_xlim(0, sheet.shape[1])
    axes.set_ylim(sheet.shape[0], 0)
    axes.axis("off")
    return down + height / 2, across + width / 2
