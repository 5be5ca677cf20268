import json
from pathlib import Path

import pandas as pd
import pytest

from lib.report.answer import answer
from lib.report.build import report_tables
from lib.report.claim import read_claims
from lib.report.claims import compute_claims
from lib.report.table_formats import csv_text, latex, markdown
from lib.results import read_results
from tests.report.invented import claims_of, rows

REPORTS = Path(__file__).parents[2] / "reports"


def test_claims_of_encoders_not_run_are_left_out():
    assert claims_of(rows("simclr", {"attack": 20.0})) == {}


def test_on_other_data_the_claims_are_about_those():
    own = [
        row
        for task in ("verification", "expression", "action_units")
        for method, drop in (("simclr", 30.0), ("dar_sfrl", 10.0))
        for row in rows(method, {"corruption": drop, "attack": drop}, task=task, dataset="mine")
    ]
    claims = compute_claims(pd.DataFrame(own))
    assert {claim.topic for claim in claims} == {"Expression, mine", "Verification, mine"} and len(claims) == 6
    assert answer(pd.DataFrame(own))[0].startswith("Yes") and "all 4 means" in answer(pd.DataFrame(own))[0]


def test_too_few_people_are_no_ground_for_a_claim():
    few = pd.DataFrame(rows("simclr", {"attack": 30.0}) + rows("dar_sfrl", {"attack": 10.0})).assign(subjects=9)
    assert compute_claims(few) == []
    (sentence,) = answer(few)
    assert "fewer than 10 people" in sentence


@pytest.mark.skipif(
    not (REPORTS / "results.csv").exists() or not (REPORTS / "claims.json").exists(), reason="no committed run yet"
)
def test_committed_claims_and_tables_are_those_of_the_committed_results():
    results = read_results(REPORTS / "results.csv")
    assert read_claims(REPORTS / "claims.json") == compute_claims(results)
    run = json.loads((REPORTS / "run.json").read_text())
    tables = report_tables(results, tuple(run["seen_corruptions"]), run["attack_eps"])
    wanted = {
        f"{t.name}.{suffix}": write(t)
        for t in tables
        for suffix, write in (("md", markdown), ("tex", latex), ("csv", csv_text))
    }
    assert {path.name: path.read_text(encoding="utf-8") for path in (REPORTS / "tables").iterdir()} == wanted
