"""FER2013: 35,887 grey faces of 48 x 48 pixels in one csv file."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from lib.datasets.columns import EXPRESSIONS, VALIDATION
from lib.datasets.completeness import expect_counts
from lib.datasets.description import Description
from lib.datasets.errors import DatasetError, named
from lib.datasets.table import FaceTable
from lib.faces.resample import fit
from lib.progress import Progress

CSV = "fer2013.csv"
SIDE = 48
CODES = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")  # the set's own codes 0..6
COUNTS = {"Training": 28709, "PublicTest": 3589, "PrivateTest": 3589}
# What 'validation' and 'test' mean: Kaggle's own convention, and the reverse of it in github.com/usef-kh/fer, the code
# that SSL-FER names for FER2013.
CONVENTIONS = {
    "kaggle": {"Training": "probe_train", "PublicTest": VALIDATION, "PrivateTest": "probe_test"},
    "usef_kh": {"Training": "probe_train", "PublicTest": "probe_test", "PrivateTest": VALIDATION},
}
_CHUNK = 2048  # rows parsed at a time: the text of all of them takes 300 MB

ABOUT = Description(
    name="fer2013",
    title="FER2013 (ICML 2013 challenges in representation learning), grey faces found by image search",
    source="FER2013",
    licence="for research in the Kaggle challenge's terms; the photographs belong to others and may not be passed on",
    credit="I. Goodfellow et al.: Challenges in Representation Learning, ICONIP 2013",
    where="https://www.kaggle.com/c/challenges-in-representation-learning-facial-expression-recognition-challenge/data"
          f" (fer2013.tar.gz), put {CSV} into data/fer2013",
    tree=f"{CSV}      (columns emotion, pixels, Usage; pixels = {SIDE * SIDE} numbers 0..255 separated by spaces)",
    counts="; ".join(f"{name} {count:,}" for name, count in COUNTS.items()) + " rows; emotion "
           + ", ".join(f"{code} {name}" for code, name in enumerate(CODES)),
)


class GreyArray:
    """Pixel reader over uint8 [N,48,48] in memory; RGB are three equal channels."""

    has_masks = False

    def __init__(self, pixels: np.ndarray, image_size: tuple[int, int] | None = None):
        self.pixels, self.image_size = pixels, image_size

    def images(self, index: np.ndarray) -> np.ndarray:
        """Positions [n] -> uint8 [n,H,W,3]."""
        pixels = self.pixels[index]
        if self.image_size is not None:
            pixels = fit(torch.from_numpy(pixels)[:, None], self.image_size)[:, 0].numpy()
        return np.repeat(pixels[..., None], 3, axis=-1)

    def masks(self, index: np.ndarray) -> np.ndarray:
        raise ValueError("masks: FER2013 has no part masks")


def open_set(root: Path, image_size: tuple[int, int] | None = None, convention: str = "kaggle",
             complete: bool = True) -> FaceTable:
    """Open the set; all pixels are kept as one uint8 array (83 MB), grey repeated into RGB when asked for.

    Who is on an image is not known: every image counts as a person of its own.

    Args:
        image_size: (H, W) to resize to; None keeps 48 x 48.
        convention: 'kaggle': validation (split probe_val) is PublicTest, test (probe_test) PrivateTest; 'usef_kh': the
            other way round.
        complete: the official counts are required; False opens a part of the set.
    Raises:
        DatasetError: missing file or column, a row with a wrong number of pixels, an unknown emotion or Usage: the line
            is named.
        ValueError: an unknown convention.
    """
    if convention not in CONVENTIONS:
        raise ValueError(f"convention: expected one of {', '.join(CONVENTIONS)}, got {convention!r}")
    pixels, emotion, usage = read_csv(root, ABOUT)
    if complete:
        expect_counts(root / CSV, pd.Series(usage).value_counts().to_dict(), COUNTS, ABOUT)
    known = np.array([EXPRESSIONS.index(name) for name in CODES])
    rows = pd.DataFrame({"identity": np.arange(len(pixels)), "split": pd.Series(usage).map(CONVENTIONS[convention]),
                         "expression": known[emotion]})
    return FaceTable(name=ABOUT.name, source=ABOUT.source, licence=ABOUT.licence, credit=ABOUT.credit,
                     image_size=image_size or (SIDE, SIDE), rows=rows, reader=GreyArray(pixels, image_size))


def read_csv(root: Path, about: Description) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """fer2013.csv -> pixels uint8 [N,48,48], emotion int64 [N] in the set's own codes, Usage [N] strings.

    Raises:
        DatasetError: as ``open_set``; ``about`` is told when the file is missing.
    """
    path = root / CSV
    if not path.is_file():
        raise DatasetError(f"{path}: expected FER2013's csv file, it is missing\n{about.text()}")
    parts, problems = [], {"emotion": [], "Usage": [], "pixels": []}
    progress = Progress(sum(COUNTS.values()), f"reading {CSV}, rows")
    try:
        for chunk in pd.read_csv(path, dtype=str, keep_default_na=False, chunksize=_CHUNK):
            chunk.columns = [str(name).strip() for name in chunk.columns]  # one release writes ' Usage', ' pixels'
            absent = {"emotion", "pixels", "Usage"}.difference(chunk.columns)
            if absent:
                raise DatasetError(f"{path}: expected the columns emotion, pixels, Usage, got"
                                   f" {', '.join(chunk.columns)}; test.csv and train.csv of the challenge are other"
                                   f" files\n{about.text()}")
            parts.append(_parse(chunk, problems))
            progress.step(len(chunk))
    except (ValueError, OSError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(f"{path}: expected a comma-separated table, cannot read it ({error}); get it again") from error
    meant = {"emotion": "emotions outside 0..6", "Usage": f"Usage other than {', '.join(COUNTS)}",
             "pixels": f"rows without {SIDE * SIDE} pixels 0..255"}
    told = [named(items, meant[name]) for name, items in problems.items() if items]
    if told or sum(len(part[0]) for part in parts) == 0:
        raise DatasetError(f"{path}: {'; '.join(told) or 'no rows'} (line 1 is the header); get the file again")
    return tuple(np.concatenate(part) for part in zip(*parts))


def _parse(chunk: pd.DataFrame, problems: dict[str, list[str]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One chunk's pixels, emotions and usages; what is wrong goes into ``problems`` as 'line n: cell'."""
    pixels, emotion = np.zeros((len(chunk), SIDE * SIDE), np.uint8), np.zeros(len(chunk), np.int64)
    usage = chunk["Usage"].str.strip().to_numpy(dtype=object)
    for i, (row, code, text) in enumerate(zip(chunk.index, chunk["emotion"], chunk["pixels"])):
        line = f"line {row + 2}"
        if code.strip() in "0123456" and len(code.strip()) == 1:
            emotion[i] = int(code)
        else:
            problems["emotion"].append(f"{line}: {code!r}")
        if usage[i] not in COUNTS:
            problems["Usage"].append(f"{line}: {usage[i]!r}")
        try:
            values = np.fromstring(text, np.int64, sep=" ")
        except ValueError:  # something that is no number
            values = np.empty(0, np.int64)
        if values.shape == (SIDE * SIDE,) and values.min() >= 0 and values.max() <= 255:
            pixels[i] = values
        else:
            problems["pixels"].append(f"{line}: {len(text.split())} values")
    return pixels.reshape(-1, SIDE, SIDE), emotion, usage
