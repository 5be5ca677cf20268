import re
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from lib.report.answer import Answer, answer
from lib.results import read_results
from tests.report.invented import rows

TASKS = (("expression", "rendered"), ("verification", "orl"), ("verification", "rendered"))
PLAIN, ADVERSARIAL = {"corruption": 30, "attack": 60}, {"corruption": 20, "attack": 40}
GOOD = {"corruption": 10, "attack": 20}


def said(*of_ours: dict, **more) -> Answer:
    """The answer where our method loses so much on the first tasks of ``TASKS``."""
    found = []
    for ours, (task, dataset) in zip(of_ours, TASKS):
        for method, drop in (("simclr", PLAIN), ("simclr_adversarial", ADVERSARIAL), ("dar_sfrl", ours)):
            found += rows(method, drop, task=task, dataset=dataset, **(more if method == "dar_sfrl" else {}))
    return answer(pd.DataFrame(found))


def test_the_verdict_is_yes_only_where_every_comparison_holds():
    assert said(GOOD).verdict.startswith("Yes, better than SimCLR, on the one task the statements are about (Expression, rendered).")
    assert said(GOOD, GOOD).verdict.endswith("the two tasks the statements are about (Expression, rendered; Verification, ORL).")
    part = said({"corruption": 10, "attack": 50}).verdict  # clearly less than SimCLR, more than adversarial SimCLR
    assert part.startswith("In part: on the one task") and part.endswith("1 of 5 comparisons fails.")
    assert said(GOOD, clean=70.0).verdict.startswith("In part")
    bad = said({"corruption": 31, "attack": 70}).verdict
    assert bad.startswith("No: DAR-SFRL (corrected) does not lose clearly less") and bad.endswith("4 of 5 comparisons fail.")


def test_the_verdict_says_what_fails_on_the_other_tasks():
    assert said(GOOD, GOOD, GOOD).verdict.endswith("; on the other, none of 5 comparisons fail.")
    assert said(GOOD, GOOD, {"corruption": 25, "attack": 65}).verdict.endswith("; on the other, 3 of 5 comparisons fail.")


def test_a_point_a_task_by_the_same_comparisons():
    found = said(GOOD, {"corruption": 25, "attack": 65}, {"corruption": 29, "attack": 50}, clean=75.0)
    assert found.lead == "Points lost under corruptions / attacks by DAR-SFRL (corrected), SimCLR + adversarial positive and SimCLR:"
    assert found.points[:3] == (
        "Expression, rendered: 10.0 / 20.0, 20.0 / 40.0 and 30.0 / 60.0; one of five comparisons fails: clean score (5.0 points below"
        " SimCLR's).",
        "Verification, ORL: 25.0 / 65.0, 20.0 / 40.0 and 30.0 / 60.0; four of five comparisons fail: corruptions beside SimCLR +"
        " adversarial positive, attacks beside both, clean score (5.0 points below SimCLR's).",
        "Verification, rendered: 29.0 / 50.0, 20.0 / 40.0 and 30.0 / 60.0; four of five comparisons fail: corruptions beside both (less"
        " than SimCLR, but the intervals overlap), attacks beside SimCLR + adversarial positive, clean score (5.0 points below SimCLR's).",
    )
    assert said(GOOD).points[0].endswith("; all five comparisons hold.")


def test_what_is_lost_under_unseen_corruptions_stands_beside():
    def measured(unseen: float) -> list[tuple]:
        return [("corruption", name, None, "drop", drop) for name, drop in (("mean_seen", 1.0), ("mean_unseen", unseen))]

    found = rows("simclr", PLAIN, extra=measured(31.0)) + rows("dar_sfrl", GOOD, extra=measured(19.0))
    point = answer(pd.DataFrame(found)).points[0]
    lost = "10.0 / 20.0 and 30.0 / 60.0; under unseen corruptions 19.0 and 31.0"
    assert point == f"Expression, rendered: {lost}; all three comparisons hold."
    one = rows("simclr", PLAIN) + rows("dar_sfrl", GOOD, extra=measured(19.0))
    assert "unseen" not in answer(pd.DataFrame(one)).points[0]


