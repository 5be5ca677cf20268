"""Face verification: are two images of one person? No training but a centre and a threshold from the other folds.

Score = cosine of the two features, each minus the mean feature of the images of the *other* folds (label-free; features
of one network share a large offset that would make all faces alike). Only the second image of a pair is degraded or
attacked, as when a new photo is compared with an enrolled one. The attacker lowers the cosine of genuine pairs
(dodging) and raises that of impostor pairs (impersonation), after RobFR (arXiv 2007.04118). The defender's thresholds
come from the clean pairs of the other folds and stay what they are under every condition.

Metrics: accuracy, and the share of genuine pairs accepted at the clean threshold that lets 10% of the other folds'
impostors pass. That threshold is fixed too, so under a condition the false accepts may be more than 10%.
A pair is resampled with the person of its first image; that an impostor pair shows a second person is neglected.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.datasets.pairs import Pairs, TooFewFaces, verification_pairs
from lib.degrade.objectives import mistaken, summed
from lib.metrics import best_threshold, far_threshold
from lib.probes.features import embed
from lib.probes.selection import balanced_order
from lib.probes.task import Task, TaskLeftOut, percent

FOLDS, FAR = 10, 0.1


def verification_task(
    encoder: nn.Module, table, rows, *, pairs: int, seed: int, batch_size: int, device: torch.device | str
) -> Task:
    """``pairs`` pairs (half genuine, in 10 folds that share no person) of the images ``rows`` of ``table``.

    In a table of clips the two images of a genuine pair come from different clips.

    Raises:
        TaskLeftOut: too few persons or images for so many pairs.
        ValueError: ``pairs`` is not a positive multiple of 20.
    """
    rows = np.asarray(rows)
    person, drawn = table.column("identity")[rows], draw_pairs(table, rows, pairs, seed)
    first, second, same, fold = drawn.first, drawn.second, drawn.same, drawn.fold
    genuine, impostor = np.flatnonzero(same), np.flatnonzero(~same)
    order = np.stack(
        [kind[balanced_order(person[first[kind]], fold[kind], seed)] for kind in (genuine, impostor)], 1
    ).ravel()
    first, second, same, fold = first[order], second[order], same[order], fold[order]

    features = embed(encoder, table, rows, batch_size, device)
    centres = []
    for f in range(FOLDS):
        others = np.unique(np.concatenate([first[fold != f], second[fold != f]]))
        centres.append(features[torch.as_tensor(others, device=device)].mean(0))
    centre = torch.stack(centres)
    fold_of = torch.as_tensor(fold, dtype=torch.long, device=device)
    enrolled = features[torch.as_tensor(first, device=device)] - centre[fold_of]

    def head(features: Tensor, items: Tensor) -> Tensor:
        return F.cosine_similarity(enrolled[items], features.float() - centre[fold_of[items]], dim=1)

    probe = features[torch.as_tensor(second, device=device)]
    clean = head(probe, torch.arange(len(second), device=device)).double().cpu().numpy()
    threshold, strict = np.zeros(len(fold)), np.zeros(len(fold))
    for f in range(FOLDS):
        others = fold != f
        threshold[~others] = best_threshold(clean[others], same[others])
        strict[~others] = far_threshold(clean[others], same[others], FAR)
    labels = torch.as_tensor(same, device=device)
    accept_above = torch.as_tensor(threshold, device=device)

    def count(scores: np.ndarray, items: np.ndarray) -> np.ndarray:
        right = (scores > threshold[items]) == same[items]
        accepted = (scores > strict[items]) & same[items]
        return np.stack([right, np.ones(len(items)), accepted, same[items]], axis=1).astype(float)

    return Task(
        name="verification",
        table=table,
        rows=torch.as_tensor(rows[second]),
        subjects=person[first],
        labels=labels,
        encoder=encoder,
        head=head,
        loss_fn=summed(mistaken),
        correct=lambda scores, items: (scores.double() > accept_above[items]) == labels[items],
        count=count,
        metrics={
            "accuracy": lambda c: percent(c[..., 0], c[..., 1]),
            f"tar_at_far_{FAR}": lambda c: percent(c[..., 2], c[..., 3]),
        },
    )


def draw_pairs(table, rows, pairs: int, seed: int) -> Pairs:
    """The pairs of :func:`verification_task`, as positions in ``rows``; it says what is raised."""
    if pairs < 2 * FOLDS or pairs % (2 * FOLDS):
        raise ValueError(f"pairs must be a positive multiple of {2 * FOLDS} ({FOLDS} folds, half genuine), got {pairs}")
    clip = table.column("clip")[rows] if "clip" in table.columns else None
    generator = torch.Generator().manual_seed(seed)
    try:
        return verification_pairs(table.column("identity")[rows], FOLDS, pairs // FOLDS, generator, clip)
    except TooFewFaces as error:
        raise TaskLeftOut(f"the test images do not suffice ({error})") from error
