"""How long the readers of large sets take to open them.

    python tests/benchmarks/bench_datasets.py [folder for the synthetic trees]

Synthetic trees in the official layouts, with images of a few bytes where only names are read. Times are of a warm file
cache; a cold or networked disk adds its own. Prints a Markdown table.
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lib.datasets import open_dataset
from lib.datasets.frame_list import write_frame_list

CLIPS, FRAMES = 4000, 30  # 120,000 frames
FACES = 10_000  # of AffectNet, with four annotation files each
ROWS = 35_887  # of FER2013: its full size


def voxceleb(root: Path) -> None:
    for i in range(CLIPS):
        clip = root / f"faces/wav/id{10001 + i // 20:05d}/video{i % 20 // 4}/{i % 4 + 1:05d}"
        clip.mkdir(parents=True)
        for number in range(1, FRAMES + 1):
            (clip / f"{number:07d}.jpg").touch()


def affectnet(root: Path) -> None:
    rng = np.random.default_rng(0)
    (root / "train_set/annotations").mkdir(parents=True)
    (root / "train_set/images").mkdir()
    Image.new("RGB", (224, 224)).save(root / "face.jpg", quality=10)
    face = (root / "face.jpg").read_bytes()
    for i in range(FACES):
        (root / f"train_set/images/{i}.jpg").write_bytes(face)
        for kind, value in (("exp", np.array(str(i % 8))), ("val", np.array("0.1")), ("aro", np.array("0.2")),
                            ("lnd", rng.uniform(0, 224, 136))):
            np.save(root / f"train_set/annotations/{i}_{kind}.npy", value)


def fer2013(root: Path) -> None:
    rng = np.random.default_rng(0)
    lines = [f"{i % 7},{' '.join(map(str, rng.integers(0, 256, 2304).tolist()))}," for i in range(500)]
    usage = ["Training"] * 28709 + ["PublicTest"] * 3589 + ["PrivateTest"] * 3589
    with open(root / "fer2013.csv", "w") as file:
        file.write("emotion,pixels,Usage\n")
        file.writelines(f"{lines[i % 500]}{usage[i]}\n" for i in range(ROWS))


def main(folder: str | None = None) -> None:
    print("| what | images | seconds | peak memory so far, MB |\n|:--|--:|--:|--:|")

    def timed(what: str, act) -> None:
        start = time.perf_counter()
        result = act()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        count = len(result) if what.startswith("open") else result["n_frames"].sum()
        print(f"| {what} | {count:,} | {time.perf_counter() - start:.2f} | {peak:.0f} |", flush=True)

    with tempfile.TemporaryDirectory(dir=folder) as place:
        roots = {name: Path(place) / name for name in ("voxceleb", "affectnet", "fer2013")}
        for name, make in (("voxceleb", voxceleb), ("affectnet", affectnet), ("fer2013", fer2013)):
            roots[name].mkdir()
            make(roots[name])
        frames = roots["voxceleb"] / "vox1_frames.txt"
        timed("write the list of voxceleb's clips", lambda: write_frame_list(roots["voxceleb"], frames, below="faces"))
        timed("open voxceleb by its list", lambda: open_dataset("voxceleb", roots["voxceleb"], frame_list=frames.name))
        timed("open voxceleb without a list", lambda: open_dataset("voxceleb", roots["voxceleb"]))
        timed("open affectnet, npy annotations", lambda: open_dataset("affectnet", roots["affectnet"], complete=False))
        timed("open fer2013", lambda: open_dataset("fer2013", roots["fer2013"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
