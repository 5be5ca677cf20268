"""What a number was made with: versions, machine, time, memory. Every committed result carries it."""

import json
import os
import platform
import resource
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from lib.files import write_aside

PACKAGES = ("torch", "torchvision", "timm", "numpy", "pandas", "warp-lang", "scikit-learn", "dvc", "papermill")
RECORD = "run.json"


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on; those that are not installed are left out."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def machine() -> str:
    """Processor, cores, memory and accelerator, in one line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    parts = [f"{_processor()}, {len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB, {platform.system()}"]
    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    return "; ".join(parts)


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


class Stopwatch:
    """Starts when it is made; ``write`` records what ran, how long and with how much memory."""

    def __init__(self):
        self.began = time.monotonic()

    def write(self, folder: Path, stage: str) -> dict:
        """Write run.json into ``folder`` and return its content."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform != "darwin" else 2**30)
        record = {"stage": stage, "seconds": round(time.monotonic() - self.began, 1), "peak_memory_gib": round(peak, 2)}
        record |= {"machine": machine(), "versions": versions()}
        with write_aside(folder / RECORD) as aside:
            aside.write_text(json.dumps(record, indent=1) + "\n")
        return record
