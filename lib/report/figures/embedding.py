"""What the features hold: maps of each encoder's embedding, coloured by expression and by person."""

import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from lib.datasets.columns import ALL_EXPRESSIONS, EXPRESSIONS
from lib.report import names
from lib.report.figures.style import FAINT, FULL, drawn

PEOPLE_SHOWN = 8  # more colours than this cannot be told apart
NEIGHBOURS = 5


@drawn
def embedding_map(features: dict[str, np.ndarray], expression, identity, seed: int = 0) -> Figure:
    """A column an encoder, coloured by expression (top) and by person (bottom, the first few; the others in grey).

    The map is t-SNE of the unit-length features; the percentages below are counted in the features themselves: how
    many of an image's 5 nearest neighbours share its expression or person.

    ``features``: encoder -> [N,D]; ``expression`` 0..7 [N], ``identity`` [N]. At most six encoders are readable.
    """
    expression, identity = np.asarray(expression), np.asarray(identity)
    methods = names.ordered(features)
    for method in methods:
        if len(features[method]) != len(expression) or len(identity) != len(expression):
            raise ValueError(
                f"features['{method}']: expected one row for each of {len(expression)} expressions and {len(identity)} "
                f"identities, got {len(features[method])}"
            )
    people = np.unique(identity)
    palette = sns.color_palette("colorblind", 10).as_hex()
    del palette[7]  # a grey, which is for the people without a colour
    shown = people[:: max(1, len(people) // PEOPLE_SHOWN)][:PEOPLE_SHOWN]
    by_expression = [palette[int(e)] for e in expression]
    person_colour = dict(zip(shown, palette))
    by_person = [person_colour.get(person, "#D9D9D9") for person in identity]
    on_top = np.isin(identity, shown)
    tile = FULL / max(len(methods), 3)
    width, height = tile * len(methods), 2 * tile + 0.65
    figure = Figure(figsize=(width, height))
    grid = figure.subplots(2, len(methods), squeeze=False)
    figure.subplots_adjust(
        left=0.2 / width, right=1, bottom=0.25 / height, top=1 - 0.2 / height, wspace=0.05, hspace=0.35 / tile
    )
    for column, method in enumerate(methods):
        points = _map(np.asarray(features[method], np.float64), seed)
        unit = _unit(np.asarray(features[method], np.float64))
        for axes, colours, labels, word in (
            (grid[0, column], by_expression, expression, "expression"),
            (grid[1, column], by_person, identity, "person"),
        ):
            order = np.argsort(on_top, kind="stable") if word == "person" else np.arange(len(points))
            axes.scatter(*points[order].T, c=[colours[i] for i in order], s=7, linewidths=0, alpha=0.9, rasterized=True)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.grid(False)
            axes.set_box_aspect(1)
            for spine in axes.spines.values():
                spine.set(visible=True, color="#DDDDDD")
            axes.set_xlabel(
                f"{neighbour_agreement(unit, labels):.0f}% same {word}", fontsize=7.5 if len(methods) < 6 else 6
            )
        grid[0, column].set_title(names.look(method).short)
    grid[0, 0].set_ylabel("by expression")
    grid[1, 0].set_ylabel("by person")
    dots = [
        Line2D([], [], marker="o", linestyle="", markersize=4, color=palette[i], label=name)
        for i, name in enumerate(ALL_EXPRESSIONS[: max(len(EXPRESSIONS), 1 + expression.max())])
    ]
    columns = 7 if len(methods) > 2 else 4
    figure.legend(
        handles=dots, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=columns, handletextpad=0.1, columnspacing=1.2
    )
    if len(shown) < len(people):
        figure.text(
            0.5,
            -(0.25 + 0.17 * -(-len(dots) // columns)) / height,
            f"bottom row: {len(shown)} of {len(people)} people in colour, the others grey",
            ha="center",
            fontsize=7,
            color=FAINT,
        )
    return figure


def neighbour_agreement(unit: np.ndarray, labels, neighbours: int = NEIGHBOURS) -> float:
    """Percent of the nearest neighbours (cosine, the image itself left out) of rows [N,D] that share their label."""
    labels = np.asarray(labels)
    if len(unit) <= neighbours:
        raise ValueError(f"unit: expected more than {neighbours} rows, got {len(unit)}")
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -np.inf)
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :neighbours]
    return float(100 * (labels[nearest] == labels[:, None]).mean())


def _unit(features):
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def _map(features, seed):
    unit = _unit(features)
    small = PCA(min(30, *unit.shape), svd_solver="full").fit_transform(unit)
    start = small[:, :2] / max(small[:, 0].std(), 1e-12) * 1e-4
    perplexity = min(30.0, (len(unit) - 1) / 3)
    return TSNE(2, perplexity=perplexity, init=start, random_state=seed, n_jobs=1).fit_transform(small)
