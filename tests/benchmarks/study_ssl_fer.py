"""SSL-FER's ablation on rendered clips: each base method and each strategy, several seeds, the table of the paper.

    python -m tests.benchmarks.study_ssl_fer [--workers 2] [--seeds 3]        (about half an hour on 2 cores; resumes)

The demo's people, rendered with 9 frames a clip (4 a second) instead of 3, so that there is something to draw from in time.
All rows have the demo's backbone, the same clips, epochs and learning rate (MoCo v2 its own: it collapses at theirs). A step is
128 clips: with HardNeg these are 256 pairs, as published, without it 128, so HardNeg's rows see twice the images. What that alone
does, one row more shows: SimCLR with 256 clips a step and as many steps as the others. Then the package's
evaluation: linear probes on frozen features for expression and for valence and arousal, clean and under corruptions. Raw pixels and
the untrained network stand beside them.

Writes reports/ssl_fer/results.csv, table.{md,csv,tex} (published and our numbers), ablation.md, settings.json and log.txt. Work is
kept in .cache/ssl_fer.
"""

import argparse
import contextlib
import hashlib
import json
import multiprocessing
import time
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import torch
from scipy import stats

from lib import resume
from lib.evaluation import evaluate
from lib.faces.demo_set import make_demo_set
from lib.faces.shards import open_packed
from lib.files import write_aside
from lib.kept import source_of
from lib.methods import METHODS, build_method
from lib.models.controls import raw_pixels, untrained
from lib.models.encoder import EncoderConfig, load_encoder
from lib.params import load
from lib.prepare import prepare
from lib.probe_params import ProbeParams
from lib.report import names, table_formats
from lib.report.ssl_fer import ssl_fer_table
from lib.report.summary import Scores
from lib.results import read_results, write_results
from lib.run_record import machine, versions
from lib.training import CODE, Schedule, train

WORK, OUT = Path(".cache/ssl_fer"), Path("reports/ssl_fer")
FRAMES = 9  # over the 2 seconds of a rendered clip
CLIPS = {"fps": 4.0, "interval": 1.0}
NEGATIVES = {"hard_interval": 1.5, "temperature": 0.2, "descriptor": "pixels"}  # there are no ImageNet weights here
SHARED = {"head_hidden": 256, "learning_rate": 2e-3, **CLIPS}
ALL = ("time_aug", "hard_neg", "face_swap", "mask_fn", "cut_mix")
OWN = {"moco": {"learning_rate": 5e-4, "momentum": 0.99, "queue": 1024}}  # at 2e-3 its embedding collapses
ROWS = {  # name: (method, the strategies that are on)
    "byol_clips": ("byol", ()),
    "moco_clips": ("moco", ()),
    "simclr_clips": ("ssl_fer", ()),
    "simclr_clips_256": ("ssl_fer", ()),  # as many images a step as HardNeg's rows
    "ssl_fer_a": ("ssl_fer", ("time_aug",)),
    "ssl_fer_b": ("ssl_fer", ("time_aug", "hard_neg")),
    "ssl_fer_c": ("ssl_fer", ("time_aug", "hard_neg", "cut_mix")),
    "ssl_fer_d": ("ssl_fer", ("time_aug", "face_swap", "mask_fn")),
    "ssl_fer_e": ("ssl_fer", ("time_aug", "hard_neg", "face_swap")),
    "ssl_fer_f": ("ssl_fer", ("time_aug", "hard_neg", "mask_fn")),
    "ssl_fer_g": ("ssl_fer", ("time_aug", "hard_neg", "face_swap", "mask_fn")),
}
CONTROLS = {"raw_pixels": raw_pixels, "untrained": untrained}  # of the first row's network
BASE = "simclr_clips"
SCHEDULE = Schedule(batch_size=128, epochs=16, warmup_epochs=1.0, precision="float32")
WIDE = "simclr_clips_256"
# of 960 clips 3 steps an epoch, not 7: 111 steps in all where the others take 112, 7 of them to warm up
WIDE_SCHEDULE = Schedule(batch_size=256, epochs=37, warmup_epochs=7 / 3, precision="float32")
CORRUPTIONS = [
    "gaussian_noise", "motion_blur", "defocus_blur", "pixelate", "jpeg_compression", "contrast", "low_light", "fog", "occlusion", "mask",
]  # fmt: skip
PROBE = ProbeParams(
    images=630, l2=1.0, corruptions=CORRUPTIONS, severities=[1, 3, 5], attacks=[], sweep=[], tasks=["expression", "valence_arousal"]
)


