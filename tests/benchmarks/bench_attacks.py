"""Attacks against torchattacks: strength and seconds at the same budget, on the demo's own models.

    pip install --no-deps torchattacks
    python -m tests.benchmarks.bench_attacks [--device cpu]          (after `dvc repro`)

Both attack the same expression models (encoder and probe) on the same rendered faces in one run, taking turns. Writes
reports/attack_speed.{csv,md,png}. Loss is the mean cross-entropy of the attacked images. 'to robust accuracy' is the time
until every image is either broken or has withstood all steps: ours leaves an image as soon as it is broken. 'a thread a core' is
each in as many parts as there are cores (lib.cores), which is how the evaluation runs ours: an image's result does not depend on
its batch. 'times faster' compares like with like: both with the whole batch, or both with a thread a core; 'as each is run' is ours
with a thread a core, as the evaluation runs it, and theirs with the whole batch on torch's own threads, as it comes.
"""

import argparse
import math
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torchattacks
from torch import nn
from torch.nn import functional as F

from lib.conditions import DRAW_SEED
from lib.cores import in_parts, workers_on
from lib.degrade.apgd import apgd, apgd_targeted
from lib.degrade.attacks import attack
from lib.degrade.autoattack import autoattack
from lib.degrade.fab import fab_targeted
from lib.degrade.objectives import cross_entropy, misclassified
from lib.faces.shards import open_packed
from lib.files import write_aside
from lib.models.encoder import load_encoder
from lib.params import load
from lib.probes.features import embed
from lib.probes.linear import fit_softmax
from lib.probes.selection import test_rows
from lib.progress import Progress
from lib.run_record import machine, versions

ENCODERS = ("simclr", "simclr_adversarial", "dar_sfrl")
EPS, ALPHA, STEPS, IMAGES, CLASSES = 8 / 255, 2 / 255, 10, 128, 7
# turns: as many as make these seconds, so that a short attack is not judged by one hiccup of the machine
FEWEST, MANY, SECONDS = 2, 12, 3.0
DRAWS = 32  # of DI-FGSM, whose loss depends on them: theirs draws once for a batch, ours for each image
LONG, QUERIES = 50, 200
IN_PARTS, AS_RUN = "a thread a core", "as each is run"
BOTH = {"eps": EPS, "alpha": ALPHA, "steps": STEPS}
THEIRS = {
    "fgsm": lambda m: torchattacks.FGSM(m, eps=EPS),
    "bim": lambda m: torchattacks.BIM(m, **BOTH),
    "pgd": lambda m: torchattacks.PGD(m, **BOTH),
    "eotpgd": lambda m: torchattacks.EOTPGD(m, **BOTH, eot_iter=2),
    "mifgsm": lambda m: torchattacks.MIFGSM(m, **BOTH, decay=1.0),
    "upgd": lambda m: torchattacks.UPGD(m, **BOTH, random_start=False, loss="ce", decay=1.0, eot_iter=1),
    "difgsm": lambda m: torchattacks.DIFGSM(m, **BOTH, decay=0.0, resize_rate=0.9, diversity_prob=0.5, random_start=False),
    "nifgsm": lambda m: torchattacks.NIFGSM(m, **BOTH, decay=1.0),
    "sinifgsm": lambda m: torchattacks.SINIFGSM(m, **BOTH, decay=1.0, m=5),
}
LONGER = {  # name: (ours, theirs): to the same robust accuracy
    "pgd": (
        lambda m, x, y, s: attack("pgd", m, x, y, F.cross_entropy, EPS, ALPHA, LONG, broken_fn=misclassified, seeds=s),
        lambda m: torchattacks.PGD(m, eps=EPS, alpha=ALPHA, steps=LONG),
    ),
    "apgd_ce": (
        lambda m, x, y, s: apgd(m, x, y, cross_entropy, EPS, LONG, broken_fn=misclassified, seeds=s),
        lambda m: torchattacks.APGD(m, norm="Linf", eps=EPS, steps=LONG, n_restarts=1, loss="ce"),
    ),
    "apgd_t": (
        lambda m, x, y, s: apgd_targeted(m, x, y, EPS, LONG, seeds=s),
        lambda m: torchattacks.APGDT(m, norm="Linf", eps=EPS, steps=LONG, n_restarts=1, n_classes=CLASSES),
    ),
    "fab_t": (
        lambda m, x, y, s: fab_targeted(m, x, y, EPS, LONG, seeds=s),
        lambda m: torchattacks.FAB(m, norm="Linf", eps=EPS, steps=LONG, n_restarts=1, multi_targeted=True, n_classes=CLASSES),
    ),
    "square": (
        lambda m, x, y, s: autoattack(m, x, y, EPS, queries=QUERIES, parts=("square",), seeds=s),
        lambda m: torchattacks.Square(m, norm="Linf", eps=EPS, n_queries=QUERIES, n_restarts=1, loss="margin"),
    ),
}  # fmt: skip


