"""The nine sign attacks as one iteration: follow the sign of a direction, stay within eps of the image and within [0, 1].

They differ only in how the direction is made, see :data:`RECIPES`:

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

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lib.degrade.input_diversity import resize_and_pad
from lib.degrade.search import ball, check_total, random_start

Logits = Callable[[Tensor], Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]


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


class State(NamedTuple):
    """Where the images of an attack are; each part has a row for each image, ``momentum`` may be None."""

    point: Tensor
    momentum: Tensor | None
    low: Tensor
    high: Tensor

    def only(self, rows: Tensor) -> "State":
        """The rows ``rows`` (long)."""
        return State(*(part if part is None else part[rows] for part in self))


@dataclass(frozen=True)
class Iteration:
    """A recipe with its model, loss and budget; unchecked: :func:`lib.degrade.attacks.attack` sees to that."""

    recipe: Recipe
    logits_fn: Logits
    loss_fn: Loss
    eps: float
    alpha: float
    steps: int
    model: str = "logits_fn"  # what errors call it
    ask: bool = True  # whether the losses are finite, for which a GPU has to be waited for

    def __post_init__(self):
        if self.recipe.single_step:
            object.__setattr__(self, "alpha", self.eps)
            object.__setattr__(self, "steps", 1)

    def points(self, images: Tensor, labels: Tensor, seeds: Tensor) -> Iterator[Tensor]:
        """The attacked images after each step, detached. Gradients must be on."""
        state, total = self.begin(images, seeds), 0.0
        for step in range(self.steps):
            direction, _, loss = self.direction(state, labels, seeds, step)
            state, total = self.moved(state, direction), total + loss
            yield state.point
        if self.ask:
            check_total(total)

    def begin(self, images: Tensor, seeds: Tensor) -> State:
        """The start, and the momentum of recipes that have one."""
        low, high = ball(images, self.eps)
        point = torch.clamp(random_start(images, self.eps, seeds), low, high) if self.recipe.random_start else images
        return State(point, torch.zeros_like(images) if self.recipe.decay is not None else None, low, high)

    def direction(self, state: State, labels: Tensor, seeds: Tensor, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """The summed gradient of one step, the logits of its first pass, and its loss.

        Whether the loss is finite is asked in the first step only, for a GPU would have to be waited for in each: at the end
        the total of all steps tells (:func:`lib.degrade.search.check_total`).
        """
        recipe = self.recipe
        where = state.point + recipe.decay * self.alpha * state.momentum if recipe.lookahead else state.point
        where = where.detach().requires_grad_()
        direction = first = total = None
        for sample in range(recipe.samples):
            for scale in range(recipe.scales):
                seen = where / 2**scale if scale else where
                if recipe.diverse:
                    seen = resize_and_pad(seen, seeds, 1 + step * recipe.samples + sample)
                logits = self.logits_fn(seen)
                gradient, loss = _gradient(logits, labels, self.loss_fn, where, self.model, self.ask and step == 0)
                direction = gradient if direction is None else direction + gradient
                total = loss if total is None else total + loss
                first = logits if first is None else first
        return direction, first, total

    def moved(self, state: State, direction: Tensor) -> State:
        """One step along ``direction``, back into the ball and [0, 1]; the momentum after it."""
        point, momentum, low, high = state
        if momentum is not None:
            # the smallest normal number keeps an image without gradient at 0 / tiny = 0
            size = direction.abs().mean(dim=(1, 2, 3), keepdim=True).clamp_(min=torch.finfo(direction.dtype).tiny)
            momentum = direction = self.recipe.decay * momentum + direction / size
        point = torch.clamp(torch.add(point, direction.sign(), alpha=self.alpha), low, high).detach()
        return State(point, momentum, low, high)


def _gradient(logits: Tensor, labels: Tensor, loss_fn: Loss, where: Tensor, model: str, ask: bool) -> tuple[Tensor, Tensor]:
    """Gradient of the loss in ``where`` alone (nothing is added to any parameter's ``grad``), and the loss."""
    if not isinstance(logits, Tensor):
        raise ValueError(f"{model}: expected a tensor with {len(where)} rows, got {type(logits).__name__}")
    if logits.dim() == 0 or len(logits) != len(where):
        raise ValueError(f"{model}: expected {len(where)} rows, one an image, got shape {list(logits.shape)}")
    if not logits.requires_grad:
        raise ValueError(f"{model}: its result has no gradient to the images (a detach or no_grad inside?)")
    loss = loss_fn(logits, labels)
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        got = list(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
        raise ValueError(f"loss_fn: expected a scalar (sum or mean over the batch), got {got}")
    if ask and not torch.isfinite(loss):
        raise ValueError(f"loss_fn: expected a finite loss, got {loss.item()}")
    gradient = torch.autograd.grad(loss, where, allow_unused=True)[0] if loss.requires_grad else None
    if gradient is None:
        raise ValueError(f"{model}, loss_fn: the loss does not depend on the images, so there is no gradient")
    return gradient, loss.detach()
