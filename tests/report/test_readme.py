"""The README's numbers: they come from the results, and the committed ones are those of the committed results."""

import json
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lib.degrade.apgd import apgd, apgd_targeted
from lib.degrade.attacks import ATTACKS, attack
from lib.degrade.autoattack import PARTS
from lib.degrade.corruptions import CORRUPTIONS
from lib.degrade.fab import fab_targeted
from lib.degrade.square import square_search
from lib.degrade.structured import structured_attack
from lib.probe_params import ProbeParams
from lib.report import readme
from lib.report.claims import compute_claims
from lib.report.seeds import summaries
from lib.report.wording import counted
from lib.results import read_results, write_results
from lib.strong_attacks import PARTS_OF_M, STRONG

ROOT = Path(__file__).resolve().parents[2]
EMPTY = "".join(f"# A\n<!-- {name}: {readme.MAKER} -->\nstale text\n<!-- end of {name} -->\nB\n" for name in ("results", "demo"))


@pytest.fixture
def checkout(tmp_path, results, run):
    """A folder with reports/ of invented results and a README with empty blocks."""
    write_results(results, tmp_path / "reports" / readme.RESULTS)
    (tmp_path / "reports" / readme.RUN).write_text(json.dumps(run | {"attack_eps": 8.0}))
    (tmp_path / "README.md").write_text(EMPTY)
    return tmp_path


def test_numbers_are_those_of_the_results(checkout, results):
    readme.main(checkout)
    text = (checkout / "README.md").read_text()
    row = next(line for line in text.splitlines() if line.startswith("| **DAR-SFRL (corrected)**")).split(" | ")
    ours = results[(results.method == "dar_sfrl") & (results.task == "verification") & (results.dataset == "orl")]
    drop = ours[(ours.family == "attack") & (ours.condition == "mean") & (ours.metric == "drop")].iloc[0]
    assert row[8].rstrip(" |") == f"{drop.value:.1f} [{drop.ci_low:.1f}, {drop.ci_high:.1f}]"
    unseen = ours[(ours.condition == "mean_unseen") & (ours.metric == "drop")].iloc[0]
    assert row[7] == f"{unseen.value:.1f} [{unseen.ci_low:.1f}, {unseen.ci_high:.1f}]"
    shown = results.method.isin(readme.SHOWN)
    lines = [line for line in text.splitlines() if line.startswith("| ") and line.count("|") == 10]
    assert len(lines) == 2 + results[shown].method.nunique()
    assert 4 < results[shown].method.nunique() < results.method.nunique()
    assert f"{len(compute_claims(results))} statements about Expression, rendered and Verification, ORL hold" in text
    assert "4 min 43 s" in text and "2 CPU cores" in text  # 62 + 190 + 31 s
    assert "| 20 rendered people, 3 clips of 50 frames each: 3,000 images of 24 px |" in text
    assert "| 8 epochs (DAR-SFRL (corrected) 5), 192 images a step" in text
    types = {c for c in results[results.family == "corruption"].condition if not c.startswith(("mean", "worst"))}
    assert f"| {len(types)} corruption types at 5 severities, 8 attacks of 8/255 |" in text
    assert "stale text" not in text and text.count("# A\n") == 2 and text.endswith("B\n")


def test_the_demo_is_said_to_be_the_demo_whichever_method_has_epochs_of_its_own(checkout):
    file = checkout / "reports" / readme.RUN
    run = json.loads(file.read_text())
    for method in run["params"]["methods"].values():
        method.pop("epochs", None)
    file.write_text(json.dumps(run))
    block = readme.blocks(checkout / "reports")["demo"]
    assert "| learnt from | 20 rendered people, 3 clips" in block and "| 8 epochs, 192 images a step |" in block


def test_writing_twice_changes_nothing(checkout):
    readme.main(checkout)
    once = (checkout / "README.md").read_bytes()
    readme.main(checkout)
    assert (checkout / "README.md").read_bytes() == once


@pytest.mark.parametrize("broken", [EMPTY.replace("<!-- end of demo -->", ""), EMPTY + EMPTY, "<!-- end of results -->" + EMPTY])
def test_missing_or_repeated_marker(broken):
    with pytest.raises(ValueError, match="once each"):
        readme.fill(broken, {"results": "", "demo": ""})


