"""What the checks for gradient masking say: one rule a check, for :func:`verdicts` and for the statements of the report.

Scores are shares from 0 to 1. The checks themselves are made in :mod:`lib.degrade.masking`.
"""

from collections.abc import Sequence

LARGE_BUDGET = 64 / 255  # eps from which on nothing may be left
BROKEN = 0.05  # score that counts as about zero
TOLERANCE = 0.02  # by which a score may be lower by chance
RESTART_GAIN = 0.1  # that more random starts may take: they also break by chance what is near the boundary
DIP = 0.01  # relative: the loss of a converged attack may fall by rounding and by where it steps last
EXCESS = 0.05  # relative: by which the loss under another attack may be above the white-box one
TINY = 1e-9  # a difference that is a margin but for rounding is within it


def loss_rises(losses: Sequence[float]) -> bool:
    """Of losses under more and more steps the last is above the first, none below the one before by more than ``DIP`` of the largest."""
    if len(losses) < 2:
        return True
    slack = DIP * max(abs(loss) for loss in losses)
    return losses[-1] > losses[0] and all(later >= earlier - slack for earlier, later in zip(losses, losses[1:]))


def nothing_left(score: float) -> bool:
    """Is a score under ``LARGE_BUDGET`` about zero?"""
    return score <= BROKEN + TINY


def beats_white_box(score: float, white_box: float, tolerance: float = TOLERANCE) -> bool:
    """Does an attack without the model's own gradient leave clearly less than the one with it?"""
    return score < white_box - tolerance - TINY


def restarts_help(one: float, all_of_them: float) -> bool:
    """Does the best of all random starts leave clearly less than one start?"""
    return one - all_of_them > RESTART_GAIN + TINY


def verdicts(rows: Sequence[dict], tolerance: float = TOLERANCE) -> dict[str, bool]:
    """{check: passed} for the rows of :func:`lib.degrade.masking.masking_checks`.

    ``tolerance``: accuracy (0..1) within which two are even.

    steps: :func:`loss_rises`.
    sweep: accuracy never rises with eps, and there is :func:`nothing_left` where eps reaches 64/255.
    restarts: not :func:`restarts_help`.
    gradient_free, noise, transfer: not :func:`beats_white_box`, and the loss is not above the white-box one by more than 5%.
    """
    table = {check: [row for row in rows if row["check"] == check] for check in dict.fromkeys(r["check"] for r in rows)}
    (white_box,) = table["white_box"]
    ceiling = white_box["loss"] + EXCESS * abs(white_box["loss"])

    def weaker(row: dict) -> bool:
        return not beats_white_box(row["accuracy"], white_box["accuracy"], tolerance) and row["loss"] <= ceiling

    passed = {check: all(map(weaker, table[check])) for check in ("gradient_free", "noise", "transfer") if check in table}
    passed["steps"] = loss_rises([row["loss"] for row in table["steps"]])
    scores = [row["accuracy"] for row in table["sweep"]]
    falls = all(later <= earlier + tolerance for earlier, later in zip(scores, scores[1:]))
    ends_large = table["sweep"][-1]["setting"] >= LARGE_BUDGET - TINY
    passed["sweep"] = falls and (nothing_left(scores[-1]) or not ends_large)
    passed["restarts"] = not restarts_help(table["restarts"][0]["accuracy"], table["restarts"][-1]["accuracy"])
    return {check: passed[check] for check in table if check in passed}
