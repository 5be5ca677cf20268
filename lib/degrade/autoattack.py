"""AutoAttack: four attacks without settings, each on what the last ones left (Croce and Hein, ICML 2020).

APGD on the cross-entropy, APGD-T on the targeted DLR loss, FAB-T and the Square Attack. With C classes there are
min(9, C - 1) targets; below four classes, where the targeted DLR loss is not defined, APGD-T raises the difference of two logits.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lib.degrade.apgd import apgd, apgd_targeted
from lib.degrade.checks import check_count, check_logits, check_scores
from lib.degrade.draws import derive
from lib.degrade.fab import fab_targeted
from lib.degrade.objectives import cross_entropy, margin, misclassified
from lib.degrade.search import checked_search, constant, untouched
from lib.degrade.square import square_search

PARTS = ("apgd_ce", "apgd_t", "fab_t", "square")
SQUARE_SHARE = 0.8  # of the image, of the first squares


def autoattack(
    logits_fn: Callable[[Tensor], Tensor],
    images: Tensor,
    classes: Tensor,
    eps: float = 8 / 255,
    generator: torch.Generator | None = None,
    steps: int = 100,
    queries: int = 5000,
    parts: Sequence[str] = PARTS,
    seeds: Tensor | None = None,
) -> Tensor:
    """Images [B,3,H,W], detached: misclassified ones within ``eps`` where any part finds them, else the images as they were.

    Args:
        logits_fn: Module or callable from pixels to logits [B,C], C >= 2; a Module is left as it was.
        classes: [B] long. A binary score s stands for the logits (-s, s).
        steps: of APGD and FAB, a target. queries: of the Square Attack. parts: which attacks, in this order.
        generator, seeds: as for :func:`lib.degrade.attacks.attack`.

    Raises:
        ValueError: bad images, classes, budget, seeds, generator or parts; logits of a wrong shape.
    """
    seeds = checked_search(images, classes, eps, 0.0, steps, generator, seeds)
    if unknown := [part for part in parts if part not in PARTS]:
        raise ValueError(f"parts: expected some of {', '.join(PARTS)}, got {unknown[0]!r}")
    check_count("queries", queries)
    images, result = constant(images), constant(images).clone()

    def squares(images: Tensor, classes: Tensor, seeds: Tensor) -> Tensor:
        def judge(tried: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
            loss = margin(check_scores(logits_fn(tried), len(rows)), classes[rows])
            return loss, ~(loss < 0)

        return square_search(judge, images, eps, queries, seeds, SQUARE_SHARE, stop=True)

    run = {
        "apgd_ce": lambda x, y, s: apgd(logits_fn, x, y, cross_entropy, eps, steps, broken_fn=misclassified, seeds=s),
        "apgd_t": lambda x, y, s: apgd_targeted(logits_fn, x, y, eps, steps, seeds=s, most_rows=len(images)),
        "fab_t": lambda x, y, s: fab_targeted(logits_fn, x, y, eps, steps, seeds=s, most_rows=len(images)),
        "square": squares,
    }
    with torch.inference_mode(False), untouched(logits_fn):

        @torch.no_grad()
        def broken(tried: Tensor, classes: Tensor) -> Tensor:
            return misclassified(check_logits(logits_fn(tried), classes), classes)

        left = torch.arange(len(images), device=images.device)
        left = left[~broken(images, classes)]
        for number, part in enumerate(parts):
            if not len(left):
                break
            found = run[part](images[left], classes[left], derive(seeds[left], number))
            hit = broken(found, classes[left])
            result[left[hit]] = found[hit]
            left = left[~hit]
    return result
