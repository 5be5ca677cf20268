"""Auto-PGD: projected gradient ascent with momentum that halves its own steps (Croce and Hein, ICML 2020, arXiv 2003.01690).

No step size to choose: it begins at 2 eps and is halved, per image, when the loss has stopped rising between two
checkpoints; the search then goes on from the best point so far.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from lib.degrade.checks import check_broken, check_count, check_logits, check_scores, checked_each
from lib.degrade.draws import derive
from lib.degrade.objectives import misclassified, targeted_dlr
from lib.degrade.search import ball, checked_search, constant, likeliest, random_start, untouched

Scores = Callable[[Tensor], Tensor]
Each = Callable[[Tensor, Tensor], Tensor]

MOMENTUM, LEAST_RISES = 0.75, 0.75
FIRST_CHECK, SHRINK, LEAST_BETWEEN = 0.22, 0.03, 0.06  # shares of the steps


def apgd(
    logits_fn: Scores,
    images: Tensor,
    labels: Tensor,
    each_fn: Each,
    eps: float = 8 / 255,
    steps: int = 100,
    generator: torch.Generator | None = None,
    restarts: int = 1,
    broken_fn: Each | None = None,
    seeds: Tensor | None = None,
) -> Tensor:
    """Adversarial images [B,3,H,W], detached, within ``eps`` in L-infinity and within [0, 1]: the points of largest loss.

    Costs ``steps`` + 1 forward and backward passes a start, and one clean forward pass with ``broken_fn``.

    Args:
        logits_fn: Module or callable, images, labels, generator, seeds: as for :func:`lib.degrade.attacks.attack`.
        each_fn: (scores, labels) -> the loss of each image [B], to be raised; see lib.degrade.objectives.
        restarts: random starts; the best of all is kept.
        broken_fn: (scores, labels) -> bool [B]. An image that is broken keeps the point that broke it and drops out; one
            that is broken from the start stays as it is. ``logits_fn`` then sees fewer and fewer images.

    Raises:
        ValueError: bad images, labels, budget, seeds or generator; scores or losses of a wrong shape or without gradient.
    """
    seeds = checked_search(images, labels, eps, 0.0, steps, generator, seeds)
    check_count("restarts", restarts)
    with torch.inference_mode(False), torch.enable_grad(), untouched(logits_fn):
        images, labels = constant(images), constant(labels)
        best, left = images.clone(), torch.arange(len(images), device=images.device)
        best_loss = images.new_full((len(images),), float("-inf"))
        if broken_fn is not None:
            with torch.no_grad():
                left = left[~check_broken(broken_fn(check_scores(logits_fn(images), len(images)), labels), len(images))]
        for restart in range(restarts):
            if not len(left):
                break
            point, loss, broken = _ascent(
                logits_fn, images[left], labels[left], each_fn, eps, steps, derive(seeds[left], restart), broken_fn
            )
            better = broken | (loss > best_loss[left])
            best[left] = torch.where(better[:, None, None, None], point, best[left])
            best_loss[left] = torch.where(better, loss, best_loss[left])
            left = left[~broken]
        return best


def apgd_targeted(
    logits_fn: Scores,
    images: Tensor,
    classes: Tensor,
    eps: float = 8 / 255,
    steps: int = 100,
    generator: torch.Generator | None = None,
    targets: int = 9,
    seeds: Tensor | None = None,
    most_rows: int | None = None,
) -> Tensor:
    """APGD-T: one search towards each of the ``targets`` likeliest wrong classes (all of them where there are fewer).

    Logits [B,C] and classes [B] long. An image that is misclassified drops out; the others come back as they were. Once few
    images are left, several targets are searched at once, as many as fit ``most_rows`` rows of one batch (None: B), one at least:
    the result of an image is that of its likeliest target that is reached, as if they were searched one after the other.
    """
    seeds = checked_search(images, classes, eps, 0.0, steps, generator, seeds)
    check_count("targets", targets)
    most_rows = len(images) if most_rows is None else most_rows
    check_count("most_rows", most_rows)
    with torch.inference_mode(False), torch.enable_grad(), untouched(logits_fn):
        images, classes = constant(images), constant(classes)
        result, left = images.clone(), torch.arange(len(images), device=images.device)
        with torch.no_grad():
            logits = check_logits(logits_fn(images), classes)
        order = logits.scatter(1, classes[:, None], float("-inf")).argsort(1, descending=True)
        left = left[~misclassified(logits, classes)]
        place, last = 0, min(targets, logits.shape[1] - 1)
        while place < last and len(left):
            places = range(place, min(place + max(most_rows // len(left), 1), last))
            copies = torch.arange(len(left), device=left.device).repeat(len(places))
            both = torch.stack([classes[left[copies]], order[left, place : places.stop].T.flatten()], 1)
            point, _, broken = _ascent(
                logits_fn, images[left[copies]], both, lambda z, y: targeted_dlr(z, y[:, 0], y[:, 1]), eps, steps,
                torch.cat([derive(derive(seeds[left], p), 0) for p in places]), lambda z, y: misclassified(z, y[:, 0]), copies,
            )  # fmt: skip
            found, row = likeliest(broken, len(places))
            result[left[found]] = point[row[found]]
            place, left = places.stop, left[~found]
        return result


def _ascent(
    logits_fn: Scores, images: Tensor, labels: Tensor, each_fn: Each, eps: float, steps: int, seeds: Tensor,
    broken_fn: Each | None, copies: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """One start: (best points [B,3,H,W], their losses [B], broken [B] bool).

    Rows with the same number, 0 to B - 1, in ``copies`` [B] long are searches for one image: a broken one ends those behind it.
    """
    rows = torch.arange(len(images), device=images.device)
    copies = rows if copies is None else copies
    first = torch.full_like(rows, len(rows))  # the first broken row of each number
    broken = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    low, high = ball(images, eps)
    point = torch.clamp(random_start(images, eps, seeds), low, high)
    gradient, loss, hit = _gradient(logits_fn, point, labels, each_fn, broken_fn)
    best, best_loss, best_gradient = point.clone(), loss.clone(), gradient
    before = point
    size = images.new_full((len(images), 1, 1, 1), 2 * eps)
    rises = torch.zeros(len(images), device=images.device)
    checked_loss, halved = loss.clone(), torch.ones_like(broken)
    until = between = max(int(FIRST_CHECK * steps), 1)
    out = best.clone(), best_loss.clone()  # whole, while the state below shrinks to the images that are left

    def leave(hit: Tensor) -> Tensor:
        """Record the images ``hit`` as broken where they are; which of the present ones stay: [b] long.

        Rows are told by numbers, not by True and False: a GPU is then waited for once for all that is taken of them.
        """
        left = torch.nonzero(hit).flatten()
        gone = rows[left]
        out[0][gone], out[1][gone], broken[gone] = point[left], loss[left], True
        first.scatter_reduce_(0, copies[gone], gone, "amin")
        return torch.nonzero(rows < first[copies[rows]]).flatten()

    for step in range(steps):
        if broken_fn is not None and bool(hit.any()):
            stay = leave(hit)
            rows, labels, low, high, point, before = (t[stay] for t in (rows, labels, low, high, point, before))
            gradient, best, best_loss, best_gradient = (t[stay] for t in (gradient, best, best_loss, best_gradient))
            loss, size, rises, checked_loss, halved = (t[stay] for t in (loss, size, rises, checked_loss, halved))
        if not len(rows):
            break
        momentum = MOMENTUM if step else 1.0
        ahead = torch.clamp(point + size * gradient.sign(), low, high)
        ahead = torch.clamp(point + momentum * (ahead - point) + (1 - momentum) * (point - before), low, high)
        before, point, loss_before = point, ahead, loss
        gradient, loss, hit = _gradient(logits_fn, point, labels, each_fn, broken_fn)
        rises += loss > loss_before
        better = loss > best_loss
        best = torch.where(better[:, None, None, None], point, best)
        best_gradient = torch.where(better[:, None, None, None], gradient, best_gradient)
        best_loss = torch.where(better, loss, best_loss)
        until -= 1
        if until == 0:
            stuck = (rises <= LEAST_RISES * between) | (~halved & (checked_loss >= best_loss))
            size = torch.where(stuck[:, None, None, None], size / 2, size)
            point = torch.where((stuck & ~hit)[:, None, None, None], best, point)
            gradient = torch.where((stuck & ~hit)[:, None, None, None], best_gradient, gradient)
            halved, checked_loss = stuck, best_loss.clone()
            loss = torch.where(stuck & ~hit, best_loss, loss)
            between = max(between - max(int(SHRINK * steps), 1), max(int(LEAST_BETWEEN * steps), 1))
            until, rises = between, torch.zeros_like(rises)
    if len(rows):
        stay = leave(hit)
        out[0][rows[stay]], out[1][rows[stay]] = best[stay], best_loss[stay]
    return *out, broken


def _gradient(
    logits_fn: Scores, point: Tensor, labels: Tensor, each_fn: Each, broken_fn: Each | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradient of the summed loss, loss of each image, and which are broken."""
    point = point.detach().requires_grad_()
    logits = logits_fn(point)
    each = checked_each(each_fn, logits, labels)
    gradient = torch.autograd.grad(each.sum(), point, allow_unused=True)[0] if each.requires_grad else None
    if gradient is None:
        raise ValueError("logits_fn, each_fn: the loss does not depend on the images, so there is no gradient")
    if broken_fn is None:
        return gradient, each.detach(), torch.zeros_like(each, dtype=torch.bool)
    return gradient, each.detach(), check_broken(broken_fn(logits.detach(), labels), len(point))
