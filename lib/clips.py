"""Which frames of a clip are seen together: temporal positives and hard negatives, for all clips of a set at once.

References:
    [1] Shu et al., Revisiting Self-Supervised Contrastive Learning for Facial Expression Recognition (SSL-FER), BMVC 2022:
        TimeAug (a positive about ``interval`` seconds away) and HardNeg (a negative of the same clip, ``hard_interval``
        seconds away or more).

``released=True`` draws as the published code does: the offset is drawn before it is known whether it fits, a clip whose
draw does not fit is left out; of the hard negatives' two sides one is drawn first, and its farthest frame in front and its
nearest behind never come.
"""

import os

import numpy as np
import torch
from torch import Generator, Tensor

WEIGHTINGS = ("uniform", "increasing", "decreasing")
SHOWN = 10  # clips that a message names


def time_offsets(fps: float, interval: float, weighting: str = "decreasing") -> tuple[np.ndarray, np.ndarray]:
    """TimeAug's distances in frames, floor(k + sqrt(n)) for k = 0 .. ceil(n) - 1, n = fps * interval, and their weights [1].

    VoxCeleb1 at 25/6 frames a second and an interval of 1 s: 2 to 6 frames, 0.48 s to 1.44 s; 'decreasing' weighs them
    5:4:3:2:1.

    Raises:
        ValueError: an interval shorter than a frame, or an unknown weighting.
    """
    frames = fps * interval
    if not frames >= 1:
        raise ValueError(f"interval: expected at least a frame, 1/fps = {1 / fps:.3g} s, got {interval:g}")
    if weighting not in WEIGHTINGS:
        raise ValueError(f"weighting: expected one of {', '.join(WEIGHTINGS)}, got {weighting!r}")
    offsets = np.unique(np.floor(np.arange(np.ceil(frames)) + np.sqrt(frames)).astype(np.int64))
    ramp = np.arange(1.0, len(offsets) + 1)
    weights = {"uniform": np.ones(len(offsets)), "increasing": ramp, "decreasing": ramp[::-1]}[weighting]
    return offsets, weights / weights.sum()


