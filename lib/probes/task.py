"""What every downstream task looks like to the evaluation: pixels -> scores -> counts -> metrics."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn


class TaskLeftOut(ValueError):
    """A face table does not hold what a task needs; the message says what is missing."""


@dataclass(frozen=True, eq=False)
class Task:
    """A fitted task: N test items, each of which has one image that conditions degrade.

    The items are ordered so that the first n of them are balanced over persons and classes for every n.

    Attributes:
        name: 'expression', 'verification', 'action_units', 'valence_arousal', or one of these and '_knn' or '_finetuned'.
        table: the data set; item i shows the image ``rows[i]`` of it (in a pair: the second one).
        rows: [N] long, CPU. subjects: [N] int, the person that item i is resampled with.
        labels: N rows on the device, what ``loss_fn`` takes.
        encoder: pixels [B,3,H,W] -> features [B,D].
        head: (features [B,D], items [B] long) -> scores, B rows; differentiable.
        loss_fn: (scores, labels) -> scalar, the sum over the items, which an attacker raises.
        correct: (scores, items [B] long) -> bool, B rows: which decisions are right (an item may hold several).
        count: (scores [n,...], items [n]) in numpy -> [n,C] numbers of which every metric needs only the sums.
        metrics: name -> function of summed counts [...,C] -> [...], in percent where its name is not that of an error
            ('rmse_...') or a count ('support_...', 'hits_...', 'false_alarms_...'); the first is the task's main metric.
        details: further metrics of the same kind, which are given for the clean images and the means over families only.
        curves: (scores [n,...], items [n], person [n] in 0..S-1, draws [R,S]) in numpy -> name -> [R]: details that sums do not
            determine, such as areas under curves, when each person counts as often as drawn; None: there are none.
        clean_only: prefix -> scores [N,...] of the clean images by another reader of the same images (nearest neighbours, the
            weights of another epoch); its metrics stand under 'prefix_metric', of clean images alone.
        classes: number of classes where the scores are logits of classes, else None.
        made_on: the task whose attacked images this one sees, because it has no gradient of its own; None: it is attacked itself.
    """

    name: str
    table: object
    rows: Tensor
    subjects: np.ndarray
    labels: Tensor
    encoder: nn.Module
    head: Callable[[Tensor, Tensor], Tensor]
    loss_fn: Callable[[Tensor, Tensor], Tensor]
    correct: Callable[[Tensor, Tensor], Tensor]
    count: Callable[[np.ndarray, np.ndarray], np.ndarray]
    metrics: Mapping[str, Callable[[np.ndarray], np.ndarray]]
    details: Mapping[str, Callable[[np.ndarray], np.ndarray]] = field(default_factory=dict)
    curves: Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], dict[str, np.ndarray]] | None = None
    clean_only: Mapping[str, np.ndarray] = field(default_factory=dict)
    classes: int | None = None
    made_on: "Task | None" = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def main_metric(self) -> str:
        return next(iter(self.metrics))

    @property
    def images(self) -> Tensor:
        """Clean test images, uint8 [N,3,H,W]."""
        return self.table.images(self.rows)

    def scores_fn(self, items: Tensor) -> Callable[[Tensor], Tensor]:
        """The whole model for the test items ``items`` [B]: float pixels [B,3,H,W] in [0,1] -> scores.

        The number of images may be a whole multiple of B (copies of the batch, one after the other).
        """
        items = torch.as_tensor(items, device=self.labels.device)

        def scores(pixels: Tensor) -> Tensor:
            copies, rest = divmod(len(pixels), len(items))
            if rest:
                raise ValueError(f"pixels must be {len(items)} images or a multiple of that, got {len(pixels)}")
            return self.head(self.encoder(pixels), items.repeat(copies))

        return scores

    def losses(self, scores: Tensor, items: Tensor) -> Tensor:
        """The attacker's loss of each item: scores [B,...] of the items [B] -> [B]."""
        each = torch.func.vmap(lambda score, label: self.loss_fn(score[None], label[None]).reshape(()))
        return each(scores, self.labels[items])


def percent_f1(hits, false_alarms, misses) -> np.ndarray:
    """F1 in percent from counts; 0 where there is nothing to find and nothing was found."""
    total = 2 * hits + false_alarms + misses
    return np.divide(200.0 * hits, total, out=np.zeros(np.shape(total)), where=total > 0)


def percent(part, whole) -> np.ndarray:
    """100 part / whole; NaN where the whole is 0 (a resample without such items)."""
    whole = np.asarray(whole, float)
    return np.divide(100.0 * part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)
