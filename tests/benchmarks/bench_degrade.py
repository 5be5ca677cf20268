"""Images a second of every corruption, the training mixture and every attack at 48 and 64 px, as a Markdown table.

    python -m tests.benchmarks.bench_degrade [--batch 128] [--device cpu] [--threads 2]

The attacked model is a small convolutional network; its own forward and backward passes a second are in the table,
for an attack can only be as fast as the passes it makes allow ("passes" says how many). Median of several runs.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from lib.degrade.attacks import ATTACKS, RECIPES, attack
from lib.degrade.corruptions import CORRUPTIONS, corrupt
from lib.degrade.mixture import degrade

SIDES, STEPS, SEVERITY = (48, 64), 10, 3


def seconds(work: Callable[[], object], device: torch.device, runs: int = 5) -> float:
    """Median time of ``work`` after one call that is not counted."""
    times = []
    for _ in range(runs + 1):
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def small_network(device: torch.device) -> nn.Module:
    widths = (3, 32, 64, 128)
    layers = [
        nn.Sequential(nn.Conv2d(a, b, 3, stride=2, padding=1), nn.BatchNorm2d(b), nn.ReLU())
        for a, b in zip(widths, widths[1:], strict=False)
    ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], 7)).to(device)


def passes(name: str) -> int:
    recipe = RECIPES[name]
    return (1 if recipe.single_step else STEPS) * recipe.samples * recipe.scales


def speeds(side: int, batch: int, device: torch.device) -> dict[str, float]:
    """{row: images a second} at one image side."""
    generator = torch.Generator(device=device).manual_seed(0)
    images = F.interpolate(torch.rand(batch, 3, 8, 8), side, mode="bicubic").clamp(0, 1).to(device)
    labels = torch.arange(batch, device=device) % 7
    network = small_network(device).eval()

    def forward_and_backward() -> None:
        point = images.clone().requires_grad_()
        torch.autograd.grad(F.cross_entropy(network(point), labels), point)

    result = {
        name: batch / seconds(lambda name=name: corrupt(images, name, SEVERITY, generator), device)
        for name in CORRUPTIONS
    }
    logs = torch.tensor([result[name] for name in CORRUPTIONS[:15]]).log()
    result["geometric mean of ImageNet-C's 15"] = logs.mean().exp().item()
    result["training mixture"] = batch / seconds(lambda: degrade(images, generator), device)
    result["network, passes 1"] = batch / seconds(forward_and_backward, device)
    for name in ATTACKS:
        work = lambda name=name: attack(  # noqa: E731
            name, network, images, labels, F.cross_entropy, steps=STEPS, generator=generator
        )
        result[f"{name}, passes {passes(name)}"] = batch / seconds(work, device, runs=3)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    columns = {side: speeds(side, options.batch, device) for side in SIDES}
    print(f"images/s, batch {options.batch}, severity {SEVERITY}, {device}, {options.threads} threads\n")
    print("| | " + " | ".join(f"{side} px" for side in SIDES) + " |\n|---|" + "---:|" * len(SIDES))
    for row in columns[SIDES[0]]:
        print(f"| {row} | " + " | ".join(f"{columns[side][row]:,.0f}" for side in SIDES) + " |")


if __name__ == "__main__":
    main()
