"""One training loop for all methods: batches, optimiser steps, schedule, mixed precision, history, exact resume.

Everything random in step s comes from a generator seeded with (seed, s), and the order of the images (for a method that
trains on clips: which frames are seen together) in epoch e from (seed, e). So a run's state is its weights, its optimiser
and a step number, and a killed run that resumes ends with the same weights as an unbroken one. The rolling checkpoint
lives outside the pipeline's outputs, in a folder named after a fingerprint of parameters, code and data: it can never be
resumed by a run that differs from the one that wrote it.
"""

import csv
import hashlib
import json
import math
import os
import shutil
import time
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from lib.device import sent
from lib.files import write_aside
from lib.loading import ahead, read
from lib.methods.protocol import check_embedded, check_protocol, check_terms
from lib.models.encoder import WEIGHTS, save_encoder
from lib.progress import Progress
from lib.step_values import METER, under_way

HISTORY = "history.csv"
CHECKPOINT_EVERY_S = 60.0
CODE = (
    "training.py", "step_values.py", "loading.py", "views.py", "clips.py", "cores.py", "losses", "methods", "models", "degrade",
    "faces/align.py", "faces/hull.py", "faces/parts.py", "faces/swap.py", "datasets/columns.py", "datasets/action_units.py",
)  # what a trained encoder depends on  # fmt: skip


class TrainingError(RuntimeError):
    """Training cannot go on; the message says why and what to try."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train.

    Attributes:
        batch_size: images a step (clips, for a method that trains on clips); the rest of an epoch that does not fill a
            batch is left out.
        epochs: passes over the pre-training images.
        warmup_epochs: the learning rate rises linearly over these.
        constant_epochs: then it stays at its full height over these, and falls to 0 as a cosine.
        precision: ``float32`` or ``bfloat16`` (autocast; weights and losses stay float32).
    """

    batch_size: int
    epochs: int
    warmup_epochs: float
    precision: str
    constant_epochs: float = 0.0

    def __post_init__(self):
        if self.batch_size < 2:
            raise ValueError(f"batch_size: a contrastive batch holds at least 2 images, got {self.batch_size}")
        if self.epochs < 1:
            raise ValueError(f"epochs: expected at least 1, got {self.epochs}")
        if not 0 <= self.warmup_epochs <= self.epochs:
            raise ValueError(f"warmup_epochs: expected 0..epochs ({self.epochs}), got {self.warmup_epochs}")
        left = self.epochs - self.warmup_epochs
        if not 0 <= self.constant_epochs <= left:
            raise ValueError(f"constant_epochs: expected 0..epochs - warmup_epochs ({left:g}), got {self.constant_epochs}")
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(f"precision: expected 'float32' or 'bfloat16', got {self.precision!r}")

    def rate(self, step: int, steps_per_epoch: int) -> float:
        """Factor of the learning rate in step ``step`` (from 0)."""
        warmup, constant, total = (n * steps_per_epoch for n in (self.warmup_epochs, self.constant_epochs, self.epochs))
        falling = warmup + constant
        if step < warmup:
            return min((step + 1) / warmup, 1.0)  # half an epoch of few steps ends within a step
        return 0.5 * (1 + math.cos(math.pi * max(step - falling, 0) / max(total - falling, 1)))


