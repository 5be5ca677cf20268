"""Linear heads of action units that were fitted before are read again.

An encoder is probed as itself and as the surrogate of others, on the same images each time, and a run that was stopped begins
with the same fits.
"""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lib.kept import digest, kept_arrays, source_of
from lib.probes.au_linear import CHOICES, FittedFolds, Recipe, fit_folds

CODE = (
    "kept.py", "cores.py", "device.py", "metrics.py", "au_metrics.py", "datasets/columns.py", "probes/kept_heads.py",
    "probes/au_linear.py", "probes/linear.py", "probes/selection.py", "losses/weighted_bce.py", "losses/checks.py",
)  # fmt: skip
ROWS = 4096  # of features that are copied to the CPU at once


def kept_folds(
    folder: Path | None, features: Tensor, labels: Tensor, fold: np.ndarray, person: np.ndarray, recipe: Recipe, seed: int,
    tested: np.ndarray,
) -> FittedFolds:  # fmt: skip
    """:func:`lib.probes.au_linear.fit_folds` of the same arguments, out of ``folder`` if it is there; None: fitted anew.

    A file is named by all of the arguments, the code, torch's version and the kind of device: with other features, labels,
    folds, people, settings or test images the heads are fitted. Heads of another number of cores may be read; they differ by rounding.
    """
    arguments = features, labels, fold, person, recipe, seed, tested
    if folder is None:
        return fit_folds(*arguments)
    arrays = kept_arrays(folder, _key(*arguments), lambda: _arrays_of(fit_folds(*arguments)))
    at = {name: torch.from_numpy(arrays[name]).to(features.device) for name in arrays if name.startswith(("weight_", "bias_"))}
    return FittedFolds(
        folds=tuple(arrays["folds"].tolist()),
        learned=arrays["learned"],
        epochs={choice: tuple(arrays[f"epochs_{choice}"].tolist()) for choice in CHOICES},
        weight={choice: at[f"weight_{choice}"] for choice in CHOICES},
        bias={choice: at[f"bias_{choice}"] for choice in CHOICES},
    )


def _arrays_of(fitted: FittedFolds) -> dict[str, np.ndarray]:
    found = {"folds": np.asarray(fitted.folds), "learned": fitted.learned}
    for choice in CHOICES:
        found[f"epochs_{choice}"] = np.asarray(fitted.epochs[choice])
        found[f"weight_{choice}"] = fitted.weight[choice].cpu().numpy()
        found[f"bias_{choice}"] = fitted.bias[choice].cpu().numpy()
    return found


def _key(features: Tensor, labels: Tensor, fold, person, recipe: Recipe, seed: int, tested) -> str:
    return digest(
        torch.__version__, features.device.type, features.dtype, tuple(features.shape), tuple(labels.shape), asdict(recipe), seed,
        source_of(*CODE),
        (part.cpu().numpy() for part in features.split(ROWS)),
        *(np.ascontiguousarray(part, kind) for part, kind in (
            (labels.cpu(), np.int64), (fold, np.int64), (person, np.int64), (tested, bool),
        )),
    )  # fmt: skip
