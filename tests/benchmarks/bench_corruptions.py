"""Corruptions against imagecorruptions and kornia: images a second, and the distance to the clean image.

    python -m tests.benchmarks.bench_corruptions [--device cpu] [--only speed]

Same rendered faces for all, in one run. imagecorruptions runs in an environment of its own, which is made on the first
run (.cache/imagecorruptions), in as many processes as torch has threads. Ours and kornia work as the evaluation does: on a
CPU one batch a core at a time (lib.cores), batches queued for all. Writes reports/corruption_speed.{csv,md,png} and
reports/corruption_psnr.{csv,md}. PSNR is compared at 224 px with imagecorruptions' own levels, at 64 px with Tiny-ImageNet-C's.
Rendered faces are kept in .cache/bench-faces: a machine that cannot render can be given them.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

from lib.cores import each
from lib.degrade.corruptions import CORRUPTIONS, IMAGENET_C, corrupt
from lib.degrade.levels import rows
from lib.files import write_aside
from lib.progress import Progress
from lib.run_record import machine, versions

THEIRS = CORRUPTIONS[:19]
BATCH, SEVERITY, RUNS = 128, 3, 5
PSNR_IMAGES, DRAWS = {64: 24, 224: 8}, 3
ENVIRONMENT = Path(".cache/imagecorruptions")
NEEDED = ("numpy<2", "imagecorruptions==1.1.2", "opencv-python<4.12", "setuptools<71")
REPORTS = Path("reports")


class Reference:
    """The other process; one question at a time."""

    def __init__(self, folder: Path):
        python = ENVIRONMENT / "bin/python"
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", ENVIRONMENT], check=True)
            subprocess.run([python, "-m", "pip", "install", "--quiet", *NEEDED], check=True)
        self.folder = folder
        script = Path(__file__).with_name("imagecorruptions_reference.py")
        self.process = subprocess.Popen(
            [python, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def ask(self, images: torch.Tensor, **request) -> dict:
        path = self.folder / f"{images.shape[-1]}-{len(images)}.npy"
        if not path.exists():
            np.save(path, (images * 255).round().byte().permute(0, 2, 3, 1).numpy())
        self.process.stdin.write(json.dumps({**request, "images": str(path)}) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer.strip().startswith("{"):
            raise RuntimeError(f"imagecorruptions failed at {request}: {answer!r}")
        return json.loads(answer)


def levels_of(name: str, side: int) -> list:
    """Our levels in the units of the reference (elastic_transform: pixels)."""
    scale = side if name == "elastic_transform" else 1
    return [[value * scale for value in row] for row in rows(name, side)]


def faces(count: int, side: int) -> torch.Tensor:
    kept = Path(f".cache/bench-faces/{count}-{side}.npy")
    if not kept.exists():
        from lib.faces.sample import sample_faces  # the renderer, which not every machine has

        kept.parent.mkdir(parents=True, exist_ok=True)
        images = [sample_faces(min(64, count - i), seed=i, image_size=side)[0] for i in range(0, count, 64)]
        with write_aside(kept) as aside, open(aside, "wb") as file:
            np.save(file, np.concatenate(images))
    return torch.from_numpy(np.load(kept)).permute(0, 3, 1, 2).float() / 255


def seconds(work, device: torch.device) -> float:
    """Seconds of a batch, of twice ``RUNS`` that are queued; the least of three after one that is not counted."""
    times = []
    for _ in range(4):
        began = time.perf_counter()
        for _ in each(work, range(2 * RUNS), device):
            pass
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append((time.perf_counter() - began) / (2 * RUNS))
    return min(times[1:])


def kornia_operators(side: int) -> dict:
    """Kornia's own operators for those types that it has, at our level."""
    try:
        import kornia.augmentation as K
        import kornia.enhance as E
        import kornia.filters as F
    except ImportError:
        print("kornia is not installed (pip install kornia): its column is left out")
        return {}

    row = lambda name: rows(name, side)[SEVERITY - 1]  # noqa: E731
    motion = K.RandomMotionBlur(2 * int(row("motion_blur")[0]) + 1, (-45.0, 45.0), (-1.0, 1.0), border_type="replicate", p=1.0)
    elastic = K.RandomElasticTransform((7, 7), (2.0, 2.0), (0.5, 0.5), p=1.0)
    sigma = row("gaussian_blur")[0]
    quality = torch.tensor([float(row("jpeg_compression")[0])])
    noise = K.RandomGaussianNoise(std=row("gaussian_noise")[0], p=1.0)
    salt = K.RandomSaltAndPepperNoise(amount=row("impulse_noise")[0], p=1.0)
    return {
        "gaussian_noise": noise,
        "impulse_noise": salt,
        "motion_blur": motion,
        "gaussian_blur": lambda x: F.gaussian_blur2d(x, (9, 9), (sigma, sigma)),
        "elastic_transform": elastic,
        "jpeg_compression": lambda x: E.jpeg_codec_differentiable(x, quality.expand(len(x)).to(x.device)),
        "brightness": lambda x: E.adjust_brightness(x, row("brightness")[0]),
        "contrast": lambda x: E.adjust_contrast_with_mean_subtraction(x, row("contrast")[0]),
        "saturate": lambda x: E.adjust_saturation(x, row("saturate")[0]),
    }


