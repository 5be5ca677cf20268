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

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from lib.degrade.attacks import RECIPES, Logits, Loss, ascend, check_budget, constant, untouched
from lib.degrade.checks import check_generator, check_images
from lib.degrade.draws import new_seeds, uniform
from lib.degrade.square import square_search

Correct = Callable[[Tensor, Tensor], Tensor]
Outcome = dict[tuple[str, str | int | float], tuple[Tensor, Tensor]]  # (check, setting): loss [B], correct [B]

BROKEN = 0.05  # accuracy that counts as about zero


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
    """One row a measurement: {'check', 'setting', 'loss', 'accuracy'}; :func:`verdicts` says what they mean.

    ``loss`` is the mean over the images and ``accuracy`` a share from 0 to 1. Settings: steps and restarts as counts,
    sweep as eps, gradient_free as queries, noise as eps, transfer as the name given. Besides the table above there are
    the rows ('clean', 0) and ('white_box', steps of the longest PGD), which the verdicts compare with.

    Costs about max(steps) + len(sweep) * sweep_steps + (restarts - 1) * 10 passes forward and backward and ``queries``
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
    check_images(images)
    check_generator(generator, images)
    if not sweep:
        raise ValueError("sweep: expected at least one eps, got none")
    for one_eps in (eps, *sweep):
        check_budget(one_eps, alpha, sweep_steps)
    counts = {"steps": tuple(steps), "restarts": (restarts,), "queries": (queries,), "batch": (batch,)}
    for key, values in counts.items():
        if not values or any(isinstance(value, bool) or not isinstance(value, int) or value < 1 for value in values):
            raise ValueError(f"{key}: expected integers >= 1, got {values!r}")
    if not isinstance(labels, Tensor) or labels.dim() == 0 or len(labels) != len(images):
        raise ValueError(f"labels: expected a tensor with {len(images)} rows, one an image")
    for name, others in (transfer or {}).items():
        if not isinstance(others, Tensor) or others.shape != images.shape:
            raise ValueError(f"transfer[{name!r}]: expected images of shape {list(images.shape)}")
        if (others - images).abs().max() > eps + 1e-6:
            raise ValueError(f"transfer[{name!r}]: expected images within eps = {eps:.4g} of the clean ones")
    parts: list[Outcome] = []
    with torch.inference_mode(False), untouched(scores_fn):
        images, labels = constant(images), constant(labels)
        for start in range(0, len(images), batch):
            here = slice(start, start + batch)
            judge = _judge(scores_fn, labels[here], loss_fn, correct_fn)
            others = {name: adversarial[here] for name, adversarial in (transfer or {}).items()}
            parts.append(
                _measure(scores_fn, images[here], labels[here], loss_fn, judge, generator,
                         eps, alpha, steps, sweep, sweep_steps, restarts, queries, others)
            )  # fmt: skip
    rows = []
    for check, setting in parts[0]:
        losses, correct = (torch.cat([part[check, setting][i] for part in parts]) for i in (0, 1))
        means = {"loss": losses.mean().item(), "accuracy": correct.float().mean().item()}
        rows.append({"check": check, "setting": setting, **means})
    return rows


def verdicts(rows: Sequence[dict], tolerance: float = 0.02) -> dict[str, bool]:
    """{check: passed} for the rows of :func:`masking_checks`. ``tolerance``: accuracy (0..1) within which two are even.

    steps: no loss is lower than the one of fewer steps by more than 1%, and the last is above the first.
    sweep: accuracy never rises with eps, and ends at 0.05 or below where eps reaches 64/255.
    restarts: all of them together take no more than 0.1 off the accuracy under one.
    gradient_free, noise, transfer: accuracy is not below the white-box one, nor the loss above it by more than 5%.
    """
    table = {check: [row for row in rows if row["check"] == check] for check in dict.fromkeys(r["check"] for r in rows)}
    white_box = table["white_box"][0]
    floor, ceiling = white_box["accuracy"] - tolerance, white_box["loss"] + 0.05 * abs(white_box["loss"])
    passed = {}
    for check in ("gradient_free", "noise", "transfer"):
        if check in table:
            passed[check] = all(row["accuracy"] >= floor and row["loss"] <= ceiling for row in table[check])
    losses = [row["loss"] for row in table["steps"]]
    rises = all(later >= earlier - 0.01 * abs(earlier) for earlier, later in zip(losses, losses[1:], strict=False))
    passed["steps"] = rises and (len(losses) == 1 or losses[-1] > losses[0])
    scores = [row["accuracy"] for row in table["sweep"]]
    falls = all(later <= earlier + tolerance for earlier, later in zip(scores, scores[1:], strict=False))
    reaches_end = table["sweep"][-1]["setting"] >= 64 / 255 - 1e-9
    passed["sweep"] = falls and (scores[-1] <= BROKEN or not reaches_end)
    scores = [row["accuracy"] for row in table["restarts"]]
    passed["restarts"] = scores[0] - scores[-1] <= 0.1
    return {check: passed[check] for check in table if check in passed}


def _judge(scores_fn: Logits, labels: Tensor, loss_fn: Loss, correct_fn: Correct) -> Callable:
    """images [B,3,H,W], which of the labels [B] they have (all) -> (loss of each image [B], correct [B])."""

    @torch.no_grad()
    def judge(images: Tensor, rows: Tensor | slice = slice(None)) -> tuple[Tensor, Tensor]:
        scores, here = scores_fn(images), labels[rows]
        losses = torch.func.vmap(lambda score, label: loss_fn(score[None], label[None]).reshape(()))(scores, here)
        correct = correct_fn(scores, here)
        if not isinstance(correct, Tensor) or correct.dtype != torch.bool or correct.shape != images.shape[:1]:
            got = f"{correct.dtype} {list(correct.shape)}" if isinstance(correct, Tensor) else type(correct).__name__
            raise ValueError(f"correct_fn: expected a bool tensor [{len(images)}], got {got}")
        return losses, correct

    return judge


def _measure(
    scores_fn, images, labels, loss_fn, judge, generator,
    eps, alpha, steps, sweep, sweep_steps, restarts, queries, transfer,
) -> Outcome:  # fmt: skip
    seeds = new_seeds(len(images), generator, images.device)

    def pgd(budget: float, step: float, count: int, start: int = 0):
        return ascend(RECIPES["pgd"], scores_fn, images, labels, loss_fn, budget, step, count, seeds + start)

    outcome: Outcome = {}
    with torch.enable_grad():
        longest, seen = max(steps), {}
        for number, point in enumerate(pgd(eps, alpha, longest), 1):  # one run shows the loss at every count
            if number in steps:
                seen[number] = judge(point)
        outcome["clean", 0] = judge(images)
        outcome["white_box", longest] = seen[longest]
        for number in sorted(seen):
            outcome["steps", number] = seen[number]
        for budget in sorted(sweep):
            *_, point = pgd(budget, max(alpha, 2.5 * budget / sweep_steps), sweep_steps)
            outcome["sweep", budget] = judge(point)
        for number in range(1, restarts + 1):
            *_, point = pgd(eps, alpha, 10, number)
            losses, correct = judge(point)
            if number > 1:
                losses = torch.maximum(losses, outcome["restarts", number - 1][0])
                correct = correct & outcome["restarts", number - 1][1]
            outcome["restarts", number] = losses, correct
    outcome["gradient_free", queries] = judge(square_search(judge, images, eps, queries, seeds))
    signs = uniform(seeds, 0, *images.shape[1:], dtype=images.dtype).sub_(0.5).sign_()
    outcome["noise", eps] = judge((images + eps * signs).clamp_(0, 1))
    for name, others in transfer.items():
        outcome["transfer", name] = judge(others)
    return outcome
