"""FaceSwap: one person's inner face on another person's head, for a whole batch at once on its device.

References:
    [1] Shu et al., SSL-FER, BMVC 2022: swapped faces "that exhibit a similar expression" as positives.
    [2] Earl, Switching Eds: face swapping with Python, dlib and OpenCV, 2015: the construction. A similarity between the
        landmarks of both, the hulls of eyes with brows and of nose with mouth, colours by the ratio of two blurs.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lib.device import constant
from lib.faces.align import checked_similarity, move
from lib.faces.hull import hull_cover
from lib.faces.parts import LEFT_EYE, RIGHT_EYE, check_landmarks, known

FITTED = (slice(17, 35), slice(36, 61))  # brows, nose but for its last point, eyes, outer lips and an inner corner [1]
UPPER, LOWER = (slice(17, 27), slice(36, 48)), (slice(27, 36), slice(48, 61))  # the two hulls, 22 points each
COLOUR_BLUR = 0.6  # kernel size, in distances between the eyes
LARGEST_RATIO = 4.0  # of the two faces' sizes: beyond, landmarks are wrong rather than faces that different


class Swapped(NamedTuple):
    """images [B, 3, H, W] in [0, 1]; landmarks [B, 68, 2] of what is seen there: the inner face's own; done [B] bool: False
    where the swap failed or was not wanted, and image and landmarks are those of the face."""

    images: Tensor
    landmarks: Tensor
    done: Tensor


def swap_faces(
    heads: Tensor, head_landmarks: Tensor, faces: Tensor, face_landmarks: Tensor, feather: float = 0.08, released: bool = False,
    wanted: Tensor | None = None,
) -> Swapped:  # fmt: skip
    """The inner face of ``faces`` on the head and the background of ``heads``.

    A swap fails where landmarks are not finite, lie in one place, or differ in size by more than 4 times.

    Args:
        heads, faces: [B, 3, H, W] in [0, 1]. head_landmarks, face_landmarks: [B, 68, 2] in pixels.
        feather: sigma of the blur of the mask, in distances between the eyes.
        released: as the published code does it: hard edges, scale from the ratio of the points' spreads, black where the
            face's image ends, and colours beyond 255 that wrap around to black.
        wanted: [B] bool, which to swap, None: all. The others stay as they are and are not ``done``.

    Raises:
        ValueError: wrong shapes, or a negative feather.
    """
    if heads.shape != faces.shape or heads.dim() != 4 or heads.shape[1] != 3:
        raise ValueError(f"heads, faces: expected both [B, 3, H, W], got {list(heads.shape)} and {list(faces.shape)}")
    check_landmarks(head_landmarks, heads)
    check_landmarks(face_landmarks, faces)
    if not feather >= 0:
        raise ValueError(f"feather: expected a sigma >= 0, got {feather}")
    if wanted is not None and (wanted.shape != (len(heads),) or wanted.dtype != torch.bool):
        raise ValueError(f"wanted: expected bool [{len(heads)}], got {wanted.dtype} {list(wanted.shape)}")
    size = tuple(heads.shape[2:])
    done, spreads = known(head_landmarks) & known(face_landmarks), []
    done = done if wanted is None else done & wanted
    for points in (head_landmarks, face_landmarks):
        points = _some(points, FITTED)
        spreads.append((points - points.mean(1, keepdim=True)).square().mean((1, 2)).sqrt())
    ratio = spreads[1] / spreads[0]
    done &= (torch.minimum(*spreads) > 1e-3) & (ratio < LARGEST_RATIO) & (ratio > 1 / LARGEST_RATIO)
    # the failed ones need some landmarks to be computed with: a ramp that fits itself
    ramp = torch.arange(68 * 2, device=heads.device, dtype=head_landmarks.dtype).view(1, 68, 2) / 68
    head, face = (torch.where(done[:, None, None], points, ramp) for points in (head_landmarks, face_landmarks))
    to_face = checked_similarity(_some(head, FITTED), _some(face, FITTED)).to(heads.dtype)
    if released:
        to_face = _scaled(to_face, torch.where(done, ratio, 1.0), _some(head, FITTED), _some(face, FITTED))
    moved = move(face - to_face[:, None, :, 2], _inverse(to_face[:, :, :2]))
    warped = _sample(faces, to_face, size, "zeros" if released else "border")
    hulls = torch.cat([_some(points, span) for points in (head, moved) for span in (UPPER, LOWER)])
    cover = hull_cover(hulls, size, released).unflatten(0, (4, -1)).amax(0)
    apart = (head[:, LEFT_EYE].mean(1) - head[:, RIGHT_EYE].mean(1)).norm(dim=1)
    if feather and not released:
        cover = _blur(cover, *_blur_matrices(size, feather * apart, 3 * feather * apart))
    inner = warped * _colour_ratio(heads, warped, apart)
    mixed = (heads * (1 - cover)).add_(inner.mul_(cover))
    mixed = ((mixed * 255).floor().remainder(256) / 255) if released else mixed.clamp_(0, 1)
    return Swapped(
        torch.where(done[:, None, None, None], mixed, faces), torch.where(done[:, None, None], moved, face_landmarks), done
    )


def _some(points: Tensor, spans: tuple[slice, ...]) -> Tensor:
    return torch.cat([points[:, span] for span in spans], 1)


def _inverse(turn: Tensor) -> Tensor:
    """[B, 2, 3] that undoes the rotation and scale [B, 2, 2], without a shift."""
    inverse = turn.mT / torch.linalg.det(turn)[:, None, None]
    return F.pad(inverse, (0, 1))


def _scaled(transform: Tensor, scale: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """The same rotation about the points' means with another scale."""
    turn = transform[:, :, :2]
    turn = turn / turn[:, 0].norm(dim=1)[:, None, None] * scale[:, None, None]
    shift = target.mean(1) - (turn @ source.mean(1)[..., None])[..., 0]
    return torch.cat([turn, shift[..., None]], 2)


