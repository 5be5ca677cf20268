"""Are the attacks strong, or are the gradients masked? The checks that tell."""

from matplotlib.figure import Figure

from lib.report import names
from lib.report.checks import has_checks, loss_by_steps, other_attacks, white_box
from lib.report.figures.style import FULL, drawn, encoder_legend, encoder_line, plain, reach
from lib.report.summary import Scores


@drawn
def masking_checks(scores: Scores) -> Figure:
    """A row a task. Left: PGD's loss against its steps, which must not fall. Right: the score under the white-box
    attack and under attacks that do not use the model's own gradient, which must not score lower."""
    blocks = [block for block in scores.blocks() if has_checks(scores, *block)]
    if not blocks:
        raise ValueError("scores: expected rows of the family 'check', found none")
    figure = Figure(figsize=(FULL, 2.3 * len(blocks)))
    grid = figure.subplots(len(blocks), 2, squeeze=False, width_ratios=[1, 1.35])
    shown = set()
    for (left, right), (task, dataset) in zip(grid, blocks):
        methods = [m for m in names.ordered(scores.methods(task, dataset)) if has_checks(scores, task, dataset, m)]
        shown |= set(methods)
        for method in methods:
            curve = loss_by_steps(scores, method, task, dataset)
            encoder_line(left, list(curve), list(curve.values()), method)
        left.set_xscale("symlog", linthresh=1)
        steps = sorted({s for m in methods for s in loss_by_steps(scores, m, task, dataset)})
        left.set_xticks(steps, [f"{s:g}" for s in steps])
        left.minorticks_off()
        left.set_xlabel("PGD steps")
        left.set_ylabel("attack loss")
        left.set_title(names.task_label(task, dataset))
        others = list(dict.fromkeys(c for m in methods for c in other_attacks(scores, m, task, dataset)))
        rows, lowest = ["white box", *others], -3.0
        for i, method in enumerate(methods):
            look = names.look(method)
            cells = [white_box(scores, method, task, dataset)] + [
                other_attacks(scores, method, task, dataset).get(c) for c in others
            ]
            lowest = reach(lowest, cells)
            for row, cell in enumerate(cells):
                if cell is None:
                    continue
                y = row + (i - (len(methods) - 1) / 2) * 0.7 / max(len(methods), 1)
                right.plot(cell[1:], [y, y], color=look.colour, linewidth=1.2, alpha=0.8)
                right.plot(
                    cell[0],
                    y,
                    look.marker,
                    color=look.colour,
                    markersize=4.5,
                    markeredgecolor="white",
                    markeredgewidth=0.4,
                )
        right.axhspan(-0.5, 0.5, color="#F5F5F5", linewidth=0, zorder=0)
        right.set_yticks(range(len(rows)), [names.condition_label(r) for r in rows])
        right.set_ylim(len(rows) - 0.5, -0.5)
        right.set_xlim(lowest, 103)
        right.set_xlabel("score under attack (%)")
        plain(left)
        plain(right, "x")
        right.spines["left"].set_visible(False)
    figure.tight_layout(w_pad=1.5, h_pad=1.0)
    encoder_legend(figure, sorted(shown))
    return figure
