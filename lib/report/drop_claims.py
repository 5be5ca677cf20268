"""Statements about drops: does our method lose less under corruptions and attacks, and what does that cost on clean faces?"""

from lib.report import names
from lib.report.claim import ADVERSARIAL, OURS, PLAIN, Claim, claim_about
from lib.report.summary import Scores
from lib.report.wording import percent, points

FAMILIES = ("corruption", "attack")
CLEAN_MARGIN = 3.0  # points that robustness may cost on clean faces
MEASURED = {"corruption": "corruptions", "attack": "attacks", "clean": "clean score"}  # what a comparison is about

# What the words of these statements mean, to be printed beside them.
DEFINITIONS = (
    (
        "the comparisons of a task",
        f"against {names.look(PLAIN).label}, clearly less lost under corruptions and under attacks, and a clean score within"
        f" {CLEAN_MARGIN:g} points; against {names.look(ADVERSARIAL).label}, no more lost under either, by the numbers"
        " alone, which is easier to meet",
    ),
    ("unseen corruptions", "the types that are not in DAR-SFRL's training mixture; the SimCLR encoders saw none of the types as such"),
    ("clearly less", "the 95% intervals do not overlap"),
    (f"within {CLEAN_MARGIN:g} points or better", f"at most {CLEAN_MARGIN:g} points below"),
    ("at least as good", "the drop itself is no larger, whether or not the intervals overlap"),
)


def drop_claims(scores: Scores, task: str, dataset: str) -> list[Claim]:
    """Those that the measured encoders and conditions allow."""
    found = [_less_drop(scores, task, dataset, family) for family in FAMILIES]
    found.append(_clean(scores, task, dataset))
    found += [_no_worse(scores, task, dataset, family) for family in FAMILIES]
    return [claim for claim in found if claim is not None]


def in_short(failed: list[Claim]) -> list[str]:
    """'attacks beside SimCLR', 'corruptions beside both': which comparisons of one task fail, with what their drops do not show."""
    words, label = [], names.look(PLAIN).label
    for measured, name in MEASURED.items():
        rivals = {r: claim.numbers for r in (PLAIN, ADVERSARIAL) for claim in failed if claim.key.endswith(f"_{measured}_vs_{r}")}
        if not rivals:
            continue
        plain = rivals.get(PLAIN)
        if measured == "clean":
            words.append(f"{name} ({-plain['difference']:.1f} points below {label}'s)")
            continue
        overlap = plain is not None and plain[OURS]["value"] < plain[PLAIN]["value"]
        beside = "both" if len(rivals) == 2 else names.look(*rivals).label
        less = f"less than {label}" if len(rivals) == 2 else "less"
        words.append(f"{name} beside {beside}{f' ({less}, but the intervals overlap)' if overlap else ''}")
    return words


def _less_drop(scores: Scores, task: str, dataset: str, family: str) -> Claim | None:
    """Ours loses clearly less than SimCLR: the intervals do not overlap."""
    ours, plain = (scores(method, dataset, task, family, "mean", "drop") for method in (OURS, PLAIN))
    if ours is None or plain is None:
        return None
    holds = ours[2] < plain[1]
    if holds:
        how = "clearly less (the intervals do not overlap)"
    else:
        how = "less, but the intervals overlap" if ours[0] < plain[0] else "not less"
    where = _where(task, dataset, family)
    return claim_about(
        task, dataset, f"{family}_vs_simclr", f"clearly less drop than {names.look(PLAIN).label}, {where}",
        _compared(ours, where, PLAIN, plain, how), holds, dar_sfrl=ours, simclr=plain,
    )  # fmt: skip


def _no_worse(scores: Scores, task: str, dataset: str, family: str) -> Claim | None:
    """Ours drops no more than SimCLR with an adversarial positive (point estimates)."""
    ours, other = (scores(method, dataset, task, family, "mean", "drop") for method in (OURS, ADVERSARIAL))
    if ours is None or other is None:
        return None
    holds = ours[0] <= other[0]
    apart = ours[2] < other[1] or other[2] < ours[1]
    how = f"{'at least as good' if holds else 'worse'} (the intervals {'do not ' if apart else ''}overlap)"
    where = _where(task, dataset, family)
    return claim_about(
        task, dataset, f"{family}_vs_simclr_adversarial", f"no more drop than {names.look(ADVERSARIAL).label}, {where}",
        _compared(ours, where, ADVERSARIAL, other, how), holds, dar_sfrl=ours, simclr_adversarial=other,
    )  # fmt: skip


def _clean(scores: Scores, task: str, dataset: str) -> Claim | None:
    ours, plain = (scores(method, dataset, task, "clean", "clean") for method in (OURS, PLAIN))
    if ours is None or plain is None:
        return None
    difference = round(ours[0] - plain[0], 4)
    holds = difference >= -CLEAN_MARGIN
    how = f"within {CLEAN_MARGIN:g} points or better" if holds else f"more than {CLEAN_MARGIN:g} points worse"
    label, other = names.task_label(task, dataset), names.look(PLAIN).label
    text = (
        f"On clean faces ({label}) {names.look(OURS).label} scores {percent(ours)}, {other} {percent(plain)}:"
        f" {difference:+.1f} points, {how}."
    )
    return claim_about(
        task, dataset, "clean_vs_simclr", f"clean score within {CLEAN_MARGIN:g} points of {other}, {label}", text, holds,
        dar_sfrl=ours, simclr=plain, difference=difference,
    )  # fmt: skip


def _compared(ours: tuple, where: str, other_name: str, other: tuple, how: str) -> str:
    return (
        f"{names.look(OURS).label} loses {points(ours)} on the {where}, {names.look(other_name).label} {points(other)}: {how}."
    )


def _where(task: str, dataset: str, family: str) -> str:
    return f"mean over {family}s ({names.task_label(task, dataset)})"
