"""One encoder against the whole grid: every task, clean, under every corruption and every attack.

The test images, pairs, corrupted images, random starts of attacks and bootstrap draws are the same for every encoder
and every training seed. Attacks go through the whole model: restorer, encoder and probe.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from lib.conditions import DRAW_SEED, Job, attack_jobs, check_jobs, corruption_jobs, to_numpy
from lib.degrade.attacks import ATTACKS
from lib.degrade.corruptions import CORRUPTIONS
from lib.probes.action_units import RECIPE, action_unit_rows, action_units_task, left_out_of
from lib.probes.affect import affect_rows, affect_task
from lib.probes.expression import expression_rows, expression_task
from lib.probes.features import embed, held_still
from lib.probes.finetune import RECIPES
from lib.probes.finetuned import FINETUNED, finetuned_task, rows_for
from lib.probes.neighbours import BY_NEIGHBOURS, knn_task
from lib.probes.selection import test_rows
from lib.probes.task import Task, TaskLeftOut
from lib.probes.verification import draw_pairs, verification_task
from lib.progress import Progress
from lib.results import results_frame
from lib.resume import fingerprint, finished
from lib.strong_attacks import Strong, strong_jobs
from lib.tally import Measured, tally

TASKS = ("expression", "action_units", "verification", "valence_arousal")
BESIDE = {**BY_NEIGHBOURS, **FINETUNED}  # further readers of a task's images: name -> its linear probe, which is one of TASKS


@dataclass(frozen=True)
class Attacked:
    """How many images (verification: pairs) of each task are attacked: its first ones, balanced over persons."""

    expression: int = 60
    action_units: int = 60
    verification: int = 60
    valence_arousal: int = 60

    def __post_init__(self):
        for name, value in asdict(self).items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")

    def of(self, task: str) -> int:
        """Whatever stands beside a linear probe is attacked on the same items."""
        return getattr(self, BESIDE.get(task, task))


@dataclass(frozen=True)
class Finetune:
    """How the fine-tuned tasks are trained."""

    recipe: str = "affectnet"  # a key of lib.probes.finetune.RECIPES
    epochs: int = 0  # 0: as many as the recipe says

    def __post_init__(self):
        if self.recipe not in RECIPES:
            raise ValueError(f"recipe must be one of {', '.join(RECIPES)}, got {self.recipe!r}")
        if self.epochs < 0:
            raise ValueError(f"epochs must be at least 1, or 0 for the recipe's, got {self.epochs}")

    @property
    def chosen(self):
        """The recipe with its number of epochs."""
        recipe = RECIPES[self.recipe]
        return replace(recipe, epochs=self.epochs) if self.epochs else recipe


@dataclass(frozen=True)
class ProbeParams:
    """What is measured, and on how much."""

    # of TASKS, and of BESIDE where their linear probe is asked for too ('_finetuned' is expensive: it trains the encoder)
    tasks: list[str] = field(default_factory=lambda: ["expression", "action_units", "verification"])
    images: int = 140  # test images of a data set (clean and corrupted); fewer where it has fewer
    pairs: int = 200  # verification pairs of a data set among these images, a multiple of 20
    attacked: Attacked = field(default_factory=Attacked)  # attacks cost most of the time
    l2: float = 0.03  # penalty of the linear probes of expression, valence and arousal on standardised features
    au_epochs: int = 100  # for which the linear heads of action units are trained, as published; the best on held-out people is kept
    finetune: Finetune = field(default_factory=Finetune)
    corruptions: list[str] = field(default_factory=lambda: list(CORRUPTIONS))  # all types
    severities: list[int] = field(default_factory=lambda: [1, 2, 3, 4, 5])
    # the eight of DAR-SFRL's code
    attacks: list[str] = field(default_factory=lambda: [name for name in ATTACKS if name != "fgsm"])
    eps: float = 8.0  # largest change of a pixel by an attack, in 255ths
    alpha: float = 2.0  # step size of an attack, in 255ths
    steps: int = 10  # of an attack
    sweep: list[int] = field(default_factory=lambda: [2, 16, 64])  # further eps for pgd; alpha grows with eps
    checked: int = 20  # images or pairs of a task on which the checks for masked gradients are made
    # numbers of steps of pgd in these checks; its loss must rise with them
    check_steps: list[int] = field(default_factory=lambda: [1, 2, 5, 10, 20, 50])
    queries: int = 300  # passes of the gradient-free attack
    strong: Strong = field(default_factory=Strong)  # further attacks, beside the checks
    resamples: int = 2000  # bootstrap draws of an interval
    batch_size: int = 128  # images that go through the encoder at once

    def __post_init__(self):
        for name in ("images", "au_epochs", "steps", "checked", "queries", "resamples", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.pairs < 20 or self.pairs % 20:
            raise ValueError(f"pairs must be a positive multiple of 20 (10 folds, half genuine), got {self.pairs}")
        for name in ("l2", "eps", "alpha"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        known_names = (
            ("tasks", (*TASKS, *BESIDE)), ("corruptions", CORRUPTIONS), ("attacks", ATTACKS), ("severities", (1, 2, 3, 4, 5)),
        )  # fmt: skip
        for name, known in known_names:
            values = getattr(self, name)
            unknown = [v for v in values if v not in known]
            if unknown:
                raise ValueError(
                    f"{name} must be among {', '.join(map(str, known))}, got {', '.join(map(str, unknown))}"
                )
        for name in ("tasks", "corruptions", "attacks", "severities", "sweep", "check_steps"):
            if len(set(getattr(self, name))) != len(getattr(self, name)):
                raise ValueError(f"{name} must hold each entry once, got {getattr(self, name)}")
        if not self.tasks:
            raise ValueError("tasks must not be empty")
        for name, base in BESIDE.items():
            if name in self.tasks and base not in self.tasks:
                raise ValueError(f"tasks must hold {base} where {name} is: its linear probe stands beside it and attacks it")
        if self.corruptions and not self.severities:
            raise ValueError("severities must not be empty while there are corruptions")
        if not self.check_steps or min(self.check_steps) < 1:
            raise ValueError(f"check_steps must hold numbers of steps >= 1, got {self.check_steps}")
        if max([self.eps, *self.sweep]) > 255:
            raise ValueError(f"eps and sweep are in 255ths of the pixels' range, so at most 255, got {self.eps:g} and {self.sweep}")
        if any(eps <= 0 for eps in self.sweep) or self.eps in self.sweep:
            raise ValueError(
                f"sweep must hold positive eps other than eps = {self.eps:g} (it is there anyway), got {self.sweep}"
            )


def items_of(table, params: ProbeParams) -> tuple[dict[str, np.ndarray], list[str]]:
    """What a table can be probed for: the test images of each task asked for, and a sentence for whatever it cannot.

    Expression needs the columns ``expression`` and ``split``; action units ``fold`` and any of BP4D's 12 (or all of DISFA's 8);
    verification ``identity`` and 20 people; valence and arousal ``valence``, ``arousal`` and ``split``; fine-tuning two people
    to fit on. The images of all tasks begin alike.

    Raises:
        ValueError: the table has no test images.
    """
    rows = test_rows(table, DRAW_SEED)
    items, notes = {}, [f"{table.name}: {note}" for note in table.notes]

    def action_units():
        chosen = action_unit_rows(table, rows)[: params.images]
        notes.extend(f"{table.name}: action units: {said}" for said in left_out_of(table, chosen))
        return chosen

    def verification():
        draw_pairs(table, rows[: params.images], params.pairs, DRAW_SEED)
        return rows[: params.images]

    def finetuned(name: str):
        rows_for(name, table)  # is there anybody to choose an epoch by?
        return items[FINETUNED[name]]

    rows_of = {
        "expression": lambda: expression_rows(table, rows)[: params.images],
        "action_units": action_units,
        "verification": verification,
        "valence_arousal": lambda: affect_rows(table, rows)[: params.images],
        **{name: lambda base=base: items[base] for name, base in BY_NEIGHBOURS.items()},
        **{name: lambda name=name: finetuned(name) for name in FINETUNED},
    }
    for name in rows_of:
        if name not in params.tasks or BESIDE.get(name, name) not in {*items, name}:
            continue  # not asked for, or its linear probe is left out with a sentence of its own
        try:
            items[name] = rows_of[name]()
        except TaskLeftOut as reason:
            notes.append(f"{table.name}: {name.replace('_', ' ')} left out: {reason}")
    return items, notes


def tasks_of(encoder: nn.Module, table, params: ProbeParams, device: torch.device | str) -> list[Task]:
    """The linear probes (and verification) that a table allows (:func:`items_of`), fitted."""
    items, _ = items_of(table, params)
    common = {"batch_size": params.batch_size, "device": device}
    fit = {
        "expression": lambda rows: expression_task(encoder, table, rows, l2=params.l2, **common),
        "action_units": lambda rows: action_units_task(encoder, table, rows, recipe=replace(RECIPE, epochs=params.au_epochs), **common),
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
        tables: face tables; :func:`items_of` says which tasks each of them has. What is left out is printed.
        method, seed: what the rows are labelled with; fine-tuning draws from the seed too.
        shared: folder that keeps corrupted images for the evaluation of other encoders; None makes them anew.
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
    with contextlib.ExitStack() as stack:
        for model in (encoder, *surrogates.values()):
            stack.enter_context(held_still(model))
        groups = [tasks_of(encoder, table, params, device) for table in tables]
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
            name: {(table.name, task.name): task for table in tables for task in tasks_of(model, table, params, device)}
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
    shared: str | Path | None, checks: bool,
) -> list[Job]:  # fmt: skip
    """All conditions of the ``groups`` of tasks, each of one table and one encoder: corruptions first, then what is made task by task.

    ``others``: surrogate -> (table, task) -> its task, for the ``checks``. ``shared``: as for :func:`evaluate`.
    """
    groups, jobs = [group for group in groups if group], []
    tasks = [task for group in groups for task in group]
    kept = Path(shared) if shared else None
    for group in groups:
        rows = torch.cat([task.rows for task in tasks if task.table is group[0].table])
        jobs += corruption_jobs(group, params.corruptions, params.severities, params.batch_size, device, kept, rows)
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
