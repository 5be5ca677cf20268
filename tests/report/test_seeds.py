"""What is committed of the further seeds is what the code makes of its committed results, and what the README says of them."""

import subprocess
from pathlib import Path

import pandas as pd
import pytest

from lib.params import load
from lib.report import names
from lib.report.seeds import (
    CELLS, UNTRAINED, comparisons, in_a_sentence, of_each_seed, of_this_run, report, summaries, t_interval, verdict_in_short, verdict_over_seeds,
)  # fmt: skip
from lib.results import read_results
from tests.benchmarks.study_seeds import probe_of
from tests.report.invented import rows

ROOT = Path(__file__).parents[2]
REPORTS = ROOT / "reports/seeds"


@pytest.fixture(scope="module")
def committed():
    return read_results(REPORTS / "results.csv")


def three_seeds(method: str, drops: list[float], clean: float) -> list[dict]:
    """An encoder whose drop under corruptions differs from seed to seed, and that under attacks is twice as large."""
    found = []
    for seed, drop in enumerate(drops, 1):
        found += [row | {"seed": seed} for row in rows(method, {"corruption": drop, "attack": 2 * drop}, clean)]
    return found


def test_the_committed_report_is_that_of_the_committed_results(committed):
    params = load(ROOT / "params.yaml")
    assert (REPORTS / "seeds.md").read_text(encoding="utf-8") == report(committed, params.probe.eps, params.seed)
    drawn = committed[committed["method"].isin([*params.methods, UNTRAINED])]
    assert drawn.groupby("method")["seed"].nunique().eq(3).all()


def test_the_committed_page_begins_with_the_verdict_over_seeds(committed):
    page = subprocess.run(["git", "show", "HEAD:reports/report.html"], cwd=ROOT, capture_output=True, text=True).stdout
    said = verdict_over_seeds(committed)
    assert f'<p class="verdict">{said}</p>' in page, "draw it again: dvc repro --force --single-item figures"


def test_the_first_seed_is_the_committed_run(committed, tmp_path):
    """What git has: a run makes other results in the working tree without harm."""
    shown = subprocess.run(["git", "show", "HEAD:reports/results.csv"], cwd=ROOT, capture_output=True)
    if shown.returncode:
        pytest.skip("no committed results")
    (tmp_path / "results.csv").write_bytes(shown.stdout)
    first = committed[committed["seed"] == 1]
    run = summaries(read_results(tmp_path / "results.csv"), list(first["method"].unique()))
    keys = ["method", "dataset", "task", "family", "condition", "metric"]
    both = first.merge(run, on=keys, suffixes=("", "_run"))
    assert len(both) == len(first) == len(run)
    assert both["value"].equals(both["value_run"])


@pytest.fixture(scope="module")
def invented():
    drops = {"dar_sfrl": ([10, 12, 14], 70), "simclr": ([20, 13, 24], 72), "simclr_adversarial": ([9, 15, 16], 60)}
    return pd.DataFrame([row for method, (drop, clean) in drops.items() for row in three_seeds(method, drop, clean)])


def test_comparisons_count_seeds_and_say_what_their_mean_does(invented):
    said = comparisons(invented, "expression", "rendered")
    # seed 2: 12 +- 1 and 13 +- 1 overlap; the mean: 12 + hypot(1, t * 2 / sqrt 3) = 17.1 against 19 - hypot(1, t * 5.57 / sqrt 3) = 5.1
    assert said[0].endswith("holds on 2 of 3 seeds, does not hold on their mean.") and "clearly less drop" in said[0]
    assert said[2].endswith("holds on 3 of 3 seeds, holds on their mean.") and "clean score within 3 points" in said[2]
    assert said[3].endswith("holds on 2 of 3 seeds, holds on their mean.")  # 10 > 9, 12 < 15, 14 < 16; 12 < 13.3
    against_plain, against_adversarial = said[-2:]
    apart = "clean -2.0 [-2.0, -2.0]; drop, corruptions -7.0 [-19.9, +5.9]; drop, attacks -14.0 [-39.8, +11.8]"  # -10, -1, -10; twice that
    assert apart in against_plain
    assert "SimCLR + adversarial positive" in against_adversarial and "clean +10.0" in against_adversarial


def test_one_sentence_counts_what_holds_on_every_seed(invented):
    said = in_a_sentence(invented)
    # under attack everything is twice as far apart, so the interval of seed 2 (24 +- 1, 26 +- 1) is touched and not overlapped
    assert said.startswith("Of the 5 comparisons on Expression, rendered 1 hold on every seed. Not on every seed: ")
    assert "clearly less drop than SimCLR, mean over corruptions (Expression, rendered) (holds on 2 of 3, not on their mean)" in said
    assert "no more drop than SimCLR + adversarial positive, mean over corruptions (Expression, rendered) (holds on 2 of 3);" in said


