"""The README's numbers: they come from the results, and the committed ones are those of the committed results."""

import json
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from lib.report import readme
from lib.report.claims import compute_claims
from lib.results import write_results

ROOT = Path(__file__).resolve().parents[2]
EMPTY = "".join(f"# A\n<!-- {name}: {readme.MAKER} -->\nstale text\n<!-- end of {name} -->\nB\n" for name in ("results", "run"))


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
    assert row[7].rstrip(" |") == f"{drop.value:.1f} [{drop.ci_low:.1f}, {drop.ci_high:.1f}]"
    assert len([line for line in text.splitlines() if line.startswith("| ")]) == 2 + results.method.nunique()
    assert text.count("- holds: ") + text.count("- **does not hold**: ") == len(compute_claims(results))
    assert "4 min 43 s" in text and "2 CPU cores" in text  # 62 + 190 + 31 s
    assert "stale text" not in text and text.count("# A\n") == 2 and text.endswith("B\n")


def test_writing_twice_changes_nothing(checkout):
    readme.main(checkout)
    once = (checkout / "README.md").read_bytes()
    readme.main(checkout)
    assert (checkout / "README.md").read_bytes() == once


@pytest.mark.parametrize("broken", [EMPTY.replace("<!-- end of run -->", ""), EMPTY + EMPTY, "<!-- end of results -->" + EMPTY])
def test_missing_or_repeated_marker(broken):
    with pytest.raises(ValueError, match="once each"):
        readme.fill(broken, {"results": "", "run": ""})


def test_no_results_yet(tmp_path):
    with pytest.raises(FileNotFoundError, match="results.csv is not there: `dvc repro`"):
        readme.blocks(tmp_path)


def test_the_readme_has_the_markers():
    readme.fill((ROOT / "README.md").read_text(encoding="utf-8"), {"results": "", "run": ""})


def test_committed_readme_says_what_the_committed_results_say(tmp_path):
    """What is committed, not the working tree: running the pipeline makes other results without harm."""

    def committed(path):
        shown = subprocess.run(["git", "show", f"HEAD:{path}"], cwd=ROOT, capture_output=True)
        return shown.stdout if shown.returncode == 0 else None

    for name in (readme.RESULTS, readme.RUN):
        content = committed(f"reports/{name}")
        if content is None:
            pytest.skip("no committed results")
        (tmp_path / name).write_bytes(content)
    text = committed("README.md").decode()
    assert text == readme.fill(text, readme.blocks(tmp_path)), "run `python -m lib.report.readme` and commit README.md"


def test_what_the_readme_says_against_us_is_in_the_committed_table():
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    table = pd.read_csv(ROOT / "reports/tables/overview.csv").set_index("encoder")
    columns = [f"{task}_{what}" for task in ("expression_rendered", "verification_orl") for what in (
        "clean_score", "corruption_drop", "attack_drop", "attack_score")]  # fmt: skip

    def overlap(one: str, other: str, column: str) -> bool:
        low, high = table[f"{column}_low"], table[f"{column}_high"]
        return low[one] <= high[other] and low[other] <= high[one]

    assert "not told apart from the untrained network on either of them (their intervals overlap in every column of the table)" in text
    assert all(overlap("simclr", "untrained", column) for column in columns)
    assert "one of seven expressions and one of two pairs; DAR-SFRL's interval under attack on expressions reaches down to that" in text
    ours = table.loc["dar_sfrl"]
    assert ours.expression_rendered_attack_score_low < 100 / 7 < ours.expression_rendered_attack_score_high
    assert "raw pixels lose less than DAR-SFRL on ORL, and the moving pixels alone no more on expressions (points" in text
    assert table.verification_orl_attack_drop["raw_pixels"] < ours.verification_orl_attack_drop
    assert table.expression_rendered_attack_drop["moving_pixels"] <= ours.expression_rendered_attack_drop
    assert overlap("raw_pixels", "dar_sfrl", "verification_orl_attack_drop")
    assert overlap("moving_pixels", "dar_sfrl", "expression_rendered_attack_drop")
