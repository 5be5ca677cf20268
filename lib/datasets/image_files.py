"""Pixels from image files: decoded on request, upright, always RGB uint8."""

from itertools import compress
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from lib.datasets.errors import DatasetError, named, unreadable_images
from lib.faces.resample import fit, fit_points
from lib.progress import Progress

SUFFIXES = (".jpg", ".jpeg", ".png", ".pgm", ".ppm", ".webp", ".bmp")
# What an encoder refuses. lib.models.checks has the same numbers: no data set is read again where a network's code changes.
LEAST_SIDE = 8  # px
LARGEST_ASPECT = 4  # of the longer side to the shorter
_EXIF_ORIENTATION = 0x0112


def _unreadable(path: Path, error: Exception) -> DatasetError:
    return DatasetError(f"{path}: expected an image ({', '.join(SUFFIXES)}), cannot read it"
                        f" ({type(error).__name__}: {error}); copy the file again or take it out of the folder")


def read_image(path: Path) -> np.ndarray:
    """One image file -> uint8 [H,W,3], turned upright as its EXIF orientation says.

    Raises:
        DatasetError: missing, truncated or not an image; names the file.
    """
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion would clip it
                grey = np.asarray(upright, np.float64) / 257
                return np.repeat(np.rint(grey).clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
            return np.array(upright.convert("RGB"))
    except Exception as error:  # a broken file makes Pillow's decoders raise nearly anything
        raise _unreadable(path, error) from error


def image_sizes(root: Path, files: list[str]) -> np.ndarray:
    """Upright (H, W) of each file, [n,2] int64, from the headers alone.

    Raises:
        DatasetError: names the files that are missing or no images, all of them counted.
    """
    sizes, broken = np.zeros((len(files), 2), np.int64), []
    progress = Progress(len(files), "reading image headers")
    for i, file in enumerate(files):
        try:
            with Image.open(root / file) as image:
                width, height = image.size
                # In a PNG the orientation may stand behind the pixels, where asking for it would decode the image.
                turned = image.format != "PNG" and image.getexif().get(_EXIF_ORIENTATION, 1) in (5, 6, 7, 8)
            sizes[i] = (width, height) if turned else (height, width)
        except Exception as error:
            broken.append(_unreadable(root / file, error))
        progress.step()
    if broken:
        raise unreadable_images(str(root), broken)
    return sizes


def check_sides(root: Path, files: list[str], sizes: np.ndarray) -> list[str]:
    """Notes on images of these ``sizes`` [n,2] that are so long that much of them is cut away.

    Raises:
        DatasetError: images too small to make anything of; all counted, five named.
    """
    small, long = sizes.min(1) < LEAST_SIDE, sizes.max(1) > LARGEST_ASPECT * sizes.min(1)
    items = [f"{file} ({height} x {width} px, H x W)" for file, (height, width) in zip(files, sizes)]
    if small.any():
        what = named(list(compress(items, small)), f"images of less than {LEAST_SIDE} px a side")
        raise DatasetError(f"{root}: {what}; no face can be told on so few: take the pictures in their own size, or take them out")
    what = f"images longer than 1 : {LARGEST_ASPECT}, of which the middle is read unless landmarks say where the face is"
    return [named(list(compress(items, long)), what)] if long.any() else []


def common_size(sizes: np.ndarray) -> tuple[int, int] | None:
    """The (H, W) that all of ``sizes`` [n,2] share, None where they differ."""
    return tuple(sizes[0].tolist()) if len(sizes) and (sizes == sizes[0]).all() else None


def fit_landmarks(points: np.ndarray, sizes: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """Landmarks float32 [n,68,2] of images of ``sizes`` [n,2] (H, W), moved as ``ImageFiles`` fits these to ``image_size``."""
    fitted = np.empty_like(points)
    for size in np.unique(sizes, axis=0):
        here = (sizes == size).all(1)
        fitted[here] = fit_points(torch.from_numpy(points[here]), tuple(size.tolist()), image_size).numpy()
    return fitted


class ImageFiles:
    """Pixel reader over files. ``image_size``: cut the largest centred box of that shape and resize it to (H, W)."""

    has_masks = False

    def __init__(self, root: Path, files: list[str], image_size: tuple[int, int] | None = None):
        self.root, self.files, self.image_size = root, files, image_size

    def images(self, index: np.ndarray) -> np.ndarray:
        """Positions [n] -> uint8 [n,H,W,3]; different sizes in one call are an error without ``image_size``."""
        pixels = [self._read(self.root / self.files[i]) for i in index]
        if len({image.shape for image in pixels}) > 1:
            raise DatasetError(f"{self.root}: the images differ in size, so they do not fit into one batch; read them"
                               " one at a time, open the folder with image_size=(H, W), or prepare it first")
        return np.stack(pixels) if pixels else np.empty((0, *(self.image_size or (0, 0)), 3), np.uint8)

    def masks(self, index: np.ndarray) -> np.ndarray:
        raise ValueError("masks: image files have no part masks")

    def _read(self, path: Path) -> np.ndarray:
        pixels = read_image(path)
        if self.image_size is None:
            return pixels
        fitted = fit(torch.from_numpy(pixels).permute(2, 0, 1)[None], self.image_size)
        return fitted[0].permute(1, 2, 0).numpy()