def settings_of(row: str):
    """The settings of a row of the table."""
    method, strategies = ROWS[row]
    known = METHODS[method].__dataclass_fields__
    wanted = {**SHARED, **NEGATIVES, **OWN.get(method, {}), **{name: name in strategies for name in ALL}}
    return METHODS[method](**{name: value for name, value in wanted.items() if name in known})


def schedule_of(row: str) -> Schedule:
    """How long a row is trained, and how many clips a step has."""
    return WIDE_SCHEDULE if row == WIDE else SCHEDULE


def folder_of(row: str, seed: int) -> Path:
    """Where a trained row is kept: under a name that changes with its settings and with the training code."""
    known = [ROWS[row], asdict(settings_of(row)), asdict(schedule_of(row)), asdict(load().network), asdict(load().views), seed]
    digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode())
    for source in source_of(*CODE):
        digest.update(source)
    return WORK / "trained" / f"{row}-{seed}-{digest.hexdigest()[:8]}"


def train_row(job: tuple[str, int, Path]) -> tuple[str, int, float]:
    """Train one row with one seed, unless it is there; (row, seed, seconds)."""
    row, seed, faces_at = job
    out, began = folder_of(row, seed), time.monotonic()
    if not (out / "encoder.safetensors").exists():
        torch.set_num_threads(1)
        params, everything = load(), open_packed(faces_at)
        faces = everything.select(everything.column("split") == "pretrain")
        checksum = hashlib.sha256((faces_at / "set.json").read_bytes()).hexdigest()
        torch.manual_seed(seed)
        network = EncoderConfig(params.prepare.image_size, params.network.backbone, params.network.backbone_args)
        model = build_method(ROWS[row][0], settings_of(row), network, params.views)
        (WORK / "logs").mkdir(parents=True, exist_ok=True)
        with open(WORK / "logs" / f"{row}-{seed}.txt", "a") as log, contextlib.redirect_stdout(log):
            train(model, faces, schedule_of(row), seed=seed, data=checksum, out=out, checkpoints=WORK / "checkpoints",
                  device=torch.device("cpu"), label=f"{row}, seed {seed}")  # fmt: skip
    return row, seed, time.monotonic() - began


def evaluated(row: str, seed: int) -> Path:
    """Where a row's scores are kept: under a name that changes with the encoder, the probe's settings and the code."""
    digest = hashlib.sha256(json.dumps(asdict(PROBE), sort_keys=True).encode())
    for source in source_of(*resume.CODE):
        digest.update(source)
    return WORK / "evaluated" / f"{row}-{folder_of(BASE if row in CONTROLS else row, seed).name}-{digest.hexdigest()[:8]}.csv"


def evaluate_row(job: tuple[str, int, Path]) -> tuple[str, int, float]:
    """Evaluate one trained row, unless it is done."""
    row, seed, faces_at = job
    path, began = evaluated(row, seed), time.monotonic()
    if not path.exists():
        torch.set_num_threads(1)
        encoder = load_encoder(folder_of(BASE if row in CONTROLS else row, seed))
        if row in CONTROLS:
            encoder = untrained(encoder, seed) if row == "untrained" else CONTROLS[row](encoder)
        (WORK / "logs").mkdir(parents=True, exist_ok=True)
        with open(WORK / "logs" / f"{row}-{seed}.txt", "a") as log, contextlib.redirect_stdout(log):
            found = evaluate(encoder, [open_packed(faces_at)], PROBE, method=row, seed=seed, device="cpu",
                             work=WORK / "probe" / f"{row}-{seed}", shared=WORK / "shared")  # fmt: skip
        write_results(found, path)
    return row, seed, time.monotonic() - began


COLUMNS = {  # heading: (task, family, condition, metric)
    "Acc": ("expression", "clean", "clean", "accuracy"), "F1": ("expression", "clean", "clean", "macro_f1"),
    "drop, corruptions": ("expression", "corruption", "mean", "drop"), "V-CCC": ("valence_arousal", "clean", "clean", "ccc_valence"),
    "A-CCC": ("valence_arousal", "clean", "clean", "ccc_arousal"), "drop of CCC": ("valence_arousal", "corruption", "mean", "drop"),
    "Acc left, corruptions": ("expression", "corruption", "mean", "accuracy"),
}  # fmt: skip