def test_few_people_are_not_compared():
    few = [row | {"subjects": 9} for method, drop in (("simclr", PLAIN), ("dar_sfrl", GOOD))
           for row in rows(method, drop, task="verification")]  # fmt: skip
    enough = rows("simclr", PLAIN) + rows("dar_sfrl", GOOD)
    found = answer(pd.DataFrame(enough + few))
    assert found.points[1] == "Verification, rendered: 10.0 / 20.0 and 30.0 / 60.0; 9 people, too few to compare."
    assert "the other" not in found.verdict
    assert answer(pd.DataFrame(few)) == Answer(
        "The test images show fewer than 10 people, too few to compare encoders; the tables say what was measured."
    )


def test_what_was_not_measured_is_said():
    assert answer(pd.DataFrame(rows("simclr", {}))).verdict.startswith("Not all that the question compares was part")
    one = answer(pd.DataFrame(rows("simclr", {"attack": 60}) + rows("dar_sfrl", {"attack": 20})))
    assert one.verdict.startswith("Yes, better than SimCLR under attacks (corruptions were not compared), on the one task")
    assert one.points[0] == "Expression, rendered: - / 20.0 and - / 60.0; both comparisons hold."
    assert one.lead.endswith("by DAR-SFRL (corrected) and SimCLR:")


def test_how_many_statements_hold():
    assert said(GOOD).points[-1] == "All 5 statements about Expression, rendered hold."
    weak = [("sweep", "pgd", 64, "accuracy", 50.0)]
    assert said({"corruption": 10, "attack": 50}, extra=weak).points[-1] == (
        "4 of the 6 statements about Expression, rendered hold. Of the checks of the attacks these do not: eps = 64/255 drives the score"
        " to about zero, Expression, rendered."
    )


@pytest.mark.parametrize(
    ("control", "found"),
    [
        ((9, 9), "in none of two comparisons of means; in two the intervals overlap, so there the network is not shown to make a"
                 " difference."),
        ((45, 45), "on both means compared: the network makes the difference."),
        ((2, 2), "in none of two comparisons of means; it loses clearly less in two, where the network does harm."),
        ((45, 9), "in one of two comparisons of means; in one the intervals overlap, so there the network is not shown to make a"
                  " difference."),
        ((2, 45), "in one of two comparisons of means; it loses clearly less in one, where the network does harm."),
        ((2, 9), "in none of two comparisons of means; it loses clearly less in one, where the network does harm; in one the intervals"
                 " overlap, so there the network is not shown to make a difference."),
    ],
)  # fmt: skip
def test_the_answer_says_what_the_readout_gives_without_a_network(control, found):
    measured = rows("simclr", {"corruption": 80, "attack": 80}) + rows("dar_sfrl", {"corruption": 10, "attack": 10})
    points = answer(pd.DataFrame(measured + rows("pixel_readout", dict(zip(("corruption", "attack"), control))))).points
    assert points[1] == f"Without a network (DAR-SFRL's readout of plain pixels) clearly more is lost {found}"
    assert not any("Without a network" in point for point in answer(pd.DataFrame(measured)).points)


def test_the_committed_answer_is_short_and_has_every_task(tmp_path):
    """What git has: a run makes other results in the working tree without harm."""
    shown = subprocess.run(["git", "show", "HEAD:reports/results.csv"], cwd=Path(__file__).parent, capture_output=True)
    if shown.returncode:
        pytest.skip("no committed results")
    (tmp_path / "results.csv").write_bytes(shown.stdout)
    found = answer(read_results(tmp_path / "results.csv"))
    words = re.findall(r"[A-Za-z]\S*", " ".join([found.verdict, found.lead, *found.points]))
    assert len(words) <= 160
    assert [point.split(":")[0] for point in found.points[:4]] == [
        "Expression, rendered", "Verification, ORL", "Verification, rendered", "Action units, rendered",
    ]  # fmt: skip
