"""What a step of SSL-FER's methods costs beside its networks alone, and where the time of the views goes.

    python -m tests.benchmarks.bench_ssl_step [--device cpu] [--clips 64] [--image-size 32]
    python -m tests.benchmarks.bench_ssl_step --device cuda --clips 128 --image-size 112 --backbone resnet50 --precision bfloat16
    python -m tests.benchmarks.bench_ssl_step --device cuda --clips 256 --preset ssl_fer --descriptor resnet18

Backbone, views and precision are those of params.yaml, or of a preset on top of it, which has an image size too, unless they
are given. The images are noise and the landmarks a mean face: what they show costs nothing. A step is views, loss, backward,
optimiser and what moves after it; its networks alone are the forward and backward pass of the same images (for MoCo and BYOL
with the forward pass of the following network; for MaskFN with its descriptor's, of random weights). Steps and networks are
timed some in a row, queued as lib.training queues them: the processor reads the losses of a step when the next one is queued.
Views: what both views of all frames take by themselves (MaskFN's descriptors are a network's work and count there). Their share
of a step is what it takes less with views that are there already. Least of several runs, taken in turns.
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import torch

from lib.degrade.occluders import MEAN_FACE
from lib.faces.parts import cover_part
from lib.faces.swap import swap_faces
from lib.loading import ClipBatch
from lib.methods import METHODS, build_method
from lib.models.encoder import EncoderConfig
from lib.params import load
from lib.run_record import machine, versions
from lib.step_values import under_way
from lib.training import if_it_has
from lib.views import colour_jitter, cut_mix, hue_jitter, random_blur, random_crop

IN_A_ROW = 5
OFF = {"time_aug": False, "hard_neg": False, "face_swap": False, "mask_fn": False}
RUNS = {
    "SimCLR": ("ssl_fer", OFF),
    "SimCLR + HardNeg": ("ssl_fer", OFF | {"hard_neg": True}),
    "SimCLR + CutMix": ("ssl_fer", OFF | {"cut_mix": True}),
    "SimCLR + FaceSwap": ("ssl_fer", OFF | {"face_swap": True}),
    "SimCLR + MaskFN": ("ssl_fer", OFF | {"mask_fn": True}),
    "SSL-FER, all four": ("ssl_fer", {}),
    "MoCo v2": ("moco", {"queue": 4096}),
    "BYOL": ("byol", {}),
}


def clips(count: int, frames: int, side: int, device) -> ClipBatch:
    images = torch.rand(count, frames, 3, side, side, device=device)
    landmarks = (torch.tensor(MEAN_FACE) * side + torch.randn(count, frames, 68, 2) * 0.02 * side).to(device)
    return ClipBatch(images, landmarks, torch.arange(count, device=device))


def seconds(works: list, device, runs: int) -> list[float]:
    """Least seconds of each of ``works``, which take turns."""
    best = [float("inf")] * len(works)
    for _ in range(runs + 1):  # the first is not better for being cold: it is simply not the least
        for i, work in enumerate(works):
            began = time.perf_counter()
            work()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            best[i] = min(best[i], time.perf_counter() - began)
    return best


def step_and_networks(name: str, settings: dict, network: EncoderConfig, views, options, device) -> list[float]:
    """Seconds of a step, of its networks, of a step with views that are there already, and of the views."""
    method = build_method(name, METHODS[name](head_hidden=256, **settings), network, views).to(device).train()
    optimizer, generator = method.optimizer(), torch.Generator(device).manual_seed(0)
    hard, swap = getattr(method.config, "hard_neg", False), method.config.face_swap
    batch = clips(options.clips, 2 + 2 * hard + swap, options.image_size, device)
    made = method.views(batch, generator)[0]
    half = options.precision == "bfloat16"
    frames = 2 + 2 * hard

    def steps() -> None:
        waiting = None
        for _ in range(IN_A_ROW):
            with torch.autocast(device.type, torch.bfloat16, enabled=half):
                seen = method.views(batch, generator)[0]
                terms = method.loss(seen)
            embedding = terms.pop("embedding")
            optimizer.zero_grad(set_to_none=True)
            terms["loss"].backward()
            optimizer.step()
            sent = under_way(terms, embedding)
            if_it_has(method, "after_step", 0)
            if waiting is not None:
                waiting()
            waiting = sent
        waiting()

    def networks():
        method.zero_grad(set_to_none=True)
        if getattr(method, "descriptor", None) is not None:
            method.descriptor(batch.images[:, :frames].flatten(0, 1), batch.landmarks[:, :frames].flatten(0, 1))
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            out = embedded()
        sum(z.float().sum() for z in out).backward()

    def networks_in_a_row():
        for _ in range(IN_A_ROW):
            networks()

    def embedded():
        if name == "moco":
            with torch.no_grad():
                method.key_head(method.key_network(made["key"]))
            return [method.head(method.network(made["query"]))]
        elif name == "byol":
            with torch.no_grad():
                for view in ("first", "second"):
                    method.target_projector(method.target_network(made[view]))
            return [method.predictor(method.projector(method.network(made[view]))) for view in ("first", "second")]
        return [method.embed(made["images"])]

    there = method.pairs(batch, generator)

    def steps_without_views():
        with patch.object(method.pairs, "forward", return_value=there):
            steps()

    many = [taken / IN_A_ROW for taken in seconds([steps, networks_in_a_row, steps_without_views], device, options.runs)]
    return many + seconds([lambda: method.pairs(batch, generator)], device, options.runs)


def settings_of(name: str | None):
    """params.yaml, with the preset ``name`` on top."""
    if name is None:
        return load()
    from lib import preset  # not everywhere that this is run is there what a preset is read with

    with tempfile.TemporaryDirectory() as folder:
        path = Path(shutil.copy("params.yaml", folder))
        preset.apply(name, path)
        return load(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--image-size", type=int, help="px; default 32, or the preset's")
    parser.add_argument("--backbone", help="a timm model, in place of the one of the settings")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), help="in place of that of the settings")
    parser.add_argument("--preset", help="published settings: a file of lib/presets")
    parser.add_argument("--descriptor", default="pixels", help="MaskFN's, as in params.yaml; a network has random weights")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--only", nargs="*", default=list(RUNS), choices=list(RUNS))
    options = parser.parse_args()
    device, params = torch.device(options.device), settings_of(options.preset)
    options.image_size = options.image_size or (params.prepare.image_size if options.preset else 32)
    options.precision = options.precision or params.schedule.precision
    backbone = (options.backbone, {}) if options.backbone else (params.network.backbone, params.network.backbone_args)
    network = EncoderConfig(options.image_size, *backbone)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else machine()
    print(f"{where}, torch {versions()['torch']}, {torch.get_num_threads()} threads", end="; ")
    print(f"{options.clips} clips, {options.image_size} px, {backbone[0]}, {options.precision}", end=", ")
    print(f"descriptor {options.descriptor}")
    print(f"{'':20s} {'step':>9s} {'networks':>9s} {'ratio':>6s} {'views':>9s} {'share':>7s}")
    for label in options.only:
        name, settings = RUNS[label]
        settings = settings | ({} if name == "byol" else {"descriptor": options.descriptor, "descriptor_pretrained": False})
        step, alone, without, views = step_and_networks(name, settings, network, params.views, options, device)
        print(f"{label:20s} {1e3 * step:6.1f} ms {1e3 * alone:6.1f} ms {step / alone:6.2f} {1e3 * views:6.1f} ms"
              f" {1 - without / step:7.1%}", flush=True)  # fmt: skip
    profile(options, params.views, device)


def profile(options, views, device) -> None:
    """Each part of the views by itself, for all the frames of ``clips`` clips of 4."""
    batch, generator = clips(options.clips, 4, options.image_size, device), torch.Generator(device).manual_seed(0)
    images, places = batch.images.flatten(0, 1), batch.landmarks.flatten(0, 1)
    half = len(images) // 2
    part = torch.zeros(len(images), dtype=torch.long, device=device)
    chosen = part == 0
    parts = {
        "crop, rotation, mirror": lambda: random_crop(images, views.crop, views.rotation, generator),
        "colour": lambda: colour_jitter(images, views.colour, views.grey, generator),
        "hue": lambda: hue_jitter(images, 0.2, generator),
        "blur": lambda: random_blur(images, 0.5, generator),
        "blur of 3 taps (released)": lambda: random_blur(images, 0.5, generator, 2.0, 1),
        "cover a part": lambda: cover_part(images, places, part, chosen),
        "CutMix, half": lambda: cut_mix(images[half:], 0.8, generator),
        "FaceSwap, half": lambda: swap_faces(images[:half], places[:half], images[half:], places[half:]),
    }
    print(f"views of {options.clips} clips x 4 frames = {len(images)} images:")
    for name, took in zip(parts, seconds(list(parts.values()), device, options.runs)):
        print(f"  {name:26s} {1e3 * took:7.1f} ms  {1e6 * took / len(images):6.1f} us an image")


if __name__ == "__main__":
    main()
