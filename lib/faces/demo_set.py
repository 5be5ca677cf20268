"""The demo set: rendered faces for pre-training and probes, and the ORL photographs; no download.

    python -m lib.faces.demo_set --out work/demo

writes work/demo/rendered and work/demo/orl, two packed sets (see ``lib.faces.shards``). Sizes come from params.yaml.
"""

import argparse
import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from lib.datasets.columns import EXPRESSIONS, NO_LABEL
from lib.datasets.rendered import ABOUT
from lib.faces.identity import make_identity
from lib.faces.orl_photographs import orl_folder, write_orl
from lib.faces.sample import Take, draw_takes, make_take
from lib.faces.shards import PackedWriter
from lib.progress import Progress

TIMELINE = 9  # frames of a probe clip, of which some are drawn
ROUNDS = 3  # clips of each expression of a probe subject
EXPRESSION_FRAMES = (4,)  # the apex, which is labelled
FREE_CLIPS, FREE_FRAMES = 5, (3, 5, 7)  # clips whose action units vary on their own
FOLDS = 3


def takes_of(number: int, seed: int, probe: bool, clips: int, frames: int) -> list[Take]:
    """What is drawn of one person. Clip numbers are unique over the set."""
    person = make_identity(number, seed)
    first = number * 1000
    if not probe:
        kinds = [None if i % 4 == 3 else EXPRESSIONS[(number + i) % len(EXPRESSIONS)] for i in range(clips)]
        return [make_take(person, seed, first + i, kind, frames) for i, kind in enumerate(kinds)]
    kinds = [name for name in EXPRESSIONS for _ in range(ROUNDS)]
    out = [make_take(person, seed, first + i, kind, TIMELINE, EXPRESSION_FRAMES) for i, kind in enumerate(kinds)]
    first += len(kinds)
    return out + [make_take(person, seed, first + i, None, TIMELINE, FREE_FRAMES) for i in range(FREE_CLIPS)]


def _draw_person(job: tuple) -> tuple[np.ndarray, pd.DataFrame, np.ndarray]:
    number, seed, image_size, probe, clips, frames, split, fold = job
    images, rows, masks = draw_takes(make_identity(number, seed), takes_of(number, seed, probe, clips, frames),
                                     image_size)
    rows.insert(4, "split", split)
    rows.insert(5, "fold", fold)
    return images, rows, masks


def _drawn(jobs: list[tuple], workers: int) -> Iterator[tuple[np.ndarray, pd.DataFrame, np.ndarray]]:
    """Results in the order of the jobs, whatever the number of workers."""
    if workers == 1 or len(jobs) == 1:
        yield from map(_draw_person, jobs)
        return
    yield _draw_person(jobs[0])  # compiles the kernels once, before the workers start
    with multiprocessing.get_context("spawn").Pool(min(workers, len(jobs) - 1)) as pool:
        yield from pool.imap(_draw_person, jobs[1:])


def make_demo_set(out: str | os.PathLike, seed: int, image_size: int, pretrain_identities: int, probe_identities: int,
                  clips_per_identity: int, frames_per_clip: int, workers: int) -> None:
    """Write the demo set.

    Args:
        out: folder; ``rendered`` and ``orl`` in it are replaced.
        image_size: px. pretrain_identities: people whose clips are for pre-training, numbers 0 to n - 1.
        probe_identities: other people, numbers from n on: the first two thirds train the probes,
            the rest tests; ``fold`` deals all of them into three thirds.
        clips_per_identity, frames_per_clip: of the people for pre-training.
        workers: processes; the bytes do not depend on it.

    Raises:
        ValueError: a number below its least value. FileNotFoundError: the ORL photographs are missing.
    """
    least = {"image_size": (image_size, 16), "pretrain_identities": (pretrain_identities, 1),
             "probe_identities": (probe_identities, FOLDS), "clips_per_identity": (clips_per_identity, 1),
             "frames_per_clip": (frames_per_clip, 1), "workers": (workers, 1), "seed": (seed, 0)}
    for name, (value, low) in least.items():
        if value < low:
            raise ValueError(f"{name}: expected at least {low}, got {value}")
    photographs = orl_folder()  # fails before the long work
    out = Path(out)
    jobs = []
    for number in range(pretrain_identities + probe_identities):
        rank = number - pretrain_identities
        split = "pretrain" if rank < 0 else "probe_train" if rank < round(probe_identities * 2 / 3) else "probe_test"
        jobs.append((number, seed, image_size, rank >= 0, clips_per_identity, frames_per_clip, split,
                     rank % FOLDS if rank >= 0 else NO_LABEL))
    per_probe = len(EXPRESSIONS) * ROUNDS * len(EXPRESSION_FRAMES) + FREE_CLIPS * len(FREE_FRAMES)
    progress = Progress(pretrain_identities * clips_per_identity * frames_per_clip + probe_identities * per_probe,
                        "rendering")
    with PackedWriter(out / "rendered", name="rendered", source=ABOUT.source, licence=ABOUT.licence,
                      credit=ABOUT.credit) as writer:
        for images, rows, masks in _drawn(jobs, workers):
            writer.add(images, rows, masks)
            progress.step(len(images))
    write_orl(out / "orl", image_size, photographs)


def main() -> None:
    from lib.params import load

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, type=Path, help="folder for the two packed sets")
    out = parser.parse_args().out
    params = load()
    demo = params.demo
    make_demo_set(out, params.seed, demo.image_size, demo.pretrain_identities, demo.probe_identities,
                  demo.clips_per_identity, demo.frames_per_clip, demo.workers)


if __name__ == "__main__":
    main()
