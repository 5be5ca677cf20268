"""How fast faces are drawn: images a second with one and with two worker processes, at 64 and at 112 px.

    python tests/benchmarks/bench_render.py

Kernels are compiled and every worker is warm before the clock starts. A busy machine gives smaller numbers; images a
processor second do not depend on what else runs, and the ratio of two workers to one says how free the second core was.
"""

import multiprocessing
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lib.faces.identity import make_identity
from lib.faces.sample import draw_takes, make_take

PEOPLE, TAKES, FRAMES = 12, 12, 2


def draw_one(job: tuple[int, int, int]) -> tuple[int, float]:
    """Draw one person's clips as the demo set does; returns the number of pictures and the processor seconds."""
    number, takes, image_size = job
    began = time.process_time()
    person = make_identity(number, 0)
    chosen = [make_take(person, 0, k, "happiness" if k % 2 else None, FRAMES) for k in range(takes)]
    return len(draw_takes(person, chosen, image_size)[0]), time.process_time() - began


def images_a_second(workers: int, image_size: int) -> tuple[float, float]:
    """Images a second of ``workers`` processes together, and images a processor second of one."""
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        pool.map(draw_one, [(k, 1, image_size) for k in range(4 * workers)], chunksize=1)
        began = time.perf_counter()
        done, busy = map(sum, zip(*pool.imap_unordered(draw_one, [(k, TAKES, image_size) for k in range(PEOPLE)])))
        return done / (time.perf_counter() - began), done / busy


def main() -> None:
    draw_one((0, 1, 64))
    for image_size in (64, 112):
        (one, alone), (two, _) = images_a_second(1, image_size), images_a_second(2, image_size)
        print(f"{image_size:4d} px: 1 worker {one:6.1f} images/s, 2 workers {two:6.1f} images/s, ratio {two / one:.2f};"
              f" {alone:.1f} images a processor second")


if __name__ == "__main__":
    main()
