"""'Does pre-training survive degraded and attacked faces?' answered from the numbers: a verdict, then a point for each task."""

from dataclasses import dataclass

import pandas as pd

from lib.report import names
from lib.report.claim import ADVERSARIAL, OURS, PLAIN, Claim
from lib.report.claims import compared_blocks, compute_claims
from lib.report.drop_claims import FAMILIES, drop_claims, in_short
from lib.report.strength_claims import strength_claims
from lib.report.summary import FEWEST, Scores
from lib.report.wording import counted, every_mean, joined

METHODS = (OURS, ADVERSARIAL, PLAIN)
NO_NETWORK = "pixel_readout"  # the control that says whether the network is what makes the difference


@dataclass(frozen=True)
class Answer:
    """``verdict``: one sentence. ``lead``: which numbers the ``points`` begin with; both are empty where nothing was compared."""

    verdict: str
    lead: str = ""
    points: tuple[str, ...] = ()


def answer(results: pd.DataFrame) -> Answer:
    """The verdict; then a point a task, by the same comparisons for all, one on the control without a network, one on the claims."""
    scores, claims = Scores(results), compute_claims(results)
    main = compared_blocks(scores)
    if not main:
        return Answer(
            f"The test images show fewer than {FEWEST} people, too few to compare encoders; the tables say what was measured."
        )
    found = {block: drop_claims(scores, *block) for block in scores.blocks() if scores.people(*block) >= FEWEST}
    if not _against_plain(found[block] for block in main):
        return Answer("Not all that the question compares was part of this run; the tables say what was measured.")
    measured = [method for method in METHODS if any(_drops(scores, method, *block) for block in scores.blocks())]
    lead = f"Points lost under corruptions / attacks by {joined([names.look(method).label for method in measured])}:"
    points = [_of_task(scores, block, measured, found.get(block)) for block in scores.blocks()]
    points += [*_without_a_network(scores, list(found)), _of_claims(scores, main, claims)]
    return Answer(_verdict(main, found), lead, tuple(points))


def _against_plain(found) -> list[Claim]:
    """Those about less drop than SimCLR."""
    return [claim for claims in found for claim in claims if claim.key.endswith(tuple(f"_{family}_vs_{PLAIN}" for family in FAMILIES))]


def _verdict(main: list[tuple[str, str]], found: dict[tuple[str, str], list[Claim]]) -> str:
    """Yes only where every comparison of the main tasks holds; what fails on the other tasks stands in the same sentence."""
    ours, plain = names.look(OURS).label, names.look(PLAIN).label
    of_main = [claim for block in main for claim in found[block]]
    of_others = [claim for block, claims in found.items() if block not in main for claim in claims]
    labels = "; ".join(names.task_label(*block) for block in main)
    tasks = f"the {counted(len(main), 'task')} the statements are about ({labels})"
    against = _against_plain([of_main])
    compared = [f"{family}s" for family in FAMILIES if any(claim.key.endswith(f"_{family}_vs_{PLAIN}") for claim in against)]
    lacking = [f"{family}s" for family in FAMILIES if f"{family}s" not in compared]
    if all(claim.holds for claim in of_main):
        under = f" under {joined(compared)} ({joined(lacking)} were not compared)" if lacking else ""
        said = f"Yes, better than {plain}{under}, on {tasks}"
    elif any(claim.holds for claim in against):
        said = f"In part: on {tasks}, {_failing(of_main)}"
    else:
        said = f"No: {ours} does not lose clearly less than {plain} on any mean compared; on {tasks}, {_failing(of_main)}"
    if not of_others:
        return f"{said}."
    count = sum(block not in main and bool(claims) for block, claims in found.items())
    others = "the other" if count == 1 else f"the other {counted(count)}"
    return f"{said}; on {others}, {_failing(of_others)}."


def _failing(claims: list[Claim]) -> str:
    failed = sum(not claim.holds for claim in claims)
    return f"{failed or 'none'} of {len(claims)} comparisons fail{'s' if failed == 1 else ''}"


