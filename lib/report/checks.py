"""The rows of the family 'check' (are gradients masked?) as the figure and the claims need them.

Rows with the metric 'loss' are PGD's loss by its steps (severity). Rows with the task's main metric are the score under
an attack that does not use the model's own gradient (its name is the condition) or, 'white_box', that does; 'restarts' has
the number of random starts as severity.
"""

from lib.report import names
from lib.report.summary import Scores


def has_checks(scores: Scores, task: str, dataset: str, method: str | None = None) -> bool:
    """Is there any check row for this task and data set (and encoder)?"""
    return not _rows(scores, task, dataset, method).empty


def loss_by_steps(scores: Scores, method: str, task: str, dataset: str) -> dict[float, tuple]:
    """{steps: (loss, low, high)}, steps rising; empty where it was not measured."""
    rows = _rows(scores, task, dataset, method)
    rows = rows[rows["metric"] == "loss"].sort_values("severity")
    return {float(r.severity): (r.value, r.ci_low, r.ci_high) for r in rows.itertuples()}


def by_restarts(scores: Scores, method: str, task: str, dataset: str) -> dict[float, tuple]:
    """{random starts: (score, low, high)}, their number rising."""
    rows = _rows(scores, task, dataset, method)
    rows = rows[(rows["condition"] == "restarts") & (rows["metric"] == names.MAIN_METRIC[task])].sort_values("severity")
    return {float(r.severity): (r.value, r.ci_low, r.ci_high) for r in rows.itertuples()}


def other_attacks(scores: Scores, method: str, task: str, dataset: str) -> dict[str, tuple]:
    """{name: (score, low, high)} under attacks without the model's own gradient."""
    rows = _rows(scores, task, dataset, method)
    rows = rows[(rows["metric"] == names.MAIN_METRIC[task]) & ~rows["condition"].isin(["white_box", "pgd", "restarts"])]
    return {r.condition: (r.value, r.ci_low, r.ci_high) for r in rows.itertuples()}


def white_box(scores: Scores, method: str, task: str, dataset: str) -> tuple | None:
    """Score under the white-box attack to compare with: on the checks' own images where it was measured, else PGD's."""
    own = scores(method, dataset, task, "check", "white_box")
    return own or scores(method, dataset, task, "attack", "pgd")


def _rows(scores, task, dataset, method=None):
    frame = scores.frame
    rows = frame[(frame["family"] == "check") & (frame["task"] == task) & (frame["dataset"] == dataset)]
    return rows if method is None else rows[rows["method"] == method]
