"""How a face fills the picture that networks see: aligned where its landmarks are known, else the central box of its image."""

import torch
from torch import Tensor

from lib.faces.align import move, to_template, warp
from lib.faces.parts import known
from lib.faces.resample import fit, fit_masks, fit_points


def fit_faces(
    images: Tensor, landmarks: Tensor | None, size: tuple[int, int], masks: Tensor | None = None
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Faces as networks see them: on the template where all 68 landmarks are known (finite), else the image's central box.

    Args:
        images: uint8 [B,3,H,W]. landmarks: [B,68,2] in pixels, or None. masks: uint8 [B,H,W], or None.
        size: (H, W).
    Returns:
        images uint8 [B,3,*size]; landmarks [B,68,2] moved with them, NaN where not all are known, or None; masks uint8
        [B,*size] or None.
    Raises:
        ValueError: all landmarks of a face in one place.
    """
    if landmarks is None:
        return fit(images, size), None, None if masks is None else fit_masks(masks, size)
    seen = known(landmarks)
    drawn, moved = images.new_empty(*images.shape[:2], *size), torch.full_like(landmarks, torch.nan)
    labels = None if masks is None else masks.new_empty(len(masks), *size)
    if seen.any():
        transform = to_template(landmarks[seen], size)
        drawn[seen], moved[seen] = warp(images[seen], transform, size), move(landmarks[seen], transform)
        if masks is not None:
            labels[seen] = warp(masks[seen][:, None], transform, size, nearest=True)[:, 0]
    if not seen.all():
        drawn[~seen] = fit(images[~seen], size)
        if masks is not None:
            labels[~seen] = fit_masks(masks[~seen], size)
    return drawn, moved, labels


def cut_faces(
    images: Tensor, landmarks: Tensor, size: tuple[int, int], masks: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The central boxes of all images, whatever is known of their faces; arguments and results as of :func:`fit_faces`.

    Landmarks that are not all known become NaN, as there.
    """
    moved = fit_points(landmarks, tuple(images.shape[2:]), size).where(known(landmarks)[:, None, None], torch.nan)
    return fit(images, size), moved, None if masks is None else fit_masks(masks, size)
