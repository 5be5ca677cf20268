"""The demo's training and probing on one device, without DVC or notebooks: seconds and scores beside the committed run's.

    python -m tests.benchmarks.bench_device --device cuda [--methods simclr dar_sfrl] [--epochs 80] [--out reports/gpu]

After `dvc repro prepare` (work/prepared). Trains as notebooks/02_pretrain does, probes as notebooks/03_probe does but without
the checks for masked gradients. Writes OUT/METHOD/{history.csv,results.csv,run.json} and prints one line a method: seconds, clean
score and mean drops on expression and ORL. Another device draws other numbers, so scores may differ by what another seed would give.
"""

import argparse
import hashlib
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from lib.evaluation import evaluate
from lib.faces.shards import open_packed
from lib.files import write_aside
from lib.methods import build_method
from lib.models.encoder import EncoderConfig
from lib.params import load
from lib.results import write_results
from lib.run_record import machine, versions
from lib.training import train

PREPARED = Path("work/prepared")
COMMITTED = Path("reports/results.csv")
SHOWN = {
    "clean": ("clean", "clean", "accuracy"),
    "under corruptions": ("corruption", "mean", "drop"),
    "under attacks": ("attack", "mean", "drop"),
}
TASKS = {"expression": ("rendered", "expression"), "ORL": ("orl", "verification")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--methods", nargs="+", default=["simclr", "dar_sfrl"], help="keys of methods in params.yaml")
    parser.add_argument("--epochs", type=int, help="in place of the schedule's")
    parser.add_argument("--out", type=Path, default=Path("reports/gpu"))
    options = parser.parse_args()
    params, device = load(), torch.device(options.device)
    folder = PREPARED / params.prepare.pretrain_set
    faces = open_packed(folder)
    faces = faces.select(faces.column("split") == "pretrain")
    tables = [open_packed(PREPARED / name) for name in params.prepare.probe_sets]
    checksum = hashlib.sha256((folder / "set.json").read_bytes()).hexdigest()
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.methods:
            entry, schedule = params.methods[name], params.schedule_of(name)
            if options.epochs:
                schedule = replace(schedule, epochs=options.epochs)
            out = options.out / name
            torch.manual_seed(params.seed)
            network = EncoderConfig(params.prepare.image_size, params.network.backbone, params.network.backbone_args)
            model = build_method(entry.method, entry.config, network, params.views)
            began = time.monotonic()
            train(
                model, faces, schedule, seed=params.seed, data=checksum, out=out, checkpoints=Path(scratch, "checkpoints"),
                device=device, label=name,
            )  # fmt: skip
            trained = time.monotonic()
            results = evaluate(
                model.encoder().eval(), tables, params.probe, method=name, seed=params.seed, device=device, work=Path(scratch, name),
                shared=Path(scratch, "shared"), seen=params.views.corruptions,
            )  # fmt: skip
            write_results(results, out / "results.csv")
            seconds = {"pretrain": round(trained - began, 1), "probe": round(time.monotonic() - trained, 1)}
            with write_aside(out / "run.json") as aside:
                record = {"epochs": schedule.epochs, "seconds": seconds, "machine": machine(), "versions": versions()}
                aside.write_text(json.dumps(record, indent=1) + "\n")
            print(f"{name}, {schedule.epochs} epochs: {seconds}; {said(results)}", flush=True)
            committed = pd.read_csv(COMMITTED)
            print(f"committed run, {params.schedule_of(name).epochs} epochs: {said(committed[committed.method == name])}", flush=True)


def said(results: pd.DataFrame) -> str:
    """Clean scores and mean drops in one line."""
    parts = []
    for task, (dataset, name) in TASKS.items():
        mine = results[(results.dataset == dataset) & (results.task == name) & results.severity.fillna(0).eq(0)]
        for what, wanted in SHOWN.items():
            value = mine.loc[(mine[["family", "condition", "metric"]] == list(wanted)).all(axis=1), "value"]
            parts.append(f"{task} {what} {value.item():.1f}")
    return ", ".join(parts)


if __name__ == "__main__":
    main()
