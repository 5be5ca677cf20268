"""Independent work on all cores of a CPU: one Python thread a core, each with one thread of torch's own.

Inside small convolutions torch's own threads mostly wait for each other: on 2 cores, attacks on the demo's encoders take
half to two thirds of the time this way. torch lets go of Python's lock while it computes.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

MOST_WORKERS = 8  # beyond, Python's lock is what they would wait for: the rest of the cores goes to torch's own threads
T, R = TypeVar("T"), TypeVar("R")


def each(function: Callable[[T], R], items: Iterable[T], device: torch.device | str) -> Iterator[R]:
    """``function(item)`` of all items, in their order; side by side on a CPU, one after the other on a GPU.

    Inference and gradient modes are a thread's own: ``function`` runs with torch's defaults, but with the caller's autocast.
    The first error ends the work: what has begun is finished, nothing else begins.
    """
    workers = workers_on(device)
    if workers == 1:
        yield from map(function, items)
        return
    casting, kind = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")

    def work(item: T) -> R:
        with torch.autocast("cpu", kind, enabled=casting):
            return function(item)

    with few_threads(torch.get_num_threads() // workers), ThreadPoolExecutor(workers) as pool:
        yield from pool.map(work, items)


def in_parts(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """``function(*tensors)`` [B,...] from its results on as many parts of the batch as there are workers.

    Only for what treats each row on its own: a network in eval mode, not one whose batch-norm looks at the batch.
    """
    parts = zip(*(tensor.chunk(workers_on(tensor.device)) for tensor in tensors), strict=True)
    return torch.cat(list(each(lambda part: function(*part), parts, tensors[0].device)))


def workers_on(device: torch.device | str) -> int:
    """How many Python threads ``each`` uses: up to ``MOST_WORKERS``, and so many that few cores are left over."""
    if torch.device(device).type != "cpu":
        return 1
    cores = torch.get_num_threads()
    most = min(cores, MOST_WORKERS)
    return max(range((most + 1) // 2, most + 1), key=lambda workers: (workers * (cores // workers), workers))


@contextlib.contextmanager
def few_threads(count: int) -> Iterator[None]:
    """torch computes with ``count`` threads inside, in this Python thread and in those that begin meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