def test_no_results_yet(tmp_path):
    with pytest.raises(FileNotFoundError, match="results.csv is not there: `dvc repro`"):
        readme.blocks(tmp_path)


def test_the_readme_has_the_markers():
    readme.fill((ROOT / "README.md").read_text(encoding="utf-8"), {"results": "", "demo": ""})


def test_committed_readme_says_what_the_committed_results_say(tmp_path):
    """What is committed, not the working tree: running the pipeline makes other results without harm."""

    def committed(path):
        shown = subprocess.run(["git", "show", f"HEAD:{path}"], cwd=ROOT, capture_output=True)
        return shown.stdout if shown.returncode == 0 else None

    for name in (readme.RESULTS, readme.RUN, readme.SEEDS):
        content = committed(f"reports/{name}")
        if content is None:
            pytest.skip("no committed results")
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    text = committed("README.md").decode()
    assert text == readme.fill(text, readme.blocks(tmp_path)), "run `python -m lib.report.readme` and commit README.md"


def test_seeds_of_another_run_are_not_spoken_of(checkout, results):
    several = summaries(pd.concat([results, results.assign(seed=7)]), ["simclr", "simclr_adversarial", "dar_sfrl"])
    write_results(several, checkout / "reports" / readme.SEEDS)
    said = " Of the 10 comparisons on Expression, rendered and Verification, ORL 10 hold on every seed."
    assert said in readme.blocks(checkout / "reports")["results"]
    ours = (several["method"] == "dar_sfrl") & (several["seed"] == 7) & (several["family"] != "clean")
    worse = several.assign(**{name: several[name].where(~ours, several[name] + 90) for name in ("value", "ci_low", "ci_high")})
    write_results(worse, checkout / "reports" / readme.SEEDS)
    block = readme.blocks(checkout / "reports")["results"]
    assert block.startswith("**Not better than SimCLR, over 2 seeds (yes on seed 0, no on seed 7).** Of the 10 comparisons")
    assert "\nThe committed run, seed 0: Yes, better than SimCLR" in block
    moved = several.assign(value=several["value"] + 0.5, ci_high=several["ci_high"] + 0.5)
    write_results(moved, checkout / "reports" / readme.SEEDS)
    assert readme.blocks(checkout / "reports")["results"].startswith("**Yes, better than SimCLR")


def test_what_the_readme_says_against_us_is_in_the_committed_table():
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    table = pd.read_csv(ROOT / "reports/tables/overview.csv").set_index("encoder")
    columns = [f"{task}_{what}" for task in ("expression_rendered", "verification_orl") for what in (
        "clean_score", "corruption_drop", "attack_drop", "attack_score")]  # fmt: skip

    def overlap(one: str, other: str, column: str) -> bool:
        low, high = table[f"{column}_low"], table[f"{column}_high"]
        return low[one] <= high[other] and low[other] <= high[one]

    assert "not told apart from the untrained network on either task of the table (their intervals overlap in every column of the table)" in text
    assert all(overlap("simclr", "untrained", column) for column in columns)
    score = [table.loc["dar_sfrl", f"expression_rendered_attack_score{end}"] for end in ("", "_low", "_high")]
    right = "{:.1f}% [{:.1f}, {:.1f}]".format(*score)
    assert f"DAR-SFRL is right on {right} of expressions under attack; guessing would be on {100 / 7:.1f}%" in text
    ours = table.loc["dar_sfrl"]
    assert ours.expression_rendered_attack_score_low < 100 / 7 < ours.expression_rendered_attack_score_high
    drops = lambda column, *names: " and ".join(f"{table.loc[name, column]:.1f}" for name in names)  # noqa: E731
    on_orl, moving = (drops(f"{task}_attack_drop", name, "dar_sfrl") for task, name in (
        ("verification_orl", "raw_pixels"), ("expression_rendered", "moving_pixels")))  # fmt: skip
    assert f"raw pixels lose less than DAR-SFRL on ORL ({on_orl} points), and the moving" in text
    assert f"moving pixels alone no more on expressions ({moving};" in text
    assert table.verification_orl_attack_drop["raw_pixels"] < ours.verification_orl_attack_drop
    assert table.expression_rendered_attack_drop["moving_pixels"] <= ours.expression_rendered_attack_drop
    assert overlap("raw_pixels", "dar_sfrl", "verification_orl_attack_drop")
    assert overlap("moving_pixels", "dar_sfrl", "expression_rendered_attack_drop")


