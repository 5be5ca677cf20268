"""How far seeds lie apart: the demo's encoders trained with further seeds, and the comparisons of the report made on each.

    dvc repro && python -m tests.benchmarks.study_seeds [--seeds 2 3] [--workers 2]    (took 52 minutes on 2 busy cores; resumes)

The faces are those of the committed run: the seed of params.yaml decides how they are rendered too, and here it is training alone
that is drawn anew: first weights, order of the images, views. Seed 1 is the committed run itself. Measured are the methods of params.yaml
and the untrained network, clean, under all corruptions and the eight attacks of 8/255, without the checks for masked gradients and the
stronger attacks. The other controls draw nothing (raw pixels) or are made from an encoder; of these the readout of plain pixels learns from
faces alone, so that no seed changes it.

Writes reports/seeds/results.csv (summaries only, seed 1 included), seeds.md, run.json and log.txt. Work is kept in .cache/seeds.
"""

import argparse
import contextlib
import hashlib
import json
import multiprocessing
import time
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import torch

from lib import resume, workplace
from lib.evaluation import evaluate
from lib.faces.shards import open_packed
from lib.files import write_aside
from lib.kept import source_of
from lib.methods import build_method
from lib.models.controls import untrained
from lib.models.encoder import EncoderConfig, load_encoder
from lib.models.start import IMAGENET, SCRATCH
from lib.params import Params, load
from lib.report.seeds import PIXELS, READOUT, UNTRAINED, report, summaries
from lib.results import read_results, write_results
from lib.run_record import machine, versions
from lib.training import CODE, train

WORK, OUT, COMMITTED = Path(".cache/seeds"), Path("reports/seeds"), Path("reports/results.csv")


def probe_of(params: Params):
    """What is measured: as in params.yaml, but what is asked of the first seed alone."""
    return replace(params.probe, sweep=[])


def _digest(known: list, code: tuple[str, ...]) -> str:
    digest = hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode())
    for source in source_of(*code):
        digest.update(source)
    return digest.hexdigest()[:8]


def faces_of(params: Params) -> tuple[Path, str]:
    """The folder of the faces that are learnt from, and their checksum."""
    folder = workplace.PREPARED / params.prepare.pretrain_set
    return folder, hashlib.sha256((folder / "set.json").read_bytes()).hexdigest()


def folder_of(name: str, seed: int, params: Params) -> Path:
    """Where a trained encoder is kept: under a name that changes with its settings, its faces and the training code."""
    settings = (params.methods[name].config, params.schedule_of(name), params.network, params.views)
    known = [*map(asdict, settings), faces_of(params)[1]]
    return WORK / "trained" / f"{name}-{seed}-{_digest(known, CODE)}"


def train_one(job: tuple[str, int]) -> tuple[str, int, float]:
    """Train one method with one seed, unless it is there; (method, seed, seconds)."""
    (name, seed), began, params = job, time.monotonic(), load()
    (folder, checksum), out = faces_of(params), folder_of(name, seed, params)
    if not (out / "encoder.safetensors").exists():
        torch.set_num_threads(1)
        everything = open_packed(folder)
        faces = everything.select(everything.column("split") == "pretrain")
        torch.manual_seed(seed)
        network = EncoderConfig(params.prepare.image_size, params.network.backbone, params.network.backbone_args)
        model = build_method(params.methods[name].method, params.methods[name].config, network, params.views)
        with _log_of(name, seed):
            train(model, faces, params.schedule_of(name), seed=seed, data=checksum, out=out, checkpoints=WORK / "checkpoints",
                  device=torch.device("cpu"), label=f"{name}, seed {seed}")  # fmt: skip
    return name, seed, time.monotonic() - began


def encoder_of(name: str, seed: int, params: Params) -> Path:
    """The trained encoder that is measured, or that the untrained one is made like."""
    return folder_of(params.controls[name].of if name == UNTRAINED else name, seed, params)


def scores_of(name: str, seed: int) -> Path:
    """Where an encoder's scores are kept: under a name that changes with the encoder, the probe's settings and the code."""
    params = load()
    encoder = encoder_of(name, seed, params)
    return WORK / "evaluated" / f"{name}-{encoder.name}-{_digest([asdict(probe_of(params))], resume.CODE)}.csv"


