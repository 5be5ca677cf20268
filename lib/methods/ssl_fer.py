"""SSL-FER on SimCLR: contrastive learning on clips, so that expressions rather than people are told apart.

References:
    [1] Shu et al., Revisiting Self-Supervised Contrastive Learning for Facial Expression Recognition, BMVC 2022.
    [2] Chen et al., SimCLR, ICML 2020: the base loss, and without any strategy the whole method.
"""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from lib.loading import ClipBatch
from lib.losses.contrastive import other_view, two_view_nt_xent
from lib.losses.maskfn import maskfn_with_picks
from lib.methods.adam import adam
from lib.methods.clip_pairs import ClipPairs, NegativeSettings, Pairs
from lib.models.encoder import Encoder, EncoderConfig
from lib.models.heads import mlp, projection
from lib.models.part_descriptor import PartDescriptor, less_mean
from lib.views import Views


CONSTANT_EPOCHS = 10  # released: the scheduler's first step comes at the end of the epoch of this number, from 0


@dataclass(frozen=True)
class SslFerConfig(NegativeSettings):
    """SSL-FER's settings; the defaults are its best row, all four strategies. All strategies false is SimCLR on clips.

    Attributes:
        tile: rows of the matrix of similarities that the loss holds at a time, for large batches; 0: all. The loss does not
            depend on it. With MaskFN the matrix of the descriptors' similarities is held whole nevertheless.
    """

    time_aug: bool = True
    hard_neg: bool = True
    face_swap: bool = True
    mask_fn: bool = True
    tile: int = 0

    def __post_init__(self):
        super().__post_init__()
        if self.tile < 0:
            raise ValueError(f"tile: expected at least 1 row, or 0 for all, got {self.tile}")


class SslFer(nn.Module):
    """NT-Xent over two views of a frame pair of each clip [2], with TimeAug, HardNeg, FaceSwap, MaskFN and CutMix [1].

    ``released`` does what the published trainers do, where ``corrected`` differs:

    - pairs are drawn once for a run, not in every epoch; a draw that does not fit leaves its clip out;
    - hard negatives: first a side, then a frame; the farthest in front and the nearest behind never come;
    - the covered part (an eye or the mouth) is drawn once for a run and view, not for each image, and so is a clip's donor of a head;
    - the augmentation is the published one, not the ``views`` of all methods here;
    - a swapped face has hard edges and colours that wrap around beyond 255, its donor may be the same person, and with
      FaceSwap the training images are BGR, while the encoder is later shown RGB;
    - MaskFN compares descriptors as they are, not less their mean over the batch (without it all faces are alike), and picks
      for every row, however unlike the most similar one is; a hard negative may be picked, so that it is
      attracted; the picked sample's other view stays a negative; samples without landmarks pick each other;
    - the head has no batch norm: with FaceSwap in small batches all embeddings become the same at the start, and stay so
      for long;
    - a hard negative's positive may be a frame of the first pair, which is then both positive and negative;
    - the learning rate falls as a cosine whose half period is as many epochs as an epoch has steps, after a start of 11 epochs
      at its height: on VoxCeleb1, about 1,200 steps an epoch, it hardly falls. What params.yaml's schedule says of the rate
      is not looked at.

    In both: the published trainers are two, and neither can run all four strategies; the margin around a covered part, 10 px of
    frames of 224, grows and shrinks with the image; where a descriptor is missing its cosine to others is 0 (published: that of a
    black patch); negative anchors are drawn among frames that have a partner; HardNeg is really on where it is
    switched on (the published MaskFN trainer ignores it) and off means two images a clip, not four; frames of a clip are
    ordered; landmarks are cached and not found anew at each look; a swap with landmarks that cannot be used leaves the image as
    it is and is counted (history: ``swap_failed``); the weights of the last epoch are kept, not those of the last training batch
    with the best share of right positives; Adam as published.
    """

    def __init__(self, config: SslFerConfig, network: EncoderConfig, views: Views):
        super().__init__()
        self.config, self.view_config = config, views
        self.network = Encoder(network)
        head = projection if config.variant == "corrected" else mlp
        self.head = head(self.network.dim, config.head_hidden, config.head_dim)
        self.pairs = ClipPairs(config, views)
        self.descriptor = PartDescriptor(config.descriptor, config.descriptor_pretrained) if config.mask_fn else None

    def embed(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] -> what the loss compares, [B, head_dim]."""
        return self.head(self.network(images))

    def items(self, table, epoch: int, draw) -> Tensor:
        return self.pairs.items(table, epoch, draw)

    def views(self, batch: ClipBatch, generator: Generator) -> list[dict]:
        """One step: ``images`` [2n, 3, H, W] (see lib.methods.clip_pairs.Pairs) and what MaskFN compares."""
        pairs = self.pairs(batch, generator)
        views = {"images": pairs.both, "notes": {}}
        if pairs.swap_failed is not None:
            views["notes"]["swap_failed"] = pairs.swap_failed
        if self.descriptor is not None:
            with torch.autocast(pairs.frames.device.type, enabled=False):  # who is most similar must not be a matter of rounding
                views |= self._compared(pairs)
        return [views]

    @torch.no_grad()
    def _compared(self, pairs: Pairs) -> dict:
        """``similarity`` [2n, 2n] of the descriptors of the unchanged frames, and the pairs that are ``protected``."""
        descriptors, valid = self.descriptor(pairs.frames, pairs.landmarks)
        if self.config.variant == "released":  # all descriptors of black patches are the same
            similarity, missing = descriptors @ descriptors.T, ~valid
            return {"similarity": similarity.masked_fill(missing[:, None] & missing, 1.0), "protected": None}
        descriptors = less_mean(descriptors)
        similarity, clip = descriptors @ descriptors.T, pairs.clip.repeat(2)
        protected = (clip[:, None] == clip) | ~(valid[:, None] & valid) | (similarity <= self.config.false_threshold)
        return {"similarity": similarity, "protected": protected}

    def loss(self, views: dict) -> dict[str, Tensor]:
        """NT-Xent, or with MaskFN its two terms in one, and the shares of failed swaps and of rows that pick."""
        z = self.embed(views["images"])
        config = self.config
        tile, notes = config.tile or None, dict(views["notes"])
        if self.descriptor is None:
            loss = two_view_nt_xent(*z.chunk(2), config.temperature, tile)
        else:
            loss, picked = maskfn_with_picks(
                z, other_view(len(z), z.device), views["similarity"], config.temperature, config.false_weight, views["protected"],
                spare_views=config.variant == "corrected", tile=tile,
            )  # fmt: skip
            notes["picked"] = (picked >= 0).float().mean()
        return {"loss": loss, **notes, "embedding": z[: len(z) // 2]}

    def optimizer(self) -> torch.optim.Optimizer:
        return adam(self, self.config.learning_rate, self.config.weight_decay)

    def rate(self, step: int, steps_per_epoch: int) -> float | None:
        """Factor of the learning rate; None: that of the schedule. Released: the scheduler counts epochs, its period steps."""
        if self.config.variant == "corrected":
            return None
        return 0.5 * (1 + math.cos(math.pi * max(step // steps_per_epoch - CONSTANT_EPOCHS, 0) / steps_per_epoch))

    def encoder(self) -> Encoder:
        return self.network
