import json
from pathlib import Path

import pandas as pd
import pytest

from lib.report.build import report_tables
from lib.report.claims import answer, compute_claims, read_claims, write_claims
from lib.report.table_formats import csv_text, latex, markdown
from lib.results import read_results

REPORTS = Path(__file__).parents[2] / "reports"


def rows(method, drop, clean=80.0, half=1.0, task="expression", dataset="rendered", **more) -> list[dict]:
    """An encoder with chosen mean drops: {'corruption': 10, 'attack': 20}."""
    base = dict(method=method, seed=0, dataset=dataset, source=dataset, task=task, n=100, subjects=10)
    made = [("clean", "clean", 0, "accuracy", clean)]
    for family, points in drop.items():
        made += [
            (family, "mean", float("nan"), "accuracy", clean - points),
            (family, "mean", float("nan"), "drop", points),
        ]
    made += more.get("extra", [])
    return [
        base | dict(family=f, condition=c, severity=s, metric=m, value=v, ci_low=v - half, ci_high=v + half)
        for f, c, s, m, v in made
    ]


def claims_of(*encoders) -> dict:
    return {
        claim.key: claim for claim in compute_claims(pd.DataFrame([row for encoder in encoders for row in encoder]))
    }


@pytest.mark.parametrize("ours, holds", [(10.0, True), (18.5, False), (25.0, False)])
def test_less_drop_needs_intervals_apart(ours, holds):
    claim = claims_of(rows("simclr", {"attack": 20.0}), rows("dar_sfrl", {"attack": ours}))[
        "expression_rendered_attack_vs_simclr"
    ]
    assert claim.holds is holds
    assert f"{ours:.1f} points" in claim.text and ("clearly less" in claim.text) == holds
    assert claim.numbers["simclr"] == {"value": 20.0, "ci_low": 19.0, "ci_high": 21.0}


@pytest.mark.parametrize("clean, holds", [(77.0, True), (76.9, False), (90.0, True)])
def test_clean_margin(clean, holds):
    claim = claims_of(rows("simclr", {}), rows("dar_sfrl", {}, clean=clean))["expression_rendered_clean_vs_simclr"]
    assert claim.holds is holds and claim.numbers["difference"] == pytest.approx(clean - 80)


@pytest.mark.parametrize("ours, holds", [(20.0, True), (20.5, False), (10.0, True)])
def test_not_worse_than_adversarial_simclr(ours, holds):
    claim = claims_of(rows("simclr_adversarial", {"corruption": 20.0}), rows("dar_sfrl", {"corruption": ours}))
    assert claim["expression_rendered_corruption_vs_simclr_adversarial"].holds is holds


@pytest.mark.parametrize("losses, holds", [((1.0, 2.0, 3.0), True), ((1.0, 3.0, 2.0), False), ((2.0, 2.0, 2.0), False)])
def test_loss_rises(losses, holds):
    extra = [("check", "pgd", s, "loss", x) for s, x in zip((1, 5, 20), losses)]
    claim = claims_of(rows("dar_sfrl", {}, extra=extra))["expression_rendered_loss_rises"]
    assert claim.holds is holds and claim.numbers["steps"] == [1.0, 5.0, 20.0]


@pytest.mark.parametrize("left, holds", [(0.0, True), (5.0, True), (12.0, False)])
def test_large_budget(left, holds):
    claim = claims_of(rows("dar_sfrl", {}, extra=[("sweep", "pgd", 64, "accuracy", left)]))[
        "expression_rendered_large_budget"
    ]
    assert claim.holds is holds


@pytest.mark.parametrize("free, holds", [(50.0, True), (39.0, True), (30.0, False)])
def test_no_masking(free, holds):
    extra = [
        ("check", "white_box", 0, "accuracy", 40.0),
        ("check", "gradient_free", 0, "accuracy", free),
        ("check", "noise", 0, "accuracy", 70.0),
    ]
    claim = claims_of(rows("dar_sfrl", {}, extra=extra))["expression_rendered_no_masking"]
    assert claim.holds is holds and set(claim.numbers) == {"white_box", "gradient_free", "noise"}


