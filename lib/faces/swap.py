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
LOWER_RELEASED = (slice(27, 35), slice(34, 35), slice(48, 61))  # it leaves the nose's last point out of the hull too; one stands twice
COLOUR_BLUR = 0.6  # kernel size, in distances between the eyes
LARGEST_RATIO = 4.0  # of the two faces' sizes: beyond, landmarks are wrong rather than faces that different


class Swapped(NamedTuple):
    """images [k B, 3, H, W] in [0, 1]; landmarks [k B, 68, 2] of what is seen there: the inner face's own; done [k B] bool: False
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
        heads: [B, 3, H, W] in [0, 1]. faces: [k B, 3, H, W]; face i gets head i mod B, which is blurred once for its k faces.
        head_landmarks, face_landmarks: [B, 68, 2] and [k B, 68, 2] in pixels.
        feather: sigma of the blur of the mask, in distances between the eyes.
        released: as the published code does it: hard edges, scale from the ratio of the points' spreads, a lower hull without the
            nose's last point, black where the face's image ends, and colours beyond 255 that wrap around to black.
        wanted: [k B] bool, which to swap, None: all. The others stay as they are and are not ``done``.

    Raises:
        ValueError: wrong shapes, or a negative feather.
    """
    several = max(len(faces) // max(len(heads), 1), 1)
    fits = heads.shape[1:] == faces.shape[1:] and heads.dim() == 4 and heads.shape[1] == 3
    if not fits or not len(faces) or len(faces) != several * len(heads):
        raise ValueError(
            f"heads, faces: expected [B, 3, H, W] and [k B, 3, H, W], got {list(heads.shape)} and {list(faces.shape)}"
        )
    check_landmarks(head_landmarks, heads)
    check_landmarks(face_landmarks, faces)
    if not feather >= 0:
        raise ValueError(f"feather: expected a sigma >= 0, got {feather}")
    if wanted is not None and (wanted.shape != (len(faces),) or wanted.dtype != torch.bool):
        raise ValueError(f"wanted: expected bool [{len(faces)}], got {wanted.dtype} {list(wanted.shape)}")
    size = tuple(heads.shape[2:])
    both = torch.cat([head_landmarks.repeat(several, 1, 1), face_landmarks])
    fitted = _some(both, FITTED)
    spread = (fitted - fitted.mean(1, keepdim=True)).square().mean((1, 2)).sqrt()
    (smaller, larger), ratio = torch.aminmax(spread.view(2, -1), dim=0), spread[len(faces) :] / spread[: len(faces)]
    done = known(both).view(2, -1).all(0) & (smaller > 1e-3) & (larger < LARGEST_RATIO * smaller)
    done = done if wanted is None else done & wanted
    # the failed ones need some landmarks to be computed with: a ramp that fits itself
    ramp = torch.arange(68 * 2, device=heads.device, dtype=both.dtype).view(68, 2) / 68
    both = torch.where(done.repeat(2)[:, None, None], both, ramp)
    (head, face), fitted = both.chunk(2), _some(both, FITTED).chunk(2)
    to_face = checked_similarity(*fitted).to(heads.dtype)
    if released:
        to_face = _scaled(to_face, torch.where(done, ratio, 1.0), *fitted)
    moved = move(face - to_face[:, None, :, 2], _inverse(to_face[:, :, :2]))
    warped = _sample(faces, to_face, size, "zeros" if released else "border")
    shown = torch.cat([head, moved])
    hulls = torch.cat([_some(shown, span) for span in (UPPER, LOWER_RELEASED if released else LOWER)])
    cover = hull_cover(hulls, size, released).unflatten(0, (4, -1)).amax(0)
    # where landmarks are not finite any number will do: the swap failed
    apart = (head_landmarks[:, LEFT_EYE].mean(1) - head_landmarks[:, RIGHT_EYE].mean(1)).norm(dim=1).nan_to_num(0.0, 0.0)
    coarse = _colour_blur(apart)
    if feather and not released:
        sigma, radius = (torch.cat(blurs) for blurs in zip((feather * apart, 3 * feather * apart), coarse))
        soft, coarse = zip(*(matrices.chunk(2) for matrices in _blur_matrices(size, sigma, radius)))
        cover = _blur(cover, *soft)
    else:
        coarse = _blur_matrices(size, *coarse)
        cover = cover.unflatten(0, (several, -1))
    # from here on [k, B, 3, H, W]: heads are not copied for their faces
    by_head = (several, len(heads))
    inner = _colour_ratio(_blur(heads, *coarse)[0], _blur(warped, *coarse)).mul_(warped.unflatten(0, by_head))
    mixed = torch.lerp(heads, inner, cover, out=inner)
    mixed = ((mixed * 255).floor().remainder(256) / 255) if released else mixed.clamp_(0, 1)
    images = torch.empty_like(faces)
    torch.where(done.view(*by_head, 1, 1, 1), mixed, faces.unflatten(0, by_head), out=images.view(*by_head, *images.shape[1:]))
    return Swapped(images, torch.where(done[:, None, None], moved, face_landmarks), done)


def _some(points: Tensor, spans: tuple[slice, ...]) -> Tensor:
    return torch.cat([points[:, span] for span in spans], 1)


def _inverse(turn: Tensor) -> Tensor:
    """[B, 2, 3] that undoes the rotation and scale [B, 2, 2], without a shift."""
    return F.pad(turn.mT / turn.square().sum((1, 2), keepdim=True).div_(2), (0, 1))


def _scaled(transform: Tensor, scale: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """The same rotation about the points' means with another scale."""
    turn = transform[:, :, :2]
    turn = turn / turn[:, 0].norm(dim=1)[:, None, None] * scale[:, None, None]
    shift = target.mean(1) - (turn @ source.mean(1)[..., None])[..., 0]
    return torch.cat([turn, shift[..., None]], 2)


def _sample(images: Tensor, transform: Tensor, size: tuple[int, int], outside: str) -> Tensor:
    """Image of ``size`` whose pixel x shows what ``images`` have at ``transform`` (x)."""
    x, y = (torch.arange(n, device=images.device, dtype=images.dtype)[:, None] for n in size[::-1])
    scale = 2 / constant((images.shape[3], images.shape[2]), images.device, images.dtype)  # to grid_sample's places, in [-1, 1]
    across, down, start = (transform * scale[:, None]).unbind(2)
    grid = (x * across[:, None])[:, None] + (y * down[:, None] + (start + scale / 2 - 1)[:, None])[:, :, None]
    return F.grid_sample(images, grid, padding_mode=outside, align_corners=False)


def _colour_blur(apart: Tensor) -> tuple[Tensor, Tensor]:
    """Sigma and radius [B], px, of a kernel of an odd number of pixels near 0.6 of the distance between the eyes [2]."""
    taps = (COLOUR_BLUR * apart).floor()
    taps = taps + (taps.remainder(2) == 0)
    return 0.3 * ((taps - 1) * 0.5 - 1) + 0.8, (taps - 1) / 2  # OpenCV's rule for a Gaussian of so many taps


def _colour_ratio(head: Tensor, face: Tensor) -> Tensor:
    """Of both, blurred [2]; [B, 3, H, W] and [k, B, 3, H, W], which is written over."""
    face.add_(face <= 1 / 255, alpha=128 / 255)
    return torch.div(head, face, out=face)


def _blur(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """rows @ channel @ columns^T, [k, B, C, H, W], of images [k B, C, H, W]; image i has the matrices i mod B, [B, H, H] and
    [B, W, W], which are not copied for the channels."""
    channels = [image[:, channel] for image in images.split(len(rows)) for channel in range(images.shape[1])]
    down = images.new_empty(len(rows), len(channels), *images.shape[2:])
    for channel, image in enumerate(channels):
        torch.bmm(rows, image, out=down[:, channel])
    blurred = (down.flatten(1, 2) @ columns.mT).unflatten(1, down.shape[1:3])
    return blurred.unflatten(1, (-1, images.shape[1])).transpose(0, 1)


def _blur_matrices(size: tuple[int, int], sigma: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
    """Gaussians with each image's own sigma [B] px, cut at its ``radius`` [B] px, edges mirrored: [B, H, H], [B, W, W]."""
    rows = _blur_matrix(size[0], sigma, radius)
    return rows, rows if size[0] == size[1] else _blur_matrix(size[1], sigma, radius)


def _blur_matrix(length: int, sigma: Tensor, radius: Tensor) -> Tensor:
    """[B, length, length]: how much of pixel j is in the blurred pixel i."""
    distance = torch.arange(2 * length - 1, device=sigma.device)
    weights = torch.exp(-0.5 * (distance / sigma[:, None].clamp(min=1e-3)) ** 2)
    weights = weights * (distance <= radius[:, None].clamp(min=0, max=length - 1))
    weights = weights / (2 * weights.sum(1, keepdim=True) - weights[:, :1])
    here = distance[:length]
    matrix = weights[:, (here[:, None] - here).abs()]
    # pixel j is seen at its own place and in both mirrors, whose axes are the centres of the first and of the last pixel:
    # i + j from i, and 2 (length - 1) - i - j
    matrix[:, :, 1:] += weights.unfold(1, length, 1)[:, :, 1:]
    matrix[:, :, :-1] += weights.flip(1).unfold(1, length, 1)[:, :, :-1]
    return matrix
