"""Linear probes fitted to the optimum: logistic regression by full-batch L-BFGS, ridge regression in closed form.

A probe trained by some epochs of SGD mixes the quality of the features with the luck of a learning rate. Here the
convex problem is solved, in float64 and on the features' device, so that the score is a property of the features.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STEPS, TOLERANCE = 200, 1e-5
CURVATURE = 0.25  # the largest of p (1 - p)
RIDGE = 1e-12  # of the mean diagonal


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


def fit_ridge(features: Tensor, targets: Tensor, l2: float) -> nn.Linear:
    """Linear regression of K numbers.

    Minimises mean |target - W x - b|^2 / 2 + l2 / 2 |W|^2 over standardised features (bias unpenalised), i.e.
    scikit-learn's Ridge with alpha = n l2.

    Args:
        features: [n,D] float. targets: [n,K] float. l2: > 0.
    Returns:
        Linear(D, K) in float32 that takes plain features: the standardisation is folded into it.
    """
    _check(features, targets, l2)
    if targets.dim() != 2 or not targets.is_floating_point() or not torch.isfinite(targets).all():
        raise ValueError(f"targets must be finite floats [n,K], got {targets.dtype} {list(targets.shape)}")
    standard, mean, scale = _standardised(features)
    middle = targets.double().mean(0)
    # of the two Gram matrices the smaller one
    wide = standard.shape[1] > len(standard)
    gram = standard @ standard.T if wide else standard.T @ standard
    gram = gram + len(standard) * l2 * torch.eye(len(gram)).to(gram)
    right = targets.double() - middle
    solved = torch.cholesky_solve(right if wide else standard.T @ right, torch.linalg.cholesky(gram))
    return _folded((standard.T @ solved if wide else solved).T, middle, mean, scale)


def _standardised(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Features [n,D] in float64 with mean 0 and deviation 1, and the mean and scale [D] that were taken out."""
    exact = features.to(torch.float64, copy=True)  # the one copy: of AffectNet's 287,651 training images 4.7 GB at D = 2,048
    mean, scale = mean_and_scale(exact)
    return exact.sub_(mean).div_(scale), mean, scale


def mean_and_scale(features: Tensor) -> tuple[Tensor, Tensor]:
    """What standardises features [n, ...]: their mean and deviation over the images, the latter infinite where they do not vary.

    A constant feature says nothing; dividing by its rounding noise would let a degraded image blow it up.
    """
    scale, mean = torch.std_mean(features, 0, correction=0)
    return mean, torch.where(scale > 1e-6 * (1e-6 + mean.abs()), scale, torch.inf)


def _folded(weight: Tensor, bias: Tensor, mean: Tensor, scale: Tensor) -> nn.Linear:
    """A probe of plain features from one of standardised features: weight [K,D], bias [K]."""
    head = nn.Linear(weight.shape[1], len(weight), device=weight.device)
    with torch.no_grad():
        head.weight.copy_(weight / scale)
        head.bias.copy_(bias - (weight / scale) @ mean)
    if not all(torch.isfinite(p).all() for p in head.parameters()):
        raise ValueError("features: the linear probe has no finite solution for them")
    return head.requires_grad_(False)


def _fit(features: Tensor, outputs: int, l2: float, loss) -> nn.Linear:
    standard, mean, scale = _standardised(features)
    wide = standard.shape[1] > len(standard)
    # the penalised optimum is a combination of the images: with more features than images, fit in their span
    span = points = _cholesky(standard @ standard.T) if wide else standard
    # coordinates in which the curvature is about the same in all directions: some ten steps instead of hundreds
    curvature = _cholesky(CURVATURE / len(points) * points.T @ points + l2 * torch.eye(points.shape[1]).to(points))
    points = torch.linalg.solve_triangular(curvature, points.T, upper=False).T.contiguous()
    turned = torch.zeros(outputs, points.shape[1], dtype=torch.float64, device=features.device, requires_grad=True)
    bias = torch.zeros(outputs, dtype=torch.float64, device=features.device, requires_grad=True)

    def weights() -> Tensor:
        return torch.linalg.solve_triangular(curvature.T, turned.T, upper=True).T

    optimizer = torch.optim.LBFGS(
        [turned, bias],
        max_iter=STEPS,
        max_eval=2 * STEPS,
        tolerance_grad=TOLERANCE,
        tolerance_change=1e-12,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(F.linear(points, turned, bias)) + l2 / 2 * weights().square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(closure)
    with torch.no_grad():
        weight = weights()
        if wide:
            weight = torch.linalg.solve_triangular(span.T, weight.T, upper=True).T @ standard
        return _folded(weight, bias, mean, scale)


def _cholesky(matrix: Tensor) -> Tensor:
    """The lower factor of a matrix without negative eigenvalues; a trace of ridge carries it over zero ones."""
    ridge = RIDGE * matrix.diagonal().mean().clamp(min=1e-300)
    return torch.linalg.cholesky(matrix + ridge * torch.eye(len(matrix)).to(matrix))


def _check(features: Tensor, labels: Tensor, l2: float) -> None:
    if features.dim() != 2 or len(features) == 0 or not features.is_floating_point():
        raise ValueError(f"features must be float [n,D] with n > 0, got {features.dtype} {list(features.shape)}")
    if len(labels) != len(features):
        raise ValueError(f"labels must have one row an image, {len(features)}, got {len(labels)}")
    if not torch.isfinite(features).all():
        raise ValueError("features must be finite")
    if not l2 > 0:
        raise ValueError(f"l2 must be > 0, got {l2}")
