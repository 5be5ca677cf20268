"""Is an encoder robust, or does it only hide its gradient? The usual checks for gradient masking, as one call.

After Athalye et al., "Obfuscated gradients give a false sense of security", arXiv 1802.00420, and Carlini et al., "On
evaluating adversarial robustness", arXiv 1902.06705:

==============  ====================================================================================
steps           the loss rises with the steps of PGD
sweep           accuracy falls to about zero as eps grows to 64/255
restarts        more random starts of PGD hardly help the attacker
gradient_free   a random search that sees only scores does not beat PGD
noise           signs drawn at random, of the same norm, do not beat PGD
transfer        adversarial images made on other models do not beat PGD on the model itself
==============  ====================================================================================
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lib.degrade.attacks import best_of_restarts, losses
from lib.degrade.checks import check_budget, check_images, check_scores
from lib.degrade.draws import derive, uniform
from lib.degrade.recipes import RECIPES, Iteration, Logits, Loss
from lib.degrade.search import checked_search, constant, untouched
from lib.degrade.square import square_search

Correct = Callable[[Tensor, Tensor], Tensor]
Outcome = dict[tuple[str, str | int | float], tuple[Tensor, Tensor]]  # (check, setting): loss [B], correct [B]

RESTART_STEPS = 10  # of each of the random starts
FREE, NOISE = 1, 2  # whose seeds


@dataclass(frozen=True)
class Suspect:
    """A model and the images [B,3,H,W] on which its gradient is doubted, with all that an attack on it needs.

    ``labels`` have B rows, ``seeds`` are [B] long, ``loss_fn`` and ``scores_fn`` as for :func:`lib.degrade.attacks.attack`. Each
    method makes the images of one check, detached; gradients must be on.
    """

    scores_fn: Logits
    images: Tensor
    labels: Tensor
    loss_fn: Loss
    seeds: Tensor
    eps: float
    alpha: float

    def after_steps(self, steps: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
        """PGD's images after each number of ``steps``, rising: one run shows them all."""
        for count, point in enumerate(self._pgd(max(steps)).points(self.images, self.labels, self.seeds), 1):
            if count in steps:
                yield count, point

    def under_budgets(self, sweep: Sequence[float], steps: int) -> Iterator[tuple[float, Tensor]]:
        """PGD's images for each eps of the ``sweep``, rising; the step grows with it, so that the ball can be crossed."""
        for eps in sorted(sweep):
            pgd = Iteration(RECIPES["pgd"], self.scores_fn, self.loss_fn, eps, max(self.alpha, 2.5 * eps / steps), steps)
            *_, point = pgd.points(self.images, self.labels, self.seeds)
            yield eps, point

    def after_restarts(self, restarts: int, steps: int = RESTART_STEPS) -> Iterator[tuple[int, Tensor]]:
        """The images of largest loss after each number of random starts of PGD."""
        yield from enumerate(best_of_restarts(self._pgd(steps), self.images, self.labels, self.seeds, restarts), 1)

    @torch.no_grad()
    def searched(self, queries: int) -> Tensor:
        """The images of a random search that sees the loss only."""

        def judge(images: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
            return losses(self.scores_fn, images, self.labels, self.loss_fn), torch.zeros_like(rows, dtype=torch.bool)

        return square_search(judge, self.images, self.eps, queries, derive(self.seeds, FREE))

    def shaken(self) -> Tensor:
        """The images with signs of size eps, drawn at random."""
        signs = uniform(derive(self.seeds, NOISE), 0, *self.images.shape[1:], dtype=self.images.dtype).sub_(0.5).sign_()
        return (self.images + self.eps * signs).clamp_(0, 1)

    def _pgd(self, steps: int) -> Iteration:
        return Iteration(RECIPES["pgd"], self.scores_fn, self.loss_fn, self.eps, self.alpha, steps)


def masking_checks(
    scores_fn: Logits,
    images: Tensor,
    labels: Tensor,
    loss_fn: Loss,
    correct_fn: Correct,
    generator: torch.Generator | None = None,
    eps: float = 8 / 255,
    alpha: float = 2 / 255,
    steps: Sequence[int] = (1, 2, 5, 10, 20, 50),
    sweep: Sequence[float] = (2 / 255, 4 / 255, 8 / 255, 16 / 255, 32 / 255, 64 / 255),
    sweep_steps: int = 20,
    restarts: int = 5,
    queries: int = 500,
    transfer: Mapping[str, Tensor] | None = None,
    batch: int = 256,
) -> list[dict]:
    """One row a measurement: {'check', 'setting', 'loss', 'accuracy'}; :func:`lib.degrade.verdicts.verdicts` says what they mean.

    ``loss`` is the mean over the images and ``accuracy`` a share from 0 to 1. Settings: steps and restarts as counts,
    sweep as eps, gradient_free as queries, noise as eps, transfer as the name given. Besides the table above there are
    the rows ('clean', 0) and ('white_box', steps of the longest PGD), which the verdicts compare with.

    Costs about max(steps) + len(sweep) * sweep_steps + restarts * 10 passes forward and backward and ``queries``
    passes forward for each image: choose the subset of images accordingly.

    Args:
        scores_fn: pixels [B,3,H,W] -> scores with B rows; a Module is put in eval mode meanwhile and left as it was.
        images: float RGB [B,3,H,W] in [0,1]; labels: B rows, as ``loss_fn`` and ``correct_fn`` take them.
        loss_fn: (scores, labels) -> scalar, sum or mean over images. It is also called under ``torch.func.vmap`` on one
            image at a time, so it must be made of tensor operations.
        correct_fn: (scores, labels) -> bool [B].
        eps, alpha: budget and step of PGD at all checks but the sweep, whose step is at least 2.5 eps / ``sweep_steps``
            so that the ball can be crossed.
        transfer: name of another model -> adversarial images made on it for these images, within ``eps``.
        batch: images sent through the model at once.

    Raises:
        ValueError: bad images, labels, budget, counts or transfer images; whatever ``attack`` raises about the model.
    """
    if not sweep:
        raise ValueError("sweep: expected at least one eps, got none")
    seeds = checked_search(images, labels, eps, alpha, sweep_steps, generator, None)
    for one_eps in sweep:
        check_budget(one_eps, alpha, sweep_steps)
    counts = {"steps": tuple(steps), "restarts": (restarts,), "queries": (queries,), "batch": (batch,)}
    for key, values in counts.items():
        if not values or any(isinstance(value, bool) or not isinstance(value, int) or value < 1 for value in values):
            raise ValueError(f"{key}: expected integers >= 1, got {values!r}")
    for name, others in (transfer or {}).items():
        if not isinstance(others, Tensor) or others.shape != images.shape:
            raise ValueError(f"transfer[{name!r}]: expected images of shape {list(images.shape)}")
        check_images(others)
        if (others - images).abs().max() > eps + 1e-6:
            raise ValueError(f"transfer[{name!r}]: expected images within eps = {eps:.4g} of the clean ones")
    parts: list[Outcome] = []
    with torch.inference_mode(False), untouched(scores_fn):
        images, labels = constant(images), constant(labels)
        for start in range(0, len(images), batch):
            here = slice(start, start + batch)
            suspect = Suspect(scores_fn, images[here], labels[here], loss_fn, seeds[here], eps, alpha)
            others = {name: adversarial[here] for name, adversarial in (transfer or {}).items()}
            parts.append(_measure(suspect, correct_fn, steps, sweep, sweep_steps, restarts, queries, others))
    rows = []
    for check, setting in parts[0]:
        reached, correct = (torch.cat([part[check, setting][i] for part in parts]) for i in (0, 1))
        means = {"loss": reached.mean().item(), "accuracy": correct.float().mean().item()}
        rows.append({"check": check, "setting": setting, **means})
    return rows


def _measure(
    suspect: Suspect, correct_fn: Correct, steps: Sequence[int], sweep: Sequence[float], sweep_steps: int, restarts: int,
    queries: int, transfer: Mapping[str, Tensor],
) -> Outcome:  # fmt: skip
    @torch.no_grad()
    def judge(images: Tensor) -> tuple[Tensor, Tensor]:
        correct = correct_fn(check_scores(suspect.scores_fn(images), len(images)), suspect.labels)
        if not isinstance(correct, Tensor) or correct.dtype != torch.bool or correct.shape != images.shape[:1]:
            got = f"{correct.dtype} {list(correct.shape)}" if isinstance(correct, Tensor) else type(correct).__name__
            raise ValueError(f"correct_fn: expected a bool tensor [{len(images)}], got {got}")
        return losses(suspect.scores_fn, images, suspect.labels, suspect.loss_fn), correct

    outcome: Outcome = {("clean", 0): judge(suspect.images)}
    with torch.enable_grad():
        by_steps = {("steps", count): judge(point) for count, point in suspect.after_steps(steps)}
        outcome["white_box", max(steps)] = by_steps["steps", max(steps)]
        outcome |= by_steps
        outcome |= {("sweep", eps): judge(point) for eps, point in suspect.under_budgets(sweep, sweep_steps)}
        outcome |= {("restarts", count): judge(point) for count, point in suspect.after_restarts(restarts)}
    outcome["gradient_free", queries] = judge(suspect.searched(queries))
    outcome["noise", suspect.eps] = judge(suspect.shaken())
    return outcome | {("transfer", name): judge(others) for name, others in transfer.items()}
