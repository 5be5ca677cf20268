"""Which expressions are taken for which: clean, corrupted and attacked."""

import numpy as np
from matplotlib.figure import Figure

from lib.datasets.columns import ALL_EXPRESSIONS
from lib.report import names
from lib.report.figures.style import FULL, drawn
from lib.report.summary import Scores

CONDITIONS = (("clean", "clean", "clean"), ("corruption", "mean", "mean of corruptions"), ("attack", "mean", "mean of attacks"))
MOST = 4  # encoders that are readable under each other


def can_be_drawn(scores: Scores, task: str, dataset: str) -> bool:
    """Is there an encoder other than the controls whose confusions were measured?"""
    return bool(_methods(scores, task, dataset))


@drawn
def confusion(scores: Scores, task: str, dataset: str) -> Figure:
    """A row an encoder (controls left out, at most four), a column a condition: shares of each row's images in percent."""
    methods = _methods(scores, task, dataset)
    shown = [c for c in CONDITIONS if any(matrix(scores, m, task, dataset, *c[:2]) is not None for m in methods)]
    figure = Figure(figsize=(FULL, 0.35 + 2.25 * len(methods)), layout="constrained")
    panels = figure.subplots(len(methods), len(shown), squeeze=False)
    for row, method in zip(panels, methods):
        for axes, (family, condition, title) in zip(row, shown):
            found = matrix(scores, method, task, dataset, family, condition)
            axes.grid(False)
            axes.set_title(f"{names.look(method).short}: {title}" if axes is row[0] else title)
            if found is None:
                axes.axis("off")
                continue
            classes, shares = found
            axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
            for (truth, said), share in np.ndenumerate(shares):
                if np.isfinite(share):
                    ink = "white" if share > 55 else "#333333"
                    axes.text(said, truth, f"{share:.0f}", ha="center", va="center", fontsize=6, color=ink)
            ticks, bare = range(len(classes)), [""] * len(classes)
            below = classes if axes in panels[-1] else bare
            axes.set_xticks(ticks, below, rotation=60, ha="right", rotation_mode="anchor")
            axes.set_yticks(ticks, classes if axes is row[0] else bare)
        row[0].set_ylabel("shown")
    for axes in panels[-1]:
        axes.set_xlabel("taken for")
    return figure


def matrix(
    scores: Scores, method: str, task: str, dataset: str, family: str, condition: str
) -> tuple[list[str], np.ndarray] | None:
    """(classes that were shown or confused, [C,C] percent of the images of each); None where it was not measured.

    NaN: nobody showed that class.
    """

    def share(truth: str, said: str) -> float:
        metric = f"recall_{truth}" if truth == said else f"confused_{truth}_as_{said}"
        cell = scores(method, dataset, task, family, condition, metric)
        return np.nan if cell is None else cell[0]

    shares = np.array([[share(truth, said) for said in ALL_EXPRESSIONS] for truth in ALL_EXPRESSIONS])
    known = np.isfinite(shares)
    if not (known.sum(1) > 1).any():
        return None  # recalls alone are no matrix
    there = known.any(0) | known.any(1)
    return [name for name, known in zip(ALL_EXPRESSIONS, there) if known], shares[there][:, there]


def _methods(scores: Scores, task: str, dataset: str) -> list[str]:
    trained = [m for m in names.ordered(scores.methods(task, dataset)) if names.look(m).group != "control"]
    return [m for m in trained if matrix(scores, m, task, dataset, "clean", "clean") is not None][:MOST]
