"""Linear evaluation of action units as published, with an honest choice of the epoch beside the published one.

References:
    [1] AUNCE (`linear_graph_au.py`, deleted from its repository in January 2025, still in its history): a linear head per AU on
        frozen features, weighted cross-entropy, Adam 1e-3, weight decay 1e-6, batches of 256, 100 epochs.

The published script leaves batch norm and drop-path in training mode while it calls the encoder frozen, and looks at the
test images after every epoch without other images to choose by. Here the encoder is in eval mode, so that its features can
be computed once, and three numbers stand side by side: of the last epoch, of the epoch that held-out people of the training
folds choose, and of the best epoch on the test images, which flatters.
"""

import copy
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor, nn

from lib.au_metrics import FoldScores, au_counts, fold_scores, mean_of_known
from lib.cores import each
from lib.datasets.action_units import BP4D_UNITS, au_labels
from lib.datasets.columns import NO_LABEL
from lib.losses.weighted_bce import checked_weighted_bce, inverse_rate_weights
from lib.probes.features import embed
from lib.probes.linear import mean_and_scale
from lib.probes.selection import held_out_people
from lib.probes.task import TaskLeftOut

CHOICES = ("last", "validation", "best_on_test")
SIDE_BY_SIDE = 2**27  # numbers of features; with more, the copies of several runs at once would fill the memory


@dataclass(frozen=True)
class Recipe:
    """How the heads are trained; the defaults are the published ones [1].

    Attributes:
        held_out: share of the people of the training folds by whom the epoch of 'validation' is chosen (at least one).
        standardise: give the heads features of mean 0 and deviation 1 over the training images, as DAR-SFRL's and PCL's heads
            for AUs do by batch norm. The unit vectors of AUNCE went in as they are; for features of any scale the rate of Adam,
            which is a step in the weights, would else decide.
    """

    epochs: int = 100
    batch_size: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 1e-6
    held_out: float = 0.2
    standardise: bool = False

    def __post_init__(self):
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if not self.learning_rate > 0 or not self.weight_decay >= 0:
            raise ValueError(f"learning_rate, weight_decay: expected > 0 and >= 0, got {self.learning_rate}, {self.weight_decay}")
        if not 0 < self.held_out < 1:
            raise ValueError(f"held_out: expected a share in (0, 1), got {self.held_out}")


class AuHeads(nn.Module):
    """One linear head per AU: features [B, D] of all AUs, or [B, K, D] with a vector for each, -> logits [B, K]."""

    def __init__(self, units: int, dim: int, generator: Generator):
        super().__init__()
        bound = dim**-0.5  # as nn.Linear begins
        start = torch.rand(units, dim + 1, generator=generator, device=generator.device) * (2 * bound) - bound
        self.weight, self.bias = nn.Parameter(start[:, :dim].contiguous()), nn.Parameter(start[:, dim].contiguous())

    def forward(self, features: Tensor) -> Tensor:
        if features.dim() == 2:
            return features @ self.weight.T + self.bias
        return torch.einsum("bkd,kd->bk", features, self.weight) + self.bias

    @torch.no_grad()
    def of_plain_features(self, mean: Tensor, scale: Tensor) -> "AuHeads":
        """A frozen copy for features that were not standardised: the mean and scale, [D] or [K, D], are folded into it."""
        heads = copy.deepcopy(self).requires_grad_(False)
        heads.weight.div_(scale)
        heads.bias.sub_((heads.weight * mean).sum(1))
        return heads


