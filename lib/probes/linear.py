"""Linear probes fitted to the optimum: logistic regression by full-batch L-BFGS, on the features' device.

A probe trained by some epochs of SGD mixes the quality of the features with the luck of a learning rate. Here the
convex problem is solved, in float64, so that the score is a property of the features.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STEPS, TOLERANCE = 200, 1e-5


def fit_softmax(features: Tensor, labels: Tensor, classes: int, l2: float) -> nn.Linear:
    """Multinomial logistic regression.

    Minimises mean cross-entropy + l2 / 2 |W|^2 over standardised features (bias unpenalised), i.e. scikit-learn's
    LogisticRegression with C = 1 / (n l2).

    Args:
        features: [n,D] float. labels: [n] long in 0..classes-1. l2: > 0; it makes the optimum unique.
    Returns:
        Linear(D, classes) in float32 that takes plain features: the standardisation is folded into it.
    """
    _check(features, labels, l2)
    if labels.dim() != 1 or labels.is_floating_point() or labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"labels must be [n] integers in 0..{classes - 1}, got {labels.dtype} {list(labels.shape)}"
            f" from {labels.min().item()} to {labels.max().item()}"
        )
    return _fit(features, classes, l2, lambda scores: F.cross_entropy(scores, labels))


def fit_binary(
    features: Tensor, labels: Tensor, l2: float, balanced: bool = True, known: Tensor | None = None
) -> nn.Linear:
    """K independent binary logistic regressions on the same features.

    Minimises, for each k, the weighted mean of the binary cross-entropy over its known labels + l2 / 2 |w_k|^2.

    Args:
        features: [n,D] float; standardised over all n, whatever is known of them. labels: [n,K] in {0,1}. l2: > 0.
        balanced: weigh present and absent images by the inverse of their rate, so that both sides count alike and the
            decision "logit > 0" is fair to rare labels (F1 at a threshold of 0 would else miss them). A label that
            is never (or always) there has weight 1.
        known: [n,K] bool, None for all; a label that is not known takes no part, its value is not looked at. Without
            any known label the logit is 0.
    Returns:
        Linear(D, K) in float32 that takes plain features.
    """
    _check(features, labels, l2)
    if labels.dim() != 2 or not ((labels == 0) | (labels == 1)).all():
        raise ValueError(f"labels must be [n,K] of 0 and 1, got {list(labels.shape)}")
    if known is None:
        known = torch.ones_like(labels, dtype=torch.bool)
    if known.shape != labels.shape or known.dtype != torch.bool:
        raise ValueError(f"known must be bool {list(labels.shape)} like labels, got {known.dtype} {list(known.shape)}")
    target = labels.double()
    count = known.sum(0).clamp(min=1)
    weight = torch.ones_like(target)
    if balanced:
        rate = (target * known).sum(0) / count
        mixed = (rate > 0) & (rate < 1)
        weight = torch.where(mixed, 0.5 * (target / rate + (1 - target) / (1 - rate)).nan_to_num(), weight)
    weight = weight * known / count

    def loss(scores: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(scores, target, weight, reduction="sum")

    return _fit(features, target.shape[1], l2, loss)


def _fit(features: Tensor, outputs: int, l2: float, loss) -> nn.Linear:
    mean = features.double().mean(0)
    scale = features.double().std(0, correction=0)
    # a constant feature says nothing; dividing by its rounding noise would let a degraded image blow it up
    scale = torch.where(scale > 1e-6 * (1e-6 + mean.abs()), scale, torch.inf)
    standard = (features.double() - mean) / scale
    basis = None
    if standard.shape[1] > len(standard):
        # the penalised optimum is a combination of the images: with more features than images, fit in their span
        basis = torch.linalg.qr(standard.T).Q
        standard = standard @ basis
    weight = torch.zeros(outputs, standard.shape[1], dtype=torch.float64, device=features.device, requires_grad=True)
    bias = torch.zeros(outputs, dtype=torch.float64, device=features.device, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias],
        max_iter=STEPS,
        max_eval=2 * STEPS,
        tolerance_grad=TOLERANCE,
        tolerance_change=1e-12,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(F.linear(standard, weight, bias)) + l2 / 2 * weight.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(closure)
    head = nn.Linear(features.shape[1], outputs, device=features.device)
    with torch.no_grad():
        weight = weight if basis is None else weight @ basis.T
        head.weight.copy_(weight / scale)
        head.bias.copy_(bias - (weight / scale) @ mean)
    if not all(torch.isfinite(p).all() for p in head.parameters()):
        raise ValueError("features: the linear probe has no finite solution for them")
    return head.requires_grad_(False)


def _check(features: Tensor, labels: Tensor, l2: float) -> None:
    if features.dim() != 2 or len(features) == 0 or not features.is_floating_point():
        raise ValueError(f"features must be float [n,D] with n > 0, got {features.dtype} {list(features.shape)}")
    if len(labels) != len(features):
        raise ValueError(f"labels must have one row an image, {len(features)}, got {len(labels)}")
    if not torch.isfinite(features).all():
        raise ValueError("features must be finite")
    if not l2 > 0:
        raise ValueError(f"l2 must be > 0, got {l2}")