def speeds(device: torch.device, side: int, reference: Reference | None) -> pd.DataFrame:
    images = faces(BATCH, side)
    on_device = images.to(device)
    kornia = kornia_operators(side)
    meter, found = Progress(len(CORRUPTIONS), "speed"), []
    for name in CORRUPTIONS:
        ours = lambda i, n=name: corrupt(on_device, n, SEVERITY, torch.Generator(device).manual_seed(i))  # noqa: E731
        row = {"corruption": name, "ours": BATCH / seconds(ours, device)}
        if name in kornia:
            row["kornia"] = BATCH / seconds(lambda i, n=name: kornia[n](on_device), device)
        if reference and name in THEIRS:
            answer = reference.ask(images, do="time", name=name, severity=SEVERITY, processes=torch.get_num_threads(),
                                   runs=2 * RUNS, levels=levels_of(name, side))  # fmt: skip
            row["imagecorruptions"] = BATCH / answer["seconds"]
        found.append(row)
        meter.step(1, name)
    return pd.DataFrame(found)


def distances(reference: Reference) -> pd.DataFrame:
    meter, found = Progress(2 * len(THEIRS), "PSNR"), []
    for side, count in PSNR_IMAGES.items():
        images = (faces(count, side) * 255).round() / 255
        for name in THEIRS:
            for severity in range(1, 6):
                ours = []
                for draw in range(DRAWS):
                    got = corrupt(images, name, severity, torch.Generator().manual_seed(draw))
                    error = ((got * 255).floor() / 255 - images).square().mean((1, 2, 3)).clamp(min=1e-12)
                    ours.append(-10 * error.log10())
                own = side == 224 and name != "elastic_transform"  # the levels are its own there: a check of ours, too
                levels = None if own else levels_of(name, side)
                theirs = reference.ask(images, do="psnr", name=name, severity=severity, draws=DRAWS, levels=levels)
                found.append({"corruption": name, "side": side, "severity": severity,
                              "ours": torch.cat(ours).mean().item(), "imagecorruptions": theirs["psnr"]})  # fmt: skip
            meter.step(1, f"{name} {side}")
    return pd.DataFrame(found)


def geometric_mean(values: pd.Series) -> float:
    return float(np.exp(np.log(values).mean()))


