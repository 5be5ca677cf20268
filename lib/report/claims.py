"""What the package says about its results, computed: each claim with its numbers and whether it holds."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from lib.files import write_aside
from lib.report import checks, names
from lib.report.summary import FEWEST, Scores

OURS, PLAIN, ADVERSARIAL = "dar_sfrl", "simclr", "simclr_adversarial"
NO_NETWORK = "pixel_readout"  # the control that says whether the network is what makes the difference
BLOCKS = (("expression", "rendered"), ("verification", "orl"))
CLEAN_MARGIN = 3.0  # points that robustness may cost on clean faces
NEAR_ZERO = 5.0  # percent: a score that an attack with an unbounded budget must reach
MASKING_MARGIN = 2.0  # points by which an attack without the model's gradient may be ahead by chance
LARGE_BUDGET = 64.0  # eps * 255
RESTART_MARGIN = 10.0  # points that more random starts may take: they also break by chance what is near the boundary
AUTOATTACK_MARGIN = 5.0  # points that AutoAttack may take beyond Auto-PGD
NOISE = 1e-3  # relative: a converged attack's loss may dip by rounding and by the random start


@dataclass(frozen=True)
class Claim:
    """``text`` says what was found, in words that follow the numbers; ``holds`` whether that is what was hoped for."""

    key: str
    topic: str
    title: str
    text: str
    holds: bool
    numbers: dict


def main_blocks(scores: Scores) -> list[tuple[str, str]]:
    """The (task, data set) pairs that the report is about first of all: ``BLOCKS``; on other data the first two."""
    present = scores.blocks()
    return [block for block in BLOCKS if block in present] or present[:2]


def compute_claims(results: pd.DataFrame) -> list[Claim]:
    """Every claim that the measured encoders, conditions and people allow, in a fixed order."""
    scores, claims = Scores(results), []
    for task, dataset in _compared_blocks(scores):
        for family in ("corruption", "attack"):
            claims += _less_drop(scores, task, dataset, family)
        claims += _clean(scores, task, dataset)
        for family in ("corruption", "attack"):
            claims += _no_worse(scores, task, dataset, family)
        claims += _loss_rises(scores, task, dataset)
        claims += _large_budget(scores, task, dataset)
        claims += _no_masking(scores, task, dataset)
        claims += _restarts(scores, task, dataset)
        claims += _autoattack(scores, task, dataset)
    return claims


def answer(results: pd.DataFrame) -> list[str]:
    """'Does pre-training survive degraded and attacked faces?' answered from the numbers in a few sentences.

    The verdict first, then one sentence a task, then how many of the claims hold.
    """
    scores, claims = Scores(results), compute_claims(results)
    main = [claim for claim in claims if claim.key.endswith(("corruption_vs_simclr", "attack_vs_simclr"))]
    if not main and not _compared_blocks(scores):
        return [
            f"The test images show fewer than {FEWEST} people, too few to compare encoders; the tables say what was "
            "measured."
        ]
    if not main:
        return ["Not all that the question compares was part of this run; the tables say what was measured."]
    ours, plain, won = names.look(OURS).label, names.look(PLAIN).label, sum(claim.holds for claim in main)
    sentences = [
        f"Yes, better than plain contrastive pre-training: {ours} loses clearly less than {plain} on "
        f"{_every(len(main))}."
        if won == len(main)
        else f"In part: {ours} loses clearly less than {plain} on {won} of the {len(main)} means compared."
        if won
        else f"No: {ours} does not lose clearly less than {plain} on any mean compared."
    ]
    for task, dataset in _compared_blocks(scores):
        parts = []
        for method in (OURS, ADVERSARIAL, PLAIN):
            pair = [scores(method, dataset, task, family, "mean", "drop") for family in ("corruption", "attack")]
            if None not in pair:
                first = not parts
                parts.append(
                    f"{names.look(method).label} {'loses ' if first else ''}{pair[0][0]:.1f} "
                    f"{'points under corruptions ' if first else ''}"
                    f"and {pair[1][0]:.1f}{' under attacks' if first else ''}"
                )
        if parts:
            sentences.append(f"{names.task_label(task, dataset)}: {_join(parts)}.")
    sentences += _elsewhere(scores)
    sentences += _without_a_network(scores)
    failed = [claim for claim in claims if not claim.holds]
    sentences.append(
        f"All {len(claims)} statements about {_tasks(scores)} that are checked below hold."
        if not failed
        else f"{len(claims) - len(failed)} of the {len(claims)} statements about {_tasks(scores)} that are checked below hold. Those"
        " that do not: "
        + "; ".join(claim.title for claim in failed)
        + "."
    )
    return sentences


def _tasks(scores: Scores) -> str:
    return _join([names.task_label(*block) for block in _compared_blocks(scores)])


def _elsewhere(scores: Scores) -> list[str]:
    """The tasks that the claims are not about, by the same rules: what does not hold there, in a sentence each."""
    sentences = []
    for task, dataset in scores.blocks():
        if (task, dataset) in main_blocks(scores) or scores.people(task, dataset) < FEWEST:
            continue
        found = [c for family in ("corruption", "attack") for c in _less_drop(scores, task, dataset, family)]
        found += _clean(scores, task, dataset)
        found += [c for family in ("corruption", "attack") for c in _no_worse(scores, task, dataset, family)]
        failed = [claim for claim in found if not claim.holds]
        if failed:
            sentences.append(
                f"Not so in {names.task_label(task, dataset)}, where {len(failed)} of the {len(found)} comparisons fail: "
                + " ".join(claim.text for claim in failed)
            )
    return sentences


def _without_a_network(scores: Scores) -> list[str]:
    """How our method compares with its own readout of plain pixels, in a sentence: said whatever comes out."""
    verdicts, parts = [], []
    for task, dataset in _compared_blocks(scores):
        for family in ("corruption", "attack"):
            ours, control = (scores(m, dataset, task, family, "mean", "drop") for m in (OURS, NO_NETWORK))
            if ours is None or control is None:
                continue
            verdicts.append("more" if control[1] > ours[2] else "less" if control[2] < ours[1] else "alike")
            parts.append(f"{control[0]:.1f}")
    if not verdicts:
        return []
    control = names.look(NO_NETWORK).label
    begin = f"{control[0].upper()}{control[1:]}, without any network, loses {_join(parts)}"
    if all(verdict == "more" for verdict in verdicts):
        return [f"{begin}: clearly more on {_every(len(verdicts))}, so it is the trained network that makes the difference."]
    alike, less = verdicts.count("alike"), verdicts.count("less")

    def share(count: int) -> str:
        return _every(count) if count == len(verdicts) else f"{count} of the {len(verdicts)} means"

    said = [f"clearly less on {share(less)}, where the trained network does harm"] if less else []
    said += [f"not clearly more on {share(alike)}, where the trained network is not shown to make the difference"] if alike else []
    return [f"{begin}: {_join(said)}."]


def write_claims(claims: list[Claim], path: str | Path) -> Path:
    """claims.json: {'claims': [an object with the fields of ``Claim``, ...]}."""
    with write_aside(path) as aside:
        listed = {"claims": [asdict(claim) for claim in claims]}
        aside.write_text(json.dumps(listed, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return Path(path)


def read_claims(path: str | Path) -> list[Claim]:
    """The claims that ``write_claims`` wrote."""
    return [Claim(**entry) for entry in json.loads(Path(path).read_text(encoding="utf-8"))["claims"]]


def _compared_blocks(scores) -> list[tuple[str, str]]:
    return [block for block in main_blocks(scores) if scores.people(*block) >= FEWEST]


def _less_drop(scores, task, dataset, family) -> list[Claim]:
    """Ours loses clearly less than SimCLR: the intervals do not overlap."""
    ours, plain = (scores(m, dataset, task, family, "mean", "drop") for m in (OURS, PLAIN))
    if ours is None or plain is None:
        return []
    holds = ours[2] < plain[1]
    how = (
        "clearly less (the intervals do not overlap)"
        if holds
        else ("less, but the intervals overlap" if ours[0] < plain[0] else "not less")
    )
    where = _where(task, dataset, family)
    text = _compared(ours, where, PLAIN, plain, how)
    return [
        Claim(
            f"{task}_{dataset}_{family}_vs_simclr",
            names.task_label(task, dataset),
            f"clearly less drop than {names.look(PLAIN).label}, {where}",
            text,
            holds,
            {"dar_sfrl": _numbers(ours), "simclr": _numbers(plain)},
        )
    ]


def _no_worse(scores, task, dataset, family) -> list[Claim]:
    """Ours drops no more than SimCLR with an adversarial positive (point estimates)."""
    ours, other = (scores(m, dataset, task, family, "mean", "drop") for m in (OURS, ADVERSARIAL))
    if ours is None or other is None:
        return []
    holds = ours[0] <= other[0]
    apart = ours[2] < other[1] or other[2] < ours[1]
    how = ("at least as good" if holds else "worse") + (
        " (the intervals do not overlap)" if apart else " (the intervals overlap)"
    )
    where = _where(task, dataset, family)
    text = _compared(ours, where, ADVERSARIAL, other, how)
    return [
        Claim(
            f"{task}_{dataset}_{family}_vs_simclr_adversarial",
            names.task_label(task, dataset),
            f"no more drop than {names.look(ADVERSARIAL).label}, {where}",
            text,
            holds,
            {"dar_sfrl": _numbers(ours), "simclr_adversarial": _numbers(other)},
        )
    ]


def _clean(scores, task, dataset) -> list[Claim]:
    ours, plain = (scores(m, dataset, task, "clean", "clean") for m in (OURS, PLAIN))
    if ours is None or plain is None:
        return []
    difference = round(ours[0] - plain[0], 4)
    holds = difference >= -CLEAN_MARGIN
    how = f"within {CLEAN_MARGIN:g} points or better" if holds else f"more than {CLEAN_MARGIN:g} points worse"
    text = (
        f"On clean faces ({names.task_label(task, dataset)}) {names.look(OURS).label} scores {_percent(ours)}, "
        f"{names.look(PLAIN).label} {_percent(plain)}: {difference:+.1f} points, {how}."
    )
    return [
        Claim(
            f"{task}_{dataset}_clean_vs_simclr",
            names.task_label(task, dataset),
            f"clean score within {CLEAN_MARGIN:g} points of {names.look(PLAIN).label}, "
            f"{names.task_label(task, dataset)}",
            text,
            holds,
            {"dar_sfrl": _numbers(ours), "simclr": _numbers(plain), "difference": difference},
        )
    ]


def _loss_rises(scores, task, dataset) -> list[Claim]:
    curve = checks.loss_by_steps(scores, OURS, task, dataset)
    if len(curve) < 2:
        return []
    steps, losses = list(curve), [cell[0] for cell in curve.values()]
    span = max(abs(x) for x in losses)
    holds = losses[-1] > losses[0] and all(b >= a - NOISE * span for a, b in zip(losses, losses[1:]))
    text = (
        f"Against {names.look(OURS).label} ({names.task_label(task, dataset)}) PGD's loss goes from {losses[0]:.3g} "
        f"with {steps[0]:g} "
        f"step{'' if steps[0] == 1 else 's'} to {losses[-1]:.3g} with "
        f"{steps[-1]:g}{'' if holds else ', but not always upwards'}."
    )
    return [
        Claim(
            f"{task}_{dataset}_loss_rises",
            names.task_label(task, dataset),
            f"attack loss rises with steps, {names.task_label(task, dataset)}",
            text,
            holds,
            {"steps": steps, "loss": [round(float(x), 4) for x in losses]},
        )
    ]


def _large_budget(scores, task, dataset) -> list[Claim]:
    cell = scores(OURS, dataset, task, "sweep", "pgd", severity=LARGE_BUDGET)
    if cell is None:
        return []
    holds = cell[0] <= NEAR_ZERO
    text = (
        f"PGD with eps = {LARGE_BUDGET:g}/255 leaves {names.look(OURS).label} {_percent(cell)} on "
        f"{names.task_label(task, dataset)}: "
        f"{'about zero' if holds else 'not zero, so the attack may be weak or the gradient masked'}."
    )
    return [
        Claim(
            f"{task}_{dataset}_large_budget",
            names.task_label(task, dataset),
            f"eps = {LARGE_BUDGET:g}/255 drives the score to about zero, {names.task_label(task, dataset)}",
            text,
            holds,
            {"dar_sfrl": _numbers(cell)},
        )
    ]


def _no_masking(scores, task, dataset) -> list[Claim]:
    own, others = checks.white_box(scores, OURS, task, dataset), checks.other_attacks(scores, OURS, task, dataset)
    if own is None or not others:
        return []
    stronger = [name for name, cell in others.items() if cell[0] < own[0] - MASKING_MARGIN]
    listed = ", ".join(f"{names.condition_label(name)} {_percent(cell)}" for name, cell in others.items())
    verdict = (
        "none does better than its own gradient"
        if not stronger
        else (
            f"{_join([names.condition_label(n) for n in stronger])} does better than its own gradient, a sign of "
            "masking"
        )
    )
    text = (
        f"Score of {names.look(OURS).label} under attack ({names.task_label(task, dataset)}): "
        f"white-box {_percent(own)}; {listed} ({scores.facts(task, dataset, 'check')}): {verdict}."
    )
    return [
        Claim(
            f"{task}_{dataset}_no_masking",
            names.task_label(task, dataset),
            f"attacks without the model's gradient are not stronger, {names.task_label(task, dataset)}",
            text,
            not stronger,
            {"white_box": _numbers(own), **{name: _numbers(cell) for name, cell in others.items()}},
        )
    ]


def _restarts(scores, task, dataset) -> list[Claim]:
    cells = checks.by_restarts(scores, OURS, task, dataset)
    if len(cells) < 2:
        return []
    (_, first), *_, (most, last) = cells.items()
    holds = first[0] - last[0] <= RESTART_MARGIN
    text = (
        f"The best of {most:g} random starts of PGD leaves {names.look(OURS).label} {_percent(last)} on "
        f"{names.task_label(task, dataset)}, one start {_percent(first)}: "
        f"{'little more is lost' if holds else 'one start finds too little, a sign of masking'} "
        f"({scores.facts(task, dataset, 'check')})."
    )
    return [
        Claim(
            f"{task}_{dataset}_restarts",
            names.task_label(task, dataset),
            f"more random starts take little more, {names.task_label(task, dataset)}",
            text,
            holds,
            {"one": _numbers(first), "all": _numbers(last), "starts": most},
        )
    ]


def _autoattack(scores, task, dataset) -> list[Claim]:
    """AutoAttack must not take much more than Auto-PGD on the task's own loss: else that loss misleads gradients."""
    cell, own = (scores(OURS, dataset, task, "strong", name) for name in ("autoattack", "apgd"))
    if cell is None or own is None:
        return []
    holds = abs(own[0] - cell[0]) <= AUTOATTACK_MARGIN  # and one that breaks much less than a part of it is broken itself
    text = (
        f"AutoAttack leaves {names.look(OURS).label} {_percent(cell)} on {names.task_label(task, dataset)}, Auto-PGD alone "
        f"{_percent(own)} of the same images ({scores.facts(task, dataset, 'strong')}): "
        f"{'little more is lost' if holds else 'gradients alone overrate it' if cell[0] < own[0] else 'AutoAttack is weaker'}."
    )
    return [
        Claim(
            f"{task}_{dataset}_autoattack",
            names.task_label(task, dataset),
            f"AutoAttack takes little more than Auto-PGD alone, {names.task_label(task, dataset)}",
            text,
            holds,
            {"autoattack": _numbers(cell), "apgd": _numbers(own)},
        )
    ]


def _compared(ours, where, other_name, other, how) -> str:
    return (
        f"{names.look(OURS).label} loses {_points(ours)} on the {where}, "
        f"{names.look(other_name).label} {_points(other)}: {how}."
    )


def _where(task, dataset, family) -> str:
    return f"mean over {family}s ({names.task_label(task, dataset)})"


def _every(count) -> str:
    return (
        "both means compared" if count == 2 else f"all {count} means compared" if count > 1 else "the one mean compared"
    )


def _points(cell) -> str:
    return f"{cell[0]:.1f} points [{cell[1]:.1f}, {cell[2]:.1f}]"


def _percent(cell) -> str:
    return f"{cell[0]:.1f}% [{cell[1]:.1f}, {cell[2]:.1f}]"


def _numbers(cell) -> dict:
    return dict(zip(("value", "ci_low", "ci_high"), (round(float(x), 4) for x in cell)))


def _join(parts) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
