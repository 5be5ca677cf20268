import json
import re
from pathlib import Path

import pandas as pd
import pytest

from lib.report.answer import answer
from lib.report.build import report_tables
from lib.report.claim import read_claims
from lib.report.claims import DEFINITIONS, compute_claims
from lib.report.table_formats import csv_text, latex, markdown
from lib.results import read_results
from tests.report.invented import claims_of, rows

REPORTS = Path(__file__).parents[2] / "reports"


def test_claims_of_encoders_not_run_are_left_out():
    assert claims_of(rows("simclr", {"attack": 20.0})) == {}


def test_on_other_data_the_claims_are_about_those():
    own = [
        row
        for task in ("verification", "expression", "expression_knn")
        for method, drop in (("simclr", 30.0), ("dar_sfrl", 10.0))
        for row in rows(method, {"corruption": drop, "attack": drop}, task=task, dataset="mine")
    ]
    claims = compute_claims(pd.DataFrame(own))
    assert {claim.topic for claim in claims} == {"Expression, mine", "Verification, mine"} and len(claims) == 6
    found = answer(pd.DataFrame(own))
    assert found.verdict.startswith("Yes") and "(Expression, mine; Verification, mine); on the other, none of 3" in found.verdict


def test_too_few_people_are_no_ground_for_a_claim():
    few = pd.DataFrame(rows("simclr", {"attack": 30.0}) + rows("dar_sfrl", {"attack": 10.0})).assign(subjects=9)
    assert compute_claims(few) == []
    assert "fewer than 10 people" in answer(few).verdict and not answer(few).points


def number_of(term: str, pattern: str) -> float:
    """The number that a definition gives."""
    return float(re.search(pattern, dict(DEFINITIONS)[term])[1])


def test_the_definitions_are_the_rules():
    """A claim holds at the number that its definition gives, and not a little beyond."""

    def holds(key: str, measured=(), clean=80.0) -> bool:
        found = claims_of(rows("dar_sfrl", {}, clean=clean, extra=list(measured)), rows("simclr", {}))
        return found[f"expression_rendered_{key}"].holds

    margin = number_of("within 3 points or better", r"at most ([\d.]+) points")
    assert [holds("clean_vs_simclr", clean=80 - margin - beyond) for beyond in (0, 0.1)] == [True, False]
    zero = number_of("about zero", r"at most ([\d.]+)%")
    assert [holds("large_budget", [("sweep", "pgd", 64, "accuracy", zero + beyond)]) for beyond in (0, 0.1)] == [True, False]
    less = number_of("none does better than its own gradient", r"over ([\d.]+) points")
    for beyond, wanted in ((0, True), (0.1, False)):
        found = [("check", "white_box", 0, "accuracy", 40.0), ("check", "noise", 0, "accuracy", 40 - less - beyond)]
        assert holds("no_masking", found) is wanted
    starts = number_of("little more is lost", r"at most ([\d.]+) points by more starts")
    for beyond, wanted in ((0, True), (0.1, False)):
        found = [("check", "restarts", count, "accuracy", 40 - (starts + beyond) * (count > 1)) for count in (1, 5)]
        assert holds("restarts", found) is wanted
    apart = number_of("little more is lost", r"at most ([\d.]+) points apart")
    for difference, wanted in ((apart, True), (-apart, True), (apart + 0.1, False), (-apart - 0.1, False)):
        found = [("strong", "apgd", 0, "accuracy", 40.0), ("strong", "autoattack", 0, "accuracy", 40 + difference)]
        assert holds("autoattack", found) is wanted
    dip = number_of("the loss goes from ... to", r"over ([\d.]+)% of its largest") / 100
    for beyond, wanted in ((0, True), (0.01, False)):
        losses = (1.0, 2.0, 2.0 - 2 * dip - beyond)
        assert holds("loss_rises", [("check", "pgd", steps, "loss", x) for steps, x in zip((1, 5, 20), losses)]) is wanted


def test_every_word_that_is_defined_is_used():
    checks = [("check", "pgd", 1, "loss", 1.0), ("check", "pgd", 5, "loss", 2.0), ("sweep", "pgd", 64, "accuracy", 0.0)]
    checks += [("check", name, 0, "accuracy", 40.0) for name in ("white_box", "noise")]
    checks += [("check", "restarts", count, "accuracy", 40.0) for count in (1, 5)]
    ours = rows("dar_sfrl", {"attack": 10.0}, extra=checks)
    found = claims_of(ours, rows("simclr", {"attack": 20.0}), rows("simclr_adversarial", {"attack": 20.0}))
    texts = " ".join(claim.text for claim in found.values())
    for term, _ in DEFINITIONS[2:]:  # the first two are words of the answer above the statements
        assert all(part in texts for part in term.removeprefix("the loss ").split(" ... ")), term


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