def model_of(name: str, faces, device) -> nn.Module:
    """The encoder and its expression probe, as the evaluation fits it."""
    encoder = load_encoder(f"work/pretrain/{name}").to(device)
    expression = faces.column("expression")
    train = np.flatnonzero((faces.column("split") == "probe_train") & (expression >= 0))
    features = embed(encoder, faces, torch.as_tensor(train), 128, device)
    head = fit_softmax(features, torch.as_tensor(expression[train], device=device).long(), CLASSES, load().probe.l2)
    return nn.Sequential(encoder, head).requires_grad_(False).eval()


def timed(work, device) -> tuple[torch.Tensor, float]:
    began = time.perf_counter()
    result = work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return result, time.perf_counter() - began


def loss_by_draws(model: nn.Module, images, labels, make, draws: int) -> tuple[float, float]:
    """Mean loss of the images that ``make(seed)`` attacks, over so many draws, and its standard error."""
    found = []
    for seed in range(draws):
        torch.manual_seed(seed)  # theirs draws from the global state
        attacked = make(seed)
        model.requires_grad_(False)
        with torch.no_grad():
            found.append(F.cross_entropy(model(attacked), labels).item())
    return float(np.mean(found)), float(np.std(found, ddof=1) / draws**0.5)


def compare(model: nn.Module, images, labels, ours, theirs, device) -> dict:
    """All in turn; the least time of each, the mean loss over the turns, and the mean robust accuracy."""
    work = {
        "ours": lambda s: ours(model, images, labels, s),
        "torchattacks": lambda s: theirs(model)(images, labels),
    }
    if workers_on(device) > 1:
        work |= {
            f"ours, {IN_PARTS}": lambda s: in_parts(lambda *part: ours(lambda x: model(x), *part), images, labels, s),
            f"torchattacks, {IN_PARTS}": lambda s: in_parts(lambda *part: theirs(model)(*part), images, labels),
        }
    found, turns = {who: [] for who in work}, 1
    while len(found["ours"]) < turns:
        seeds = torch.arange(len(images), device=device) + 1000 * len(found["ours"])
        for who, make in work.items():
            torch.manual_seed(len(found["ours"]))  # theirs draws from the global state
            result, seconds = timed(lambda: make(seeds), device)
            model.requires_grad_(False)
            with torch.no_grad():
                logits = model(result)
            change = (result - images).abs().max().item()
            if change > EPS + 1e-5:
                raise RuntimeError(f"{who}: an image changed by {change:.5f}, more than eps")
            robust = 100 - 100 * misclassified(logits, labels).float().mean().item()
            found[who].append((F.cross_entropy(logits, labels).item(), robust, seconds))
        turns = min(max(math.ceil(SECONDS / found["torchattacks"][0][2]), FEWEST), MANY)
    row = {"turns": turns}
    for who, values in found.items():
        losses, robust, seconds = zip(*values, strict=True)
        row |= {f"loss, {who}": np.mean(losses), f"robust, {who}": np.mean(robust), f"s, {who}": min(seconds)}
    row |= {"loss ratio": row["loss, ours"] / row["loss, torchattacks"], "times faster": row["s, torchattacks"] / row["s, ours"]}
    if f"ours, {IN_PARTS}" in found:
        row[f"times faster, {AS_RUN}"] = row["s, torchattacks"] / row[f"s, ours, {IN_PARTS}"]
        row[f"times faster, {IN_PARTS}"] = row[f"s, torchattacks, {IN_PARTS}"] / row[f"s, ours, {IN_PARTS}"]
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--encoders", nargs="+", default=list(ENCODERS), help="folders of work/pretrain")
    options = parser.parse_args()
    device = torch.device(options.device)
    faces = open_packed("work/prepared/rendered")
    rows = test_rows(faces, DRAW_SEED)[:IMAGES]
    images = faces.images(rows).to(device).float() / 255
    labels = torch.as_tensor(faces.column("expression")[rows], device=device).long()
    meter, found, drawn = Progress(len(options.encoders) * (1 + len(THEIRS) + len(LONGER)), "attacks"), [], []
    for name in options.encoders:
        model = model_of(name, faces, device)
        for kind, theirs in THEIRS.items():
            ours = lambda m, x, y, s, k=kind: attack(k, m, x, y, F.cross_entropy, EPS, ALPHA, STEPS, seeds=s)  # noqa: E731
            row = compare(model, images, labels, ours, theirs, device)
            found.append({"encoder": name, "attack": kind, "compared at": "equal steps", **row})
            meter.step(1, f"{name} {kind}")
        each = torch.arange(len(images), device=device)
        by = [lambda s: attack("difgsm", model, images, labels, F.cross_entropy, EPS, ALPHA, STEPS, seeds=each + 1000 * s),
              lambda s: THEIRS["difgsm"](model)(images, labels)]  # fmt: skip
        ours, theirs = ("{:.3f} ({:.3f})".format(*loss_by_draws(model, images, labels, make, DRAWS)) for make in by)
        drawn.append(f"{name} {ours}, theirs {theirs}")
        meter.step(1, f"{name} DI-FGSM's draws")
        for kind, (ours, theirs) in LONGER.items():
            row = compare(model, images, labels, ours, theirs, device)
            found.append({"encoder": name, "attack": kind, "compared at": "to robust accuracy", **row})
            meter.step(1, f"{name} {kind}")
    table = pd.DataFrame(found)
    equal, longer = (table[table["compared at"] == what] for what in ("equal steps", "to robust accuracy"))
    where = f"{machine()}, torch {versions()['torch']}" if device.type == "cpu" else torch.cuda.get_device_name(device)

    def spread(part: pd.DataFrame, column: str = "times faster") -> str:
        values = part[column]
        return f"{values.min():.2f} to {values.max():.2f} (geometric mean {np.exp(np.log(values).mean()):.2f})"

    turns, alone, fixed = table["turns"], longer[longer.attack != "square"], equal[equal.attack != "difgsm"]
    about = (
        f"{IMAGES} rendered faces, eps 8/255, the least time of {turns.min()} to {turns.max()} turns. Equal steps ({STEPS}): loss at least"
        f" {fixed['loss ratio'].min():.4f} of torchattacks' without DI-FGSM, times as fast {spread(equal)}. To the same robust accuracy ({LONG} steps,"
        f" {QUERIES} queries): {spread(longer)}, without Square, where theirs too leaves broken images, {spread(alone)}."
    )
    if (parts := f"times faster, {IN_PARTS}") in table:
        for how, column in ((f"Both with {IN_PARTS}", parts), ("Ours so, theirs with the whole batch", f"times faster, {AS_RUN}")):
            about += f" {how}: {spread(equal, column)}; {spread(longer, column)}, {spread(alone, column)}."
    about += f" DI-FGSM's loss over {DRAWS} draws (standard error): {'; '.join(drawn)}. {where}."
    suffix = "" if device.type == "cpu" else f"_{device.type}"
    with write_aside(Path(f"reports/attack_speed{suffix}.csv")) as aside:
        table.to_csv(aside, index=False, float_format="%.6g")
    with write_aside(Path(f"reports/attack_speed{suffix}.md")) as aside:
        aside.write_text(f"# Attacks beside torchattacks\n\n{about}\n\n{table.to_markdown(index=False, floatfmt='.3f')}\n")
    chart(table, Path(f"reports/attack_speed{suffix}.png"))
    print(about)