def write(table: pd.DataFrame, name: str, title: str, about: str) -> None:
    with write_aside(REPORTS / f"{name}.csv") as aside:
        table.to_csv(aside, index=False, float_format="%.6g")
    cells = table.copy()
    for column in cells.select_dtypes("number"):
        places = 2 if cells[column].abs().max() < 200 and column != "severity" else 0
        cells[column] = [("" if np.isnan(v) else f"{v:,.{places}f}") for v in cells[column].astype(float)]
    with write_aside(REPORTS / f"{name}.md") as aside:
        aside.write_text(f"# {title}\n\n{about}\n\n{cells.to_markdown(index=False, disable_numparse=True, stralign='right')}\n")


def chart(table: pd.DataFrame, path: Path, about: str) -> None:
    table = table.iloc[::-1]
    figure, ax = plt.subplots(figsize=(8, 0.34 * len(table) + 1.2))
    columns = [c for c in ("ours", "imagecorruptions", "kornia") if c in table]
    for i, (column, colour) in enumerate(zip(columns, ("#D55E00", "#0072B2", "#009E73"))):
        ax.barh(np.arange(len(table)) + 0.27 * (1 - i), table[column], 0.27, color=colour, label=column)
    ax.set_yticks(range(len(table)), table.corruption.str.replace("_", " "))
    ax.set_xscale("log")
    ax.set_xlabel(f"images a second ({about})")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False)
    ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110, bbox_inches="tight")
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", choices=("speed", "psnr"), help="one of the two tables; on a GPU there is only speed")
    options = parser.parse_args()
    device = torch.device(options.device)
    scratch = Path(".cache/bench")
    scratch.mkdir(parents=True, exist_ok=True)
    for old in scratch.glob("*.npy"):
        old.unlink()
    reference = Reference(scratch) if device.type == "cpu" else None
    if options.only != "psnr":
        write_speeds(device, reference)
    if reference and options.only != "speed":
        write_distances(reference)


def write_speeds(device: torch.device, reference: Reference | None) -> None:
    threads = torch.get_num_threads()
    where = f"{machine()}, torch {versions()['torch']}" + (f", {threads} threads" if reference else "")
    side = 64 if reference else 112
    table = speeds(device, side, reference)
    core = table[table.corruption.isin(IMAGENET_C)]
    about = (
        f"batch {BATCH}, severity {SEVERITY}, {side} px, {where}; geometric mean over ImageNet-C's 15: "
        f"{geometric_mean(core.ours):,.0f} images/s, least {core.ours.min():,.0f} ({core.corruption[core.ours.idxmin()]})"
    )
    if reference:
        ratio = core.ours / core.imagecorruptions
        about += (
            f"; imagecorruptions in {threads} processes {geometric_mean(core.imagecorruptions):,.0f}: {geometric_mean(ratio):.2f}"
            f" times; least ratio {ratio.min():.2f} ({core.corruption[ratio.idxmin()]})"
        )
        table["ratio"] = table.ours / table.imagecorruptions
    about += ". kornia's operators are its nearest, not the same definitions."
    suffix = "" if reference else f"_{device.type}"
    write(table, f"corruption_speed{suffix}", "Images a second", about)
    chart(table, REPORTS / f"corruption_speed{suffix}.png", f"batch {BATCH}, {side} px, {device.type}")
    print(about)


def write_distances(reference: Reference) -> None:
    psnr = distances(reference)
    psnr["difference"] = psnr.ours - psnr.imagecorruptions
    far = psnr[psnr.difference.abs() > 1]
    about = (
        f"PSNR of corrupted to clean faces in dB, mean over images and {DRAWS} draws; {len(psnr)} cells, {len(far)} further apart than 1 dB"
        f"; largest difference {psnr.difference.abs().max():.2f} dB. At 224 px imagecorruptions works with its own levels, at 64 px with"
        " Tiny-ImageNet-C's. Its elastic_transform is milder than ImageNet-C's, whose steps are made with OpenCV and SciPy"
        f" instead (imagecorruptions_reference.py). {machine()}"
    )
    write(psnr, "corruption_psnr", "Distance to the clean image, beside imagecorruptions", about)
    print(about)
    print(far.to_string())


if __name__ == "__main__":
    main()