def train(
    method: nn.Module, table, schedule: Schedule, *, seed: int, data: str, out: Path, checkpoints: Path,
    device: torch.device, label: str,
) -> list[dict]:  # fmt: skip
    """Train ``method`` on all images of ``table``; write ``encoder.safetensors`` and ``history.csv`` into ``out``.

    Args:
        method: see lib.methods; its fresh weights must come from ``seed`` too (see :func:`seeded`).
        table: a FaceTable; all of its images are used, and of its columns at most clip, frame, time, identity (of whom
            a face is swapped) and landmarks. data: its checksum.
        checkpoints: where rolling checkpoints live; this run's is deleted when it ends well.
        label: how progress lines call the run.

    Returns:
        The history, one row an epoch: mean of every loss term, learning rate, seconds, and the collapse meter.

    Raises:
        ValueError: no images or fewer than a batch; a method that lacks a part of the protocol, or whose loss gives something else
            than lib.methods says.
        TrainingError: a loss that is not finite; names the term and the step.
    """
    check_protocol(method)
    if not len(table):
        raise ValueError(
            "table: there is no image to learn from: none of the set is of the split 'pretrain' (prepare.dataset in params.yaml)"
        )
    items = _items(method, table, seed, 0)
    steps_per_epoch = len(items) // schedule.batch_size
    if not steps_per_epoch:
        what = "images" if items.dim() == 1 else "clips"
        raise ValueError(f"batch_size: {schedule.batch_size} is more than the {len(items)} pre-training {what}; lower it")
    method.to(device).train()
    optimizer = method.optimizer()
    base_rates = [group["lr"] for group in optimizer.param_groups]
    if_it_has(method, "begin", steps_per_epoch * schedule.epochs)
    labels = if_it_has(method, "labels", table)
    folder = checkpoints / fingerprint(method, schedule, seed, data)
    state = folder / "last.pt"
    step, history, sums = 0, [], {}
    if state.exists():
        step, history, sums = _load(state, method, optimizer, device)
        print(f"{label}: goes on at step {step} of {steps_per_epoch * schedule.epochs} ({state})", flush=True)
    progress = Progress(steps_per_epoch * schedule.epochs, label, start=step)
    saved = began = time.monotonic()
    before = history[-1]["seconds"] if history else 0.0

    def batches_from(step: int):
        """The rows that each step reads, from this step on."""
        rows, drawn = items, 0
        for coming in range(step, steps_per_epoch * schedule.epochs):
            epoch, position = divmod(coming, steps_per_epoch)
            if epoch != drawn:
                rows, drawn = _items(method, table, seed, epoch), epoch
            yield rows[position * schedule.batch_size : (position + 1) * schedule.batch_size]

    def settle(unread: list, step: int) -> None:
        """Read the losses that a step sent, and keep none of them: they are empty afterwards."""
        means = {}
        for read_values in unread:
            values = read_values()
            _check_finite(values, step, label)
            for name, value in values.items():
                means[name] = value if name in METER else means.get(name, 0.0) + value
        unread.clear()
        for name, value in means.items():
            sums[name] = sums.get(name, 0.0) + value
        progress.step(note=f"loss {means['loss']:.3f}")

    previous = []  # what the step before sent
    for index, found in ahead(lambda index: (index, read(table, index, device)), batches_from(step)):
        epoch, batch = step // steps_per_epoch, found.on(device)
        generator = seeded(seed, "step", step, device)
        own = if_it_has(method, "rate", step, steps_per_epoch)
        rate = schedule.rate(step, steps_per_epoch) if own is None else own
        for group, base in zip(optimizer.param_groups, base_rates):
            group["lr"] = base * rate
        unread, embedded = [], False
        try:
            with torch.autocast(device.type, torch.bfloat16, enabled=schedule.precision == "bfloat16"):
                batches = method.views(batch, generator, *(() if labels is None else (sent(labels[index], device),)))
            for views in batches:
                with torch.autocast(device.type, torch.bfloat16, enabled=schedule.precision == "bfloat16"):
                    terms = method.loss(views)
                check_terms(method, terms)
                embedding = terms.pop("embedding", None)
                embedded |= embedding is not None
                optimizer.zero_grad(set_to_none=True)
                terms["loss"].backward()
                optimizer.step()
                unread.append(under_way(terms, embedding))
            check_embedded(method, embedded)
            if_it_has(method, "after_step", step)
        except Exception:
            try:
                if previous:
                    settle(previous, step - 1)
            except TrainingError:
                raise  # a step before that was not finite is the reason
            except Exception:
                pass  # a device that has failed gives no losses either: what failed first says more
            raise
        if previous:
            settle(previous, step - 1)  # the device has the whole of this step to work at meanwhile
        previous = unread
        step += 1
        ends_epoch = step % steps_per_epoch == 0
        if not ends_epoch and time.monotonic() - saved <= CHECKPOINT_EVERY_S:
            continue
        settle(previous, step - 1)  # nothing is kept of a step that failed
        if ends_epoch:
            row = {name: value / steps_per_epoch for name, value in sums.items()}
            if_it_has(method, "after_epoch", row)
            seconds = before + time.monotonic() - began
            history.append({"epoch": epoch + 1, "step": step, "seconds": round(seconds, 2), "lr": base_rates[0] * rate} | row)
            sums.clear()
        saved = time.monotonic()
        _save(state, method, optimizer, step, history, sums)

    if_it_has(method, "finish", table, device)
    _write_history(history, out / HISTORY)
    save_encoder(method.encoder(), out / WEIGHTS)
    shutil.rmtree(folder)  # with what a run left that was killed while it saved
    return history


