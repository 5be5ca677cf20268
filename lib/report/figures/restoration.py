"""What DAFR makes of a degraded face, stage by stage."""

import numpy as np
from matplotlib.figure import Figure

from lib.report.figures.montage import as_pictures, draw_sheet
from lib.report.figures.style import FAINT, FULL, drawn


@drawn
def restoration(labels: tuple[str, ...], seen, degraded, restored, clean, gain: float = 2.0) -> Figure:
    """A row an example: the picture F', DAFR's input y, restored x_1 .. x_k, n_k = y - x_k times ``gain``, the target.

    ``seen``, ``degraded`` (y: F' after gain and offset are undone), ``clean`` (the target, prepared in the same way)
    [N,3,H,W], ``restored`` [N,k,3,H,W], ``labels`` N names of the degradations; values beyond 0..1 are cut for display
    only. Below y and x_k stands the mean absolute difference from the target, in grey levels of 255.
    """
    picture = as_pictures(seen, "seen", 4)
    for images, name, dims in ((degraded, "degraded", 4), (restored, "restored", 5), (clean, "clean", 4)):
        as_pictures(images, name, dims)  # says what is wrong with them
    y, x, target = (_unit(images) for images in (degraded, restored, clean))  # as the network has them, not clipped
    if len(labels) != len(y) or x.shape[0] != len(y) or target.shape != y.shape or x.shape[2:] != y.shape[1:]:
        raise ValueError(
            f"restored: expected [{len(labels)}, k, {', '.join(map(str, y.shape[1:]))}] with as many labels, "
            f"degraded and clean faces, got {x.shape}, degraded {y.shape}, clean {target.shape}"
        )
    if picture.shape != y.shape:
        raise ValueError(f"seen: expected the shape of degraded, {y.shape}, got {picture.shape}")
    stages, size = x.shape[1], y.shape[-1]
    rest = 0.5 + gain * (y - x[:, -1])
    grid = np.concatenate([picture[:, None], y[:, None], x, rest[:, None], target[:, None]], axis=1).clip(0, 1)
    columns = ["face F'", "input y", *[rf"$x_{k + 1}$" for k in range(stages)], rf"$n_{stages}$ ×{gain:g}", "target"]
    left = 1.0
    tile = (FULL - left) / len(columns)
    figure = Figure(figsize=(FULL, len(y) * tile * 1.17 + 0.22))
    axes = figure.add_axes([left / FULL, 0, 1 - left / FULL, 1 - 0.22 / figure.get_figheight()])
    line = round(size * 0.17)
    gaps = [0, *[line] * (len(y) - 1)]
    centre_y, centre_x = draw_sheet(
        axes, grid, max(1, size // 24), gaps, [0, size // 10, size // 10, *[0] * (stages - 1), size // 10, size // 10]
    )
    for at, text in zip(centre_x, columns):
        axes.text(at, -size * 0.05, text, ha="center", va="bottom", fontsize=8)
    for row, label in enumerate(labels):
        axes.text(-size * 0.12, centre_y[row], label, ha="right", va="center", fontsize=7.5)
        for column, image in enumerate([y[row], *x[row]], start=1):
            error = 255 * np.abs(image - target[row]).mean()
            axes.text(
                centre_x[column],
                centre_y[row] + size * 0.515,
                f"{error:.1f}",
                ha="center",
                va="top",
                fontsize=6.5,
                color=FAINT,
            )
    # The last row's numbers lie below the sheet.
    axes.set_ylim(axes.get_ylim()[0] + line, 0)
    return figure


def _unit(images) -> np.ndarray:
    array = np.asarray(images)
    return array.astype(np.float32) / 255 if array.dtype == np.uint8 else array.astype(np.float32)
