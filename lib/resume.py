"""An evaluation that was stopped goes on where it was: finished conditions are files, in a folder named by all that they depend on."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import nn

from lib.conditions import Job
from lib.cores import each
from lib.files import write_aside
from lib.kept import source_of
from lib.probes.task import Task
from lib.progress import Progress

# what the scores depend on; how they are summed up (tally, bootstrap) is not among it
CODE = (
    "evaluation.py", "probe_params.py", "items.py", "resume.py", "conditions.py", "kept.py", "strong_attacks.py", "metrics.py",
    "au_metrics.py", "views.py", "loading.py", "probes", "degrade", "models", "losses", "datasets/pairs.py", "datasets/columns.py",
    "datasets/action_units.py",
)  # fmt: skip


def finished(
    jobs: Sequence[Job], folder: Path, device, meter_of: Callable[[int, int], Progress]
) -> Iterator[tuple[Job, list[np.ndarray]]]:
    """Each of the ``jobs`` in their order with its scores: from its file in ``folder``, or from running it, which writes the file.

    On a CPU several run side by side. ``meter_of(total, start)`` begins the progress, in the jobs' costs: ``start`` is what was there.
    """
    there = {job.name for job in jobs if _file_of(job, folder).exists()}
    meter = meter_of(sum(job.cost for job in jobs), sum(job.cost for job in jobs if job.name in there))
    for job, scores in zip(jobs, each(lambda job: _scores_of(job, folder), jobs, device)):
        yield job, scores
        if job.name not in there:
            meter.step(job.cost, job.name)


def _file_of(job: Job, folder: Path) -> Path:
    return folder / f"{job.name}.npz"


def _scores_of(job: Job, folder: Path) -> list[np.ndarray]:
    path = _file_of(job, folder)
    if not path.exists():
        with write_aside(path) as aside, open(aside, "wb") as file:
            np.savez(file, *job.run())
    with np.load(path) as saved:
        return [saved[f"arr_{i}"] for i in range(len(job.cells))]


def fingerprint(encoders: Sequence[nn.Module], tasks: Sequence[Task], clean: Sequence[np.ndarray], params, device) -> str:
    """What the scores of an evaluation depend on, as 16 hex digits: two that agree may share finished conditions.

    The probes stand in by their ``clean`` scores. Of ``params`` (lib.probe_params.ProbeParams) those that choose conditions, or that
    only the summary uses, are left out.
    """
    digest = hashlib.sha256()
    no_matter = ("corruptions", "severities", "attacks", "sweep", "resamples")
    settings = {name: value for name, value in asdict(params).items() if name not in no_matter}
    digest.update(json.dumps([settings, torch.__version__, torch.device(device).type]).encode())
    for encoder in encoders:
        digest.update(f"{encoder!r} {getattr(encoder, 'config', None)!r}".encode())
        for name, tensor in encoder.state_dict().items():
            digest.update(
                f"{name} {tensor.dtype} {list(tensor.shape)}".encode() + tensor.cpu().contiguous().numpy().tobytes()
            )
    for task, scores in zip(tasks, clean):
        digest.update(f"{task.table.name} {task.name} {scores.shape}".encode())
        places = task.table.column("landmarks")[task.rows.numpy()] if "landmarks" in task.table.columns else np.array([])
        for part in (scores, task.rows.numpy(), task.labels.cpu().numpy(), places):
            digest.update(np.ascontiguousarray(part).tobytes())
        for rows in task.rows.split(params.batch_size):  # a batch at a time: a test set may be larger than memory
            digest.update(task.table.images(rows).numpy().tobytes())
    for source in source_of(*CODE):
        digest.update(source)
    return digest.hexdigest()[:16]