def _items(method: nn.Module, table, seed: int, epoch: int) -> Tensor:
    """What the steps of an epoch read, in this order: table rows [N], or [N, k] for a method that trains on clips."""

    def draw(epoch: int) -> torch.Generator:
        return seeded(seed, "order", epoch, torch.device("cpu"))

    found = if_it_has(method, "items", table, epoch, draw)
    return torch.randperm(len(table), generator=draw(epoch)) if found is None else found


def if_it_has(method: nn.Module, name: str, *arguments):
    """What ``method.name(*arguments)`` gives, None where the method leaves that part of the protocol (see lib.methods) away."""
    part = getattr(method, name, None)
    return part(*arguments) if callable(part) else None


def seeded(seed: int, purpose: str, number: int, device: torch.device) -> torch.Generator:
    """A generator on ``device`` for one purpose and step of a run: the same for the same arguments, else independent."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{number}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def fingerprint(method: nn.Module, schedule: Schedule, seed: int, data: str) -> str:
    """A short hash of everything that the trained weights depend on: parameters, code, data, seed, device, torch."""
    parts = hashlib.sha256()
    encoder = method.encoder().config
    for name in ("config", "view_config"):
        if not is_dataclass(getattr(method, name, None)):
            raise ValueError(
                f"{type(method).__name__}.{name}: expected a dataclass; a checkpoint is recognised by a method's settings"
            )
    settings = [type(method).__name__, asdict(method.config), asdict(encoder), asdict(method.view_config)]
    device = next((p.device.type for p in method.parameters()), "cpu")
    for name, fixed in sorted(method.named_parameters()):
        if not fixed.requires_grad:  # a network from a file, which the settings only name
            parts.update(name.encode() + fixed.detach().cpu().float().contiguous().numpy().tobytes())
    settings += [asdict(schedule), seed, torch.__version__, device, data, getattr(method, "began_with", "")]
    parts.update(json.dumps(settings, sort_keys=True).encode())
    root = Path(__file__).parent
    for name in CODE:
        for file in sorted((root / name).rglob("*.py")) if (root / name).is_dir() else [root / name]:
            parts.update(file.read_bytes())
    return parts.hexdigest()[:16]


def _check_finite(values: dict[str, float], step: int, label: str) -> None:
    for name in sorted(values, key="loss".__eq__):  # the sum comes last: a part of it says more
        if not math.isfinite(values[name]):
            raise TrainingError(
                f"{label}: the term {name!r} is {values[name]} in step {step}; lower the method's learning_rate, raise its"
                " temperature or train in precision float32. Nothing was written; the last checkpoint is kept"
            )


def _save(state: Path, method: nn.Module, optimizer, step: int, history: list[dict], sums: dict) -> None:
    with write_aside(state) as aside:
        content = {"method": method.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save(content | {"step": step, "history": history, "sums": sums}, aside)


def _load(state: Path, method: nn.Module, optimizer, device: torch.device) -> tuple[int, list[dict], dict]:
    try:
        content = torch.load(state, map_location=device, weights_only=True)
    except Exception as error:  # a broken zip, a cut pickle: torch raises many kinds
        raise TrainingError(f"{state}: the checkpoint is cut short or broken; delete it to start anew") from error
    method.load_state_dict(content["method"])
    optimizer.load_state_dict(content["optimizer"])
    return content["step"], content["history"], content["sums"]


def _write_history(history: list[dict], path: Path) -> None:
    columns = list(dict.fromkeys(name for row in history for name in row))
    with write_aside(path) as aside, open(aside, "w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator=os.linesep)
        writer.writeheader()
        writer.writerows({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in history)
