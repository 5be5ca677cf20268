"""One look for all figures, and the one function that writes them (SVG and PNG, the same bytes every time)."""

import functools
from pathlib import Path

import matplotlib
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lib.files import write_aside
from lib.report import names

FULL = 7.2  # inches: the text width of a two-column paper; fonts are set for this size, so nothing is scaled
INK, FAINT, PAPER = "#222222", "#8A8A8A", "#FFFFFF"
RULES = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titley": 1.0,
    "axes.titlepad": 5,
    "axes.labelsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.7,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.5,
    "lines.markersize": 4,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "figure.dpi": 110,
    "svg.fonttype": "path",
    "svg.hashsalt": "degradation-robust faces",
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}


def drawn(function):
    """Decorator: the figure is made under the common look, whatever the caller's matplotlib settings are."""

    @functools.wraps(function)
    def inside(*args, **kwargs):
        with matplotlib.rc_context({**sns.axes_style("whitegrid"), **RULES}):
            return function(*args, **kwargs)

    return inside


@drawn
def save(figure: Figure, path: str | Path, dpi: int = 160) -> list[Path]:
    """Write ``path``.svg and ``path``.png; no date and no random ids inside, so equal figures are equal files."""
    path = Path(path)
    written = []
    figure.draw_without_rendering()
    box = figure.get_tightbbox().padded(0.08)  # found once, since "tight" would draw the figure again for each file
    for suffix, metadata in ((".svg", {"Date": None, "Creator": None}), (".png", {"Software": None})):
        target = path.with_name(path.name + suffix)
        with write_aside(target) as aside:
            figure.savefig(aside, dpi=dpi, metadata=metadata, format=suffix[1:], bbox_inches=box)
        written.append(target)
    return written


def panel_row(count: int, height: float, **shared) -> tuple[Figure, np.ndarray]:
    """A figure of ``height`` inches a row and its ``count`` panels: up to four side by side, more in rows of three."""
    columns = count if count <= 4 else 3
    rows = -(-count // columns)
    figure = Figure(figsize=(FULL, height * rows))
    panels = figure.subplots(rows, columns, squeeze=False, **shared).ravel()
    for axes in panels[count:]:
        axes.axis("off")
    return figure, panels[:count]


def reach(low: float, cells) -> float:
    """``low``, or a little below the least of the (value, low, high) ``cells`` where these go beyond: a CCC can be negative."""
    values = [cell[1] for cell in cells if cell is not None]
    return min([low, *(value - 3 for value in values if value < low)])


def encoder_line(axes: Axes, x, cells, method: str, band: bool = True) -> None:
    """A line through (value, low, high) triples in the encoder's style, its interval as a band; None is a gap."""
    look = names.look(method)
    value, low, high = (np.array([np.nan if cell is None else cell[i] for cell in cells], float) for i in range(3))
    control = look.group == "control"
    axes.plot(
        x,
        value,
        color=look.colour,
        marker=look.marker,
        linestyle=look.dash,
        linewidth=1.1 if control else 1.8,
        markersize=3.2 if control else 4.2,
        markeredgecolor="white",
        markeredgewidth=0.4,
        zorder=2 if control else 3,
    )
    if band and not control:
        axes.fill_between(x, low, high, color=look.colour, alpha=0.16, linewidth=0, zorder=1)


def encoder_legend(figure: Figure, methods: list[str]) -> None:
    """One legend for the whole figure, below it, in the order of the tables."""
    handles = []
    for method in names.ordered(methods):
        look = names.look(method)
        control = look.group == "control"
        handles.append(
            Line2D(
                [],
                [],
                color=look.colour,
                marker=look.marker,
                linestyle=look.dash,
                label=look.label,
                linewidth=1.1 if control else 1.8,
                markeredgecolor="white",
                markeredgewidth=0.4,
                markersize=5,
            )
        )
    columns = 4 if len(handles) <= 4 else 3  # four of the longest names in a row are wider than the figure
    figure.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=columns, handlelength=2.6)


def plain(axes: Axes, grid: str = "y") -> None:
    """Grid along one axis only, behind the data."""
    axes.grid(False)
    axes.grid(True, axis=grid)
    axes.set_axisbelow(True)
