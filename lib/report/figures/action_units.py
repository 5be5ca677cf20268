"""F1 of each action unit, clean and attacked."""

import re

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lib.report import names
from lib.report.figures.style import FULL, INK, drawn, plain
from lib.report.summary import Scores

NAMES = {
    1: "inner brow raiser",
    2: "outer brow raiser",
    4: "brow lowerer",
    6: "cheek raiser",
    7: "lid tightener",
    10: "upper lip raiser",
    12: "lip corner puller",
    14: "dimpler",
    15: "lip corner depressor",
    17: "chin raiser",
    23: "lip tightener",
    24: "lip pressor",
}


def can_be_drawn(scores: Scores, dataset: str) -> bool:
    """Is there an encoder other than the controls, with F1 of single AUs?"""
    return bool(_methods(scores, dataset) and _units(scores, dataset))


@drawn
def per_action_unit(scores: Scores, dataset: str) -> Figure:
    """A panel an encoder (controls left out), a row an AU: clean F1 (open), mean over attacks (filled), intervals."""
    methods, units = _methods(scores, dataset), _units(scores, dataset)
    figure = Figure(figsize=(FULL, 0.75 + 0.21 * len(units)), layout="constrained")
    panels = figure.subplots(1, len(methods), sharey=True, squeeze=False)[0]
    for axes, method in zip(panels, methods):
        colour = names.look(method).colour
        for row, unit in enumerate(units):
            metric = f"f1_au_{unit}"
            clean = scores(method, dataset, "action_units", "clean", "clean", metric)
            attacked = scores(method, dataset, "action_units", "attack", "mean", metric)
            if clean and attacked:
                axes.plot([clean[0], attacked[0]], [row, row], color=colour, linewidth=1.2, alpha=0.4, zorder=2)
            for cell, face in ((clean, "white"), (attacked, colour)):
                if cell:
                    axes.plot(
                        cell[1:], [row, row], color=colour, linewidth=4, alpha=0.25, solid_capstyle="butt", zorder=2
                    )
                    axes.plot(
                        cell[0],
                        row,
                        "o",
                        color=colour,
                        markerfacecolor=face,
                        markersize=4.5,
                        markeredgewidth=1.1,
                        zorder=3,
                    )
        axes.set_title(names.look(method).short)
        axes.set_xlabel("F1 (%)")
        axes.set_xlim(-3, 103)
        axes.set_ylim(len(units) - 0.4, -0.6)
        plain(axes, "x")
        axes.spines["left"].set_visible(False)
    panels[0].set_yticks(range(len(units)), [f"{NAMES.get(u, '')}  AU{u}".strip() for u in units])
    dots = [
        Line2D([], [], marker="o", linestyle="", color=INK, markerfacecolor=face, label=label)
        for face, label in (("white", "clean"), (INK, "mean of attacks"))
    ]
    figure.legend(handles=dots, loc="outside lower center", ncols=2)
    return figure


def _methods(scores: Scores, dataset: str) -> list[str]:
    return [m for m in names.ordered(scores.methods("action_units", dataset)) if names.look(m).group != "control"]


def _units(scores: Scores, dataset: str) -> list[int]:
    found = scores.frame.loc[scores.frame["dataset"] == dataset, "metric"].unique()
    return sorted(int(m.rsplit("_", 1)[1]) for m in found if re.fullmatch(r"f1_au_\d+", m))
