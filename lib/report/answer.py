"""'Does pre-training survive degraded and attacked faces?' answered from the numbers."""

import pandas as pd

from lib.report import names
from lib.report.claim import ADVERSARIAL, OURS, PLAIN
from lib.report.claims import compared_blocks, compute_claims, main_blocks
from lib.report.drop_claims import FAMILIES, drop_claims
from lib.report.summary import FEWEST, Scores
from lib.report.wording import every_mean, joined

NO_NETWORK = "pixel_readout"  # the control that says whether the network is what makes the difference


def answer(results: pd.DataFrame) -> list[str]:
    """A few sentences: the verdict first, then one a task, then how many of the claims hold."""
    scores, claims = Scores(results), compute_claims(results)
    blocks = compared_blocks(scores)
    main = [claim for claim in claims if claim.key.endswith(("corruption_vs_simclr", "attack_vs_simclr"))]
    if not main and not blocks:
        return [
            f"The test images show fewer than {FEWEST} people, too few to compare encoders; the tables say what was"
            " measured."
        ]
    if not main:
        return ["Not all that the question compares was part of this run; the tables say what was measured."]
    sentences = [_verdict(sum(claim.holds for claim in main), len(main))]
    sentences += filter(None, (_drops(scores, *block) for block in blocks))
    sentences += _elsewhere(scores)
    sentences += _without_a_network(scores)
    failed = [claim.title for claim in claims if not claim.holds]
    about = f"{len(claims)} statements about {joined([names.task_label(*block) for block in blocks])} that are checked below hold."
    if failed:
        about = f"{len(claims) - len(failed)} of the {about} Those that do not: {'; '.join(failed)}."
    else:
        about = f"All {about}"
    return [*sentences, about]


def _verdict(won: int, compared: int) -> str:
    ours, plain = names.look(OURS).label, names.look(PLAIN).label
    if won == compared:
        return f"Yes, better than plain contrastive pre-training: {ours} loses clearly less than {plain} on {every_mean(won)}."
    if won:
        return f"In part: {ours} loses clearly less than {plain} on {won} of the {compared} means compared."
    return f"No: {ours} does not lose clearly less than {plain} on any mean compared."


def _drops(scores: Scores, task: str, dataset: str) -> str | None:
    """What each of the three methods loses on one task."""
    parts = []
    for method in (OURS, ADVERSARIAL, PLAIN):
        drops = [scores(method, dataset, task, family, "mean", "drop") for family in FAMILIES]
        if None in drops:
            continue
        label, (corruptions, attacks) = names.look(method).label, (f"{drop[0]:.1f}" for drop in drops)
        if parts:
            parts.append(f"{label} {corruptions} and {attacks}")
        else:
            parts.append(f"{label} loses {corruptions} points under corruptions and {attacks} under attacks")
    return f"{names.task_label(task, dataset)}: {joined(parts)}." if parts else None


def _elsewhere(scores: Scores) -> list[str]:
    """The tasks that the claims are not about, by the same rules: what does not hold there, in a sentence each."""
    sentences = []
    for block in scores.blocks():
        if block in main_blocks(scores) or scores.people(*block) < FEWEST:
            continue
        found = drop_claims(scores, *block)
        failed = [claim.text for claim in found if not claim.holds]
        if failed:
            sentences.append(
                f"Not so in {names.task_label(*block)}, where {len(failed)} of the {len(found)} comparisons fail: {' '.join(failed)}"
            )
    return sentences


def _without_a_network(scores: Scores) -> list[str]:
    """How our method compares with its own readout of plain pixels, in a sentence: said whatever comes out."""
    verdicts, parts = [], []
    for task, dataset in compared_blocks(scores):
        for family in FAMILIES:
            ours, control = (scores(m, dataset, task, family, "mean", "drop") for m in (OURS, NO_NETWORK))
            if ours is None or control is None:
                continue
            verdicts.append("more" if control[1] > ours[2] else "less" if control[2] < ours[1] else "alike")
            parts.append(f"{control[0]:.1f}")
    if not verdicts:
        return []
    control = names.look(NO_NETWORK).label
    begin = f"{control[0].upper()}{control[1:]}, without any network, loses {joined(parts)}"
    if all(verdict == "more" for verdict in verdicts):
        return [f"{begin}: clearly more on {every_mean(len(verdicts))}, so it is the trained network that makes the difference."]
    alike, less = verdicts.count("alike"), verdicts.count("less")

    def share(count: int) -> str:
        return every_mean(count) if count == len(verdicts) else f"{count} of the {len(verdicts)} means"

    said = [f"clearly less on {share(less)}, where the trained network does harm"] if less else []
    said += [f"not clearly more on {share(alike)}, where the trained network is not shown to make the difference"] if alike else []
    return [f"{begin}: {joined(said)}."]
