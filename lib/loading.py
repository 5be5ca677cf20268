"""What a step of training reads from a set, and reading it while the step before is computed.

Pixels go to the device as they are stored, a byte a channel with the channels last, and are turned and scaled there.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

T, R = TypeVar("T"), TypeVar("R")


@dataclass(frozen=True)
class ClipBatch:
    """Some frames of each of B clips, on one device. Which frame is which, the method's ``items`` says.

    images: [B, k, 3, H, W] in [0, 1]. landmarks: [B, k, 68, 2] in pixels, or None where the set has none. clip: [B] long,
    the number of the clip.
    """

    images: Tensor
    landmarks: Tensor | None
    clip: Tensor

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Read:
    """A batch in the processor's memory: pixels uint8 [N, H, W, 3]. For B clips of k frames, N = B k, also landmarks
    [N, 68, 2] in pixels or None, and clip [B] long, the clips' numbers."""

    pixels: Tensor
    landmarks: Tensor | None = None
    clip: Tensor | None = None

    def on(self, device: torch.device) -> Tensor | ClipBatch:
        """Images float [N, 3, H, W] in [0, 1], or a ClipBatch, on ``device``."""
        images = self.pixels.to(device, non_blocking=True).permute(0, 3, 1, 2).contiguous() / 255
        if self.clip is None:
            return images
        shape = (len(self.clip), -1)
        landmarks = None if self.landmarks is None else self.landmarks.to(device, non_blocking=True).unflatten(0, shape)
        return ClipBatch(images.unflatten(0, shape), landmarks, self.clip.to(device, non_blocking=True))


def read(table, rows: Tensor, device: torch.device) -> Read:
    """The images ``rows`` [N], or the frames [B, k] of clips (whose first column says which clip it is), of a FaceTable.

    For a GPU they lie in pinned memory, from where a copy needs no waiting.
    """
    flat = rows.flatten()
    found = [table.pixels(flat)]
    if rows.dim() > 1:
        clip = np.asarray(table.column("clip"))[rows[:, 0].numpy()].astype(np.int64)
        found += [table.landmarks(flat) if table.has_landmarks else None, torch.from_numpy(clip)]
    pinned = device.type == "cuda"
    return Read(*(tensor.pin_memory() if pinned and tensor is not None else tensor for tensor in found))


def ahead(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """``function(item)`` of all items in their order, each begun in a thread of its own when the one before is handed out."""
    with ThreadPoolExecutor(1) as pool:
        coming = None
        for item in items:
            after = pool.submit(function, item)
            if coming is not None:
                yield coming.result()
            coming = after
        if coming is not None:
            yield coming.result()