def trained_heads(features: Tensor, labels: Tensor, recipe: Recipe, generator: Generator) -> Iterator[AuHeads]:
    """The heads after each epoch, a frozen copy each time: features [n, D] or [n, K, D], labels [n, K].

    Labels are 0, 1, or -1 and 9 (unknown: no part in the loss). AUs are weighed by their inverse rates; one that nobody is
    known to show is not trained.

    Raises:
        ValueError: wrong shapes or values, or no AU that anybody shows.
    """
    if features.dim() not in (2, 3) or len(features) != len(labels) or not features.is_floating_point():
        raise ValueError(
            f"features: expected float [{len(labels)}, D] or [{len(labels)}, K, D], got {features.dtype} {list(features.shape)}"
        )
    if features.dim() == 3 and features.shape[1] != labels.shape[1]:
        raise ValueError(f"features: expected one vector for each of {labels.shape[1]} units, got {features.shape[1]}")
    heads = AuHeads(labels.shape[1], features.shape[-1], generator)
    weights = inverse_rate_weights(labels)  # which looks at the labels: no step need look again
    mean, scale = features.new_zeros(()), features.new_ones(())
    if recipe.standardise:
        mean, scale = mean_and_scale(features)
        features = (features - mean).div_(scale)
    optimizer = torch.optim.Adam(heads.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    room = features.new_empty(recipe.batch_size, *features.shape[1:])  # for each batch in turn: fresh memory takes a tenth of the time
    for _ in range(recipe.epochs):
        order = torch.randperm(len(features), generator=generator, device=generator.device)
        with torch.enable_grad():
            for rows in order.split(recipe.batch_size):
                optimizer.zero_grad(set_to_none=True)
                batch = torch.index_select(features, 0, rows, out=room[: len(rows)])
                checked_weighted_bce(heads(batch), labels.index_select(0, rows), weights).backward()
                optimizer.step()
        yield heads.of_plain_features(mean, scale)


@dataclass(frozen=True)
class FittedFolds:
    """Trained heads of F test folds; each has seen the images of all other folds and none of its own.

    Attributes:
        folds: of the column ``fold`` (0 is the published fold 1), sorted. learned: [F, K] bool, numpy: whether a training image is known
            to show the AU.
        epochs: choice -> the epoch (from 1) of each fold.
        weight, bias: choice -> [F, K, D], [F, K].
    """

    folds: tuple[int, ...]
    learned: np.ndarray
    epochs: dict[str, tuple[int, ...]]
    weight: dict[str, Tensor]
    bias: dict[str, Tensor]

    def scores(self, features: Tensor, place: Tensor, choice: str = "validation") -> Tensor:
        """Logits [B, K] of features [B, D] or [B, K, D], each by the heads of its own fold.

        Args:
            place: [B] long, which of ``folds`` an image is in.
        """
        pairs = "bd,fkd->bfk" if features.dim() == 2 else "bkd,fkd->bfk"
        every = torch.einsum(pairs, features.float(), self.weight[choice]) + self.bias[choice]
        return every[torch.arange(len(place), device=place.device), place]


def fit_folds(
    features: Tensor, labels: Tensor, fold: np.ndarray, person: np.ndarray, recipe: Recipe, seed: int,
    tested: np.ndarray | None = None,
) -> FittedFolds:  # fmt: skip
    """Train the heads of every fold that has a test image on the images of all other folds.

    The epoch of 'validation' comes from a run without the held-out people, the one with their best macro F1; the heads that
    are kept are those of that epoch of the run on all training images. So the three choices differ in the epoch alone.

    The runs of a few features (:data:`SIDE_BY_SIDE`) go side by side on a CPU: batches so small gain nothing from torch's own
    threads. Each has a standardised copy of its images.

    Args:
        features: [N, D], or [N, K, D] with a vector for each AU; frozen.
        labels: [N, K] long in {0, 1, -1}.
        fold, person: [N] ints; the folds >= 0.
        tested: [N] bool: the test images, by which 'best_on_test' is chosen. None: all images.

    Raises:
        ValueError: as :func:`fold_parts`, or features that do not fit.
    """
    tested = np.ones(len(fold), bool) if tested is None else np.asarray(tested)
    parts = fold_parts(labels.cpu().numpy(), fold, person, recipe, seed, tested)

    validated = [Future() for _ in parts]  # the epoch that held-out people choose

    def run(task: tuple[int, bool]) -> tuple[int, dict[int, AuHeads]]:
        """Without the held-out people, or on all training images: the epoch of the best macro F1 on the judged or the test images,
        and in the second case the heads of the epochs that are chosen."""
        place, last = task
        try:
            found = fitted(parts[place], last, validated[place].result() if last else None)
            if not last:
                validated[place].set_result(found[0])
            return found
        except BaseException as error:
            if not last:
                validated[place].set_exception(error)  # or a run that waits for it would wait for ever
            raise

    def fitted(part: FoldPart, last: bool, chosen: int | None) -> tuple[int, dict[int, AuHeads]]:
        train, inside, judged, test = (torch.as_tensor(rows, device=features.device) for rows in part.rows)
        learnt, apart = (train, test) if last else (inside, judged)
        truth = labels[apart]
        if last:
            truth = truth.masked_fill(torch.as_tensor(~part.learned, device=labels.device), NO_LABEL)
        generator = torch.Generator(features.device).manual_seed(seed * 1000 + part.fold)
        seen, best, epoch_of_best, kept = features[apart], -1.0, 0, {}
        for epoch, heads in enumerate(trained_heads(features[learnt], labels[learnt], recipe, generator)):
            if (value := _macro(heads(seen), truth)) > best:
                best, epoch_of_best = value, epoch
            wanted = (epoch_of_best, chosen, recipe.epochs - 1) if last else ()
            kept = {known: kept.get(known, heads) for known in wanted if known is not None and known <= epoch}
        return epoch_of_best, kept

    # every run begins before those behind it, so that a run on all images never waits for one that has not begun
    tasks = [(place, last) for last in (False, True) for place in range(len(parts))]
    found = list(each(run, tasks, features.device) if features.numel() <= SIDE_BY_SIDE else map(run, tasks))
    epochs, kept = {choice: [] for choice in CHOICES}, {choice: [] for choice in CHOICES}
    for (chosen, _), (best, heads_of) in zip(found[: len(parts)], found[len(parts) :]):
        for choice, epoch in {"last": recipe.epochs - 1, "validation": chosen, "best_on_test": best}.items():
            epochs[choice].append(epoch + 1)
            kept[choice].append(heads_of[epoch])
    return FittedFolds(
        folds=tuple(part.fold for part in parts), learned=np.stack([part.learned for part in parts]),
        epochs={choice: tuple(found) for choice, found in epochs.items()},
        weight={choice: torch.stack([heads.weight for heads in found]) for choice, found in kept.items()},
        bias={choice: torch.stack([heads.bias for heads in found]) for choice, found in kept.items()},
    )  # fmt: skip


@dataclass(frozen=True)
class FoldPart:
    """What one test fold is fitted and tested on. rows: all training images, those of them that choose no epoch, those that
    do, and the test images; learned [K] bool: the AUs that a training image is known to show."""

    fold: int
    rows: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
    learned: np.ndarray


def fold_parts(
    labels: np.ndarray, fold: np.ndarray, person: np.ndarray, recipe: Recipe, seed: int, tested: np.ndarray
) -> list[FoldPart]:
    """The parts of every fold that has a test image; arguments as for :func:`fit_folds`, labels in numpy.

    Raises:
        ValueError: wrong shapes, an image without a fold, a person in two folds.
        TaskLeftOut: no image outside a test fold, one person outside it, or no AU to learn there.
    """
    _check(labels, fold, person)
    parts = []
    for name in np.unique(fold[tested]).tolist():
        train, test = np.flatnonzero(fold != name), np.flatnonzero((fold == name) & tested)
        if not len(train):
            raise TaskLeftOut(f"fold: expected at least two folds >= 0, got {np.unique(fold).tolist()}")
        if len(np.unique(person[train])) < 2:
            raise TaskLeftOut(f"fold: one person outside fold {name + 1} is not enough to fit the heads and to choose their epoch by")
        held_out = held_out_people(person[train], recipe.held_out, seed)
        inside, judged = train[~held_out], train[held_out]
        learned = (labels[train] == 1).any(0)
        if not (labels[inside] == 1).any():
            raise TaskLeftOut(f"labels: no action unit is known to be present outside fold {name + 1}, or only in held-out people")
        parts.append(FoldPart(name, (train, inside, judged, test), learned))
    return parts


@dataclass(frozen=True)
class LinearEvaluation:
    """``scores``: one :class:`FoldScores` for each of CHOICES; ``epochs``: the epoch (from 1) of each fold, by choice.

    ``left_out``: what the scores say nothing about, the data set's own gaps included.
    """

    scores: dict[str, FoldScores]
    epochs: dict[str, tuple[int, ...]]
    left_out: tuple[str, ...]


def linear_evaluation(
    features: Tensor, labels: Tensor, fold: np.ndarray, person: np.ndarray, units: Sequence[int], recipe: Recipe, seed: int,
    left_out: Sequence[str] = (),
) -> LinearEvaluation:  # fmt: skip
    """Train the heads for every fold on the other folds' images (:func:`fit_folds`) and score its own.

    Raises:
        ValueError: wrong shapes, fewer than two folds, a person in two folds, an image without a fold.
    """
    if len(units) != labels.shape[-1]:
        raise ValueError(f"units: expected one for each of {labels.shape[-1]} columns of labels, got {len(units)}")
    fitted = fit_folds(features, labels, fold, person, recipe, seed)
    place = torch.as_tensor(np.searchsorted(fitted.folds, fold), device=features.device)
    truth = labels.cpu().numpy()
    scores = {
        choice: fold_scores(fitted.scores(features, place, choice).cpu().numpy(), truth, fold, units, learned=fitted.learned)
        for choice in CHOICES
    }
    return LinearEvaluation(scores, fitted.epochs, (*left_out, *scores["last"].left_out))


def evaluate_action_units(
    encoder: nn.Module, table, *, units: Sequence[int] = BP4D_UNITS, recipe: Recipe = Recipe(), seed: int = 0,
    batch_size: int = 64, device: torch.device | str = "cpu", own_vectors: bool = False,
) -> LinearEvaluation:  # fmt: skip
    """The linear evaluation of an encoder on the images of a face table that have a fold and a known label.

    Args:
        own_vectors: the head of unit k sees the k-th of K equal parts of the features alone, as published: for an AUNCE
            encoder that was trained for just these ``units``, in this order. Otherwise every head sees all features.

    Raises:
        ValueError: no column of these units or of folds, or features that are not K equal parts.
    """
    if "fold" not in table.columns:
        raise ValueError(
            f"table {table.name!r} has no column 'fold', so nobody is known to be tested on: lib.splits.with_split(table, root) deals"
            " the probes' people into folds, or give the set a column fold (0, 1 or 2, one a person)"
        )
    labels, fold = au_labels(table, units), table.column("fold")
    outside, blank = fold < 0, (labels < 0).all(1)
    notes = list(table.notes)
    if outside.any():
        notes.append(f"{outside.sum()} images without a fold")
    if (blank & ~outside).any():
        notes.append(f"{(blank & ~outside).sum()} images of which no action unit is known")
    rows = np.flatnonzero(~outside & ~blank)
    if not len(rows):
        raise ValueError(f"table {table.name!r}: no image has a fold and a known action unit")
    features = embed(encoder, table, rows, batch_size, device)
    if own_vectors:
        if features.shape[1] % len(units):
            raise ValueError(f"own_vectors: {features.shape[1]} features are not {len(units)} equal parts, one a unit")
        features = features.view(len(rows), len(units), -1)
    known = torch.as_tensor(labels[rows], device=device)
    return linear_evaluation(features, known, fold[rows], table.column("identity")[rows], units, recipe, seed, notes)


def _macro(scores: Tensor, labels: Tensor) -> float:
    """Macro F1 over the AUs that somebody shows; 0 where nobody shows any."""
    f1 = au_counts((scores >= 0).cpu().numpy(), labels.cpu().numpy()).f1
    return float(np.nan_to_num(mean_of_known(f1, 0)))


def _check(labels: np.ndarray, fold: np.ndarray, person: np.ndarray) -> None:
    if labels.ndim != 2 or len(fold) != len(labels) or len(person) != len(labels):
        raise ValueError(f"labels, fold, person: expected [N, K], [N], [N], got {list(labels.shape)}, {len(fold)}, {len(person)}")
    if (fold < 0).any():
        raise ValueError(f"fold: expected folds >= 0, got {np.unique(fold).tolist()}")
    pairs = np.unique(np.stack([person, fold]), axis=1)
    twice = pairs[0][:-1][np.diff(pairs[0]) == 0]
    if len(twice):
        raise ValueError(f"fold: persons in more than one fold: {twice[:5].tolist()}")
