"""How long the labels of a full-size BP4D take to read, and how much memory: a synthetic tree in the official layout.

    python tests/benchmarks/bench_bp4d.py

41 people x 8 tasks, 146,847 frames in the published folds, label files with 99 columns, an image file for every frame.
Asked: under 30 s and 1 GB. Also checks that every label comes back as it was written.
"""

import io
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
from PIL import Image

from lib.datasets import open_dataset
from lib.datasets.action_units import BP4D_UNITS, au_labels
from lib.datasets.au_folds import BP4D_PARTS, BP4D_TEST_FRAMES
from lib.datasets.bp4d import TASKS

COLUMNS = range(1, 100)


def write_tree(root: Path) -> dict[tuple[str, str], np.ndarray]:
    """The tree; returns the codes [n, 99] of each clip, frames numbered from 600."""
    rng, codes = np.random.default_rng(0), {}
    picture = io.BytesIO()
    Image.new("RGB", (256, 256)).save(picture, "JPEG")
    (root / "AUCoding" / "AU_OCC").mkdir(parents=True)
    for part, frames in zip(BP4D_PARTS, BP4D_TEST_FRAMES[::-1]):
        clips = [(subject, task) for subject in part for task in TASKS]
        for (subject, task), rows in zip(clips, np.array_split(np.arange(frames), len(clips))):
            table = rng.choice([0, 1, 9], (len(rows), len(COLUMNS)), p=[0.7, 0.25, 0.05])
            numbers = 600 + np.arange(len(rows))
            np.savetxt(root / "AUCoding" / "AU_OCC" / f"{subject}_{task}.csv", np.c_[numbers, table], "%d", ",",
                       header=",".join(map(str, (0, *COLUMNS))), comments="")  # fmt: skip
            folder = root / "img" / subject / task
            folder.mkdir(parents=True)
            for number in numbers:
                (folder / f"{number}.jpg").write_bytes(picture.getvalue())
            codes[subject, task] = table
    return codes


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        pid = os.fork()  # a process of its own writes the tree, so that its memory does not count
        if pid == 0:
            np.savez(root / "codes.npz", **{f"{s}_{t}": table for (s, t), table in write_tree(root).items()})
            os._exit(0)
        if os.waitpid(pid, 0)[1]:
            raise SystemExit("the tree could not be written")
        before, began = peak_mb(), time.perf_counter()
        table = open_dataset("bp4d", root)
        labels = au_labels(table, BP4D_UNITS)
        seconds, after = time.perf_counter() - began, peak_mb()
        print(f"{len(table):,} frames, {table.rows['identity'].nunique()} people, {table.rows['clip'].nunique()} clips:"
              f" {seconds:.1f} s, {after:.0f} MB at most, {before:.0f} MB of them the interpreter and its libraries")
        codes = np.load(root / "codes.npz")
        for clip, rows in table.rows.groupby("clip"):
            subject, task = rows["file"].iloc[0].split("/")[1:3]
            written = codes[f"{subject}_{task}"][rows["frame"].to_numpy() - 600][:, np.array(BP4D_UNITS) - 1]
            assert (labels[rows.index] == np.where(written == 9, -1, written)).all(), (subject, task)
        print("every label is as it was written")


if __name__ == "__main__":
    main()
