"""What the AUNCE loss costs beside the step of a backbone: forward and backward of both, ratio of the medians.

    python tests/benchmarks/bench_aunce.py [--device cuda] [--quick]

A step is forward and backward of the backbone alone over the 2 x 128 views of B = 128 images; K = 12 action units, vectors as
long as the backbone is wide. Asked: below 5 percent. Both sides are timed in turn, so that a busy machine slows both.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import timm
import torch
from torch.nn import functional as F

from lib.losses.aunce import aunce_loss, draw_branches

IMAGES, UNITS = 128, 12
DEMO = {"channels": [32, 64, 128, 256], "stem_width": 16}  # as in params.yaml
BACKBONES = {  # name: (timm model, its arguments, px, width of a vector)
    "demo's ResNet-10t, half width, 32 px": ("resnet10t", DEMO, 32, 64),
    "demo's ResNet-10t, half width, 64 px": ("resnet10t", DEMO, 64, 64),
    "ResNet-50, 112 px": ("resnet50", {}, 112, 2048),
}


def seconds(work, device: str) -> float:
    began = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="only the demo's backbone")
    options = parser.parse_args()
    generator = torch.Generator(options.device).manual_seed(0)
    labels = (torch.rand(IMAGES, UNITS, generator=generator, device=options.device) < 0.3).long()
    for name, (model, args, size, width) in list(BACKBONES.items())[: 2 if options.quick else None]:
        backbone = timm.create_model(model, num_classes=0, **args).to(options.device, memory_format=torch.channels_last)
        views = torch.rand(2 * IMAGES, 3, size, size, generator=generator, device=options.device)
        views = views.contiguous(memory_format=torch.channels_last)
        u1, u2 = (
            F.normalize(torch.randn(IMAGES, UNITS, width, generator=generator, device=options.device), dim=2).requires_grad_().mT
            for _ in range(2)  # laid out in memory as the network gives them
        )

        def step():
            backbone(views).sum().backward()

        def loss():
            aunce_loss(u1, u2, labels, draw_branches(UNITS, generator)).backward()

        seconds(step, options.device)
        for _ in range(3):
            seconds(loss, options.device)
        steps, losses = [], []
        for _ in range(3 if model == "resnet50" and options.device == "cpu" else 10):
            steps.append(seconds(step, options.device))
            losses += [seconds(loss, options.device) for _ in range(5)]
        each, whole = statistics.median(losses), statistics.median(steps)
        print(f"{name}, D = {width}: step {1e3 * whole:.0f} ms, loss {1e3 * each:.1f} ms, {100 * each / whole:.2f} %", flush=True)


if __name__ == "__main__":
    main()
