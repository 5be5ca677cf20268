"""The confusion matrices show the numbers of the results; encoders without them, and classes nobody showed, are left out."""

import numpy as np
import pandas as pd
import pytest

from lib.datasets.columns import EXPRESSIONS
from lib.report import names
from lib.report.figures.confusion import can_be_drawn, confusion, matrix
from lib.report.summary import Scores


def rows_of(results, shares, method, family, condition, task="expression"):
    """Result rows of the row-normalised matrix ``shares`` [C,C], NaN left out, made from a row that is there."""
    like = results[(results["method"] == method) & (results["task"] == "expression") & (results["family"] == family)].iloc[0]
    severity = 0.0 if family == "clean" else np.nan
    made = []
    for (i, j), share in np.ndenumerate(shares):
        metric = f"recall_{EXPRESSIONS[i]}" if i == j else f"confused_{EXPRESSIONS[i]}_as_{EXPRESSIONS[j]}"
        if np.isfinite(share):
            made.append(dict(like) | {"condition": condition, "severity": severity, "metric": metric, "value": share,
                                      "ci_low": share - 1, "ci_high": share + 1, "task": task})  # fmt: skip
    return made


@pytest.fixture(scope="module")
def shares():
    rng = np.random.default_rng(0)
    found = {}
    for method in ("simclr", "dar_sfrl", "untrained"):
        for family, condition in (("clean", "clean"), ("corruption", "mean"), ("attack", "mean")):
            counts = rng.integers(0, 20, (7, 7)) + 30 * np.eye(7)
            found[method, family, condition] = 100 * counts / counts.sum(1, keepdims=True)
    return found


@pytest.fixture(scope="module")
def scores(results, shares):
    return Scores(pd.concat([results, pd.DataFrame([row for key, s in shares.items() for row in rows_of(results, s, *key)])]))


def test_numbers_are_those_of_the_results(scores, shares):
    figure = confusion(scores, "expression", "rendered")
    assert len(figure.axes) == 6  # two encoders, three conditions; controls are left out
    for axes, key in zip(figure.axes, [k for k in shares if k[0] != "untrained"]):
        (image,) = axes.images
        assert np.allclose(image.get_array(), shares[key], atol=1e-3)
        assert [text.get_text() for text in axes.texts] == [f"{x:.0f}" for x in shares[key].ravel()]
    assert figure.axes[0].get_title(loc="left") == f"{names.look('simclr').short}: clean"
    assert figure.axes[5].get_title(loc="left") == "mean of attacks"
    assert [t.get_text() for t in figure.axes[3].get_yticklabels()] == list(EXPRESSIONS)


def test_classes_that_nobody_shows_or_says_are_left_out(results, shares):
    few = shares["simclr", "clean", "clean"].copy()
    few[5] = np.nan
    few[:, 5] = np.nan
    few[1] = np.nan  # not shown, but others are taken for it
    scores = Scores(pd.concat([results, pd.DataFrame(rows_of(results, few, "simclr", "clean", "clean"))]))
    classes, found = matrix(scores, "simclr", "expression", "rendered", "clean", "clean")
    assert classes == [name for name in EXPRESSIONS if name != "disgust"] and np.isnan(found[1]).all()
    assert len(confusion(scores, "expression", "rendered").axes) == 1


def test_recalls_alone_are_no_matrix(results):
    alone = np.where(np.eye(7) == 1, 50.0, np.nan)
    scores = Scores(pd.concat([results, pd.DataFrame(rows_of(results, alone, "simclr", "clean", "clean"))]))
    assert not can_be_drawn(scores, "expression", "rendered") and not can_be_drawn(scores, "verification", "orl")
