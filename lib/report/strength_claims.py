"""Statements about the attacks on our method: are they strong, or is its gradient masked?

The rules are those of :mod:`lib.degrade.verdicts`, on scores in percent. They read scores alone: an attack without the model's
gradient is not also judged by its loss, which the results do not hold.
"""

from lib.degrade.verdicts import (
    BROKEN, DIP, LARGE_BUDGET, RESTART_GAIN, TOLERANCE, beats_white_box, loss_rises, nothing_left, restarts_help,
)  # fmt: skip
from lib.report import checks, names
from lib.report.claim import OURS, Claim, claim_about
from lib.report.summary import Scores
from lib.report.wording import joined, percent

AUTOATTACK_MARGIN = 5.0  # points that AutoAttack may take beyond Auto-PGD

# What the words of these statements mean, to be printed beside them.
DEFINITIONS = (
    (
        "the loss goes from ... to",
        f"upwards, where the last is above the first and no further steps lower it by over {100 * DIP:g}% of its largest size",
    ),
    ("about zero", f"at most {100 * BROKEN:g}%"),
    ("none does better than its own gradient", f"none leaves over {100 * TOLERANCE:g} points less than the white-box attack"),
    (
        "little more is lost",
        f"at most {100 * RESTART_GAIN:g} points by more starts; AutoAttack and Auto-PGD at most {AUTOATTACK_MARGIN:g} points apart",
    ),
)


def strength_claims(scores: Scores, task: str, dataset: str) -> list[Claim]:
    """Those that the measured checks allow."""
    kinds = (_loss_rises, _large_budget, _no_masking, _restarts, _autoattack)
    found = [kind(scores, task, dataset) for kind in kinds]
    return [claim for claim in found if claim is not None]


def _loss_rises(scores: Scores, task: str, dataset: str) -> Claim | None:
    curve = checks.loss_by_steps(scores, OURS, task, dataset)
    if len(curve) < 2:
        return None
    steps, losses = list(curve), [cell[0] for cell in curve.values()]
    holds, label = loss_rises(losses), names.task_label(task, dataset)
    text = (
        f"Against {names.look(OURS).label} ({label}) PGD's loss ({names.attack_loss(task)}) goes from {losses[0]:.3g} with {steps[0]:g}"
        f" step{'' if steps[0] == 1 else 's'} to {losses[-1]:.3g} with {steps[-1]:g}{'' if holds else ', but not always upwards'}."
    )
    return claim_about(
        task, dataset, "loss_rises", f"attack loss rises with steps, {label}", text, holds,
        steps=steps, loss=[round(float(x), 4) for x in losses],
    )  # fmt: skip


def _large_budget(scores: Scores, task: str, dataset: str) -> Claim | None:
    eps = 255 * LARGE_BUDGET
    cell = scores(OURS, dataset, task, "sweep", "pgd", severity=eps)
    if cell is None:
        return None
    holds, label = nothing_left(cell[0] / 100), names.task_label(task, dataset)
    text = (
        f"PGD with eps = {eps:g}/255 leaves {names.look(OURS).label} {percent(cell)} on {label}: "
        f"{'about zero' if holds else 'not zero, so the attack may be weak or the gradient masked'}."
    )
    title = f"eps = {eps:g}/255 drives the score to about zero, {label}"
    return claim_about(task, dataset, "large_budget", title, text, holds, dar_sfrl=cell)


def _no_masking(scores: Scores, task: str, dataset: str) -> Claim | None:
    own, others = checks.white_box(scores, OURS, task, dataset), checks.other_attacks(scores, OURS, task, dataset)
    if own is None or not others:
        return None
    stronger = [names.condition_label(name) for name, cell in others.items() if beats_white_box(cell[0] / 100, own[0] / 100)]
    listed = ", ".join(f"{names.condition_label(name)} {percent(cell)}" for name, cell in others.items())
    verdict = f"{joined(stronger)} does better than its own gradient, a sign of masking" if stronger else (
        "none does better than its own gradient")  # fmt: skip
    label = names.task_label(task, dataset)
    text = (
        f"Score of {names.look(OURS).label} under attack ({label}): white-box {percent(own)}; {listed}"
        f" ({scores.facts(task, dataset, 'check')}): {verdict}."
    )
    title = f"attacks without the model's gradient are not stronger, {label}"
    return claim_about(task, dataset, "no_masking", title, text, not stronger, white_box=own, **others)


def _restarts(scores: Scores, task: str, dataset: str) -> Claim | None:
    cells = checks.by_restarts(scores, OURS, task, dataset)
    if len(cells) < 2:
        return None
    (_, first), *_, (most, last) = cells.items()
    holds, label = not restarts_help(first[0] / 100, last[0] / 100), names.task_label(task, dataset)
    text = (
        f"The best of {most:g} random starts of PGD leaves {names.look(OURS).label} {percent(last)} on {label}, one start"
        f" {percent(first)}: {'little more is lost' if holds else 'one start finds too little, a sign of masking'}"
        f" ({scores.facts(task, dataset, 'check')})."
    )
    title = f"more random starts take little more, {label}"
    return claim_about(task, dataset, "restarts", title, text, holds, one=first, all=last, starts=most)


def _autoattack(scores: Scores, task: str, dataset: str) -> Claim | None:
    """AutoAttack must not take much more than Auto-PGD on the task's own loss: else that loss misleads gradients."""
    cell, own = (scores(OURS, dataset, task, "strong", name) for name in ("autoattack", "apgd"))
    if cell is None or own is None:
        return None
    holds = abs(own[0] - cell[0]) <= AUTOATTACK_MARGIN  # and one that breaks much less than a part of it is broken itself
    label = names.task_label(task, dataset)
    text = (
        f"AutoAttack leaves {names.look(OURS).label} {percent(cell)} on {label}, Auto-PGD alone"
        f" {percent(own)} of the same images ({scores.facts(task, dataset, 'strong')}): "
        f"{'little more is lost' if holds else 'gradients alone overrate it' if cell[0] < own[0] else 'AutoAttack is weaker'}."
    )
    title = f"AutoAttack takes little more than Auto-PGD alone, {label}"
    return claim_about(task, dataset, "autoattack", title, text, holds, autoattack=cell, apgd=own)
