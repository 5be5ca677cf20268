"""White-box L-infinity attacks: the eight of the DAR-SFRL evaluation, and FGSM.

An attack takes *any* callable from pixels to logits, so it goes through the whole model, restorer included
(adaptive by construction). All nine are one loop: follow the sign of a direction, stay within eps of the image and
within [0, 1]. They differ only in how the direction is made, see :data:`RECIPES`:

============  ==============================================================================================
fgsm          one step of size eps                                         Goodfellow et al., arXiv 1412.6572
bim           plain gradient                                               Kurakin et al., arXiv 1607.02533
pgd           plain gradient from a random start                           Madry et al., arXiv 1706.06083
eotpgd        pgd on the sum of 2 gradients (expectation over the model)   Liu et al., arXiv 1810.01279
mifgsm        momentum of mean-absolute-normalised gradients, decay 1      Dong et al., arXiv 1710.06081
upgd          the general form of mifgsm                                   torchattacks
difgsm        random resize and pad of the input, decay 0                  Xie et al., arXiv 1803.06978
nifgsm        mifgsm, gradient taken one momentum step ahead               Lin et al., arXiv 1908.06281
sinifgsm      nifgsm, gradient summed over the image divided by 2^0..2^4   Lin et al., arXiv 1908.06281
============  ==============================================================================================

Two pairs are equal by construction and are kept because the published tables have both rows: upgd without random
start, decay 1 and one sample *is* mifgsm bit for bit; eotpgd on a deterministic model is pgd with the same seed
(the sign of twice a gradient).

The constants are those of the DAR-SFRL evaluation, which are torchattacks' except decay 0 for difgsm. One deliberate
difference: difgsm draws its resize and pad for each image, as the paper defines it, and not once for a batch.
"""

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lib.degrade.checks import check_broken, check_count, check_generator, check_images, check_scores
from lib.degrade.draws import new_seeds, uniform

Logits = Callable[[Tensor], Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]
Broken = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Recipe:
    """How one attack makes its direction; the defaults are BIM."""

    random_start: bool = False
    decay: float | None = None  # None: the plain gradient; a number: momentum over normalised gradients
    lookahead: bool = False  # take the gradient where the momentum is about to lead
    samples: int = 1  # gradients summed a step, for a random model
    scales: int = 1  # gradients summed over the image / 2**i
    diverse: bool = False  # random resize and pad before the model
    single_step: bool = False  # one step of size eps


RECIPES = {
    "pgd": Recipe(random_start=True),
    "upgd": Recipe(decay=1.0),
    "bim": Recipe(),
    "mifgsm": Recipe(decay=1.0),
    "eotpgd": Recipe(random_start=True, samples=2),
    "difgsm": Recipe(decay=0.0, diverse=True),
    "nifgsm": Recipe(decay=1.0, lookahead=True),
    "sinifgsm": Recipe(decay=1.0, lookahead=True, scales=5),
    "fgsm": Recipe(single_step=True),
}
ATTACKS = tuple(RECIPES)

