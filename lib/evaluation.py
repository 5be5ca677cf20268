"""One encoder against the whole grid: every task, clean, under every corruption and every attack.

The test images, pairs, corrupted images, random starts of attacks and bootstrap draws are the same for every encoder
and every training seed. Attacks go through the whole model: restorer, encoder and probe.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from lib.conditions import DRAW_SEED, Job, attack_jobs, check_jobs, corruption_jobs, to_numpy
from lib.items import items_of
from lib.probe_params import ProbeParams
from lib.probes.action_units import RECIPE, action_units_task
from lib.probes.affect import affect_task
from lib.probes.expression import expression_task
from lib.probes.features import embed, held_still
from lib.probes.finetuned import FINETUNED, finetuned_task
from lib.probes.neighbours import BY_NEIGHBOURS, knn_task
from lib.probes.task import Task
from lib.probes.verification import verification_task
from lib.progress import Progress
from lib.results import results_frame
from lib.resume import fingerprint, finished
from lib.strong_attacks import strong_jobs
from lib.tally import Measured, tally


def tasks_of(
    encoder: nn.Module, table, params: ProbeParams, device: torch.device | str, shared: Path | None = None
) -> list[Task]:
    """The linear probes (and verification) that a table allows (:func:`lib.items.items_of`), fitted.

    ``shared``: as for :func:`evaluate`.
    """
    items, _ = items_of(table, params)
    common = {"batch_size": params.batch_size, "device": device}
    fit = {
        "expression": lambda rows: expression_task(encoder, table, rows, l2=params.l2, **common),
        "action_units": lambda rows: action_units_task(
            encoder, table, rows, recipe=replace(RECIPE, epochs=params.au_epochs), kept=shared and shared / "heads", **common
        ),
        "verification": lambda rows: verification_task(
            encoder, table, rows, pairs=params.pairs, seed=DRAW_SEED, **common
        ),
        "valence_arousal": lambda rows: affect_task(encoder, table, rows, l2=params.l2, **common),
    }
    return [fit[name](rows) for name, rows in items.items() if name in fit]


def finetuned_of(
    encoder: nn.Module, tasks: Sequence[Task], params: ProbeParams, *, seed: int, device, work: Path
) -> list[Task]:
    """The fine-tuned tasks of a table, from its linear probes ``tasks``; states of unfinished runs are kept in ``work``."""
    if not tasks:
        return []
    items, _ = items_of(tasks[0].table, params)
    found = []
    for base in tasks:
        for name in (name for name, of in FINETUNED.items() if of == base.name and name in items):
            # the linear probe was fitted on the same images with the same labels, so its scores stand for them
            clean = clean_scores(base, params.batch_size, device)
            known = fingerprint([encoder], [base], [clean], params, device)
            found.append(
                finetuned_task(
                    base, encoder, params.finetune.chosen, seed=seed, batch_size=params.batch_size, device=device,
                    checkpoint=work / f"{base.table.name}-{name}-{seed}-{known}.pt",
                )
            )  # fmt: skip
    return found


def evaluate(
    encoder: nn.Module,
    tables: Sequence,
    params: ProbeParams,
    *,
    method: str,
    seed: int,
    device: torch.device | str,
    work: str | Path,
    shared: str | Path | None = None,
    seen: Sequence[str] | None = None,
    checks: bool = False,
    surrogates: Mapping[str, nn.Module] | None = None,
    progress: Callable[..., Progress] = Progress,
) -> pd.DataFrame:
    """Fit the probes of one encoder and measure it under every condition.

    Finished conditions are kept in a folder of ``work`` that belongs to this encoder, data, parameters and code: a
    killed evaluation goes on where it was and ends with the same rows. Remove ``work`` when the results are written.

    Args:
        encoder: images [B,3,H,W] in [0,1] -> features [B,D], on ``device``; it is left as it was.
        tables: face tables; :func:`lib.items.items_of` says which tasks each of them has. What is left out is printed.
        method, seed: what the rows are labelled with; fine-tuning draws from the seed too.
        shared: folder that keeps corrupted images, and heads of action units, which take long to fit, for the evaluation of other
            encoders; None makes them anew.
        seen: corruption types of the training mixture. checks: also look for masked gradients (family 'check') and make the
            strongest attacks (family 'strong'), with adversarial images from the ``surrogates`` (name -> other encoder on
            ``device``) among them.
        progress: called as ``progress(total, label, start=done)``.
    Returns:
        DataFrame as in :mod:`lib.results`.
    Raises:
        ValueError: no task is left; says why.
    """
    found = [items_of(table, params) for table in tables]
    notes = [note for _, said in found for note in said]
    if not any(items for items, _ in found):
        raise ValueError(
            f"tables: there is nothing that can be probed. {'. '.join(notes)}. Bring labels or more people; an encoder"
            " can be pre-trained without"
        )
    for note in notes:
        print(note)
    surrogates = dict(surrogates or {}) if checks else {}
    shared = Path(shared) if shared else None
    with contextlib.ExitStack() as stack:
        for model in (encoder, *surrogates.values()):
            stack.enter_context(held_still(model))
        groups = [tasks_of(encoder, table, params, device, shared) for table in tables]
        for probes in groups[:]:  # each has an encoder of its own, so it is embedded by itself
            tuned = finetuned_of(encoder, probes, params, seed=seed, device=device, work=Path(work))
            groups += [[task] for task in tuned]
        for probes in groups[: len(tables)]:  # these look at the same features
            asked = {base for name, base in BY_NEIGHBOURS.items() if name in params.tasks}
            wanted = [task for task in probes if task.name in asked]
            probes += [knn_task(task, encoder, batch_size=params.batch_size, device=device) for task in wanted]
        tasks = [task for group in groups for task in group]
        clean = [clean_scores(task, params.batch_size, device) for task in tasks]
        others = {
            name: {(table.name, task.name): task for table in tables for task in tasks_of(model, table, params, device, shared)}
            for name, model in surrogates.items()
        }
        jobs = planned_jobs(groups, others, params, device=device, shared=shared, checks=checks)
        folder = Path(work) / fingerprint([encoder, *surrogates.values()], tasks, clean, params, device)
        measured = {task: [] for task in tasks}
        for job, found in finished(jobs, folder, device, lambda total, start: progress(total, f"evaluate {method}", start=start)):
            for cell, scores in zip(job.cells, found, strict=True):
                measured[cell.task].append(Measured(cell.family, cell.condition, cell.severity, scores))
    rows, order = [], {name: i for i, name in enumerate(params.attacks)}
    for task, scores in zip(tasks, clean):
        measured[task].sort(key=lambda m: order[m.condition] if m.family == "attack" else 0)  # in the order asked for
        found = measured[task] + known_sweep(params, params.attacked.of(task.name), scores, measured[task])
        rows += tally(task, scores, found, method=method, seed=seed, resamples=params.resamples, seen=seen)
    return results_frame(rows)


def planned_jobs(
    groups: Sequence[Sequence[Task]], others: Mapping[str, Mapping[tuple[str, str], Task]], params: ProbeParams, *, device,
    shared: Path | None, checks: bool,
) -> list[Job]:  # fmt: skip
    """All conditions of the ``groups`` of tasks, each of one table and one encoder: corruptions first, then what is made task by task.

    ``others``: surrogate -> (table, task) -> its task, for the ``checks``. ``shared``: as for :func:`evaluate`.
    """
    groups, jobs = [group for group in groups if group], []
    tasks = [task for group in groups for task in group]
    corrupted = shared and shared / "corrupted"
    for group in groups:
        rows = torch.cat([task.rows for task in tasks if task.table is group[0].table])
        jobs += corruption_jobs(group, params.corruptions, params.severities, params.batch_size, device, corrupted, rows)
    grid = {"batch_size": params.batch_size, "device": device, "eps": params.eps, "alpha": params.alpha}
    for task in tasks:
        attacked = params.attacked.of(task.name)
        jobs += attack_jobs(task, params.attacks, steps=params.steps, sweep=params.sweep, items=attacked, **grid)
        if checks and task.made_on is None:
            base = task.table.name, FINETUNED.get(task.name, task.name)
            twins = {name: fitted[base] for name, fitted in others.items()}
            jobs += check_jobs(task, twins, steps=params.check_steps, queries=params.queries, items=params.checked, **grid)
            jobs += strong_jobs(task, params.strong, params.eps, params.batch_size, device)
    return jobs


@torch.no_grad()
def clean_scores(task: Task, batch_size: int, device) -> np.ndarray:
    """Scores [N,...] of the undegraded test items."""
    rows, place = torch.unique(task.rows, return_inverse=True)  # one image may be in several pairs
    features = embed(task.encoder, task.table, rows, batch_size, device)
    return to_numpy(task.head(features[place.to(device)], torch.arange(len(task), device=device)))


def known_sweep(params: ProbeParams, attacked: int, clean: np.ndarray, measured: Sequence[Measured]) -> list[Measured]:
    """The sweep's points that cost nothing: eps 0 (the clean scores of the attacked items) and pgd's own eps."""
    if not params.sweep:
        return []
    size = min(attacked, len(clean))
    own = [m for m in measured if (m.family, m.condition) == ("attack", "pgd")]
    return [Measured("sweep", "pgd", 0, clean[:size]), *(Measured("sweep", "pgd", params.eps, m.scores) for m in own)]