def ablation(results: pd.DataFrame) -> str:
    """The rows with intervals, and in words how each compares with SimCLR."""
    scores, seeds = Scores(results), results.loc[results["method"] == BASE, "seed"].nunique()
    lines = [
        "# SSL-FER's strategies on rendered clips", "",
        f"{len(ROWS)} rows x {seeds} seeds, {SCHEDULE.epochs} epochs of 960 clips of 9 frames at 32 px, the demo's half-width ResNet-10t."
        " A step is 128 clips: 256 pairs with HardNeg, 128 without, so HardNeg's rows see twice the images. For comparison with them"
        f" {names.look(WIDE).label} has 256 pairs too, and {WIDE_SCHEDULE.epochs} epochs to come to as many steps. Linear probes on"
        f" frozen features; {scores.facts('expression', 'rendered', 'clean')}. 95% intervals: people, joined with Student's t over"
        " seeds. CCC in hundredths; drops in points, mean over 10 corruptions at severities 1, 3, 5. Rendered faces, minutes of training:"
        " not AffectNet, not the paper. Written by `python -m tests.benchmarks.study_ssl_fer`.", "",
        "| row | " + " | ".join(COLUMNS) + " |", "|:--|" + "--:|" * len(COLUMNS),
    ]  # fmt: skip
    found = {(row, column): _cell(scores, row, column) for row in (*ROWS, *CONTROLS) for column in COLUMNS}
    for row in (*ROWS, *CONTROLS):
        cells = " | ".join(f"{v:.1f} [{low:.1f}, {high:.1f}]" for v, low, high in (found[row, c] for c in COLUMNS))
        lines.append(f"| {names.look(row).label} | {cells} |")
    lines += [
        "", f"Difference from {names.look(BASE).label}, seed by seed on the same people, with Student's t interval over the {seeds} seeds"
        f" (it says how sure the difference is for these people, not for others; {len(ROWS) - 1} rows x {len(COLUMNS)} columns were"
        " looked at, so that a few intervals leave 0 out by chance):", "",
        "| row | " + " | ".join(COLUMNS) + " |", "|:--|" + "--:|" * len(COLUMNS),
    ]  # fmt: skip
    for row in ROWS:
        if row != BASE:
            cells = (difference(results, row, column) for column in COLUMNS)
            cells = " | ".join(f"{m:+.1f} [{low:+.1f}, {high:+.1f}]" for m, low, high in cells)
            lines.append(f"| {names.look(row).label} | {cells} |")
    return "\n".join([*lines, "", "## What it shows", "", *findings(found, results), ""])


def findings(found: dict, results: pd.DataFrame) -> list[str]:
    """What the numbers say, in sentences that follow them."""
    label = lambda row: names.look(row).label  # noqa: E731
    best = max(ROWS, key=lambda row: found[row, "Acc"][0])
    above = [row for row in ROWS if found[row, "Acc"][0] > found["raw_pixels", "Acc"][0]]
    below = [row for row in ROWS if found[row, "Acc"][0] < found["untrained", "Acc"][0]]
    surer = [row for row in ROWS if row != BASE and difference(results, row, "Acc")[1] > 0]
    hard = [row for row, (_, strategies) in ROWS.items() if "hard_neg" in strategies]

    def apart(row: str, base: str) -> str:
        mean, low, high = difference(results, row, "Acc", base)
        return f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"

    kept = {row: found[row, "Acc left, corruptions"][0] for row in (*ROWS, *CONTROLS)}
    said = [
        f"Best clean accuracy: {label(best)}, {found[best, 'Acc'][0]:.1f}; {label(BASE)} {found[BASE, 'Acc'][0]:.1f}. Over seeds, "
        + (f"{', '.join(map(label, surer))} are above it beyond the t interval." if surer else "no row is above it beyond the t interval."),
        f"In the other columns, beyond the t interval from {label(BASE)}: "
        + (". ".join(beyond(results, column) for column in COLUMNS if beyond(results, column)) or "nothing")
        + f". (Of {(len(ROWS) - 1) * (len(COLUMNS) - 1)} such intervals about one in twenty leaves 0 out by chance.)",
        f"Raw pixels score {found['raw_pixels', 'Acc'][0]:.1f}: "
        + (f"above them are {', '.join(map(label, above))}." if above
           else "above every row: on these faces a linear probe of the pixels does better than all of them."),
        f"The untrained network scores {found['untrained', 'Acc'][0]:.1f}: "
        + (f"{', '.join(map(label, below))} stay below it, so these runs are too short to say anything about them." if below
           else "below every row."),
        f"With as many images a step as HardNeg's rows, {label(WIDE)} scores {found[WIDE, 'Acc'][0]:.1f}, {apart(WIDE, BASE)} from"
        f" {label(BASE)}. HardNeg's rows less it: " + "; ".join(f"{label(row)} {apart(row, WIDE)}" for row in hard) + ".",
        f"Under corruptions {label(best)} keeps {kept[best]:.1f}, {label(BASE)} {kept[BASE]:.1f}, raw pixels"
        f" {kept['raw_pixels']:.1f}: a larger drop is mostly a higher start, and no strategy is made against corruptions.",
    ]  # fmt: skip
    return [f"- {sentence}" for sentence in said]


