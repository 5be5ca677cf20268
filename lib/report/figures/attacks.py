"""Drop under each attack, and the score against the attack's budget."""

import numpy as np
from matplotlib.figure import Figure

from lib.report import names
from lib.report.figures.style import FAINT, drawn, encoder_legend, encoder_line, panel_row, plain, reach
from lib.report.summary import Scores


@drawn
def drop_per_attack(scores: Scores) -> Figure:
    """A panel a task, a row an attack (mean and worst last): a dot an encoder, the bar its 95% interval."""
    blocks = [block for block in scores.blocks() if scores.conditions(*block, "attack")]
    attacks = list(dict.fromkeys(name for block in blocks for name in scores.conditions(*block, "attack")))
    rows = [*attacks, "mean", "worst"]
    place = np.arange(len(rows), dtype=float)
    place[len(attacks) :] += 0.5  # the summaries stand apart
    methods = names.ordered(scores.methods())
    offset = dict(zip(methods, np.linspace(-0.33, 0.33, len(methods)) if len(methods) > 1 else [0.0]))
    figure, panels = panel_row(len(blocks), 0.9 + 0.52 * len(rows), sharey=True)
    for axes, (task, dataset) in zip(panels, blocks):
        for band in place[::2]:
            axes.axhspan(band - 0.5, band + 0.5, color="#F5F5F5", linewidth=0, zorder=0)
        for method in methods:
            look = names.look(method)
            for row, attack in zip(place, rows):
                cell = scores(method, dataset, task, "attack", attack, "drop")
                if cell is None:
                    continue
                y = row + offset[method]
                axes.plot(cell[1:], [y, y], color=look.colour, linewidth=1.2, alpha=0.8, zorder=2)
                axes.plot(
                    cell[0],
                    y,
                    look.marker,
                    color=look.colour,
                    markersize=4,
                    markeredgecolor="white",
                    markeredgewidth=0.4,
                    zorder=3,
                )
        axes.set_title(names.panel_title(task, dataset))
        axes.set_xlabel("Drop (points)")
        axes.set_ylim(place[-1] + 0.55, -0.55)
        axes.axvline(0, color="#777777", linewidth=0.7)
        plain(axes, "x")
        axes.spines["left"].set_visible(False)
    panels[0].set_yticks(place, [names.condition_label(name) for name in rows])
    figure.tight_layout(w_pad=1.0)
    encoder_legend(figure, methods)
    return figure


@drawn
def eps_sweep(scores: Scores, eps: float = 8.0) -> Figure:
    """A panel a task: score under PGD against its budget eps * 255 (0 is clean; ``eps`` is marked), in equal steps."""
    frame = scores.frame[scores.frame["family"] == "sweep"]
    blocks = [
        block for block in scores.blocks() if ((frame["task"] == block[0]) & (frame["dataset"] == block[1])).any()
    ]
    figure, panels = panel_row(len(blocks), 2.5, sharey=True)
    lowest = -3.0
    for axes, (task, dataset) in zip(panels, blocks):
        here = frame[(frame["task"] == task) & (frame["dataset"] == dataset)]
        budgets = sorted({float(x) for x in here["severity"]} - {0.0})
        methods = names.ordered(set(here["method"]))
        for method in methods:
            cells = [scores.clean(method, dataset, task, "attack")]
            cells += [scores(method, dataset, task, "sweep", "pgd", severity=budget) for budget in budgets]
            encoder_line(axes, range(len(cells)), cells, method)
            lowest = reach(lowest, cells)
        axes.set_xticks(range(len(budgets) + 1), ["0", *(f"{budget:g}" for budget in budgets)])
        if eps in budgets:
            axes.axvline(1 + budgets.index(eps), color=FAINT, linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)
        if task in names.CHANCE and dataset in names.DATASETS:  # classes of one's own may be fewer
            axes.axhline(names.CHANCE[task], color=FAINT, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
            axes.text(
                len(budgets),
                names.CHANCE[task] + 1,
                "chance",
                fontsize=6.5,
                color="#666666",
                ha="right",
                va="bottom",
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.4},
                zorder=4,
            )
        axes.set_title(names.panel_title(task, dataset))
        axes.set_xlabel("PGD budget eps × 255")
        plain(axes)
    panels[0].set_ylim(lowest, 103)
    panels[0].set_ylabel("score (%)")
    figure.tight_layout(w_pad=1.2)
    encoder_legend(figure, sorted(set(frame["method"])))
    return figure
