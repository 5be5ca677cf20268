"""Action units under degradations: the linear evaluation of lib.probes.au_linear, in subject-exclusive folds.

An image is tested by the heads whose training folds did not show its person. An AU is present from FACS intensity 2 on, as in
BP4D, and a head says so from logit 0 on; no threshold is tuned. The score is the published figure: F1 of each fold's test
images, its mean over the AUs, the mean of that over the folds. F1 of the counts of all folds together, accuracy, area under
the ROC curve and the counts themselves stand beside it.

The heads that are attacked, and whose scores are given, are those of the epoch that held-out people of the training folds
choose; those of the last epoch, and of the best one on the test images, stand beside them for the clean images.

An intensity that is not known (NaN) takes no part: neither in the fit, nor in the attacker's loss, nor in the counts. F1 needs
somebody who shows the AU: where no counted image of a fold does, or no training image, the fold leaves the AU out, and
:func:`left_out_of` says so.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import nn

from lib.au_metrics import AuCounts, au_auc_resampled, au_cells, left_out, mean_of_known
from lib.datasets.action_units import au_labels, units_of
from lib.datasets.columns import NO_LABEL
from lib.degrade.objectives import binary_cross_entropy, summed
from lib.probes.au_linear import FoldPart, Recipe, fold_parts
from lib.probes.features import embed
from lib.probes.kept_heads import kept_folds
from lib.probes.task import Task, TaskLeftOut

RECIPE = Recipe(standardise=True)  # the published one, for features of any scale
SEED = 0  # heads begin alike, and the same people are held out, for every encoder
CELLS = 4  # hits, false alarms, misses, rejections


def action_units_task(
    encoder: nn.Module, table, rows, *, batch_size: int, device: torch.device | str, recipe: Recipe = RECIPE,
    kept: Path | None = None,
) -> Task:  # fmt: skip
    """The test images ``rows``, each scored by the heads of its fold; these are fitted on all images of the other folds.

    Where test images are in several folds, those of one are training images of another's heads. Heads that were fitted before
    are read from the folder ``kept``, where there is one.

    Raises:
        TaskLeftOut: see :func:`action_unit_rows`.
        ValueError: a person in two folds, a test image without fold.
    """
    rows = np.asarray(rows)
    labels, fold, usable = _known(table)
    if (fold[rows] < 0).any():
        raise ValueError(f"fold: test images of {table.name!r} must have a fold >= 0")
    parts = _parts(table, rows, recipe)
    needed = np.unique(np.concatenate([usable[part.rows[0]] for part in parts] + [rows]))
    features = embed(encoder, table, needed, batch_size, device)
    fitted = kept_folds(
        kept, features, torch.as_tensor(labels[needed], device=device), fold[needed], table.column("identity")[needed], recipe, SEED,
        tested=np.isin(needed, rows),
    )  # fmt: skip
    units, place = units_of(table.columns), np.searchsorted(fitted.folds, fold[rows])
    truth = np.where(fitted.learned[place], labels[rows], NO_LABEL)
    head_of = torch.as_tensor(place, device=device)
    known = torch.as_tensor(truth, dtype=torch.float32, device=device)
    own = features[torch.as_tensor(np.searchsorted(needed, rows), device=device)]
    count, shape = len(fitted.folds), (len(fitted.folds), CELLS, len(units))

    counts_of = _CountsOf(shape)

    def counts(scores: np.ndarray, items: np.ndarray) -> np.ndarray:
        """[n, folds * 4 * K]: the cells of each image, in the columns of its own fold."""
        cells = au_cells(scores >= 0, truth[items])
        out = np.zeros((len(items), *shape))
        out[np.arange(len(items)), place[items]] = cells
        return out.reshape(len(items), -1)

    def curves(scores: np.ndarray, items: np.ndarray, person: np.ndarray, draws: np.ndarray) -> dict[str, np.ndarray]:
        """Areas under the ROC curves of each fold, mean over the folds; heads of different folds have no common scale."""
        areas = []
        for f in range(count):
            here = place[items] == f
            if here.any():
                areas.append(100 * au_auc_resampled(scores[here], truth[items][here], person[here], draws))
        each = mean_of_known(np.stack(areas), 0)
        found = {f"auc_au_{unit}": each[:, k] for k, unit in enumerate(units)}
        return {"auc": mean_of_known(mean_of_known(np.stack(areas), 2), 0)} | found

    def of_counts(name):
        """A metric of summed counts [..., folds * 4 * K] from one of AuCounts [..., folds, K]."""
        return lambda sums: name(counts_of(sums))

    metrics = {"f1": of_counts(lambda c: 100 * _macro(c.f1))}
    details = {
        "f1_pooled": of_counts(lambda c: 100 * mean_of_known(c.pooled.f1, -1)),
        "accuracy": of_counts(lambda c: 100 * _macro(c.accuracy)),
    }
    for f, name in enumerate(fitted.folds):
        details[f"f1_fold_{name + 1}"] = of_counts(lambda c, f=f: 100 * mean_of_known(c.f1[..., f, :], -1))
    for k, unit in enumerate(units):
        metrics[f"f1_au_{unit}"] = of_counts(lambda c, k=k: c.f1_of_units[..., k])
        details[f"accuracy_au_{unit}"] = of_counts(lambda c, k=k: c.accuracy_of_units[..., k])
        for part in ("support", "hits", "false_alarms"):
            details[f"{part}_au_{unit}"] = of_counts(lambda c, k=k, part=part: getattr(c.pooled, part)[..., k])
        for f, name in enumerate(fitted.folds):
            details[f"f1_au_{unit}_fold_{name + 1}"] = of_counts(lambda c, k=k, f=f: 100 * c.f1[..., f, k])
    return Task(
        name="action_units",
        table=table,
        rows=torch.as_tensor(rows),
        subjects=table.column("identity")[rows],
        labels=known,
        encoder=encoder,
        head=lambda features, items: fitted.scores(features, head_of[items]),
        loss_fn=summed(binary_cross_entropy),
        correct=lambda scores, items: ((scores >= 0) == (known[items] > 0)) | (known[items] < 0),
        count=counts,
        metrics=metrics,
        details=details,
        curves=curves,
        clean_only={choice: fitted.scores(own, head_of, choice).cpu().numpy() for choice in ("last", "best_on_test")},
    )


def action_unit_rows(table, rows) -> np.ndarray:
    """Those of the test images ``rows`` that have a fold and an AU that is known and that the other folds can teach.

    Raises:
        TaskLeftOut: there is none, or no column of AUs, or fewer than two folds.
    """
    rows = np.asarray(rows)
    labels, fold, _ = _known(table)
    rows = rows[fold[rows] >= 0]
    if not len(rows):
        raise TaskLeftOut("no test image has a fold")
    learned = {part.fold: part.learned for part in _parts(table, rows, RECIPE)}
    rows = rows[((labels[rows] >= 0) & np.stack([learned[f] for f in fold[rows].tolist()])).any(1)]
    if not (labels[rows] == 1).any():
        raise TaskLeftOut("no test image is known to show an action unit that can be learned")
    return rows


def left_out_of(table, rows) -> tuple[str, ...]:
    """What the scores of the test images ``rows`` say nothing about: a sentence a fold and reason, and the AUs without a column.

    Folds are numbered from 1, as published.
    """
    rows = np.asarray(rows)
    labels, fold, _ = _known(table)
    units = units_of(table.columns)
    there = np.array([f"au_{unit}" in table.columns for unit in units])
    parts = _parts(table, rows, RECIPE)
    support = np.stack([(labels[rows[fold[rows] == part.fold]] == 1).sum(0) for part in parts])
    learned = np.stack([part.learned for part in parts])
    found = left_out(
        [unit for unit, has in zip(units, there) if has], [part.fold + 1 for part in parts], learned[:, there], support[:, there]
    )
    missing = [f"AU {', '.join(str(unit) for unit, has in zip(units, there) if not has)}: no such column"]
    return (*(missing if not there.all() else ()), *found)


def _known(table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels [N, K] and folds [N] of all images, and the rows that have a fold and a known label."""
    units = units_of(table.columns)
    if not any(f"au_{unit}" in table.columns for unit in units):
        raise TaskLeftOut(f"there are no columns {', '.join(f'au_{unit}' for unit in units)}")
    if "fold" not in table.columns:
        raise TaskLeftOut("there is no column 'fold'")
    labels, fold = au_labels(table, units), table.column("fold")
    return labels, fold, np.flatnonzero((fold >= 0) & (labels >= 0).any(1))