class ClipIndex:
    """The frames of a table by clip, and draws of frames that belong together.

    Frames are told apart by the column ``frame``: a clip with holes has no partner where the hole is.

    Attributes:
        left_out: clip number -> its number of frames, for clips that are too short for what is asked.
    """

    def __init__(
        self, table, *, fps: float, interval: float | None, hard_interval: float | None,
        weighting: str = "decreasing", released: bool = False,
    ):  # fmt: skip
        """``interval`` and ``hard_interval`` in seconds; None is without TimeAug (positive = the same frame), without HardNeg.

        Raises:
            ValueError: no column clip or frame, a frame that stands twice, times that contradict ``fps``, an interval below
                a frame, or no clip that is long enough.
        """
        clip, frame = (np.asarray(table.column(name)).astype(np.int64) for name in ("clip", "frame"))
        self.rows = np.lexsort((frame, clip))
        clip, frame = clip[self.rows], frame[self.rows]
        self.numbers, self.first, self.length = np.unique(clip, return_index=True, return_counts=True)
        self.owner = np.repeat(np.arange(len(self.numbers)), self.length)  # which clip a sorted frame is of
        twice = (np.diff(clip) == 0) & (np.diff(frame) == 0)
        if twice.any():
            at = int(twice.argmax())
            raise ValueError(f"clip: {table.name!r} has frame {frame[at]} of clip {clip[at]} twice")
        _check_fps(table, self.rows, clip, frame, fps)
        self.offsets, self.weights = (np.zeros(1, np.int64), np.ones(1)) if interval is None else time_offsets(
            fps, interval, weighting
        )  # fmt: skip
        self.distance = None if hard_interval is None else int(fps * hard_interval)
        if self.distance == 0:
            raise ValueError(f"hard_interval: expected at least a frame, 1/fps = {1 / fps:.3g} s, got {hard_interval:g}")
        if self.distance is not None and self.distance <= self.offsets.max() and not released:
            largest = self.offsets.max()
            raise ValueError(
                f"hard_interval: expected more than TimeAug's largest offset ({largest} frames, {largest / fps:.3g} s), got"
                f" {hard_interval:g} s ({self.distance} frames): a positive might be its own hard negative"
            )
        self.released = released
        local = frame - frame[self.first][self.owner]
        stride = int(local.max()) + 1 + int(self.offsets.max()) + (self.distance or 0)  # no step leads into another clip
        self.key = self.owner * stride + local
        everything = np.arange(len(self.key))
        self._partnered = np.zeros(len(self.key), bool)
        for offset in self.offsets:
            self._partnered |= (self._find(everything, offset) >= 0) | (self._find(everything, -offset) >= 0)
        self._partners_before = np.concatenate([[0], np.cumsum(self._partnered)])
        usable = self._partnered.copy()
        if self.distance is not None:
            usable &= sum(self._counts(everything)) > 0
        self._usable_before = np.concatenate([[0], np.cumsum(usable)])
        usable_of = self._usable_before[self.first + self.length] - self._usable_before[self.first]
        self.used = np.flatnonzero(usable_of)
        short = np.flatnonzero(usable_of == 0)
        self.left_out = {int(self.numbers[i]): int(self.length[i]) for i in short}
        self._folders = None  # of the first clips that are left out, where the table knows its files
        if "file" in table.columns:
            self._folders = [os.path.dirname(table.column("file")[self.rows[self.first[i]]]) for i in short[:SHOWN]]
        if not len(self.used):
            asked = [] if interval is None else [f"an interval of {interval:g} s ({self.offsets.min()} frames or more)"]
            more = " and one more, as released" if released else ""
            asked += [] if hard_interval is None else [f"a hard_interval of {hard_interval:g} s ({self.distance} frames{more})"]
            raise ValueError(
                f"clip: no clip of {table.name!r} is long enough for {' and '.join(asked)} at {fps:g} frames a second; the"
                f" longest has {self.length.max()} frames. Lower the intervals, or set fps to the clips' own"
            )

    def notice(self) -> str | None:
        """Which clips are too short, by their folders or numbers, for the log; None when none is."""
        if not self.left_out:
            return None
        names = self._folders or list(self.left_out)[:SHOWN]
        named = [f"{name} ({count})" for name, count in zip(names, self.left_out.values())]
        more = ", ..." if len(self.left_out) > SHOWN else ""
        by = "folder" if self._folders else "number"
        return (
            f"{len(self.left_out)} of {len(self.numbers)} clips are too short and left out: {by} (frames)"
            f" {', '.join(named)}{more}"
        )

    def draw(self, generator: Generator) -> Tensor:
        """One anchor a clip and what is seen with it: table rows [clips, 2] (anchor, positive), or [clips, 4] with HardNeg
        (anchor, positive, negative anchor, its positive). ``generator`` lies on the CPU.

        The second pair never shows a frame of the first: where no other fits, its positive is the negative anchor itself, seen
        twice. (``released``: it may, so that the very frame that is a positive is a negative too.)
        """
        draws = torch.rand(7, len(self.used), dtype=torch.float64, generator=generator).numpy()
        clips = self.used
        low = self._usable_before[self.first[clips]]
        count = self._usable_before[self.first[clips] + self.length[clips]] - low
        anchor = _nth(self._usable_before, low + np.floor(draws[0] * count).astype(np.int64))
        frames = [anchor, self._partner(anchor, draws[1], draws[2])]
        if self.distance is not None:
            other = self._hard_negative(anchor, draws[3], draws[4])
            partner = self._partner(other, draws[5], draws[6], () if self.released else frames)
            frames += [other, partner if self.released else np.where(partner < 0, other, partner)]
        found = np.stack(frames, 1)
        return torch.from_numpy(self.rows[found[(found >= 0).all(1)]])

    def donors(self, rows: Tensor, identity: np.ndarray, generator: Generator) -> Tensor:
        """A frame of another clip for each of the table rows ``rows`` [B]: uniform over the clips of other identities, then
        over the frames. ``released``: over all clips, the own among them, as in the published code.

        Raises:
            ValueError: there is only one identity.
        """
        person = np.asarray(identity)[self.rows[self.first]]  # of each clip
        order = np.argsort(person, kind="stable")
        own = np.asarray(identity)[rows.numpy()]
        draws = torch.rand(2, len(rows), dtype=torch.float64, generator=generator).numpy()
        if self.released:
            chosen = np.floor(draws[0] * len(order)).astype(np.int64)
        else:
            start, stop = (np.searchsorted(person[order], own, side) for side in ("left", "right"))
            others = len(order) - (stop - start)
            if (others == 0).any():
                raise ValueError(f"identity: a donor is of another identity, but all clips are of {own[0]}")
            chosen = np.floor(draws[0] * others).astype(np.int64)
            chosen += np.where(chosen >= start, stop - start, 0)  # over the own clips
        clip = order[chosen]
        return torch.from_numpy(self.rows[self.first[clip] + np.floor(draws[1] * self.length[clip]).astype(np.int64)])

    def _find(self, places: np.ndarray, step: np.ndarray | int) -> np.ndarray:
        """Place of the frame ``step`` frames later in the same clip, -1 where there is none."""
        wanted = self.key[places] + step
        found = np.minimum(np.searchsorted(self.key, wanted), len(self.key) - 1)
        return np.where(self.key[found] == wanted, found, -1)

    def _partner(self, places: np.ndarray, which: np.ndarray, side: np.ndarray, shown=()) -> np.ndarray:
        """TimeAug: the frame at a drawn offset, before or after where both exist; -1 where the drawn one does not fit.

        ``shown``: frames that do not count as being there.
        """
        both = [np.stack([self._find(places, sign * offset) for offset in self.offsets], 1) for sign in (-1, 1)]
        for frames in shown:
            both = [np.where(found == frames[:, None], -1, found) for found in both]
        weights = np.broadcast_to(self.weights, both[0].shape)
        if not self.released:
            weights = weights * ((both[0] >= 0) | (both[1] >= 0))
        ladder = np.cumsum(weights, 1)
        chosen = np.minimum((ladder <= which[:, None] * ladder[:, -1:]).sum(1), len(self.offsets) - 1)
        before, after = (found[np.arange(len(places)), chosen] for found in both)
        return np.where((before >= 0) & ((after < 0) | (side < 0.5)), before, after)

    def _ranges(self, places: np.ndarray) -> tuple[np.ndarray, ...]:
        """Two ranges of places, far enough before and after: (start, stop, start, stop)."""
        first = self.first[self.owner[places]]
        last = first + self.length[self.owner[places]]
        key = self.key[places]
        stop = np.searchsorted(self.key, key - self.distance - self.released, "right")
        start = np.searchsorted(self.key, key + self.distance, "left")
        return first, np.maximum(stop, first), np.minimum(start, last), np.maximum(last - self.released, np.minimum(start, last))

    def _counts(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How many frames that have a partner lie far enough before and after."""
        begin, end, start, stop = (self._partners_before[bound] for bound in self._ranges(places))
        return end - begin, stop - start

    def _hard_negative(self, places: np.ndarray, side: np.ndarray, which: np.ndarray) -> np.ndarray:
        """HardNeg: uniform over the frames far enough away (released: over the sides, then over the frames of one)."""
        begin, _, start, _ = (self._partners_before[bound] for bound in self._ranges(places))
        before, after = self._counts(places)
        if self.released:
            back = (before > 0) & ((after == 0) | (side < 0.5))
            at = np.floor(which * np.where(back, before, after)).astype(np.int64)
        else:
            at = np.floor(which * (before + after)).astype(np.int64)
            back = at < before
            at = np.where(back, at, at - before)
        return _nth(self._partners_before, np.where(back, begin, start) + at)


def _nth(before: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Place of the ``number``-th True (from 0), ``before`` [n + 1] counting the True ones before each place."""
    return np.searchsorted(before, number, "right") - 1


def _check_fps(table, rows: np.ndarray, clip: np.ndarray, frame: np.ndarray, fps: float) -> None:
    """Where the table has times, they must say the same: a wrong fps would make all intervals others than those asked for."""
    if "time" not in table.columns:
        return
    time = np.asarray(table.column("time"), float)[rows]
    step = np.diff(time)
    known = (np.diff(clip) == 0) & np.isfinite(step) & (step > 0)
    if known.any():
        own = float(np.median(np.diff(frame)[known] / step[known]))
        if abs(own - fps) > 0.05 * own:
            raise ValueError(f"fps: the clips of {table.name!r} have {own:.4g} frames a second (column 'time'), got {fps:.4g}")