def beyond(results: pd.DataFrame, column: str) -> str:
    """Which rows differ from SimCLR in ``column`` by more than the interval over seeds; '' for none, and for Acc, said elsewhere."""
    if column == "Acc":
        return ""
    ends = {row: difference(results, row, column)[1:] for row in ROWS if row != BASE}
    sides = {"higher": [row for row, (low, _) in ends.items() if low > 0], "lower": [row for row, (_, high) in ends.items() if high < 0]}
    said = [f"{side} for {', '.join(names.look(row).label.partition(':')[0] for row in rows)}" for side, rows in sides.items() if rows]
    return f"'{column}' is {'; '.join(said)}" if said else ""


def difference(results: pd.DataFrame, row: str, column: str, base: str = BASE) -> tuple[float, float, float]:
    """Mean over seeds of ``row`` less ``base``, and its 95% interval by Student's t."""
    task, family, condition, metric = COLUMNS[column]
    wanted = (results["task"] == task) & (results["family"] == family) & (results["condition"] == condition) & (results["metric"] == metric)
    found = results[wanted & (results["severity"].fillna(0) == 0)].pivot(index="seed", columns="method", values="value")
    apart = (found[row] - found[base]).dropna()
    half = stats.t.ppf(0.975, len(apart) - 1) * apart.std(ddof=1) / len(apart) ** 0.5
    return apart.mean(), apart.mean() - half, apart.mean() + half


def _cell(scores: Scores, row: str, column: str) -> tuple[float, float, float]:
    task, family, condition, metric = COLUMNS[column]
    return scores(row, "rendered", task, family, condition, metric)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    params, demo = load(), load().demo
    faces_at, began, said = WORK / "prepared" / "rendered", time.monotonic(), []

    def say(text: str) -> None:
        line = f"{time.monotonic() - began:7.0f} s  {text}"
        said.append(line)
        print(line, flush=True)

    if not (WORK / "prepared/summary.json").exists():
        make_demo_set(WORK / "demo", params.seed, demo.image_size, demo.pretrain_identities, demo.probe_identities,
                      demo.clips_per_identity, FRAMES, demo.workers)  # fmt: skip
        prepare(WORK / "demo", WORK / "prepared", "demo", params.prepare.image_size)
    say(f"{len(open_packed(faces_at)):,} faces are there")
    jobs = [(row, seed, faces_at) for seed in range(1, options.seeds + 1) for row in ROWS]
    with multiprocessing.get_context("spawn").Pool(options.workers) as pool:
        for done, (row, seed, seconds) in enumerate(pool.imap_unordered(train_row, jobs), 1):
            say(f"trained {row}, seed {seed}: {seconds:.0f} s ({done} of {len(jobs)})")
        jobs = [(row, seed, faces_at) for row in CONTROLS for seed in range(1, options.seeds + 1 if row == "untrained" else 2)] + jobs
        for done, (row, seed, seconds) in enumerate(pool.imap_unordered(evaluate_row, jobs), 1):
            say(f"evaluated {row}, seed {seed}: {seconds:.0f} s ({done} of {len(jobs)})")
    results = pd.concat([read_results(evaluated(row, seed)) for row, seed, _ in jobs], ignore_index=True)
    write_results(results, OUT / "results.csv")
    scores = Scores(results)
    table = ssl_fer_table(scores, names.SSL_FER_ROWS, "rendered", "linear")
    for suffix, write in (("md", table_formats.markdown), ("csv", table_formats.csv_text), ("tex", table_formats.latex)):
        with write_aside(OUT / f"table.{suffix}") as aside:
            aside.write_text(write(table), encoding="utf-8")
    with write_aside(OUT / "ablation.md") as aside:
        aside.write_text(ablation(results), encoding="utf-8")
    about = {
        "command": f"python -m tests.benchmarks.study_ssl_fer --seeds {options.seeds}", "machine": machine(), "versions": versions(),
        "demo": asdict(demo) | {"frames_per_clip": FRAMES}, "prepare": asdict(params.prepare), "network": asdict(params.network),
        "views": asdict(params.views), "schedule": asdict(SCHEDULE), "schedules_of_their_own": {WIDE: asdict(WIDE_SCHEDULE)},
        "probe": asdict(PROBE),
        "rows": {row: {"method": method, **asdict(settings_of(row))} for row, (method, _) in ROWS.items()},
    }  # fmt: skip
    with write_aside(OUT / "settings.json") as aside:
        aside.write_text(json.dumps(about, indent=1, default=str) + "\n")
    with write_aside(OUT / "log.txt") as aside:
        aside.write_text("\n".join(said) + "\n")
    print((OUT / "ablation.md").read_text())


if __name__ == "__main__":
    main()
