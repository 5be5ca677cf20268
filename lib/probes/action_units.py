"""Action units: 12 binary logistic regressions in subject-exclusive folds; macro F1 from pooled counts.

An AU is present from FACS intensity 2 on, as in BP4D. Present and absent images are weighed by the inverse of their
rate in training, so the decision is "logit > 0" and no threshold is tuned. The attacker raises the plain binary
cross-entropy summed over all AUs.

An intensity that is not known (NaN) takes no part: neither in the fit, nor in the attacker's loss, nor in the counts.
F1 needs somebody who shows the AU: it is NaN, not 0, where no counted image does. An AU that cannot be learned or
tested is not scored at all (:func:`unscored_units`). The macro F1 is over the others.
"""

import numpy as np
import torch
from torch import Tensor, nn

from lib.datasets.action_units import BP4D_UNITS
from lib.datasets.columns import AU_PRESENT_FROM, NO_LABEL
from lib.degrade.objectives import binary_cross_entropy, summed
from lib.probes.au_linear import Recipe, trained_heads
from lib.probes.features import embed
from lib.probes.linear import fit_binary
from lib.probes.task import Task, TaskLeftOut, percent_f1


def action_units_task(
    encoder: nn.Module, table, rows, *, l2: float, batch_size: int, device: torch.device | str, recipe: Recipe | None = None
) -> Task:
    """Each of the test images ``rows`` is scored by the heads whose training folds did not show its person.

    The heads of fold f are fitted on all rows with ``fold`` >= 0 other than f, so test images of one fold are training
    images of the others. ``recipe`` trains them as published, with the heads of lib.probes.au_linear after the last epoch;
    None solves the convex problem, so that the score does not depend on a learning rate.

    Raises:
        TaskLeftOut: fewer than two folds, or no AU that can be scored.
        ValueError: a person in two folds, a test image without fold.
    """
    rows = np.asarray(rows)
    fold, person = _folds(table), table.column("identity")
    usable = np.flatnonzero(fold >= 0)
    pairs = np.unique(np.stack([person[usable], fold[usable]]), axis=1)
    twice = pairs[0][:-1][np.diff(pairs[0]) == 0]
    if len(twice):
        raise ValueError(f"fold: table {table.name!r} has persons in more than one fold: {twice[:5].tolist()}")
    folds = np.unique(fold[usable])
    if (fold[rows] < 0).any():
        raise ValueError(f"fold: test images of {table.name!r} must have a fold >= 0")
    unscored = unscored_units(table, rows)
    if len(unscored) == len(BP4D_UNITS):
        raise TaskLeftOut(f"no action unit can be scored: {listed(unscored)}")
    scored = np.array([unit not in unscored for unit in BP4D_UNITS])
    present, known = _labels(table)
    known &= scored
    features = embed(encoder, table, usable, batch_size, device)
    weight, bias = [], []
    for f in folds:
        others = fold[usable] != f
        shown = usable[others]
        mine = features[torch.as_tensor(others, device=device)]
        if recipe is None:
            head = fit_binary(
                mine, torch.as_tensor(present[shown], device=device), l2, known=torch.as_tensor(known[shown], device=device)
            )
        else:
            shown_labels = torch.as_tensor(np.where(known[shown], present[shown], NO_LABEL).astype(np.int64), device=device)
            *_, head = trained_heads(mine, shown_labels, recipe, torch.Generator(mine.device).manual_seed(int(f)))
            head.requires_grad_(False)
        weight.append(head.weight)
        bias.append(head.bias)
    weight, bias = torch.stack(weight), torch.stack(bias)  # [folds,K,D], [folds,K]
    head_of = torch.as_tensor(np.searchsorted(folds, fold[rows]), device=device)
    truth, certain = present[rows], known[rows]
    labels = torch.as_tensor(np.where(certain, truth, NO_LABEL), dtype=torch.float32, device=device)

    def scores(features: Tensor, items: Tensor) -> Tensor:
        every = torch.einsum("bd,fkd->bfk", features.float(), weight) + bias
        return every[torch.arange(len(items), device=items.device), head_of[items]]

    return Task(
        name="action_units",
        table=table,
        rows=torch.as_tensor(rows),
        subjects=person[rows],
        labels=labels,
        encoder=encoder,
        head=scores,
        loss_fn=summed(binary_cross_entropy),
        correct=lambda scores, items: ((scores > 0) == (labels[items] > 0)) | (labels[items] < 0),
        count=lambda scores, items: unit_counts(scores > 0, truth[items], certain[items]),
        metrics={"f1": _macro_f1}
        | {f"f1_au_{unit}": _unit_f1(k) for k, unit in enumerate(BP4D_UNITS) if unit not in unscored},
    )


