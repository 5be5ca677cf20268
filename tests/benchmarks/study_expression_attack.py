"""What can be kept of expressions under attacks of 8/255 in the demo: three measurements beside the committed results.

    python -m tests.benchmarks.study_expression_attack        (after `dvc repro`; some minutes on 2 cores)

1. Each encoder's expression probe at several penalties: a stronger penalty gives up clean accuracy for robustness.
2. A linear head on the pixels that is trained *with labels against PGD*, which no entry of the tables may do: what can be
   kept at least, by somebody who knows labels and attack. Not a competitor.
3. A trap: local minima and maxima of the pixels. Each changes by no more than eps, and PGD seems to prove them robust; but
   their gradient reaches one pixel of a window, so that PGD moves one pixel of nine. Through a gradient that is spread
   over the pixels near the extreme the same attack finds what is really left. DAR-SFRL's readout is linear for that reason.

Writes reports/expression_under_attack.csv and .md. Images, people and the attack (PGD, 10 steps of eps / 4) are the same
for all rows; the intervals are 95% bootstrap intervals over people.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib.bootstrap import interval, subject_draws, subject_sums
from lib.conditions import DRAW_SEED
from lib.degrade.attacks import attack
from lib.device import best_device
from lib.faces.shards import open_packed
from lib.files import write_aside
from lib.models.controls import raw_pixels
from lib.models.encoder import Encoder, load_encoder
from lib.models.photometric import undo_gain_and_offset
from lib.params import load
from lib.probes.features import embed, held_still
from lib.probes.linear import fit_softmax
from lib.probes.selection import test_rows
from lib.progress import Progress
from lib.run_record import machine, versions

PENALTIES, BUDGETS, ATTACKED, CLEAN = (0.3, 1.0, 3.0, 10.0), (2, 4, 8), 210, 420
CLASSES, EPOCHS, BATCH, STEPS, RATE = 7, 40, 128, 3, 4e-3
RESAMPLES = 2000
OUT = Path("reports/expression_under_attack")


def cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(scores, labels, reduction="sum")


def scored(model: nn.Module, images: Tensor, labels: Tensor, through: nn.Module | None = None) -> dict[str, np.ndarray]:
    """Which images are right: clean, and under PGD at each budget (through the gradient of ``through``, if any)."""
    with torch.no_grad():
        right = {"clean": torch.cat([model(part).argmax(1) for part in images.split(BATCH)]) == labels}
    right[f"clean, first {ATTACKED}"] = right["clean"][:ATTACKED]
    images, labels = images[:ATTACKED], labels[:ATTACKED]
    for eps in BUDGETS:
        generator = torch.Generator(images.device).manual_seed(DRAW_SEED)
        found = attack("pgd", through or model, images, labels, cross_entropy, eps / 255, eps / 4 / 255, 10, generator)
        with torch.no_grad():
            right[f"pgd {eps}/255"] = model(found).argmax(1) == labels
    return {name: value.cpu().numpy() for name, value in right.items()}


def over_people(right: np.ndarray, people: np.ndarray) -> tuple[float, float, float]:
    """Accuracy in percent and its interval over people."""
    person = np.unique(people, return_inverse=True)[1]
    sums = subject_sums(np.stack([right, np.ones(len(right))], 1), person, person.max() + 1)
    hits, items = (subject_draws(len(sums), RESAMPLES, DRAW_SEED) @ sums).T
    return interval(100 * hits / items)


def adversarial_head(images: Tensor, labels: Tensor) -> nn.Module:
    """A linear head on standardised pixels, trained with labels on PGD's images at 8/255 (Madry et al., ICLR 2018)."""
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(images[0].numel(), affine=False), nn.Linear(images[0].numel(), CLASSES))
    model = model.to(images.device)
    steps = EPOCHS * (len(images) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps)
    generator = torch.Generator(images.device).manual_seed(DRAW_SEED)
    eps = 8 / 255
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(images), generator=generator, device=images.device).split(BATCH):
            if len(rows) < BATCH:
                continue
            model.eval()
            found = attack("pgd", model, images[rows], labels[rows], cross_entropy, eps, eps / 2, STEPS, generator)
            model.train()
            optimizer.zero_grad()
            F.cross_entropy(model(found), labels[rows]).backward()
            optimizer.step()
            schedule.step()
    return model.eval()


