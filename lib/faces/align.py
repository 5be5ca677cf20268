"""Alignment: turn, scale and shift a face so that eyes, nose and mouth lie at fixed places, for a whole batch at once.

Similarity Procrustes analysis in closed form (Umeyama, PAMI 1991, equations 34-43, in two dimensions, where it needs no
singular value decomposition), then an antialiased warp. Coordinates are pixels (x, y), whole numbers = pixel centres.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

# Places in the unit square (x right, y down) of the two eyes, the tip of the nose and the corners of the mouth: the face
# from the brows to the chin fills the picture, so that a small image spends its pixels on what moves.
TEMPLATE = ((0.28, 0.36), (0.72, 0.36), (0.50, 0.60), (0.32, 0.80), (0.68, 0.80))


def five_points(landmarks: Tensor) -> Tensor:
    """Eye centres, nose tip and mouth corners out of the 68 points: [B,68,2] -> [B,5,2], left of the picture first."""
    if landmarks.ndim != 3 or landmarks.shape[1:] != (68, 2):
        raise ValueError(f"landmarks: expected [B,68,2], got {list(landmarks.shape)}")
    eyes = [landmarks[:, 36:42].mean(1), landmarks[:, 42:48].mean(1)]
    return torch.stack([*eyes, landmarks[:, 30], landmarks[:, 48], landmarks[:, 54]], dim=1)


def similarity(source: Tensor, target: Tensor) -> Tensor:
    """The similarity (rotation, one scale, shift; no mirror) that brings ``source`` nearest to ``target``.

    Least squares over the R points, in float64 inside.

    Args:
        source: [B,R,2]. target: [B,R,2] or [R,2].
    Returns:
        float32 [B,2,3]: ``target ~ source @ T[:, :, :2]^T + T[:, :, 2]``.
    Raises:
        ValueError: wrong shapes, points that are not finite, or all points of a face in one place.
    """
    if source.ndim != 3 or source.shape[2] != 2 or source.shape[1] < 2 or \
            target.shape not in (source.shape, source.shape[1:]):
        raise ValueError("source, target: expected [B,R,2] and [B,R,2] or [R,2] with R >= 2, got "
                         f"{list(source.shape)} and {list(target.shape)}")
    spread = (source.double() - source.double().mean(1, keepdim=True)).square().sum((1, 2))
    fine = torch.isfinite(spread) & (spread > 1e-12) & torch.isfinite(target).all(-1).all(-1)
    wrong = torch.nonzero(~fine).flatten()
    if len(wrong):
        raise ValueError(f"source: faces {wrong[:5].tolist()} have points that are not finite or all in one place")
    return checked_similarity(source, target)


def checked_similarity(source: Tensor, target: Tensor) -> Tensor:
    """``similarity`` of points that are known to be finite and apart: asks the device for nothing, so that nobody waits for it."""
    a, b = source.double(), target.double().expand(source.shape)
    a_mean, b_mean = a.mean(1, keepdim=True), b.mean(1, keepdim=True)
    a, b = a - a_mean, b - b_mean
    spread = a.square().sum((1, 2))
    # As complex numbers the best rotation and scale is sum(conj(a) b) / sum(|a|^2).
    cos = (a * b).sum((1, 2)) / spread
    sin = (a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]).sum(1) / spread
    turn = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
    shift = b_mean[:, 0] - (turn @ a_mean[:, 0, :, None])[..., 0]
    return torch.cat([turn, shift[..., None]], 2).float()


def to_template(landmarks: Tensor, size: tuple[int, int]) -> Tensor:
    """The similarity [B,2,3] that puts the face with these 68 points [B,68,2] on the template of an image (H, W)."""
    height, width = size
    places = torch.tensor(TEMPLATE, dtype=torch.float32, device=landmarks.device)
    return similarity(five_points(landmarks), places * places.new_tensor([width, height]) - 0.5)


def move(points: Tensor, transform: Tensor) -> Tensor:
    """Landmarks [B,R,2] under the transform [B,2,3]."""
    return points @ transform[:, :, :2].mT + transform[:, None, :, 2]


def warp(images: Tensor, transform: Tensor, size: tuple[int, int], nearest: bool = False) -> Tensor:
    """Images under ``transform``, drawn on a canvas of ``size`` (H, W); the border pixels go on outside the image.

    Where the transform shrinks, each pixel is the mean of k x k samples that lie at most one source pixel apart (after
    a block mean when it shrinks much), so that nothing aliases. ``nearest=True`` (for masks) takes one sample,
    the nearest.

    Args:
        images: uint8 or float [B,C,H,W]. transform: [B,2,3], source pixels -> canvas pixels, invertible.
    Returns:
        [B,C,size[0],size[1]] of the images' type.
    """
    if images.ndim != 4 or transform.shape != (len(images), 2, 3):
        raise ValueError(f"images, transform: expected [B,C,H,W] and [B,2,3], got {list(images.shape)}"
                         f" and {list(transform.shape)}")
    # How far one canvas pixel reaches in the source decides the block means and the number of samples, for each face by
    # itself: what is drawn does not depend on the rest of the batch, nor the memory on its smallest scale.
    reach = torch.linalg.inv(transform[:, :, :2].double()).norm(dim=1).amax(1)
    shrink = torch.ones_like(reach) if nearest else 2 ** (reach / 2).log2().floor().clamp(min=0)
    samples = torch.ones_like(reach) if nearest else (reach / shrink - 1e-6).ceil().clamp(min=1)
    drawn = images.new_empty(*images.shape[:2], *size)
    for block, count in torch.stack([shrink, samples], 1).unique(dim=0).long().tolist():
        here = (shrink == block) & (samples == count)
        part = _draw(images[here].float(), transform[here].double(), size, block, count, nearest)
        drawn[here] = (part.round().clamp(0, 255) if images.dtype == torch.uint8 else part).to(images.dtype)
    return drawn


def _draw(images: Tensor, transform: Tensor, size: tuple[int, int], shrink: int, samples: int, nearest: bool) -> Tensor:
    """``warp`` with block means of ``shrink`` x ``shrink`` pixels, then samples x samples samples a canvas pixel."""
    turn, shift = transform[:, :, :2], transform[:, :, 2]
    if shrink > 1:
        images = F.avg_pool2d(images, shrink, ceil_mode=True, count_include_pad=False)
        shift = shift + turn.sum(2) * (shrink - 1) / 2  # the centre of the first block
        turn = turn * shrink
    height, width = size
    x = (torch.arange(width * samples, device=images.device, dtype=torch.float64) + 0.5) / samples - 0.5
    y = (torch.arange(height * samples, device=images.device, dtype=torch.float64) + 0.5) / samples - 0.5
    canvas = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).reshape(1, -1, 2)
    source = (canvas - shift[:, None]) @ torch.linalg.inv(turn).mT
    extent = source.new_tensor([images.shape[3], images.shape[2]])
    grid = ((2 * source + 1) / extent - 1).reshape(len(images), height * samples, width * samples, 2).float()
    drawn = F.grid_sample(images, grid, mode="nearest" if nearest else "bilinear", padding_mode="border",
                          align_corners=False)
    return F.avg_pool2d(drawn, samples) if samples > 1 else drawn