def test_the_verdict_over_seeds_is_that_on_their_mean_and_names_each_seed(invented):
    assert verdict_over_seeds(invented) == "Not better than SimCLR, over 3 seeds (in part on seed 1, no on seed 2, yes on seed 3)."
    alike = invented[invented["seed"] == 3]
    several = pd.concat([alike, alike.assign(seed=4), alike.assign(seed=5)])
    assert verdict_over_seeds(several) == "Better than SimCLR, over 3 seeds (yes on seeds 3, 4 and 5)."


def test_what_was_not_compared_is_no_verdict_of_no(invented):
    """'Not all that the question compares ...' begins like 'No'."""
    without = invented[(invented["method"] != "simclr") | (invented["family"] == "clean")]
    assert verdict_in_short(without) == "" and verdict_in_short(invented) == "no"
    assert in_a_sentence(without) == "" and of_this_run(without[without["seed"] == 1], without) == ("", "")


def test_seeds_are_spoken_of_where_the_run_is_one_of_them(invented):
    run = invented[invented["seed"] == 1]
    assert of_this_run(run, invented) == (verdict_over_seeds(invented), in_a_sentence(invented))
    moved = run.assign(value=run["value"].where(run["family"] != "clean", run["value"] + 0.1))
    without = run[run["method"] != "dar_sfrl"]
    for other in (
        (moved, invented), (run.assign(seed=9), invented), (run, None), (invented, invented), (run, run.iloc[:0]), (without, invented),
    ):  # fmt: skip
        assert of_this_run(*other) == ("", "")


def test_nothing_is_said_of_few_people_nor_of_what_one_seed_lacks(invented):
    assert in_a_sentence(invented.assign(subjects=3)) == ""
    assert in_a_sentence(invented[invented["method"] != "dar_sfrl"]) == ""
    without = invented[(invented["seed"] != 2) | (invented["method"] != "simclr_adversarial")]
    assert len([said for said in comparisons(without, "expression", "rendered") if "holds on" in said]) == 3
    assert "Of the 3 comparisons" in in_a_sentence(without)


def test_t_interval_is_that_of_two_degrees_of_freedom():
    mean, low, high = t_interval(pd.Series([1.0, 2.0, 6.0]))
    sd = ((2**2 + 1 + 3**2) / 2) ** 0.5
    assert mean == 3 and abs((high - low) / 2 - 4.302653 * sd / 3**0.5) < 1e-5 and abs(low + high - 6) < 1e-9


def test_each_seed_is_looked_up_by_itself():
    results = pd.DataFrame(three_seeds("simclr", [20, 13, 24], 72))
    for _, family, condition, metric in CELLS:
        found = of_each_seed(results, "simclr", ("expression", "rendered"), family, condition, metric)
        assert found.tolist() == {"clean": [72] * 3, "corruption": [20, 13, 24], "attack": [40, 26, 48]}[family]


def test_the_probe_is_that_of_the_run_without_its_sweep():
    params = load(ROOT / "params.yaml")
    probe = probe_of(params)
    assert (probe.sweep, probe.corruptions, probe.attacks, probe.images) == (
        [], params.probe.corruptions, params.probe.attacks, params.probe.images)  # fmt: skip


def test_the_report_names_every_drawn_encoder(committed):
    text = (REPORTS / "seeds.md").read_text(encoding="utf-8")
    assert all(f"| {names.look(method).label} |" in text for method in committed["method"].unique())


def test_what_the_readme_says_of_further_seeds(committed):
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    of = lambda method, block: of_each_seed(committed, method, block, "clean", "clean", None)  # noqa: E731
    mean, low, high = t_interval(of("simclr", ("expression", "rendered")) - of(UNTRAINED, ("expression", "rendered")))
    more = f"it has {mean:.1f} points more on clean expressions, [{low:+.1f}, {high:+.1f}] seed by seed"
    assert f"Over three seeds ([seeds.md](reports/seeds/seeds.md)) {more}" in text
    behind = of("simclr", ("verification", "orl")) - of("dar_sfrl", ("verification", "orl"))
    mean, low, high = t_interval(behind)
    assert behind.idxmin() == 1
    over = f"over three it is {mean:.1f} points behind, [{low:+.1f}, {high:+.1f}] seed by seed"
    assert f"the {behind[1]:.1f} points of the committed run are its best seed, {over}" in text