class Extremes(nn.Module):
    """Least and largest value of the 3 x 3 pixels around every second pixel, gain and offset undone: [B, D].

    ``spread``: backwards, the gradient goes to all pixels within about 0.05 of the extreme, not to the one alone.
    """

    def __init__(self, spread: bool):
        super().__init__()
        self.spread = spread

    def forward(self, images: Tensor) -> Tensor:
        windows = undo_gain_and_offset(images).unfold(2, 3, 2).unfold(3, 3, 2).flatten(4)
        parts = []
        for extreme in (windows.amin(-1), windows.amax(-1)):
            if self.spread:
                weights = torch.softmax(-(windows - extreme[..., None]).abs() / 0.05, -1).detach()
                near = (weights * windows).sum(-1)
                extreme = extreme.detach() + near - near.detach()
            parts.append(extreme.flatten(1))
        return torch.cat(parts, 1)


def main() -> None:
    params, device = load(), best_device()
    if params.prepare.dataset != "demo":
        sys.exit("this study is about the demo faces: set prepare.dataset: demo and run dvc repro")
    faces = open_packed("work/prepared/rendered")
    expression = faces.column("expression")
    train = np.flatnonzero((faces.column("split") == "probe_train") & (expression >= 0))
    test = test_rows(faces, DRAW_SEED)[:CLEAN]
    people = faces.column("identity")[test]
    images = faces.images(test).to(device).float() / 255
    labels = torch.as_tensor(expression[test], device=device).long()
    truth = torch.as_tensor(expression[train], device=device).long()
    torch.manual_seed(params.seed)
    encoders: dict[str, Encoder] = {name: load_encoder(f"work/pretrain/{name}").to(device) for name in params.methods}
    encoders["raw_pixels"] = raw_pixels(encoders[next(iter(encoders))]).to(device)
    meter = Progress((len(encoders) + 2) * len(PENALTIES) + 1, "study")
    rows = []

    def note(name: str, penalty: float | None, right: dict[str, np.ndarray]) -> None:
        for condition, value in right.items():
            accuracy, low, high = over_people(value, people[: len(value)])
            rows.append({"encoder": name, "l2": penalty, "condition": condition, "accuracy": accuracy,
                         "ci_low": low, "ci_high": high, "n": len(value)})  # fmt: skip
        meter.step(1, f"{name} {penalty or ''}")

    for name, encoder in encoders.items():
        with held_still(encoder):
            features = embed(encoder, faces, torch.as_tensor(train), BATCH, device)
            for penalty in PENALTIES:
                note(name, penalty, scored(nn.Sequential(encoder, fit_softmax(features, truth, CLASSES, penalty)), images, labels))
    pixels = faces.images(train).to(device).float() / 255
    with torch.no_grad():
        features = torch.cat([Extremes(False)(part) for part in pixels.split(BATCH)])
    for penalty in PENALTIES:
        head = fit_softmax(features, truth, CLASSES, penalty)
        true, spread = (nn.Sequential(Extremes(flag), head).eval() for flag in (False, True))
        note("local extremes, attacked through their gradient", penalty, scored(true, images, labels))
        note("local extremes, attacked through a spread gradient", penalty, scored(true, images, labels, spread))
    note("head trained with labels against PGD, on pixels", None, scored(adversarial_head(pixels, truth), images, labels))
    table = pd.DataFrame(rows)
    page = markdown(table, len(np.unique(people)))
    with write_aside(OUT.with_suffix(".csv")) as aside:
        table.to_csv(aside, index=False, float_format="%.6g")
    with write_aside(OUT.with_suffix(".md")) as aside:
        aside.write_text(page)
    print(page)


def markdown(table: pd.DataFrame, people: int) -> str:
    """The table as a page: one row an encoder and penalty, one column a condition."""
    table = table.assign(cell=[f"{r.accuracy:.1f} [{r.ci_low:.1f}, {r.ci_high:.1f}]" for r in table.itertuples()])
    conditions = list(dict.fromkeys(table.condition))
    lines = ["| encoder | l2 | " + " | ".join(conditions) + " |", "|:--|--:|" + "--:|" * len(conditions)]
    for (name, penalty), group in table.groupby(["encoder", "l2"], sort=False, dropna=False):
        cells = group.set_index("condition").cell
        lines.append(f"| {name} | {'' if np.isnan(penalty) else f'{penalty:g}'} | " + " | ".join(cells[c] for c in conditions) + " |")
    about = (
        f"Expression accuracy in percent on rendered faces, 7 classes, {people} people; clean: n = {CLEAN}, under PGD: n ="
        f" {ATTACKED}; 1 seed. Written by `python -m tests.benchmarks.study_expression_attack` on {machine()};"
        f" torch {versions()['torch']}. The last row knows the labels and the attack when it is trained; more may be possible."
    )
    return "\n".join(["# What can be kept of expressions under attack", "", about, "", *lines, ""])


if __name__ == "__main__":
    main()
