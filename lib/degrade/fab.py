"""FAB-T: a small L-infinity change that reaches a wrong class (Croce and Hein, ICML 2020, arXiv 1907.02044).

A boundary attack: from the present point and from the clean image, project onto the linearised boundary to the target
class within [0, 1]; go on from a mix of both. Here an image is left at the first change within eps (the published attack goes on
to the smallest one), and targets after the first begin at a random point.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from lib.degrade.checks import check_count, check_logits
from lib.degrade.draws import derive
from lib.degrade.objectives import misclassified
from lib.degrade.search import checked_search, constant, likeliest, random_start, untouched

Scores = Callable[[Tensor], Tensor]

OVERSHOOT, LARGEST_PULL, BACK = 1.05, 0.1, 0.9


def fab_targeted(
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
    """Images [B,3,H,W]: misclassified ones within ``eps`` where they were found, else the images as they were.

    Logits [B,C], classes [B] long. Costs two forward passes and a backward one a step and target. An image drops out
    once a change within ``eps`` is found. Once few are left, several targets are searched at once, as many as fit ``most_rows``
    rows of one batch (None: B), one at least: the result of an image is that of its likeliest target that is reached, as if they
    were searched one after the other.
    """
    seeds = checked_search(images, classes, eps, 0.0, steps, generator, seeds)
    check_count("targets", targets)
    most_rows = len(images) if most_rows is None else most_rows
    check_count("most_rows", most_rows)
    with torch.inference_mode(False), torch.enable_grad(), untouched(logits_fn):
        images = constant(images)
        result, left = images.clone(), torch.arange(len(images), device=images.device)
        with torch.no_grad():
            logits = check_logits(logits_fn(images), classes)
        order = logits.scatter(1, classes[:, None], float("-inf")).argsort(1, descending=True)
        left = left[~misclassified(logits, classes)]
        place, last = 0, min(targets, logits.shape[1] - 1)
        while place < last and len(left):
            places = range(place, min(place + max(most_rows // len(left), 1), last))
            copies = torch.arange(len(left), device=left.device).repeat(len(places))
            clean, target = images[left], order[left, place : places.stop].T.flatten()
            start = torch.cat([random_start(clean, eps, derive(seeds[left], p)) if p else clean for p in places])
            point, broken = _towards(logits_fn, clean[copies], classes[left[copies]], target, start, eps, steps, copies)
            found, row = likeliest(broken, len(places))
            result[left[found]] = point[row[found]]
            place, left = places.stop, left[~found]
        return result


def _towards(
    logits_fn: Scores, clean: Tensor, classes: Tensor, target: Tensor, point: Tensor, eps: float, steps: int, copies: Tensor
) -> tuple[Tensor, Tensor]:
    """One target class a row, from ``point``: (points [B,3,H,W], found within eps [B] bool).

    Rows with the same number, 0 to B - 1, in ``copies`` [B] long are searches for one image: a broken one ends those behind it.
    """
    rows = torch.arange(len(clean), device=clean.device)
    first = torch.full_like(rows, len(rows))  # the first broken row of each number
    found, broken = clean.clone(), torch.zeros(len(clean), dtype=torch.bool, device=clean.device)
    for _ in range(steps):
        gap, slope = _slope(logits_fn, point, classes, target)
        point = nearer(point, clean, gap, slope)
        with torch.no_grad():
            over = misclassified(logits_fn(point), classes)
        hit = over & ((point - clean).abs().amax((1, 2, 3)) <= eps)
        some = bool(hit.any())
        if some:
            gone = rows[hit]
            found[gone], broken[gone] = point[hit], True
            first.scatter_reduce_(0, copies[gone], gone, "amin")
        # over the boundary but too far, as most are: back towards the image, and on from there
        point = torch.where(over[:, None, None, None], clean + BACK * (point - clean), point)
        if some:
            stay = torch.nonzero(rows < first[copies[rows]]).flatten()
            rows, clean, classes, target, point = (t[stay] for t in (rows, clean, classes, target, point))
            if not len(rows):
                break
    return found, broken


def _slope(logits_fn: Scores, point: Tensor, classes: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Logit of the target less logit of the class, [B] (0 is the boundary), and its gradient [B,3,H,W]."""
    point = point.detach().requires_grad_()
    logits = logits_fn(point)
    if not logits.requires_grad:
        raise ValueError("logits_fn: its result has no gradient to the images (a detach or no_grad inside?)")
    gap = (logits.gather(1, target[:, None]) - logits.gather(1, classes[:, None]))[:, 0]
    (slope,) = torch.autograd.grad(gap.sum(), point, allow_unused=True)
    if slope is None:
        raise ValueError("logits_fn: its result does not depend on the images, so there is no gradient")
    return gap.detach(), slope


def nearer(point: Tensor, clean: Tensor, gap: Tensor, slope: Tensor) -> Tensor:
    """The next points [B,3,H,W]: a mix of the projections of ``point`` and of ``clean`` onto the linearised boundary.

    Both go a little beyond it; the larger the way from ``point``, the more weight has the clean image's (section 3.2 of the paper).
    """
    at, origin, slope = point.flatten(1), clean.flatten(1), slope.flatten(1)
    need = (slope * at).sum(1) - gap  # slope . x of the points on the linearised boundary
    near, far = project(at, slope, need), project(origin, slope, need)
    size_near, size_far = (near - at).abs().amax(1), (far - origin).abs().amax(1)
    pull = (size_near / (size_near + size_far).clamp(min=1e-12)).clamp(max=LARGEST_PULL)[:, None]
    mixed = (1 - pull) * (at + OVERSHOOT * (near - at)) + pull * (origin + OVERSHOOT * (far - origin))
    return mixed.clamp(0, 1).view_as(clean)


def project(points: Tensor, slope: Tensor, need: Tensor) -> Tensor:
    """The nearest points in L-infinity, within [0, 1], on the hyperplanes slope . x = need: [B,D], [B,D], [B] -> [B,D].

    Every coordinate moves by the same amount, or to the wall that it meets first. How far slope . x gets is a piecewise
    linear, rising function of that amount; the walls, sorted, are its knots. Where no point of the box is on the
    hyperplane, the corner nearest to it.
    """
    lack = need - (slope * points).sum(1)
    direction = lack.sign()[:, None] * slope.sign()
    room = torch.where(direction > 0, 1 - points, points)
    weight = slope.abs()
    knots, order = room.sort(1)
    sorted_weight = weight.gather(1, order)
    # at knot k: walls before it are met, the others have moved by knots[k]
    met = (sorted_weight * knots).cumsum(1)
    free = sorted_weight.sum(1, keepdim=True) - sorted_weight.cumsum(1)
    gained = met + free * knots
    target = lack.abs()[:, None]
    place = (gained < target).sum(1, keepdim=True).clamp(max=points.shape[1] - 1)  # the first knot that is far enough
    met_before = torch.where(place > 0, met.gather(1, (place - 1).clamp(min=0)), 0.0)
    free_here = free.gather(1, place) + sorted_weight.gather(1, place)
    amount = ((target - met_before) / free_here.clamp(min=1e-30)).clamp(min=0)
    amount = torch.minimum(amount, knots[:, -1:])
    return points + direction * torch.minimum(room, amount)
