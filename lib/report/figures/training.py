"""Training curves: the loss, its terms, and the meter that shows a collapsing representation."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from lib.report import names
from lib.report.figures.style import FAINT, FULL, INK, drawn, plain

NOT_TERMS = ("epoch", "step", "seconds", "lr", "loss", "embedding_std", "effective_rank")
WIDE = 10  # the largest over the smallest loss from which on the axis is logarithmic
TERM_COLOURS = (names.GREEN, names.PURPLE, names.ORANGE, names.SKY, names.GREY, names.BLUE)


@drawn
def training_curves(histories: dict[str, pd.DataFrame]) -> Figure:
    """A column an encoder: the loss and its terms (log scale where they differ much), collapse meter, effective rank.

    embedding_std is 1 where features spread like random directions and 0 where all are one point. Against minutes of
    training; thin lines are the steps, thick ones their running median.

    ``histories``: encoder -> history.csv.
    """
    methods = names.ordered(histories)
    if not methods:
        raise ValueError("histories: expected at least one training history, got none")
    for method in methods:
        lacking = [
            c for c in ("seconds", "loss", "embedding_std", "effective_rank") if c not in histories[method].columns
        ]
        if lacking:
            raise ValueError(
                f"histories['{method}']: missing the columns {lacking}, found {list(histories[method].columns)}"
            )
    wide = max(len(methods), 2)
    terms_of = {m: [c for c in histories[m].columns if c not in NOT_TERMS] for m in methods}
    # inches of the rows; within its panel a legend of many terms would lie on the curves, so it has a row of its own
    heights = [1.7, 0.05 + 0.115 * (1 + max(map(len, terms_of.values()))), 0.9, 0.9]
    figure = Figure(figsize=(FULL * min(1, 0.3 + 0.2 * wide), sum(heights) + 0.9))
    grid = figure.subplots(4, len(methods), sharex="col", squeeze=False, height_ratios=heights)
    for column, method in enumerate(methods):
        history, colour = histories[method], names.look(method).colour
        minutes = history["seconds"] / 60
        top, key, meter, rank = grid[:, column]
        _curve(top, minutes, history["loss"], INK, "loss")
        terms = terms_of[method]
        for term, shade in zip(terms, TERM_COLOURS * (1 + len(terms) // len(TERM_COLOURS))):
            _curve(top, minutes, history[term], shade, term.replace("_", " "), width=1.1)
        drawn_terms = history[["loss", *terms]].stack()
        if drawn_terms.min() > 0 and drawn_terms.max() > WIDE * drawn_terms.min():
            top.set_yscale("log")
            top.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        top.set_title(names.look(method).short)
        key.axis("off")
        key.legend(
            *top.get_legend_handles_labels(),
            loc="upper left",
            fontsize=6,
            handlelength=1.2,
            labelspacing=0.2,
            borderaxespad=0,
            borderpad=0,
        )
        _curve(meter, minutes, history["embedding_std"], colour)
        meter.axhline(1, color=FAINT, linewidth=0.8, linestyle=(0, (4, 3)))
        meter.axhspan(-0.05, 0.1, color=names.VERMILION, alpha=0.10, linewidth=0)
        meter.set_ylim(-0.05, max(1.15, 1.05 * history["embedding_std"].max()))
        _curve(rank, minutes, history["effective_rank"], colour)
        rank.set_ylim(0, None)
        rank.set_xlabel("minutes of training")
        for axes in (top, meter, rank):
            plain(axes)
    grid[2, 0].text(
        0.02, 0.04, "collapsed", transform=grid[2, 0].transAxes, fontsize=6.5, color=names.VERMILION, va="bottom"
    )
    for axes, label in zip(grid[[0, 2, 3], 0], ("loss", "embedding std", "effective rank")):
        axes.set_ylabel(label)
    ceiling = max(axes.get_ylim()[1] for axes in grid[3])
    for axes in grid[3]:
        axes.set_ylim(0, ceiling)
    figure.align_ylabels()
    figure.tight_layout(w_pad=0.8, h_pad=0.6)
    return figure


def _curve(axes, x, values, colour, label=None, width=1.5):
    smooth = values.rolling(max(3, len(values) // 25), center=True, min_periods=1).median()
    axes.plot(x, values, color=colour, linewidth=0.5, alpha=0.35)
    axes.plot(x, smooth, color=colour, linewidth=width, label=label)