def _sample(images: Tensor, transform: Tensor, size: tuple[int, int], outside: str) -> Tensor:
    """Image of ``size`` whose pixel x shows what ``images`` have at ``transform`` (x)."""
    y, x = torch.meshgrid(*(torch.arange(n, device=images.device, dtype=images.dtype) for n in size), indexing="ij")
    places = move(torch.stack([x, y], -1).flatten(0, 1).expand(len(images), -1, -1), transform)
    grid = (2 * places + 1) / constant((images.shape[3], images.shape[2]), places.device, places.dtype) - 1
    return F.grid_sample(images, grid.unflatten(1, size), padding_mode=outside, align_corners=False)


def _colour_ratio(heads: Tensor, faces: Tensor, apart: Tensor) -> Tensor:
    """blur(head) / blur(face) [2]; the kernel is an odd number of pixels, near 0.6 of the distance between the eyes."""
    taps = (COLOUR_BLUR * apart).floor()
    taps = taps + (taps.remainder(2) == 0)
    sigma = 0.3 * ((taps - 1) * 0.5 - 1) + 0.8  # OpenCV's rule for a Gaussian of so many taps
    matrices = _blur_matrices(tuple(heads.shape[2:]), sigma, (taps - 1) / 2)
    face = _blur(faces, *matrices)
    return _blur(heads, *matrices) / (face + (face <= 1 / 255) * (128 / 255))


def _blur(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """rows @ channel @ columns^T for each image's own rows [B, H, H] and columns [B, W, W], which are not copied for the channels."""
    down = torch.empty_like(images, memory_format=torch.contiguous_format)
    for channel in range(images.shape[1]):
        torch.bmm(rows, images[:, channel], out=down[:, channel])
    return (down.flatten(1, 2) @ columns.mT).unflatten(1, images.shape[1:3])


def _blur_matrices(size: tuple[int, int], sigma: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
    """Gaussians with each image's own sigma [B] px, cut at its ``radius`` [B] px, edges mirrored: [B, H, H], [B, W, W]."""
    rows = _blur_matrix(size[0], sigma, radius)
    return rows, rows if size[0] == size[1] else _blur_matrix(size[1], sigma, radius)


def _blur_matrix(length: int, sigma: Tensor, radius: Tensor) -> Tensor:
    """[B, length, length]: how much of pixel j is in the blurred pixel i."""
    last = length - 1
    offset = torch.arange(-last, length, device=sigma.device)
    weights = torch.exp(-0.5 * (offset / sigma[:, None].clamp(min=1e-3)) ** 2)
    weights = weights * (offset.abs() <= radius[:, None].clamp(min=0))
    weights = F.pad(weights / weights.sum(1, keepdim=True), (0, 1))  # the last: where there is none
    i, j = offset[last:, None], offset[last:]
    # pixel j is seen at its own place and in both mirrors, whose axes are the centres of the first and of the last pixel
    before = torch.where((i + j <= last) & (j > 0), last - i - j, length + last)
    beyond = torch.where((i + j >= last) & (j < last), 3 * last - i - j, length + last)
    return weights[:, before] + weights[:, last + j - i] + weights[:, beyond]