def _drops(scores: Scores, method: str, task: str, dataset: str) -> str | None:
    """'13.4 / 48.6', a dash for what was not measured; None where neither was."""
    drops = [scores(method, dataset, task, family, "mean", "drop") for family in FAMILIES]
    return " / ".join("-" if drop is None else f"{drop[0]:.1f}" for drop in drops) if any(drops) else None


def _unseen(scores: Scores, block: tuple[str, str], measured: list[str]) -> str:
    """The same under the corruption types that our method did not train on; nothing where it trained on none, or on all."""
    task, dataset = block
    drops = [scores(method, dataset, task, "corruption", "mean_unseen", "drop") for method in measured]
    if None in drops or scores(OURS, dataset, task, "corruption", "mean_seen", "drop") is None:
        return ""
    return f"; under unseen corruptions {joined([f'{drop[0]:.1f}' for drop in drops])}"


def _of_task(scores: Scores, block: tuple[str, str], measured: list[str], found: list[Claim] | None) -> str:
    """What each method loses on a task, and which of the comparisons hold; ``found`` is None where people are too few for them."""
    lost = joined([_drops(scores, method, *block) or "not measured" for method in measured])
    begin = f"{names.task_label(*block)}: {lost}{_unseen(scores, block, measured)}"
    if found is None:
        return f"{begin}; {scores.people(*block)} people, too few to compare."
    if not found:
        return f"{begin}; nothing to compare."
    failed = [claim for claim in found if not claim.holds]
    if not failed:
        count = len(found)
        few = {1: "the one comparison holds", 2: "both comparisons hold"}
        return f"{begin}; {few.get(count, f'all {counted(count)} comparisons hold')}."
    fail = "fails" if len(failed) == 1 else "fail"
    return f"{begin}; {counted(len(failed))} of {counted(len(found), 'comparison')} {fail}: {', '.join(in_short(failed))}."


def _without_a_network(scores: Scores, blocks: list[tuple[str, str]]) -> list[str]:
    """How our method compares with its own readout of plain pixels: said whatever comes out."""
    verdicts = []
    for task, dataset in blocks:
        for family in FAMILIES:
            ours, control = (scores(m, dataset, task, family, "mean", "drop") for m in (OURS, NO_NETWORK))
            if ours is not None and control is not None:
                verdicts.append("more" if control[1] > ours[2] else "less" if control[2] < ours[1] else "alike")
    if not verdicts:
        return []
    readout, count = names.look(NO_NETWORK).label, len(verdicts)
    more, less, alike = (verdicts.count(verdict) for verdict in ("more", "less", "alike"))
    if more == count:
        return [f"Without a network ({readout}) clearly more is lost on {every_mean(count)}: the network makes the difference."]
    rest = f"in {counted(alike)} the intervals overlap, so there the network is not shown to make a difference" if alike else ""
    harm = f"it loses clearly less in {counted(less)}, where the network does harm" if less else ""
    some = f"{counted(more) if more else 'none'} of {counted(count, 'comparison')} of means"
    return [f"Without a network ({readout}) clearly more is lost in {some}; {'; '.join(filter(None, (harm, rest)))}."]


def _of_claims(scores: Scores, main: list[tuple[str, str]], claims: list[Claim]) -> str:
    """How many hold; of those that do not the points of the tasks name the comparisons, so only the others are named here."""
    failed, tasks = sum(not claim.holds for claim in claims), joined([names.task_label(*block) for block in main])
    if not failed:
        return f"All {len(claims)} statements about {tasks} hold."
    checks = [claim.title for block in main for claim in strength_claims(scores, *block) if not claim.holds]
    named = f" Of the checks of the attacks these do not: {'; '.join(checks)}." if checks else ""
    return f"{len(claims) - failed} of the {len(claims)} statements about {tasks} hold.{named}"