def action_unit_rows(table, rows) -> np.ndarray:
    """Those of the test images ``rows`` that have a fold and at least one known AU that can be learned.

    Raises:
        TaskLeftOut: there is none, or no column of AUs, or fewer than two folds.
    """
    rows = np.asarray(rows)
    unscored = unscored_units(table, rows)
    if len(unscored) == len(BP4D_UNITS):
        raise TaskLeftOut(f"no action unit can be scored: {listed(unscored)}")
    fold, (_, known) = _folds(table), _labels(table)
    scored = np.array([unit not in unscored for unit in BP4D_UNITS])
    return rows[(fold[rows] >= 0) & (known & scored)[rows].any(1)]


def unscored_units(table, rows) -> dict[int, str]:
    """The AUs that cannot be scored on the test images ``rows``, each with the reason.

    The heads of every fold need an image in the other folds that is known to show the AU, and the test needs one.
    """
    (present, known), fold = _labels(table), _folds(table)
    rows = np.asarray(rows)
    rows = rows[fold[rows] >= 0]
    reasons = {}
    for k, unit in enumerate(BP4D_UNITS):
        shown = present[:, k] & known[:, k]
        bare = [int(f) for f in np.unique(fold[fold >= 0]) if not (shown & (fold >= 0) & (fold != f)).any()]
        if f"au_{unit}" not in table.columns:
            reasons[unit] = "no such column"
        elif bare:
            reasons[unit] = f"no image outside fold {bare[0]} is known to show it, so it cannot be learned"
        elif not shown[rows].any():
            reasons[unit] = "no test image is known to show it"
    return reasons


def listed(unscored: dict[int, str]) -> str:
    """'AU 14, 24: no test image is known to show it; AU 2: no such column'."""
    reasons = dict.fromkeys(unscored.values())
    return "; ".join(
        f"AU {', '.join(str(unit) for unit, why in unscored.items() if why == reason)}: {reason}" for reason in reasons
    )


def unit_counts(said: np.ndarray, truth: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Decisions, truth and whether it is known, [n,K] bool -> [n, 3 K]: hits, false alarms, misses."""
    parts = said & truth, said & ~truth, ~said & truth
    return np.concatenate([part & known for part in parts], axis=1).astype(float)


def _folds(table) -> np.ndarray:
    if "fold" not in table.columns:
        raise TaskLeftOut("there is no column 'fold'")
    fold = table.column("fold")
    found = np.unique(fold[fold >= 0])
    if len(found) < 2:
        raise TaskLeftOut(f"at least two folds >= 0 are needed, the column 'fold' has {found.tolist()}")
    return fold


def _labels(table) -> tuple[np.ndarray, np.ndarray]:
    """Presence and whether it is known, each [N,K] bool, of all images."""
    if not any(f"au_{unit}" in table.columns for unit in BP4D_UNITS):
        raise TaskLeftOut(f"there are no columns {', '.join(f'au_{unit}' for unit in BP4D_UNITS)}")
    intensity = np.stack(
        [
            table.column(f"au_{unit}").astype(float) if f"au_{unit}" in table.columns else np.full(len(table), np.nan)
            for unit in BP4D_UNITS
        ],
        axis=1,
    )
    return intensity >= AU_PRESENT_FROM, np.isfinite(intensity)


def _each_f1(counts: np.ndarray) -> np.ndarray:
    """Summed counts [..., 3 K] -> F1 [..., K] in percent; NaN where nobody shows the AU."""
    hits, false_alarms, misses = np.split(counts, 3, axis=-1)
    return np.where(hits + misses > 0, percent_f1(hits, false_alarms, misses), np.nan)


def _macro_f1(counts: np.ndarray) -> np.ndarray:
    f1 = _each_f1(counts)
    there = np.isfinite(f1)
    return np.divide(np.nansum(f1, -1), there.sum(-1), out=np.full(f1.shape[:-1], np.nan), where=there.any(-1))


def _unit_f1(k: int):
    return lambda counts: _each_f1(counts)[..., k]