def _parts(table, rows: np.ndarray, recipe: Recipe) -> list[FoldPart]:
    """What the folds of the test images are fitted on; rows of a part count within the rows of ``_known``."""
    labels, fold, usable = _known(table)
    if not (labels == 1)[usable].any():
        raise TaskLeftOut("no image is known to show an action unit")
    tested = np.isin(usable, rows)
    return fold_parts(labels[usable], fold[usable], table.column("identity")[usable], recipe, SEED, tested)


class _FoldCounts(AuCounts):
    """Counts [..., folds, K]; what each of a dozen AUs asks for is made for all of them at once."""

    @cached_property
    def pooled(self) -> AuCounts:
        """The counts of all folds together, [..., K]."""
        return AuCounts(*(getattr(self, name).sum(-2) for name in ("hits", "false_alarms", "misses", "rejections")))

    @cached_property
    def f1_of_units(self) -> np.ndarray:
        """[..., K] in percent: mean over the folds."""
        return 100 * mean_of_known(self.f1, -2)

    @cached_property
    def accuracy_of_units(self) -> np.ndarray:
        return 100 * mean_of_known(self.accuracy, -2)


class _CountsOf:
    """Summed counts [..., folds * 4 * K] -> their _FoldCounts. The last ones are kept: a hundred metrics ask for the same."""

    def __init__(self, shape: Sequence[int]):
        self.shape, self.last = shape, (None, None)

    def __call__(self, sums: np.ndarray) -> _FoldCounts:
        asked, found = self.last
        if asked is not sums:
            found = _FoldCounts(*np.moveaxis(np.reshape(sums, (*np.shape(sums)[:-1], *self.shape)), -2, 0))
            self.last = sums, found
        return found


def _macro(each: np.ndarray) -> np.ndarray:
    """[..., folds, K] -> [...]: mean over the AUs, then over the folds."""
    return mean_of_known(mean_of_known(each, -1), -1)