def chart(table: pd.DataFrame, path: Path) -> None:
    """A pair of bars an attack: both with the whole batch, and both with a thread a core (on a GPU there is the first alone)."""
    columns = {"whole batch": "times faster", IN_PARTS: f"times faster, {IN_PARTS}"}
    columns = {label: column for label, column in columns.items() if column in table}
    kinds = list(table[["attack", "compared at"]].drop_duplicates().itertuples(index=False))
    figure, ax = plt.subplots(figsize=(7, 0.42 * len(kinds) + 1))
    place, height = np.arange(len(kinds))[::-1], 0.8 / len(columns)
    for number, ((label, column), colour) in enumerate(zip(columns.items(), ("#56B4E9", "#D55E00"))):
        values = [table[(table.attack == kind) & (table["compared at"] == what)][column].to_numpy() for kind, what in kinds]
        y = place + (len(columns) - 1) * height / 2 - number * height
        ax.barh(y, [np.exp(np.log(v).mean()) for v in values], height * 0.92, color=colour, alpha=0.8, label=label)
        for at, v in zip(y, values):
            ax.plot(v, [at] * len(v), "k.", markersize=3.5)
    ax.axvline(1, color="grey", linewidth=1, linestyle="--")
    ax.set_yticks(place, [f"{kind} ({what})" for kind, what in kinds])
    ax.set_xscale("log")
    ax.set_xlabel("times as fast as torchattacks (points: encoders)")
    ax.legend(frameon=False, loc="upper right")
    ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110, bbox_inches="tight")
    plt.close(figure)


if __name__ == "__main__":
    main()
