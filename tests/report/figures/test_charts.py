"""The charts show the numbers of the results."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from lib.report import names
from lib.report.figures import action_units, attacks, embedding, headline, masking, severity, training
from lib.report.summary import Scores


@pytest.fixture(scope="module")
def scores(results):
    return Scores(results)


def points(axes, colour):
    return [xy for line in axes.lines if line.get_color() == colour for xy in zip(line.get_xdata(), line.get_ydata())]


def test_headline(scores):
    figure = headline.headline(scores, [("expression", "rendered"), ("verification", "orl")])
    first = figure.axes[0]
    assert first.get_title(loc="left") == "Expression, rendered"
    labels = [text.get_text() for text in first.get_yticklabels()]
    assert labels == [names.look(m).label for m in names.ordered(scores.methods())]
    drawn = [x for x, _ in points(first, names.look("dar_sfrl").colour)]
    for family, condition in (("clean", "clean"), ("corruption", "mean"), ("attack", "mean")):
        assert scores("dar_sfrl", "rendered", "expression", family, condition)[0] in drawn


def test_drop_by_severity_is_the_mean_over_types_with_its_own_interval(scores, results):
    figure = severity.drop_by_severity(scores)
    assert len(figure.axes) == 4
    rows = results[
        (results["method"] == "blur")
        & (results["task"] == "expression")
        & (results["family"] == "corruption")
        & (results["metric"] == "drop")
    ]
    expected = rows[(rows["severity"] == 4) & (rows["condition"] != "mean")]["value"].mean()
    line = next(line for line in figure.axes[0].lines if line.get_color() == names.look("blur").colour)
    assert line.get_ydata()[3] == pytest.approx(expected, abs=1e-3)
    _, low, high = scores("dar_sfrl", "rendered", "expression", "corruption", "mean", "drop", 4)
    colour = to_rgb(names.look("dar_sfrl").colour)
    band = next(c for c in figure.axes[0].collections if tuple(c.get_facecolor()[0][:3]) == colour)
    points = band.get_paths()[0].vertices
    assert sorted({y for x, y in points if x == 4}) == pytest.approx([low, high])


def test_drop_by_corruption_has_a_panel_a_type_seen_first(scores, run):
    figure = severity.drop_by_corruption(scores, "verification", "orl", run["seen_corruptions"])
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[0] == "gaussian noise" and titles[8] == "shot noise" and len(titles) == 20
    assert [figure.axes[i].texts[0].get_text() for i in (0, 8)] == ["seen", "unseen"]


def test_drop_per_attack(scores):
    axes = attacks.drop_per_attack(scores).axes[1]
    drawn = [x for x, _ in points(axes, names.look("simclr").colour)]
    for attack in ("pgd", "worst"):
        assert scores("simclr", "orl", "verification", "attack", attack, "drop")[0] in drawn
    labels = [text.get_text() for text in attacks.drop_per_attack(scores).axes[0].get_yticklabels()]
    assert labels[-2:] == ["mean", "worst"] and labels[0] == "PGD"


def test_eps_sweep_starts_at_the_clean_score(scores):
    axes = attacks.eps_sweep(scores).axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0", "2", "8", "16", "64"]
    line = next(line for line in axes.lines if line.get_color() == names.look("dar_sfrl").colour)
    assert line.get_ydata()[0] == scores.clean("dar_sfrl", "rendered", "expression", "attack")[0]
    assert line.get_ydata()[-1] == 0


def test_action_units_without_controls(scores):
    figure = action_units.per_action_unit(scores, "rendered")
    assert len(figure.axes) == 4
    drawn = [x for x, _ in points(figure.axes[3], names.look("dar_sfrl").colour)]
    assert scores("dar_sfrl", "rendered", "action_units", "clean", "clean", "f1_au_12")[0] in drawn
    assert figure.axes[0].get_yticklabels()[0].get_text() == "inner brow raiser  AU1"


def test_masking_checks(scores, results):
    figure = masking.masking_checks(scores)
    assert len(figure.axes) == 8
    rows = [text.get_text() for text in figure.axes[1].get_yticklabels()]
    assert rows == ["white box", "gradient free", "noise", "transfer from raw pixels"]
    with pytest.raises(ValueError, match="family 'check'"):
        masking.masking_checks(Scores(results[results["family"] != "check"]))


def test_training_curves(histories):
    figure = training.training_curves(histories)
    assert len(figure.axes) == 4 * len(histories)
    assert "contrastive" in [text.get_text() for text in figure.axes[len(histories)].get_legend().get_texts()]
    assert figure.axes[0].get_yscale() == "log"
    flat = histories["simclr"].assign(restoration=1.0, contrastive=2.0, orthogonal=3.0, loss=6.0)
    assert training.training_curves({"simclr": flat}).axes[0].get_yscale() == "linear"
    with pytest.raises(ValueError, match=r"histories\['simclr'\]: missing the columns \['embedding_std'\]"):
        training.training_curves({"simclr": histories["simclr"].drop(columns="embedding_std")})
    with pytest.raises(ValueError, match="at least one"):
        training.training_curves({})


def test_neighbour_agreement_by_a_slow_count():
    rng = np.random.default_rng(0)
    unit = rng.normal(size=(30, 4))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    labels = rng.integers(0, 3, 30)
    hits = 0
    for i in range(30):
        others = sorted((j for j in range(30) if j != i), key=lambda j: -float(unit[i] @ unit[j]))[:5]
        hits += sum(labels[j] == labels[i] for j in others)
    assert embedding.neighbour_agreement(unit, labels) == pytest.approx(100 * hits / 150)


def test_embedding_map(panels):
    data = panels["embeddings"]
    pick = {name: data["features"][name][:40] for name in ("simclr", "dar_sfrl")}
    figure = embedding.embedding_map(pick, data["expression"][:40], data["identity"][:40])
    assert [axes.get_title(loc="left") for axes in figure.axes[:2]] == ["SimCLR", "DAR-SFRL corr."]
    assert "same expression" in figure.axes[0].get_xlabel() and "same person" in figure.axes[2].get_xlabel()
    with pytest.raises(ValueError, match=r"features\['simclr'\]"):
        embedding.embedding_map(pick, data["expression"], data["identity"])


def test_a_negative_ccc_stays_inside_every_chart(results):
    """Six tasks, one of whose scores fall below 0 under attack."""
    results = results[results["method"].isin(["simclr", "dar_sfrl"])]
    affect = results[results["task"] == "action_units"].copy()
    affect = affect[~affect["metric"].str.startswith("f1_au")]
    affect["metric"] = affect["metric"].replace("f1", "ccc")
    low = affect["family"].isin(["attack", "sweep", "check"]) & (affect["metric"] == "ccc")
    affect.loc[low, ["value", "ci_low", "ci_high"]] -= 60
    parts = [affect.assign(task=name) for name in ("valence_arousal", "valence_arousal_finetuned")]
    scores = Scores(pd.concat([results, *parts]))
    lowest = scores.frame.loc[scores.frame["metric"] == "ccc", "value"].min()
    assert lowest < -20 and len(scores.blocks()) == 6
    sweep = attacks.eps_sweep(scores)
    assert len(sweep.axes) == 6 and sweep.axes[4].get_ylim()[0] < lowest
    assert len(severity.drop_by_severity(scores).axes) == 6 and len(attacks.drop_per_attack(scores).axes) == 6
    head = headline.headline(scores, [("expression", "rendered"), ("valence_arousal", "rendered")])
    attacked = scores("simclr", "rendered", "valence_arousal", "attack", "mean")
    assert head.axes[0].get_xlim()[0] == -2 and head.axes[1].get_xlim()[0] < attacked[0]
    assert head.axes[1].get_xlabel() == "CCC (%)" and head.axes[0].get_xlabel() == "accuracy (%)"
    checked = masking.masking_checks(scores).axes
    assert min(axes.get_xlim()[0] for axes in checked[1::2]) < -20
