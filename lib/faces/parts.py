"""Eyes and mouth of a face by its 68 landmarks: cut out, or covered, for a whole batch at once.

References:
    [1] Shu et al., SSL-FER, BMVC 2022: random masking of a part; patches of eyes and mouth that describe an expression.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from lib.device import constant

RIGHT_EYE, LEFT_EYE, EYES, MOUTH = slice(36, 42), slice(42, 48), slice(36, 48), slice(48, 68)  # right: the person's
MASKED = (RIGHT_EYE, LEFT_EYE, MOUTH)
MARGIN = 10 / 224  # [1] says 10 px, of video frames of unknown size: taken for those of VoxCeleb's 224 px crops


def check_landmarks(landmarks: Tensor, images: Tensor) -> None:
    """``ValueError`` unless ``landmarks`` are float [B, 68, 2] of the B ``images``."""
    if landmarks.shape != (len(images), 68, 2) or not landmarks.is_floating_point():
        raise ValueError(
            f"landmarks: expected float [{len(images)}, 68, 2], one face an image, got {landmarks.dtype} {list(landmarks.shape)}"
        )


def known(landmarks: Tensor) -> Tensor:
    """Which faces [B] have landmarks: all finite. [B, R, 2] -> bool [B]."""
    return torch.isfinite(landmarks).all(2).all(1)


def bounds(points: Tensor) -> tuple[Tensor, Tensor]:
    """Least and largest (x, y) of the points [B, R, 2]: two of [B, 2]."""
    return points.amin(1), points.amax(1)


def cover_part(images: Tensor, landmarks: Tensor, part: Tensor, chosen: Tensor, margin: float = MARGIN) -> Tensor:
    """Fill an ellipse over one part of some faces with the mean colour of their image [1].

    Args:
        images: [B, 3, H, W]. landmarks: [B, 68, 2] in pixels; a face whose points are not finite stays as it is.
        part: [B] long: 0 right eye, 1 left eye, 2 mouth. chosen: [B] bool: the faces to cover.
        margin: by how much the ellipse goes beyond the part's bounds on each side, as a share of the image's height.
    """
    check_landmarks(landmarks, images)
    boxes = torch.stack([torch.stack(bounds(landmarks[:, span]), 1) for span in MASKED], 1)  # [B, parts, 2, 2]
    low, high = boxes[torch.arange(len(images), device=images.device), part].nan_to_num().unbind(1)
    centre, radius = (low + high) / 2, (high - low) / 2 + margin * images.shape[2]
    y = torch.arange(images.shape[2], device=images.device, dtype=images.dtype).view(1, -1, 1)
    x = torch.arange(images.shape[3], device=images.device, dtype=images.dtype).view(1, 1, -1)
    (cx, cy), (rx, ry) = centre.T[:, :, None, None], radius.T[:, :, None, None]
    left = (1 - ((y - cy) / ry) ** 2).masked_fill(~(chosen & known(landmarks))[:, None, None], -1.0)  # of the width, squared
    inside = ((x - cx) / rx) ** 2 <= left
    return torch.where(inside[:, None], images.mean((2, 3), keepdim=True), images)


def part_patches(images: Tensor, landmarks: Tensor, size: int = 64, margin: float = MARGIN) -> tuple[Tensor, Tensor]:
    """The eyes' and the mouth's bounding boxes, padded with black to squares and resized bilinearly [1].

    The eyes' box (both eyes in one) goes ``margin`` of the image's height further up and down. What a box has outside the
    image is black.

    Returns:
        patches [B, 2, 3, size, size], eyes first, black where they cannot be cut out; valid bool [B]: all landmarks are
        finite, and both boxes have an extent and lie at least in part in the image.
    """
    check_landmarks(landmarks, images)
    height, width = images.shape[2:]
    low, high = (torch.stack(ends, 1) for ends in zip(bounds(landmarks[:, EYES]), bounds(landmarks[:, MOUTH])))  # [B, 2, 2]
    grow = constant((0.0, margin * height, 0.0, 0.0), low.device, low.dtype).view(2, 2)
    low, high = low - grow, high + grow
    extent = constant((width, height), low.device, low.dtype)
    valid = known(landmarks) & ((high > low) & (high > -0.5) & (low < extent - 0.5)).all(2).all(1)
    low, high = (torch.where(valid[:, None, None], ends, other) for ends, other in ((low, 0.0), (high, 1.0)))
    centre, half = (low + high) / 2, (high - low) / 2
    side = half.amax(2, keepdim=True)
    place = (torch.arange(size, device=images.device, dtype=low.dtype) + 0.5) / size * 2 - 1
    places = centre[:, :, None] + place[:, None] * side[:, :, None]  # [B, 2, size, 2], pixels: x and y of columns and rows
    in_box = ((places - centre[:, :, None]).abs() <= half[:, :, None]) & valid[:, None, None, None]
    in_box = in_box[:, :, None, :, 0] & in_box[:, :, :, None, 1]
    x, y = ((2 * places + 1) / extent - 1).to(images.dtype).unbind(-1)
    grid = torch.stack(torch.broadcast_tensors(x[:, :, None], y[..., None]), -1).flatten(1, 2)  # one patch below the other
    patches = F.grid_sample(images, grid, padding_mode="zeros", align_corners=False).unflatten(2, (2, size))
    return (patches * in_box[:, None]).transpose(1, 2), valid