def evaluate_one(job: tuple[str, int]) -> tuple[str, int, float]:
    """Evaluate one encoder, unless it is done."""
    (name, seed), began, params = job, time.monotonic(), load()
    path = scores_of(name, seed)
    if not path.exists():
        torch.set_num_threads(1)
        encoder = load_encoder(encoder_of(name, seed, params))
        encoder = untrained(encoder, seed) if name == UNTRAINED else encoder
        tables = [open_packed(workplace.PREPARED / name) for name in params.prepare.probe_sets]
        with _log_of(name, seed):
            found = evaluate(encoder, tables, probe_of(params), method=name, seed=seed, device="cpu", shared=WORK / "shared",
                             work=WORK / "probe" / f"{name}-{seed}", seen=params.views.corruptions)  # fmt: skip
        write_results(found, path)
    return name, seed, time.monotonic() - began


@contextlib.contextmanager
def _log_of(name: str, seed: int):
    (WORK / "logs").mkdir(parents=True, exist_ok=True)
    with open(WORK / "logs" / f"{name}-{seed}.txt", "a") as log, contextlib.redirect_stdout(log):
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[2, 3], help="beside the committed run's own")
    parser.add_argument("--workers", type=int, default=2)
    options, params, began, said = parser.parse_args(), load(), time.monotonic(), []
    if params.seed in options.seeds:
        raise SystemExit(f"--seeds: {params.seed} is the seed of params.yaml, which the committed run has; name others")
    if not (workplace.PREPARED / "summary.json").exists():
        raise SystemExit(f"{workplace.PREPARED}: no prepared faces; `dvc repro prepare` makes them")

    def say(text: str) -> None:
        line = f"{time.monotonic() - began:7.0f} s  {text}"
        said.append(line)
        print(line, flush=True)

    begun = [name for name, entry in params.methods.items() if getattr(entry.config, "init", SCRATCH) in (SCRATCH, IMAGENET)]
    trained = [(name, seed) for seed in options.seeds for name in begun]  # what goes on from another entry's encoder is not tried
    measured = trained + [(UNTRAINED, seed) for seed in options.seeds if UNTRAINED in params.controls]
    with multiprocessing.get_context("spawn").Pool(options.workers) as pool:
        for work, jobs, what in ((train_one, trained, "trained"), (evaluate_one, measured, "evaluated")):
            for done, (name, seed, seconds) in enumerate(pool.imap_unordered(work, jobs), 1):
                say(f"{what} {name}, seed {seed}: {seconds:.0f} s ({done} of {len(jobs)})")
    write(pd.concat([read_results(scores_of(*job)) for job in measured], ignore_index=True), said, options.seeds)


def write(found: pd.DataFrame, said: list[str], seeds: list[int]) -> None:
    """All of reports/seeds, from the scores of the further seeds and the committed results."""
    params, committed = load(), read_results(COMMITTED)
    methods = [*params.methods, *(name for name in (UNTRAINED, PIXELS, READOUT) if name in params.controls)]
    results = pd.concat([summaries(frame, methods) for frame in (committed, found)], ignore_index=True)
    write_results(results, OUT / "results.csv")
    with write_aside(OUT / "seeds.md") as aside:
        aside.write_text(report(read_results(OUT / "results.csv"), params.probe.eps, params.seed), encoding="utf-8")
    about = {
        "command": f"python -m tests.benchmarks.study_seeds --seeds {' '.join(map(str, seeds))}",
        "machine": machine(), "versions": versions(),
        "schedule": asdict(params.schedule), "network": asdict(params.network), "views": asdict(params.views),
        "methods": {name: asdict(entry) for name, entry in params.methods.items()}, "probe": asdict(probe_of(params)),
    }  # fmt: skip
    with write_aside(OUT / "run.json") as aside:
        aside.write_text(json.dumps(about, indent=1, default=str) + "\n", encoding="utf-8")
    with write_aside(OUT / "log.txt") as aside:
        aside.write_text("\n".join(said) + "\n", encoding="utf-8")
    print((OUT / "seeds.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
