"""Drop against the severity of the corruptions."""

from matplotlib.figure import Figure

from lib.report import names
from lib.report.figures.style import FULL, drawn, encoder_legend, encoder_line, panel_row, plain
from lib.report.summary import Scores


def measured(scores: Scores) -> list[float]:
    """The severities in these results."""
    frame = scores.frame
    return sorted({float(s) for s in frame.loc[frame["family"] == "corruption", "severity"]} - {0.0})


@drawn
def drop_by_severity(scores: Scores) -> Figure:
    """A panel a task: mean drop over all corruption types at each severity, a line an encoder, bands 95% intervals."""
    blocks, levels = [b for b in scores.blocks() if scores.conditions(*b, "corruption")], measured(scores)
    figure, panels = panel_row(len(blocks), 2.5, sharey=True)
    for axes, (task, dataset) in zip(panels, blocks):
        for method in names.ordered(scores.methods(task, dataset)):
            cells = [scores(method, dataset, task, "corruption", "mean", "drop", s) for s in levels]
            encoder_line(axes, levels, cells, method)
        _panel(axes, names.panel_title(task, dataset), levels)
    panels[0].set_ylabel("Drop (points)")
    figure.tight_layout(w_pad=1.2)
    encoder_legend(figure, scores.methods())
    return figure


@drawn
def drop_by_corruption(scores: Scores, task: str, dataset: str, seen: tuple[str, ...] = ()) -> Figure:
    """A panel a corruption type of one task; the types of the training mixture first."""
    corruptions = sorted(scores.conditions(task, dataset, "corruption"), key=lambda name: name not in seen)
    methods, levels = names.ordered(scores.methods(task, dataset)), measured(scores)
    columns = 4
    rows = -(-len(corruptions) // columns)
    figure = Figure(figsize=(FULL, 1.45 * rows + 0.3))
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, corruption in zip(panels, corruptions):
        for method in methods:
            cells = [scores(method, dataset, task, "corruption", corruption, "drop", s) for s in levels]
            encoder_line(axes, levels, cells, method)
        _panel(axes, names.condition_label(corruption), levels)
        if seen:
            where = {"transform": axes.transAxes, "ha": "right", "va": "top"}  # inside: a long name fills the line above
            axes.text(0.99, 0.98, "seen" if corruption in seen else "unseen", fontsize=7, color="#777777", **where)
    for axes in panels[len(corruptions) :]:
        axes.axis("off")
    for i, axes in enumerate(panels[: len(corruptions)]):
        axes.set_xlabel("severity" if i >= len(corruptions) - columns else "")
        axes.set_ylabel("Drop (points)" if i % columns == 0 else "")
    height = figure.get_figheight()  # fixed margins in inches: a layout engine is slow on this many panels
    figure.subplots_adjust(
        left=0.45 / FULL, right=1 - 0.05 / FULL, bottom=0.4 / height, top=1 - 0.2 / height, wspace=0.1, hspace=0.38
    )
    encoder_legend(figure, methods)
    return figure


def _panel(axes, title, levels):
    axes.set_title(title)
    axes.set_xticks(levels, [f"{level:g}" for level in levels])
    axes.set_xlim(levels[0] - 0.2, levels[-1] + 0.2)
    axes.set_xlabel("severity")
    axes.axhline(0, color="#777777", linewidth=0.7, zorder=1)
    plain(axes)
