"""Verification pairs after the LFW protocol: folds that share no person, half genuine and half impostor pairs in each.

G. B. Huang et al., Labeled Faces in the Wild, 2007, "View 2": the threshold of a fold comes from the other folds, which
is only honest when no person is in both.
"""

from dataclasses import dataclass

import numpy as np
import torch

_ENUMERATE = 2_000_000  # up to so many candidates are shuffled as a whole; beyond, they are drawn at random


class TooFewFaces(ValueError):
    """The people or images do not suffice for the pairs asked for; the message says how many there are."""


@dataclass(frozen=True)
class Pairs:
    """Positions ``first``, ``second`` [P] int64 into ``identity``; ``same`` [P] bool; ``fold`` [P] int64, ascending."""

    first: np.ndarray
    second: np.ndarray
    same: np.ndarray
    fold: np.ndarray

    def __len__(self) -> int:
        return len(self.first)


def verification_pairs(identity: np.ndarray, folds: int = 10, pairs_per_fold: int = 60,
                       generator: torch.Generator | None = None, clip: np.ndarray | None = None) -> Pairs:
    """Draw ``folds * pairs_per_fold`` different pairs; in each fold first the genuine half, then the impostors.

    Args:
        identity: [N] integers, the person on each image. People are dealt over the folds, those with several images
            first, so that every fold has as many of them as another (but for one).
        pairs_per_fold: even.
        generator: on the CPU; None means torch's default one.
        clip: [N]; when given, the two images of a genuine pair come from different clips: two frames of one clip share
            light and background and would be told by these.
    Raises:
        TooFewFaces: too few people or images for that many pairs; says how many there are.
        ValueError: an argument of the wrong kind.
    """
    identity = np.asarray(identity)
    if identity.ndim != 1 or identity.dtype.kind not in "iu":
        raise ValueError(f"identity: expected integers [N], got {identity.dtype} {list(identity.shape)}")
    if clip is not None and np.shape(clip) != identity.shape:
        raise ValueError(f"clip: expected shape {list(identity.shape)} like identity, got {list(np.shape(clip))}")
    if folds < 2:
        raise ValueError(f"folds: expected at least 2, got {folds}")
    if pairs_per_fold < 2 or pairs_per_fold % 2:
        raise ValueError(f"pairs_per_fold: expected a positive even number, got {pairs_per_fold}")
    if generator is not None and generator.device.type != "cpu":
        raise ValueError(f"generator: expected one on the CPU, where pairs are drawn, got {generator.device}")
    group = identity if clip is None else np.asarray(clip)
    parts = []
    for number, people in enumerate(_deal(identity, folds, generator)):
        images = np.flatnonzero(np.isin(identity, people))
        images = images[np.argsort(identity[images], kind="stable")]
        for same in (True, False):
            first, second = _draw(identity[images], group[images], same, pairs_per_fold // 2, generator,
                                  f"fold {number + 1} of {folds} ({len(people)} people, {len(images)} images)", clip is not None)
            parts.append((images[first], images[second], np.full(len(first), same), np.full(len(first), number)))
    return Pairs(*(np.concatenate(column) for column in zip(*parts)))


def _deal(identity: np.ndarray, folds: int, generator: torch.Generator | None) -> list[np.ndarray]:
    people, counts = np.unique(identity, return_counts=True)
    several = int((counts > 1).sum())
    if several < folds or len(people) < 2 * folds:
        raise TooFewFaces(f"identity: {folds} folds need at least {2 * folds} people, {folds} of them with two images"
                          f" or more; got {len(people)} people, {several} with two or more")
    order = torch.randperm(len(people), generator=generator).numpy()
    order = order[np.argsort(counts[order] == 1, kind="stable")]
    return [np.sort(people[order[number::folds]]) for number in range(folds)]


def _draw(identity: np.ndarray, group: np.ndarray, same: bool, need: int, generator: torch.Generator | None, where: str,
          across_clips: bool) -> tuple[np.ndarray, np.ndarray]:
    """``need`` pairs i < j of the fold's images (sorted by person), each at most once."""
    _, start, counts = np.unique(identity, return_index=True, return_counts=True)
    # A genuine candidate is a rank in the people's triangles laid end to end, an impostor a rank in the
    # triangle of all images.
    starts, sizes = (start, counts) if same else (np.zeros(1, np.int64), np.array([len(identity)]))
    ends = np.cumsum(sizes * (sizes - 1) // 2)
    total = int(ends[-1])

    def allowed(rank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        which = np.searchsorted(ends, rank, side="right")
        first, second = _unrank(rank - np.concatenate([[0], ends[:-1]])[which])
        first, second = first + starts[which], second + starts[which]
        if same:
            keep = group[first] != group[second] if across_clips else np.ones(len(first), bool)
        else:
            keep = identity[first] != identity[second]
        return first[keep], second[keep]

    if total <= _ENUMERATE:
        first, second = allowed(torch.randperm(total, generator=generator).numpy())
    else:
        # 32 candidates a pair is far more than needed unless nearly every candidate is refused.
        rank = torch.randint(total, (32 * need,), generator=generator).numpy()
        _, once = np.unique(rank, return_index=True)
        first, second = allowed(rank[np.sort(once)])
    if len(first) < need:
        kind = "genuine" if same else "impostor"
        extra = " from different clips" if same and across_clips else ""
        raise TooFewFaces(f"pairs_per_fold: {where} needs {need} {kind} pairs{extra}, it has {len(first)};"
                          " ask for fewer pairs or folds, or bring more images")
    return first[:need], second[:need]


def _unrank(rank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rank k = j(j-1)/2 + i -> (i, j) with i < j."""
    j = ((1 + np.sqrt(1 + 8 * rank.astype(np.float64))) // 2).astype(np.int64)
    j -= rank < j * (j - 1) // 2  # the square root may be off by one for large ranks
    j += rank >= j * (j + 1) // 2
    return rank - j * (j - 1) // 2, j