RESIZE_RATE, DIVERSITY_PROBABILITY = 0.9, 0.5


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
            that is not a finite scalar or does not depend on the images. Found at the first pass, before any step.
    """
    if name not in RECIPES:
        raise ValueError(f"name: expected one of {', '.join(ATTACKS)}, got {name!r}")
    check_images(images)
    check_generator(generator, images)
    check_budget(eps, alpha, steps)
    check_labels(labels, images)
    check_count("restarts", restarts)
    seeds = checked_seeds(seeds, generator, images)
    with torch.inference_mode(False), torch.enable_grad(), untouched(logits_fn):
        images, labels = constant(images), constant(labels)
        recipe = RECIPES[name]
        if broken_fn is not None:
            return _until_broken(recipe, logits_fn, images, labels, loss_fn, eps, alpha, steps, seeds, restarts, broken_fn)
        *_, best = ascend(recipe, logits_fn, images, labels, loss_fn, eps, alpha, steps, seeds)
        if restarts > 1:
            loss = losses(logits_fn, best, labels, loss_fn)
        for restart in range(1, restarts):
            *_, other = ascend(recipe, logits_fn, images, labels, loss_fn, eps, alpha, steps, seeds + restart)
            higher = losses(logits_fn, other, labels, loss_fn)
            best = torch.where((higher > loss)[:, None, None, None], other, best)
            loss = torch.maximum(loss, higher)
        return best


def check_budget(eps: float, alpha: float, steps: int) -> None:
    """Raise ``ValueError`` unless eps >= 0 and alpha >= 0 (finite, in units of pixel value) and steps >= 1."""
    for key, value in (("eps", eps), ("alpha", alpha)):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or value < 0:
            raise ValueError(f"{key}: expected a finite number >= 0, got {value!r}")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps: expected an integer >= 1, got {steps!r}")


def check_labels(labels: Tensor, images: Tensor) -> None:
    """Raise ``ValueError`` unless ``labels`` is a tensor with a row for each image."""
    if not isinstance(labels, Tensor) or labels.dim() == 0 or len(labels) != len(images):
        got = list(labels.shape) if isinstance(labels, Tensor) else type(labels).__name__
        raise ValueError(f"labels: expected a tensor with {len(images)} rows, one an image, got {got}")


def checked_seeds(seeds: Tensor | None, generator: torch.Generator | None, images: Tensor) -> Tensor:
    """``seeds`` if they are [B] long on the device of ``images``, new ones if there are none; else a ``ValueError``."""
    if seeds is None:
        return new_seeds(len(images), generator, images.device)
    if not isinstance(seeds, Tensor) or seeds.dtype != torch.long or seeds.shape != images.shape[:1]:
        got = f"{seeds.dtype} {list(seeds.shape)}" if isinstance(seeds, Tensor) else type(seeds).__name__
        raise ValueError(f"seeds: expected a long tensor [{len(images)}], got {got}")
    return seeds.to(images.device)


def losses(logits_fn: Logits, images: Tensor, labels: Tensor, loss_fn: Loss) -> Tensor:
    """The loss of each image, [B], without gradient."""
    with torch.no_grad():
        each = torch.func.vmap(lambda score, label: loss_fn(score[None], label[None]).reshape(()))
        return each(logits_fn(images), labels)


def constant(tensor: Tensor) -> Tensor:
    """``tensor`` without its graph; a copy of an inference tensor, which no backward pass could save."""
    return tensor.detach().clone() if tensor.is_inference() else tensor.detach()


def random_start(images: Tensor, eps: float, seeds: Tensor) -> Tensor:
    """``images`` plus uniform noise in [-eps, eps], clamped to [0, 1]."""
    noise = uniform(seeds, 0, *images.shape[1:], dtype=images.dtype)
    return images.add(noise.mul_(2).sub_(1).mul_(eps)).clamp_(0, 1)


def ascend(
    recipe: Recipe,
    logits_fn: Logits,
    images: Tensor,
    labels: Tensor,
    loss_fn: Loss,
    eps: float,
    alpha: float,
    steps: int,
    seeds: Tensor,
) -> Iterator[Tensor]:
    """The attacked images after each step, detached. Unchecked; gradients must be on: :func:`attack` sees to both."""
    alpha, steps = (eps, 1) if recipe.single_step else (alpha, steps)
    ball = _ball(images, eps)
    point, momentum = _begin(recipe, images, ball, eps, seeds)
    for step in range(steps):
        direction, _ = _direction(recipe, logits_fn, point, momentum, labels, loss_fn, alpha, seeds, step)
        point, momentum = _moved(recipe, point, momentum, direction, ball, alpha)
        yield point


def _until_broken(
    recipe: Recipe,
    logits_fn: Logits,
    images: Tensor,
    labels: Tensor,
    loss_fn: Loss,
    eps: float,
    alpha: float,
    steps: int,
    seeds: Tensor,
    restarts: int,
    broken_fn: Broken,
) -> Tensor:
    """The attack with early stopping: an image that is broken keeps the point that broke it and drops out."""
    alpha, steps = (eps, 1) if recipe.single_step else (alpha, steps)
    result = images.clone()

    def check(logits: Tensor, left: Tensor) -> Tensor:
        return ~check_broken(broken_fn(check_scores(logits, len(left)).detach(), labels[left]), len(left))

    with torch.no_grad():
        left = torch.arange(len(images), device=images.device)
        left = left[check(logits_fn(images), left)]
    # where the gradient is taken at the point itself, its forward pass tells whether the point breaks the image
    told = not (recipe.lookahead or recipe.diverse)
    for restart in range(restarts):
        here = left
        ball = _ball(images[here], eps)
        point, momentum = _begin(recipe, images[here], ball, eps, seeds[here] + restart)
        unbroken = []
        for step in range(steps + 1):
            if not len(here):
                break
            direction = None
            if step < steps and told:
                direction, logits = _direction(
                    recipe, logits_fn, point, momentum, labels[here], loss_fn, alpha, seeds[here] + restart, step
                )
            else:
                with torch.no_grad():
                    logits = logits_fn(point)
            stays = check(logits, here)
            result[here] = point
            here, point, ball = here[stays], point[stays], tuple(side[stays] for side in ball)
            momentum = momentum if momentum is None else momentum[stays]
            if step == steps:
                unbroken.append(here)
            elif len(here):
                if direction is None:
                    direction, _ = _direction(
                        recipe, logits_fn, point, momentum, labels[here], loss_fn, alpha, seeds[here] + restart, step
                    )
                else:
                    direction = direction[stays]
                point, momentum = _moved(recipe, point, momentum, direction, ball, alpha)
        left = torch.cat(unbroken) if unbroken else left[:0]
    return result


def _ball(images: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """The least and the largest value of each pixel."""
    return (images - eps).clamp_(min=0), (images + eps).clamp_(max=1)


def _begin(
    recipe: Recipe, images: Tensor, ball: tuple[Tensor, Tensor], eps: float, seeds: Tensor
) -> tuple[Tensor, Tensor | None]:
    """The first point, and the momentum of recipes that have one."""
    point = torch.clamp(random_start(images, eps, seeds), *ball) if recipe.random_start else images
    return point, torch.zeros_like(images) if recipe.decay is not None else None


def _direction(
    recipe: Recipe,
    logits_fn: Logits,
    point: Tensor,
    momentum: Tensor | None,
    labels: Tensor,
    loss_fn: Loss,
    alpha: float,
    seeds: Tensor,
    step: int,
) -> tuple[Tensor, Tensor]:
    """The summed gradient of one step, and the logits of its first pass."""
    where = point + recipe.decay * alpha * momentum if recipe.lookahead else point
    where = where.detach().requires_grad_()
    direction = first = None
    for sample in range(recipe.samples):
        for scale in range(recipe.scales):
            seen = where / 2**scale if scale else where
            if recipe.diverse:
                seen = resize_and_pad(seen, seeds, 1 + step * recipe.samples + sample)
            logits = logits_fn(seen)
            gradient = _gradient(logits, labels, loss_fn, where)
            direction = gradient if direction is None else direction + gradient
            first = logits if first is None else first
    return direction, first


def _moved(
    recipe: Recipe, point: Tensor, momentum: Tensor | None, direction: Tensor, ball: tuple[Tensor, Tensor], alpha: float
) -> tuple[Tensor, Tensor | None]:
    """One step along ``direction``, back into the ball and [0, 1]; the momentum after it."""
    if momentum is not None:
        # the smallest normal number keeps an image without gradient at 0 / tiny = 0
        size = direction.abs().mean(dim=(1, 2, 3), keepdim=True).clamp_(min=torch.finfo(direction.dtype).tiny)
        momentum = direction = recipe.decay * momentum + direction / size
    return torch.clamp(torch.add(point, direction.sign(), alpha=alpha), *ball).detach(), momentum


def _gradient(logits: Tensor, labels: Tensor, loss_fn: Loss, where: Tensor) -> Tensor:
    """Gradient of the loss in ``where`` alone: nothing is added to any parameter's ``grad``."""
    if not isinstance(logits, Tensor):
        raise ValueError(f"logits_fn: expected a tensor with {len(where)} rows, got {type(logits).__name__}")
    if logits.dim() == 0 or len(logits) != len(where):
        raise ValueError(f"logits_fn: expected {len(where)} rows, one an image, got shape {list(logits.shape)}")
    if not logits.requires_grad:
        raise ValueError("logits_fn: its result has no gradient to the images (a detach or no_grad inside?)")
    loss = loss_fn(logits, labels)
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        got = list(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
        raise ValueError(f"loss_fn: expected a scalar (sum or mean over the batch), got {got}")
    if not torch.isfinite(loss):
        raise ValueError(f"loss_fn: expected a finite loss, got {loss.item()}")
    gradient = torch.autograd.grad(loss, where, allow_unused=True)[0] if loss.requires_grad else None
    if gradient is None:
        raise ValueError("logits_fn, loss_fn: the loss does not depend on the images, so there is no gradient")
    return gradient


def resize_and_pad(images: Tensor, seeds: Tensor, purpose: int) -> Tensor:
    """Input diversity: with probability 0.5 an image shrinks to 0.9..1 of its size and moves on a black ground.

    Bilinear without antialiasing, as published; size and place are drawn for each image. Both are linear maps of rows
    and of columns, so a batch of differently resized images is two batched matrix products.
    """
    height, width = images.shape[2:]
    draw = uniform(seeds, purpose, 4, dtype=images.dtype).T
    keep = draw[0] >= DIVERSITY_PROBABILITY
    rows = _resize_matrix(height, draw[1], draw[2], keep)
    columns = _resize_matrix(width, draw[1], draw[3], keep)
    with torch.autocast(images.device.type, enabled=False):  # these products make pixels, not features
        return rows[:, None] @ images @ columns[:, None].transpose(-1, -2)


def _resize_matrix(length: int, shrink: Tensor, shift: Tensor, keep: Tensor) -> Tensor:
    """[B,length,length]: row i holds the source weights of output pixel i; the identity where ``keep``."""
    least = int(length * RESIZE_RATE)
    size = torch.floor(least + shrink * (length - least))[:, None]
    start = torch.floor(shift[:, None] * (length - size))
    place = torch.arange(length, device=shrink.device, dtype=shrink.dtype) - start  # pixel of the small image
    source = ((place + 0.5) * (length / size) - 0.5).clamp(0, length - 1)
    pixel = torch.arange(length, device=shrink.device, dtype=shrink.dtype)
    weights = (1 - (source[:, :, None] - pixel).abs()).clamp_(min=0)
    weights = weights * ((place >= 0) & (place < size))[:, :, None]
    return torch.where(keep[:, None, None], torch.eye(length, device=shrink.device, dtype=shrink.dtype), weights)


@contextlib.contextmanager
def untouched(model: object) -> Iterator[None]:
    """Hold a Module in eval mode with parameter gradients off; put mode, buffers and requires_grad back afterwards.

    Anything that is not a Module passes untouched: what it holds is not to be seen from here. Not for one Module in several
    threads at once, each of which would put back what it found: give threads a function.
    """
    if not isinstance(model, nn.Module):
        yield
        return
    modes = [(module, module.training) for module in model.modules()]
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    buffers = [
        (module._buffers, name, buffer, buffer._version, buffer.detach().clone())
        for module in model.modules() for name, buffer in module._buffers.items() if buffer is not None
    ]
    try:
        model.eval()
        for parameter, _ in flags:
            parameter.requires_grad_(False)
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
        with torch.no_grad():
            for home, name, buffer, version, value in buffers:
                home[name] = buffer
                if buffer._version != version:  # an idle copy would invalidate graphs that hold this buffer
                    buffer.copy_(value)
