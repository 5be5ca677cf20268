"""White-box L-infinity attacks: the eight of the DAR-SFRL evaluation, and FGSM.

An attack takes *any* callable from pixels to logits, so it goes through the whole model, restorer included
(adaptive by construction). What each does in a step: :mod:`lib.degrade.recipes`. Here: restarts and early stopping.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from lib.degrade.checks import check_broken, check_count, check_scores
from lib.degrade.draws import derive
from lib.degrade.recipes import RECIPES, Iteration, Logits, Loss
from lib.degrade.search import check_total, checked_search, constant, untouched

Broken = Callable[[Tensor, Tensor], Tensor]

ATTACKS = tuple(RECIPES)


def attack(
    name: str,
    logits_fn: Logits,
    images: Tensor,
    labels: Tensor,
    loss_fn: Loss,
    eps: float = 8 / 255,
    alpha: float = 2 / 255,
    steps: int = 10,
    generator: torch.Generator | None = None,
    restarts: int = 1,
    broken_fn: Broken | None = None,
    seeds: Tensor | None = None,
) -> Tensor:
    """Adversarial images [B,3,H,W], detached: within ``eps`` of ``images`` in every pixel and within [0, 1].

    Cost in forward and backward passes a step: 1; eotpgd 2; sinifgsm 5. There is no other pass without ``broken_fn`` and
    ``restarts``. The whole batch goes through the model at once: chunks are the caller's choice. What comes out for an image
    depends on its own pixels, label and seed alone (up to how the model rounds), whatever else is in the batch.

    Args:
        name: one of :data:`ATTACKS`.
        logits_fn: a Module or any callable from pixels [B,3,H,W] to a tensor with B rows. A Module is attacked in
            eval mode with its parameters' gradients switched off, and is left as it was (mode, buffers, gradients,
            requires_grad), on an exception too. Any other callable is used as it is. nifgsm and sinifgsm look ahead
            beyond [0, 1] as published, so the callable must not reject such pixels.
        images: float RGB [B,3,H,W] in [0, 1].
        labels: B rows of anything that ``loss_fn`` takes: classes, multi-hot targets, embeddings, numbers of items.
        loss_fn: ``loss_fn(logits, labels)`` -> the scalar to raise, a sum or a mean over images: each image is
            attacked by its own gradient, and every recipe is blind to its scale.
        eps: largest change of a pixel. alpha: step size. steps: number of steps (fgsm takes one, of size eps).
        generator: draws the seeds, on the device of ``images``; None uses the global state.
        restarts: how often to begin anew; of an image the result of largest loss is kept (``loss_fn`` is then also called
            under ``torch.func.vmap``), or with ``broken_fn`` the first that breaks it. Only pgd, eotpgd and difgsm differ
            from one start to the next.
        broken_fn: ``broken_fn(logits, labels)`` -> bool [B]. With it an image is left as soon as it is broken: it drops out
            of the batch, so ``logits_fn`` sees fewer and fewer images (what it must know of an image belongs into its
            label). One clean pass more is made.
        seeds: [B] long, one an image, instead of ``generator``.

    Raises:
        ValueError: bad name, images, budget, restarts, seeds or generator; logits that are not a tensor with B rows, a loss
            that is not a finite scalar or does not depend on the images. Found at the first pass, before any step, but for a loss that
            is finite there and not in a later step: that is found at the end.
    """
    if name not in RECIPES:
        raise ValueError(f"name: expected one of {', '.join(ATTACKS)}, got {name!r}")
    seeds = checked_search(images, labels, eps, alpha, steps, generator, seeds)
    check_count("restarts", restarts)
    with torch.inference_mode(False), torch.enable_grad(), untouched(logits_fn):
        images, labels = constant(images), constant(labels)
        iteration = Iteration(RECIPES[name], logits_fn, loss_fn, eps, alpha, steps)
        if broken_fn is not None:
            return _until_broken(iteration, images, labels, seeds, restarts, broken_fn)
        if restarts == 1:
            *_, point = iteration.points(images, labels, derive(seeds, 0))
            return point
        for best in best_of_restarts(iteration, images, labels, seeds, restarts):
            pass
        return best


def best_of_restarts(iteration: Iteration, images: Tensor, labels: Tensor, seeds: Tensor, restarts: int) -> Iterator[Tensor]:
    """After each start: the points of largest loss so far, [B,3,H,W]. Gradients must be on."""
    best, loss = images, None
    for restart in range(restarts):
        *_, point = iteration.points(images, labels, derive(seeds, restart))
        reached = losses(iteration.logits_fn, point, labels, iteration.loss_fn)
        higher = torch.ones_like(reached, dtype=torch.bool) if loss is None else reached > loss
        best = torch.where(higher[:, None, None, None], point, best)
        loss = reached if loss is None else torch.maximum(loss, reached)
        yield best


def _until_broken(
    iteration: Iteration, images: Tensor, labels: Tensor, seeds: Tensor, restarts: int, broken_fn: Broken
) -> Tensor:
    """The attack with early stopping: an image that is broken keeps the point that broke it and drops out."""
    result = images.clone()

    def unbroken(logits: Tensor, rows: Tensor) -> Tensor:
        """Which of the ``rows`` are still right, as places in it."""
        return torch.nonzero(~check_broken(broken_fn(check_scores(logits, len(rows)).detach(), labels[rows]), len(rows))).flatten()

    with torch.no_grad():
        left = torch.arange(len(images), device=images.device)
        left = left[unbroken(iteration.logits_fn(images), left)]
    # where the gradient is taken at the point itself, its forward pass tells whether the point breaks the image
    told = not (iteration.recipe.lookahead or iteration.recipe.diverse)
    for restart in range(restarts):
        rows, drawn = left, derive(seeds, restart)
        state, total = iteration.begin(images[rows], drawn[rows]), images.new_zeros(())
        for step in range(iteration.steps):
            if not len(rows):
                break
            if told:
                direction, logits, loss = iteration.direction(state, labels[rows], drawn[rows], step)
            else:
                with torch.no_grad():
                    logits = iteration.logits_fn(state.point)
            stays = unbroken(logits, rows)
            if len(stays) < len(rows):
                result[rows] = state.point
                rows, state = rows[stays], state.only(stays)
                if not len(rows):
                    break
                direction = direction[stays] if told else None
            if not told:
                direction, _, loss = iteration.direction(state, labels[rows], drawn[rows], step)
            state, total = iteration.moved(state, direction), total + loss
        if len(rows):
            with torch.no_grad():
                stays = unbroken(iteration.logits_fn(state.point), rows)
            result[rows], rows = state.point, rows[stays]
        check_total(total)
        left = rows
    return result


def losses(logits_fn: Logits, images: Tensor, labels: Tensor, loss_fn: Loss) -> Tensor:
    """The loss of each image, [B], without gradient."""
    with torch.no_grad():
        each = torch.func.vmap(lambda score, label: loss_fn(score[None], label[None]).reshape(()))
        return each(logits_fn(images), labels)
