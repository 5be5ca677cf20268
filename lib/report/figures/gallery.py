"""What the encoders have to stand: rendered faces under every corruption, severity and attack."""

import numpy as np
from matplotlib.figure import Figure

from lib.report import names
from lib.report.figures.montage import as_pictures, draw_sheet
from lib.report.figures.style import FAINT, FULL, drawn

ACROSS = 3  # corruptions side by side
SEVERITIES = (0, 1, 3, 5)  # the ones shown, 0 = clean; all five would be too small to see


@drawn
def corruption_gallery(corruptions: tuple[str, ...], images, seen: tuple[str, ...] = ()) -> Figure:
    """Three corruptions a row, each clean and at severities 1, 3 and 5; the types seen in training first.

    ``images`` [corruptions, 6, 3, H, W]: clean, then severity 1..5.
    """
    pictures = as_pictures(images, "images", 5)
    if pictures.shape[0] != len(corruptions) or pictures.shape[1] != 6:
        raise ValueError(
            f"images: expected [{len(corruptions)}, 6, 3, H, W] (clean and five severities), got {pictures.shape}"
        )
    sections = [
        ("types seen in training", [i for i, name in enumerate(corruptions) if name in seen]),
        (
            "types not seen in training" if seen else "corruptions",
            [i for i, name in enumerate(corruptions) if name not in seen],
        ),
    ]
    size = pictures.shape[-1]
    line = round(size * 0.3)  # room for one line of text, in picture pixels
    rows, gaps, titles = [], [], {}
    for title, members in sections:
        for start in range(0, len(members), ACROSS):
            gaps.append((line if rows else 0) + (3 * line if start == 0 and rows else 0))
            if start == 0:
                titles[len(rows)] = title
            rows.append(members[start : start + ACROSS])
    shown = len(SEVERITIES)
    grid = np.ones((len(rows), ACROSS * shown, *pictures.shape[2:]), np.float32)
    for row, members in enumerate(rows):
        for block, i in enumerate(members):
            grid[row, block * shown : (block + 1) * shown] = pictures[i, list(SEVERITIES)]
    gap = max(1, size // 24)
    width = grid.shape[1] * (size + gap) + (ACROSS - 1) * line
    height = len(rows) * (size + gap) + sum(gaps) + 3 * line
    figure = Figure(figsize=(FULL, FULL * height / width))
    axes = figure.add_axes([0, 0, 1, 1 - 3 * line / height])
    y, x = draw_sheet(axes, grid, gap, gaps, [line if j and j % shown == 0 else 0 for j in range(grid.shape[1])])
    for row, members in enumerate(rows):
        top = y[row] - size / 2 - line * 0.12
        for block, i in enumerate(members):
            axes.text(
                x[block * shown] - size / 2,
                top,
                names.condition_label(corruptions[i]),
                ha="left",
                va="bottom",
                fontsize=7,
            )
        if row in titles:
            axes.text(0, top - 1.9 * line, titles[row], ha="left", va="bottom", fontsize=8.5, fontweight="bold")
            for block in range(len(members)):
                for j, severity in enumerate(SEVERITIES):
                    axes.text(
                        x[block * shown + j],
                        top - line * 0.95,
                        severity or "clean",
                        ha="center",
                        va="bottom",
                        fontsize=6.5,
                        color=FAINT,
                    )
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
    many = len(attacks) > 9  # then names need to stand slantwise to find room
    tile = FULL / (1 + len(attacks)) * 0.97
    room = 0.55 if many else 0.25
    figure = Figure(figsize=(FULL, 2 * faces * tile * 1.07 + room))
    axes = figure.add_axes([0, 0, 1, 1 - room / figure.get_figheight()])
    gaps = [0 if row % 2 or row == 0 else size // 6 for row in range(2 * faces)]
    y, x = draw_sheet(
        axes, grid, gap=max(1, size // 24), row_gaps=gaps, column_gaps=[0, size // 8] + [0] * (len(attacks) - 1)
    )
    for at, name in zip(x, ("clean", *attacks)):
        slant = {"rotation": 35, "rotation_mode": "anchor", "ha": "left"} if many else {"ha": "center"}
        axes.text(at, -size * 0.06, names.condition_label(name), va="bottom", fontsize=7, **slant)
    for row in range(1, 2 * faces, 2):
        axes.text(x[0], y[row], f"change\n×{0.5 / eps:.0f}", ha="center", va="center", fontsize=7, color=FAINT)
    return figure