def test_seen_and_unseen_types_and_what_is_right_under_attack_are_those_of_the_committed_results():
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    found = read_results(ROOT / "reports" / readme.RESULTS)
    found = found[(found["task"] == "expression") & found["metric"].str.match("drop|accuracy|recall")]
    value = found.set_index(["method", "family", "condition", "metric"])["value"]
    drop = lambda method, types: f"{value.loc[(method, 'corruption', types, 'drop')].item():.1f}"  # noqa: E731
    ours, other, blur = "dar_sfrl", "simclr_adversarial", "blur"
    assert f"of seen types it loses {drop(ours, 'mean_seen')} points, adversarial SimCLR {drop(other, 'mean_seen')}; of unseen ones" in text
    unseen = f"{drop(ours, 'mean_unseen')} and {drop(other, 'mean_unseen')}, and SimCLR behind a blur {drop(blur, 'mean_unseen')}"
    assert f"of unseen ones {unseen}" in text

    def recall(method: str, name: str) -> float:
        return value.loc[(method, "attack", "mean", f"recall_{name}")].item()

    kept = [f"of {name} {recall(ours, name):.0f}%" for name in ("surprise", "fear", "sadness")]
    assert f"{kept[0]} are, {kept[1]}, {kept[2]}, of each of the other four less than 5%" in text
    assert max(recall(ours, name) for name in ("neutral", "happiness", "disgust", "anger")) < 5
    assert all(abs(recall(ours, name) - recall("pixel_readout", name)) < 5 for name in ("surprise", "fear", "sadness", "neutral"))
    assert f"{value.loc[(ours, 'attack', 'mean', 'accuracy')].item():.0f}% of expressions are still right" in text


def test_the_attacks_are_counted_as_the_code_has_them():
    text, api = (" ".join((ROOT / page).read_text(encoding="utf-8").split()) for page in ("README.md", "docs/api.md"))
    others = (apgd, apgd_targeted, fab_targeted, square_search, structured_attack)
    measured, eight, nine = ProbeParams().attacks, counted(len(ProbeParams().attacks)), counted(len(ATTACKS))
    torch.manual_seed(0)  # enough images that no two attacks end in the same corners by chance
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 32), nn.Tanh(), nn.Linear(32, 3))
    images, labels = torch.rand(32, 3, 4, 4), torch.arange(32) % 3
    made = {name: attack(name, net, images, labels, F.cross_entropy, seeds=torch.arange(32)) for name in measured}
    different = len({tuple(result.flatten().tolist()) for result in made.values()})
    assert f"under {eight} white-box attacks" in text and f"**The {eight} attacks** are those" in text
    assert f"{eight} names, {counted(different)} different attacks; means over the attacks count all {eight}" in text
    assert set(ATTACKS) - set(measured) == {"fgsm"} and f"`ATTACKS` has {nine} names, the {eight} of DAR-SFRL's code and FGSM" in api
    assert f"`CORRUPTIONS`: {len(CORRUPTIONS)} types" in api
    count = len(ATTACKS) + len(others)
    assert f"`lib/degrade` has {count} attacks: these {nine}, Auto-PGD, APGD-T, FAB-T, Square and" in api
    assert f"| {len(CORRUPTIONS)} corruptions, {count} attacks, " in text
    assert f"AutoAttack is {counted(len(PARTS))} attacks in turn" in text and f"AutoAttack is {counted(len(PARTS))} of them in turn" in api
    assert f"{counted(len(STRONG)).capitalize()} stronger ones are measured" in text and f"and {counted(len(PARTS_OF_M))} on M" in text


def test_what_labels_and_the_attack_would_keep_is_what_the_study_measured():
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    study = pd.read_csv(ROOT / "reports/expression_under_attack.csv").set_index(["encoder", "condition"])
    kept = study.loc[("head trained with labels against PGD, on pixels", "pgd 8/255"), "accuracy"]
    assert f"trained *with* labels against the attack keeps {kept:.0f} of 100" in text
