"""What the encoders have to stand: rendered faces under every corruption, severity and attack."""

import numpy as np
from matplotlib.figure import Figure

from lib.report import names
from lib.report.figures.montage import as_pictures, draw_sheet
from lib.report.figures.style import FAINT, FULL, drawn


@drawn
def corruption_gallery(corruptions: tuple[str, ...], images, seen: tuple[str, ...] = ()) -> Figure:
    """Two blocks of rows, left the types seen in training; columns: clean and severities 1 to 5.

    ``images`` [corruptions, 6, 3, H, W]: clean, then severity 1..5.
    """
    pictures = as_pictures(images, "images", 5)
    if pictures.shape[0] != len(corruptions) or pictures.shape[1] != 6:
        raise ValueError(f"images: expected [{len(corruptions)}, 6, 3, H, W] (clean and five severities), got {pictures.shape}")
    in_training = [i for i, name in enumerate(corruptions) if name in seen]
    others = [i for i, name in enumerate(corruptions) if name not in seen]
    if not in_training or not others:
        half = (len(corruptions) + 1) // 2
        blocks = ((list(range(half)), "corruptions"), (list(range(half, len(corruptions))), ""))
    else:
        blocks = ((in_training, "types seen in training"), (others, "types not seen in training"))
    rows, size = max(len(index) for index, _ in blocks), pictures.shape[-1]
    figure = Figure(figsize=(FULL, 0.35 + rows * 0.735))
    for column, (index, title) in enumerate(blocks):
        axes = figure.add_axes([column * 0.515, 0, 0.485, 1 - 0.3 / figure.get_figheight()])
        grid = np.ones((rows, 6, *pictures.shape[2:]), np.float32)
        grid[: len(index)] = pictures[index]
        gap = round(size * 0.3)
        y, x = draw_sheet(axes, grid, gap=max(1, size // 24), row_gaps=[0] + [gap] * (rows - 1), column_gaps=[0, size // 8] + [0] * 4)
        top = size / 2 + gap * 0.12
        for row, i in enumerate(index):
            axes.text(0, y[row] - top, names.condition_label(corruptions[i]), ha="left", va="bottom", fontsize=7)
        for at, text in zip(x[1:], "12345"):
            axes.text(at, y[0] - top, text, ha="center", va="bottom", fontsize=7, color=FAINT)
        axes.text(0, y[0] - top - gap * 0.95, title, ha="left", va="bottom", fontsize=8.5, fontweight="bold")
    return figure


@drawn
def attack_gallery(attacks: tuple[str, ...], clean, images, eps: float) -> Figure:
    """Each face in two rows: attacked, and the perturbation (mid-grey = unchanged, black and white = -eps and +eps).

    ``clean`` [F,3,H,W], ``images`` [attacks, F, 3, H, W], ``eps`` in [0,1] units.
    """
    clean, attacked = as_pictures(clean, "clean", 4), as_pictures(images, "images", 5)
    if attacked.shape != (len(attacks), *clean.shape):
        raise ValueError(f"images: expected [{len(attacks)}, {', '.join(map(str, clean.shape))}], got {attacked.shape}")
    faces, size = clean.shape[0], clean.shape[-1]
    difference = np.clip(0.5 + (attacked - clean) / (2 * eps), 0, 1)
    grid = np.ones((2 * faces, 1 + len(attacks), *clean.shape[1:]), np.float32)
    for face in range(faces):
        grid[2 * face, 0] = clean[face]
        grid[2 * face, 1:] = attacked[:, face]
        grid[2 * face + 1, 1:] = difference[:, face]
    tile = FULL / (1 + len(attacks)) * 0.97
    figure = Figure(figsize=(FULL, 2 * faces * tile * 1.07 + 0.25))
    axes = figure.add_axes([0, 0, 1, 1 - 0.25 / figure.get_figheight()])
    gaps = [0 if row % 2 or row == 0 else size // 6 for row in range(2 * faces)]
    y, x = draw_sheet(axes, grid, gap=max(1, size // 24), row_gaps=gaps, column_gaps=[0, size // 8] + [0] * (len(attacks) - 1))
    for at, name in zip(x, ("clean", *attacks)):
        axes.text(at, -size * 0.06, names.condition_label(name), ha="center", va="bottom", fontsize=7)
    for row in range(1, 2 * faces, 2):
        axes.text(x[0], y[row], f"perturbation\n×{0.5 / eps:.0f}", ha="center", va="center", fontsize=7, color=FAINT)
    return figure
