"""Peak memory of NT-Xent, forward and backward, plain and in tiles.

    python -m tests.benchmarks.bench_nt_xent_memory [--device cpu] [--rows 32768] [--tiles 1024 4096]

Each case runs in a process of its own: on a GPU the peak that torch allocated, on a CPU the peak of the process's
resident memory above what it was before. 'autograd' is the plain formula, three M x M matrices and more: only for up to 8192
rows.
"""

import argparse
import resource
import subprocess
import sys
import time

import torch
from torch.nn import functional as F

from lib.losses.contrastive import nt_xent


def plain(z: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    z = F.normalize(z, dim=1)
    own = torch.eye(len(z), dtype=torch.bool, device=z.device)
    return F.cross_entropy((z @ z.T / 0.07).masked_fill(own, float("-inf")), positive)


def measure(case: str, rows: int, device: torch.device) -> None:
    """One line: MiB above the start, seconds, the loss and the gradient's norm."""
    generator = torch.Generator(device).manual_seed(0)
    work = plain if case == "autograd" else lambda z, p: nt_xent(z, p, 0.07, tile=None if case == "whole" else int(case))

    def run(count: int):
        z = torch.randn(count, 128, device=device, generator=generator).requires_grad_()
        loss = work(z, torch.arange(count, device=device).roll(count // 2))
        loss.backward()
        return loss.item(), z.grad.norm().item()

    run(64)  # what the libraries need for themselves
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    else:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    loss, norm = run(rows)
    took = time.perf_counter() - began
    if device.type == "cuda":
        peak = (torch.cuda.max_memory_allocated(device) - before) / 2**20
    else:
        peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10
    print(f"{rows:6d} rows  {case:>9s}  {peak:9.0f} MiB  {took:7.2f} s  loss {loss:.6f}  gradient {norm:.6g}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rows", type=int, default=32768)
    parser.add_argument("--tiles", type=int, nargs="*", default=[1024, 4096])
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        measure(options.case, options.rows, torch.device(options.device))
        return
    small = min(options.rows, 8192)
    cases = [(small, "autograd"), (small, "whole"), *((small, str(tile)) for tile in options.tiles)]
    cases += [(options.rows, str(tile)) for tile in options.tiles if options.rows > small]
    sizes = ", ".join(f"{rows} rows {rows**2 / 2**18:.0f} MiB" for rows in (small, options.rows))
    print(f"one M x M float32 matrix: {sizes}", flush=True)
    for rows, case in cases:
        command = [sys.executable, "-m", "tests.benchmarks.bench_nt_xent_memory", "--device", options.device]
        subprocess.run([*command, "--rows", str(rows), "--case", case], check=True)


if __name__ == "__main__":
    main()
