"""What is committed of AUNCE's study is what the code makes of its committed results, and says no more than they do."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.benchmarks.study_aunce import ARMS, BATCH, CONTROLS, EPOCHS, NOISE, OTHERWISE, difference, findings, study, values_of

REPORTS = Path(__file__).parents[2] / "reports/aunce"


@pytest.fixture(scope="module")
def results():
    return pd.read_csv(REPORTS / "results.csv", dtype={"unit": str})


def test_the_text_is_that_of_the_committed_results(results):
    tuning = pd.read_csv(REPORTS / "tuning.csv", dtype={"unit": str})
    gradient, cosine = (pd.read_csv(REPORTS / f"{name}.csv") for name in ("gradients", "cosines"))
    run = json.loads((REPORTS / "run.json").read_text())
    assert (REPORTS / "study.md").read_text() == study(results, tuning, gradient, cosine, run["images_and_people"])
    assert {"machine", "versions", "network", "arms", "epochs", "command"} <= run.keys() and set(run["arms"]) == set(ARMS)


def test_every_cell_is_there_for_three_seeds_and_macro_is_the_mean_of_the_units(results):
    assert set(results["arm"]) == {*ARMS, *CONTROLS}
    for arm in ARMS:
        for noise in NOISE:
            for heads in ("clean", "noisy") if noise else ("clean",):
                for metric in ("f1", "auc"):
                    assert len(values_of(results, arm, noise, heads, metric)) >= 3
    found = {*results[["arm", "epochs", "batch", "noise"]].itertuples(index=False, name=None)}
    assert found >= {(arm, *run) for arms, runs in OTHERWISE.items() for run in runs.values() for arm in arms}
    one = results.set_index(["arm", "noise", "seed", "heads"]).loc[("corrected", NOISE[1], 2, "clean")]
    for metric in ("f1", "auc"):
        rows = one[one["metric"] == metric]
        macro = rows["unit"] == "macro"
        assert rows.loc[macro, "value"].item() == pytest.approx(rows.loc[~macro, "value"].mean(), abs=1e-3)


def test_the_verdicts_follow_the_numbers(results):
    """Counted anew from the csv: whether corrected AUNCE is above weighted cross-entropy under noise, and within a point without."""
    rows = results[(results["unit"] == "macro") & (results["heads"] == "clean") & (results["metric"] == "f1")]
    rows = rows[(rows["epochs"] == EPOCHS) & (rows["batch"] == BATCH) & rows["noise"].isin(NOISE)]
    table = rows.pivot(index=["noise", "seed"], columns="arm", values="value")
    apart = (table["corrected"] - table["cross_entropy"]).groupby("noise")
    noisy, clean = apart.get_group(NOISE[1]), apart.get_group(0.0)
    half = {3: 4.302653, 4: 3.182446, 5: 2.776445}[len(noisy)] * noisy.std(ddof=1) / len(noisy) ** 0.5  # Student's t
    mean, low, high = difference(results, "corrected", NOISE[1], "clean", "f1")
    assert np.allclose([mean, low, high], [noisy.mean(), noisy.mean() - half, noisy.mean() + half], atol=1e-4)
    word = "above" if noisy.mean() - half > 0 else "below" if noisy.mean() + half < 0 else "not told apart from"
    said = findings(results)
    assert f"heads on clean labels: corrected AUNCE is {word} weighted cross-entropy by F1, {noisy.mean():+.1f} points" in said[0]
    within = "within 1 point of it or above" if clean.mean() >= -1 else "more than 1 point below it"
    assert any(f"corrected AUNCE is {within} by F1: {clean.mean():+.1f} points" in sentence for sentence in said)


def test_the_reasons_given_are_borne_out(results):
    """Sentences of the study whose words do not change with the numbers; seed 1."""
    rows = results[(results["heads"] == "clean") & (results["metric"] == "auc") & (results["unit"] == "macro") & (results["seed"] == 1)]
    auc = rows.set_index(["arm", "noise", "epochs", "batch"])["value"]
    noisy = {arm: auc[arm, NOISE[1], EPOCHS, BATCH] for arm in ("corrected", "cross_entropy")}
    pairs = auc["cross_entropy", 0.32, EPOCHS, BATCH]
    assert abs(pairs - noisy["corrected"]) < abs(pairs - noisy["cross_entropy"])  # pairs are wrong 32% of the time
    longer = {arm: auc[arm, NOISE[1], 3 * EPOCHS, BATCH] for arm in noisy}
    assert longer["cross_entropy"] - longer["corrected"] > noisy["cross_entropy"] - noisy["corrected"]  # time does not mend it
    cosine = pd.read_csv(REPORTS / "cosines.csv")
    clean = cosine[(cosine["noise"] == 0) & (cosine["people"] == "others")].set_index("arm")
    held = clean["same label, same person"] - clean["same label, other person"]
    assert held["corrected"] > 2 * held["mean_alone"]  # 'max' and 'self' hold a person together


def test_the_readme_says_these_numbers(results):
    text = " ".join((REPORTS.parents[1] / "README.md").read_text().split())

    def mean(arm, noise, metric):
        return f"{values_of(results, arm, noise, 'clean', metric).mean():.1f}"

    auc, f1 = ([f"{mean('corrected', n, m)} against {mean('cross_entropy', n, m)}" for n in NOISE] for m in ("auc", "f1"))
    pixels = values_of(results, "raw_pixels", 0.0, "clean", "auc").mean()
    assert f"AUC of a linear evaluation {auc[0]} without noise and {auc[1]} with it, F1 {f1[0]} and {f1[1]}" in text
    assert f"raw pixels reach AUC {pixels:.1f}" in text
