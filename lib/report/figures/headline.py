"""The picture that answers the question: how far each encoder falls from its clean score."""

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lib.report import names
from lib.report.figures.style import FAINT, FULL, INK, drawn, plain, reach
from lib.report.summary import Scores

MARKS = (
    ("clean", "clean", "o", "clean"),
    ("corruption", "mean", "s", "mean of corruptions"),
    ("attack", "mean", "D", "mean of attacks"),
)


@drawn
def headline(scores: Scores, blocks: list[tuple[str, str]]) -> Figure:
    """A panel a (task, dataset), a row an encoder: clean score (open circle), mean corrupted (square), mean attacked
    (diamond), each with its 95% interval; the line between them is what is lost."""
    methods = names.ordered(scores.methods())
    place, at = {}, 0.0
    for i, method in enumerate(methods):
        if i and names.look(method).group != names.look(methods[i - 1]).group:
            at += 0.6
        place[method] = at
        at += 1
    figure = Figure(figsize=(FULL, 0.75 + 0.27 * at), layout="constrained")
    panels = figure.subplots(1, len(blocks), sharey=True, squeeze=False)[0]
    for axes, (task, dataset) in zip(panels, blocks):
        lowest = -2.0
        for method in methods:
            look, y = names.look(method), place[method]
            found = [
                (scores(method, dataset, task, family, condition), marker) for family, condition, marker, _ in MARKS
            ]
            lowest = reach(lowest, [cell for cell, _ in found])
            values = [cell[0] for cell, _ in found if cell is not None]
            if values:
                axes.plot([min(values), max(values)], [y, y], color=look.colour, linewidth=1.4, alpha=0.45, zorder=2)
            for cell, marker in found:
                if cell is None:
                    continue
                axes.plot(
                    cell[1:], [y, y], color=look.colour, linewidth=4.5, alpha=0.28, solid_capstyle="butt", zorder=2
                )
                face = "white" if marker == "o" else look.colour
                axes.plot(
                    cell[0],
                    y,
                    marker,
                    color=look.colour,
                    markerfacecolor=face,
                    markersize=5,
                    markeredgewidth=1.2,
                    zorder=3,
                )
        if task in names.CHANCE and dataset in names.DATASETS:  # classes of one's own may be fewer
            axes.axvline(names.CHANCE[task], color=FAINT, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
            axes.text(names.CHANCE[task] + 1, at - 0.45, "chance", fontsize=6.5, color=FAINT, ha="left", va="bottom")
        axes.set_title(names.panel_title(task, dataset))
        metric = names.MAIN_METRIC[task]
        axes.set_xlabel(f"{metric if metric == 'accuracy' else names.METRIC_LABEL[metric]} (%)")
        axes.set_xlim(lowest, 102)
        axes.set_ylim(at - 0.4, -0.75)
        plain(axes, "x")
        axes.spines["left"].set_visible(False)
    panels[0].set_yticks(list(place.values()), [names.look(m).label for m in methods])
    for text, method in zip(panels[0].get_yticklabels(), methods):
        text.set_fontweight("bold" if names.look(method).group == "method" else "normal")
    handles = [
        Line2D(
            [],
            [],
            color=INK,
            marker=marker,
            linestyle="",
            markersize=5,
            label=label,
            markerfacecolor="white" if marker == "o" else INK,
        )
        for _, _, marker, label in MARKS
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure
