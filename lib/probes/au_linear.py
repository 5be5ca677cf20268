"""Linear evaluation of action units as published, with an honest choice of the epoch beside the published one.

References:
    [1] AUNCE (`linear_graph_au.py`, deleted from its repository in January 2025, still in its history): a linear head per AU on
        frozen features, weighted cross-entropy, Adam 1e-3, weight decay 1e-6, batches of 256, 100 epochs.

The published script leaves batch norm and drop-path in training mode while it calls the encoder frozen, and looks at the
test images after every epoch without other images to choose by. Here the encoder is in eval mode, so that its features can
be computed once, and three numbers stand side by side: of the last epoch, of the epoch that held-out people of the training
folds choose, and of the best epoch on the test images, which flatters.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor, nn

from lib.au_metrics import FoldScores, au_counts, fold_scores
from lib.datasets.action_units import BP4D_UNITS, au_labels
from lib.losses.weighted_bce import inverse_rate_weights, weighted_bce
from lib.probes.features import embed
from lib.probes.selection import held_out_people

CHOICES = ("last", "validation", "best_on_test")


@dataclass(frozen=True)
class Recipe:
    """How the heads are trained; the defaults are the published ones [1].

    Attributes:
        held_out: share of the people of the training folds by whom the epoch of 'validation' is chosen (at least one).
    """

    epochs: int = 100
    batch_size: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 1e-6
    held_out: float = 0.2

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


def trained_heads(features: Tensor, labels: Tensor, recipe: Recipe, generator: Generator) -> Iterator[AuHeads]:
    """The heads after each epoch (always the same object, trained on): features [n, D] or [n, K, D], labels [n, K].

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
    weights = inverse_rate_weights(labels)
    optimizer = torch.optim.Adam(heads.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    for _ in range(recipe.epochs):
        order = torch.randperm(len(features), generator=generator, device=generator.device)
        with torch.enable_grad():
            for rows in order.split(recipe.batch_size):
                optimizer.zero_grad(set_to_none=True)
                weighted_bce(heads(features[rows]), labels[rows], weights).backward()
                optimizer.step()
        yield heads


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
    """Train the heads for every fold on the other folds' images, score its own; all images must have a fold >= 0.

    The epoch of 'validation' comes from a run without the held-out people, the one with their best macro F1; the heads that
    are scored are those of that epoch of the run on all training images. So the three choices differ in the epoch alone.

    Args:
        features: [N, D], or [N, K, D] with a vector for each AU; frozen.
        labels: [N, K] long in {0, 1, -1}.
        fold, person: [N] ints.

    Raises:
        ValueError: wrong shapes, fewer than two folds, a person in two folds, an image without a fold.
    """
    _check(labels, fold, person, units)
    names, generator = np.unique(fold), torch.Generator(features.device)
    found = {choice: torch.empty(labels.shape) for choice in CHOICES}
    epochs, learned = {choice: [] for choice in CHOICES}, []
    for number, name in enumerate(names):
        train, test = torch.as_tensor(fold != name), torch.as_tensor(fold == name)
        held_out = torch.as_tensor(held_out_people(person[fold != name], recipe.held_out, seed))
        inside, judged = (torch.nonzero(train)[:, 0][part] for part in (~held_out, held_out))
        learned.append((labels[train] == 1).any(0).cpu().numpy())
        if not learned[-1].any() or not (labels[inside] == 1).any():
            raise ValueError(f"labels: no action unit is known to be present outside fold {name}, or only in held-out people")

        generator.manual_seed(seed * 1000 + number)
        runs = trained_heads(features[inside], labels[inside], recipe, generator)
        macro = [_macro(heads(features[judged]), labels[judged]) for heads in runs]
        chosen, best = int(np.argmax(macro)), -1.0
        generator.manual_seed(seed * 1000 + number)
        for epoch, heads in enumerate(trained_heads(features[train], labels[train], recipe, generator)):
            with torch.no_grad():
                scores = heads(features[test])
            said = {"last": epoch == recipe.epochs - 1, "validation": epoch == chosen}
            if (value := _macro(scores, labels[test])) > best:
                best, said["best_on_test"], best_epoch = value, True, epoch
            for choice in (choice for choice, take in said.items() if take):
                found[choice][test] = scores.cpu()
        for choice, epoch in zip(CHOICES, (recipe.epochs - 1, chosen, best_epoch)):
            epochs[choice].append(epoch + 1)
    truth = labels.cpu().numpy()
    learned = np.stack(learned)
    scores = {choice: fold_scores(value.numpy(), truth, fold, units, learned=learned) for choice, value in found.items()}
    return LinearEvaluation(scores, {k: tuple(v) for k, v in epochs.items()}, (*left_out, *scores["last"].left_out))


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
    return float(np.nanmean(f1)) if np.isfinite(f1).any() else 0.0


def _check(labels: Tensor, fold: np.ndarray, person: np.ndarray, units: Sequence[int]) -> None:
    if labels.dim() != 2 or len(fold) != len(labels) or len(person) != len(labels) or len(units) != labels.shape[1]:
        raise ValueError(
            f"labels, fold, person, units: expected [N, K], [N], [N], K, got {list(labels.shape)}, {len(fold)}, {len(person)},"
            f" {len(units)}"
        )
    if (fold < 0).any() or len(np.unique(fold)) < 2:
        raise ValueError(f"fold: expected at least two folds >= 0, got {np.unique(fold).tolist()}")
    pairs = np.unique(np.stack([person, fold]), axis=1)
    twice = pairs[0][:-1][np.diff(pairs[0]) == 0]
    if len(twice):
        raise ValueError(f"fold: persons in more than one fold: {twice[:5].tolist()}")