@pytest.mark.parametrize("left, holds", [(40.0, True), (30.0, True), (25.0, False)])
def test_more_starts_take_little(left, holds):
    extra = [("check", "restarts", count, "accuracy", value) for count, value in ((3, left), (1, 40.0), (2, 38.0))]
    claim = claims_of(rows("dar_sfrl", {}, extra=extra))["expression_rendered_restarts"]
    assert claim.holds is holds and claim.numbers["one"]["value"] == 40.0 and claim.numbers["starts"] == 3


def test_no_masking_falls_back_to_the_attack():
    extra = [("attack", "pgd", 0, "accuracy", 40.0), ("check", "transfer_simclr", 0, "accuracy", 60.0)]
    claim = claims_of(rows("dar_sfrl", {}, extra=extra))["expression_rendered_no_masking"]
    assert claim.holds and claim.numbers["white_box"]["value"] == 40.0


def test_claims_of_encoders_not_run_are_left_out():
    assert claims_of(rows("simclr", {"attack": 20.0})) == {}


def test_answer_follows_the_numbers():
    def said(ours):
        return answer(pd.DataFrame(rows("simclr", {"corruption": 30, "attack": 60}) + rows("dar_sfrl", ours)))

    good = said({"corruption": 10, "attack": 20})
    assert good[0].startswith("Yes") and "10.0" in good[1] and "60.0" in good[1] and "All 3" in good[-1]
    assert said({"corruption": 10, "attack": 70})[0].startswith("In part")
    bad = said({"corruption": 31, "attack": 70})
    assert bad[0].startswith("No") and "1 of the 3" in bad[-1] and "clearly less drop" in bad[-1]
    assert answer(pd.DataFrame(rows("simclr", {})))[0].startswith("Not all that the question compares was part")


@pytest.mark.parametrize(
    ("control", "said"),
    [
        ((9, 9), "loses 9.0 and 9.0: not clearly more on both means compared, where"),
        ((45, 45), "loses 45.0 and 45.0: clearly more on both means compared, so it is the trained network"),
        ((2, 2), "clearly less on both means compared, where the trained network does harm."),
        ((45, 9), "not clearly more on 1 of the 2 means, where the trained network is not shown to make"),
        ((2, 9), "clearly less on 1 of the 2 means, where the trained network does harm and not clearly more on 1 of the 2 means"),
    ],
)
def test_the_answer_says_what_the_readout_gives_without_a_network(control, said):
    found = rows("simclr", {"corruption": 80, "attack": 80}) + rows("dar_sfrl", {"corruption": 10, "attack": 10})
    sentences = answer(pd.DataFrame(found + rows("pixel_readout", dict(zip(("corruption", "attack"), control)))))
    assert sum("without any network" in sentence for sentence in sentences) == 1
    assert said in " ".join(sentences)
    assert "without any network" not in " ".join(answer(pd.DataFrame(found)))


def test_the_answer_names_the_tasks_where_it_is_not_so():
    def of(task, ours):
        kind = {"task": task, "dataset": "rendered"}
        return rows("simclr", {"corruption": 30, "attack": 60}, **kind) + rows("dar_sfrl", ours, **kind)

    good, bad = {"corruption": 10, "attack": 20}, {"corruption": 31, "attack": 70}
    said = " ".join(answer(pd.DataFrame(of("expression", good) + of("verification", bad))))
    assert "Not so in Verification, rendered, where 2 of the 3 comparisons fail" in said and "70.0 points" in said
    assert "Not so in" not in " ".join(answer(pd.DataFrame(of("expression", good) + of("verification", good))))


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


def test_written_and_read(results, tmp_path):
    claims = compute_claims(results)
    path = write_claims(claims, tmp_path / "claims.json")
    assert read_claims(path) == claims
    first = path.read_bytes()
    assert write_claims(compute_claims(results), path).read_bytes() == first


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
