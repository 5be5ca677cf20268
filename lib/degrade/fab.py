"""FAB-T: a small L-infinity change that reaches a wrong class (Croce and Hein, ICML 2020, arXiv 1907.02044).

A boundary attack: from the present point and from the clean image, project onto the linearised boundary to the target
class within [0, 1]; go on from a mix of both. Here an image is left at the first change within eps (the published attack goes on
to the smallest one), and targets after the first begin at a random point.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from lib.degrade.attacks import check_budget, check_labels, checked_seeds, constant, random_start, untouched
from lib.degrade.checks import check_count, check_generator, check_images, check_logits
from lib.degrade.objectives import misclassified

OVERSHOOT, LARGEST_PULL, BACK = 1.05, 0.1, 0.9


def fab_targeted(
    logits_fn: Callable[[Tensor], Tensor],
    images: Tensor,
    classes: Tensor,
    eps: float = 8 / 255,
    steps: int = 100,
    generator: torch.Generator | None = None,
    targets: int = 9,
    seeds: Tensor | None = None,
) -> Tensor:
    """Images [B,3,H,W]: misclassified ones within ``eps`` where they were found, else the images as they were.

    Logits [B,C], classes [B] long. Costs two forward passes and a backward one a step and target. An image
    drops out once a change within ``eps`` is found.
    """
    check_images(images)
    check_generator(generator, images)
    check_budget(eps, 0.0, steps)
    check_count("targets", targets)
    check_labels(classes, images)
    seeds = checked_seeds(seeds, generator, images)
    with torch.inference_mode(False), torch.enable_grad(), untouched(logits_fn):
        images = constant(images)
        result, left = images.clone(), torch.arange(len(images), device=images.device)
        with torch.no_grad():
            logits = check_logits(logits_fn(images), classes)
        order = logits.scatter(1, classes[:, None], float("-inf")).argsort(1, descending=True)
        left = left[~misclassified(logits, classes)]
        for place in range(min(targets, logits.shape[1] - 1)):
            if not len(left):
                break
            found, broken = _towards(
                logits_fn, images[left], classes[left], order[left, place], eps, steps, seeds[left] + place if place else None
            )
            result[left[broken]] = found[broken]
            left = left[~broken]
        return result


def _towards(
    logits_fn, clean: Tensor, classes: Tensor, target: Tensor, eps: float, steps: int, seeds: Tensor | None
) -> tuple[Tensor, Tensor]:
    """One target class: (points [B,3,H,W], found within eps [B] bool). The first start is the image itself."""
    rows = torch.arange(len(clean), device=clean.device)
    found, broken = clean.clone(), torch.zeros(len(clean), dtype=torch.bool, device=clean.device)
    point = clean if seeds is None else random_start(clean, eps, seeds)
    for _ in range(steps):
        here = point.detach().requires_grad_()
        logits = logits_fn(here)
        if not logits.requires_grad:
            raise ValueError("logits_fn: its result has no gradient to the images (a detach or no_grad inside?)")
        gap = (logits.gather(1, target[:, None]) - logits.gather(1, classes[:, None]))[:, 0]  # 0 is the boundary
        (slope,) = torch.autograd.grad(gap.sum(), here)
        gap, slope, origin = gap.detach(), slope.flatten(1), clean.flatten(1)
        at = here.detach().flatten(1)
        reach = slope * at
        need = reach.sum(1) - gap  # slope . x of the points on the linearised boundary
        near, far = project(at, slope, need), project(origin, slope, need)
        size_near, size_far = (near - at).abs().amax(1), (far - origin).abs().amax(1)
        pull = (size_near / (size_near + size_far).clamp(min=1e-12)).clamp(max=LARGEST_PULL)[:, None]
        mixed = (1 - pull) * (at + OVERSHOOT * (near - at)) + pull * (origin + OVERSHOOT * (far - origin))
        point = mixed.clamp(0, 1).view_as(clean)
        with torch.no_grad():
            over = misclassified(logits_fn(point), classes)
        inside = (point - clean).abs().amax((1, 2, 3)) <= eps
        hit = over & inside
        found[rows[hit]], broken[rows[hit]] = point[hit], True
        # over the boundary but too far: back towards the image, and on from there
        point = torch.where(over[:, None, None, None], clean + BACK * (point - clean), point)
        stay = ~hit
        if bool(hit.any()):
            rows, clean, classes, target, point = (t[stay] for t in (rows, clean, classes, target, point))
        if not len(rows):
            break
    return found, broken


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
