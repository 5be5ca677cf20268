"""Two views of frames of a clip, with the strategies that SSL-FER adds: what its three base methods start from.

References:
    [1] Shu et al., Revisiting Self-Supervised Contrastive Learning for Facial Expression Recognition (SSL-FER), BMVC 2022:
        TimeAug, HardNeg, FaceSwap, random masking of a part; CutMix as a baseline of FaceSwap.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn

from lib.clips import WEIGHTINGS, ClipIndex
from lib.faces.parts import MASKED, cover_part
from lib.faces.swap import swap_faces
from lib.loading import ClipBatch
from lib.methods.checks import check_counts, check_not_negative, check_positive
from lib.views import Views, colour_jitter, cut_mix, hue_jitter, random_blur, random_view, uniform, window_crop


@dataclass(frozen=True)
class ClipSettings:
    """What all methods on clips are told.

    Attributes:
        variant: ``corrected`` or ``released``; see the method.
        time_aug: the positive is a frame about ``interval`` seconds away, not the same frame.
        face_swap: positives get another person's head, with their own inner face.
        cut_mix: positives get a box of another image of the batch, of up to half of the area. Our settings: none are
            published.
        fps: frames a second of the clips; 25/6 is VoxCeleb1 as SSL-FER reads it. Where a set has times they must agree.
        interval: seconds, of TimeAug. weighting: of its offsets, ``uniform``, ``increasing`` or ``decreasing``.
        mix_probability: share of the positives that FaceSwap, and that CutMix, changes.
        swap_feather: softness of a swapped face's edge, in distances between the eyes.
        part_mask: probability that one eye or the mouth is covered, in each view; needs landmarks.
        head_hidden, head_dim: the projection head's widths.
        learning_rate, weight_decay: of Adam.
    """

    variant: str = "corrected"
    time_aug: bool = False
    face_swap: bool = False
    cut_mix: bool = False
    fps: float = 25 / 6
    interval: float = 1.0
    weighting: str = "decreasing"
    mix_probability: float = 0.8
    swap_feather: float = 0.08
    part_mask: float = 0.8
    head_hidden: int = 2048
    head_dim: int = 128
    learning_rate: float = 3e-4
    weight_decay: float = 1e-4

    def __post_init__(self):
        if self.variant not in ("corrected", "released"):
            raise ValueError(f"variant: expected 'corrected' or 'released', got {self.variant!r}")
        if self.weighting not in WEIGHTINGS:
            raise ValueError(f"weighting: expected one of {', '.join(WEIGHTINGS)}, got {self.weighting!r}")
        check_positive(self, "fps", "interval", "learning_rate")
        for name in ("mix_probability", "part_mask"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected a probability in [0, 1], got {getattr(self, name)}")
        check_not_negative(self, "swap_feather", "weight_decay")
        check_counts(self, "head_hidden", "head_dim")


@dataclass(frozen=True)
class NegativeSettings(ClipSettings):
    """Those, and what needs negatives.

    Attributes:
        hard_neg: a frame of the same clip, at least ``hard_interval`` seconds away, and its own positive join the batch, as
            negatives of the clip's first pair.
        mask_fn: the sample with the most similar eyes and mouth is taken for a false negative and attracted.
        false_weight: of that term. false_threshold: a cosine of descriptors; below it nothing is picked (corrected).
        descriptor, descriptor_pretrained: see lib.models.part_descriptor; the published network is torchvision's ResNet-18 with
            torchvision's weights, which timm calls resnet18.tv_in1k (its own resnet18 has others).
    """

    hard_neg: bool = False
    hard_interval: float = 3.0
    mask_fn: bool = False
    false_weight: float = 0.8
    false_threshold: float = 0.5
    descriptor: str = "resnet18.tv_in1k"
    descriptor_pretrained: bool = True
    temperature: float = 0.07

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "hard_interval", "temperature")
        check_not_negative(self, "false_weight")
        if not -1 <= self.false_threshold <= 1:
            raise ValueError(f"false_threshold: expected a cosine in [-1, 1], got {self.false_threshold}")


class Pairs(NamedTuple):
    """Two views of n images, ``both`` [2n, 3, H, W], the ``first`` n before the ``second``: row i + n is row i's positive. With
    HardNeg n = 2B, and rows i and i + B are of the same clip, else n = B. frames, landmarks [2n, ...]: the frames that the views
    show, unchanged. clip [n]. swap_failed: share of the swaps that were wanted and failed, None without FaceSwap."""

    both: Tensor
    frames: Tensor
    landmarks: Tensor | None
    clip: Tensor
    swap_failed: Tensor | None

    @property
    def first(self) -> Tensor:
        return self.both[: len(self.clip)]

    @property
    def second(self) -> Tensor:
        return self.both[len(self.clip) :]


class ClipPairs(nn.Module):
    """Draws the items of an epoch, and makes two views of them."""

    def __init__(self, settings: ClipSettings, views: Views):
        super().__init__()
        self.settings, self.view_config = settings, views
        self.released = settings.variant == "released"
        self.hard_neg = getattr(settings, "hard_neg", False)
        # the published code draws the part once for each of its two transforms, for a whole run
        self.register_buffer("parts", torch.randint(len(MASKED), (2,)) if self.released else torch.zeros(2, dtype=torch.long))
        self._table = self._index = None

    def items(self, table, epoch: int, draw) -> Tensor:
        """Rows [clips, 2 or 4 (HardNeg), + 1 with FaceSwap]: anchor, positive, negative anchor, its positive, donor.

        One item a clip, drawn anew in every epoch (released: once for the run), in random order. Clips that are too short are
        named when the first epoch is drawn; those that a released draw does not fit are counted.

        Raises:
            ValueError: no clip is long enough; the set lacks a column or the landmarks that a strategy needs.
        """
        first_time = self._table is not table
        if first_time:
            self._check(table)
            settings = self.settings
            self._index = ClipIndex(
                table, fps=settings.fps, interval=settings.interval if settings.time_aug else None,
                hard_interval=settings.hard_interval if self.hard_neg else None, weighting=settings.weighting,
                released=self.released,
            )  # fmt: skip
            self._table = table
            if notice := self._index.notice():
                print(f"{table.name}: {notice}", flush=True)
        generator = draw(0 if self.released else epoch)
        rows = self._index.draw(generator)
        if first_time and (lost := len(self._index.used) - len(rows)):  # released only
            clips = len(self._index.numbers)
            print(f"{table.name}: {lost} of {clips} clips are left out of this run: what was drawn does not fit", flush=True)
        if self.settings.face_swap:
            donors = self._index.donors(rows[:, 0], table.column("identity"), generator)
            rows = torch.cat([rows, donors[:, None]], 1)
        return rows[torch.randperm(len(rows), generator=draw(epoch) if self.released else generator)]

    def _check(self, table) -> None:
        needs = {"part_mask": self.settings.part_mask > 0, "face_swap": self.settings.face_swap,
                 "mask_fn": getattr(self.settings, "mask_fn", False)}  # fmt: skip
        asking = [name for name, wanted in needs.items() if wanted]
        if asking and not table.has_landmarks:
            raise ValueError(
                f"{asking[0]}: {table.name!r} has no landmarks, and {', '.join(asking)} need them; add them to the set, or"
                " switch these off (false, part_mask: 0)"
            )

    @torch.no_grad()
    def forward(self, batch: ClipBatch, generator: Generator) -> Pairs:
        """Swap, cover a part, augment, cut and mix: [B, k, 3, H, W] -> :class:`Pairs`, in one go for all clips."""
        kind = batch.images.device.type
        half = kind == "cuda" and torch.is_autocast_enabled(kind)  # what is seen in half precision may be coloured in it
        with torch.autocast(kind, enabled=False):  # places and pixels, which half precision would round
            return self._made(batch, generator, half)

    def _made(self, batch: ClipBatch, generator: Generator, half: bool) -> Pairs:
        settings, pairs = self.settings, 2 if self.hard_neg else 1
        order = [2 * i for i in range(pairs)] + [2 * i + 1 for i in range(pairs)]  # A, N, P, Q
        frames = torch.cat([batch.images[:, k] for k in order])
        landmarks = None if batch.landmarks is None else torch.cat([batch.landmarks[:, k] for k in order])
        seen, places, failed = frames, landmarks, None
        middle = len(frames) // 2
        if settings.face_swap:
            second, second_places, failed = self._swapped(batch, frames[middle:], landmarks[middle:], generator)
            seen, places = torch.cat([frames[:middle], second]), torch.cat([landmarks[:middle], second_places])
        seen = self._augmented(seen, places, generator, half)
        if settings.cut_mix:
            seen[middle:] = cut_mix(seen[middle:], settings.mix_probability, generator)
        return Pairs(seen, frames, landmarks, batch.clip.repeat(pairs), failed)

    def _swapped(self, batch: ClipBatch, faces: Tensor, places: Tensor, generator: Generator):
        """A clip's positives get the same head: only their expressions tell them apart then."""
        wanted = uniform(faces, 0, 1, generator).flatten() < self.settings.mix_probability
        heads, head_places = batch.images[:, -1], batch.landmarks[:, -1]
        swapped = swap_faces(heads, head_places, faces, places, self.settings.swap_feather, self.released, wanted)
        failed = (wanted & ~swapped.done).sum() / wanted.sum().clamp(min=1)
        return swapped.images, swapped.landmarks, failed

    def _augmented(self, images: Tensor, landmarks: Tensor | None, generator: Generator, half: bool) -> Tensor:
        if self.settings.part_mask:
            draws = torch.rand(2, len(images), generator=generator, device=images.device)
            drawn = self.parts.repeat_interleave(len(images) // 2) if self.released else (draws[0] * len(MASKED)).long()
            images = cover_part(images, landmarks, drawn, draws[1] < self.settings.part_mask)
        if not self.released:
            return random_view(images, self.view_config, generator, half)
        # the published swap trainer reads BGR and never converts it
        return released_views(images.flip(1) if self.settings.face_swap else images, generator)


def released_views(images: Tensor, generator: Generator) -> Tensor:
    """SSL-FER's augmentation [1]: the second half of the images are second views, whose colours change in 80 % only.

    A window of 112/128 of each side, mirror, brightness, contrast and saturation 0.4 and hue 0.2, blur by 3 taps of a sigma
    up to 2 px in half of the images, grey in 20 %. torchvision changes the colours in random order, here it is fixed.
    """
    images = window_crop(images, 112 / 128, generator)
    coloured = hue_jitter(colour_jitter(images, 0.4, 0.0, generator), 0.2, generator)
    second = (torch.arange(len(images), device=images.device) >= len(images) // 2).view(-1, 1, 1, 1)
    images = torch.where(second & (uniform(images, 0, 1, generator) >= 0.8), images, coloured)
    images = random_blur(images, 0.5, generator, largest=2.0, radius=1)
    return colour_jitter(images, 0.0, 0.2, generator)
