"""MoCo v2 on clips: a queue of keys from a slowly moving encoder serves as negatives; SSL-FER's strategies may be added.

References:
    [1] He et al., Momentum Contrast for Unsupervised Visual Representation Learning, CVPR 2020.
    [2] Chen et al., Improved Baselines with Momentum Contrastive Learning (MoCo v2), 2020: an MLP head, temperature 0.2.
    [3] Shu et al., SSL-FER, BMVC 2022: lists MoCo v2 as a baseline; no code or setting of it is published.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from lib.loading import ClipBatch
from lib.losses.moco import checked_moco_loss
from lib.methods.adam import adam
from lib.methods.clip_pairs import ClipPairs, NegativeSettings
from lib.methods.moving_average import follow, follower
from lib.models.encoder import Encoder, EncoderConfig
from lib.models.heads import mlp
from lib.models.part_descriptor import PartDescriptor, less_mean
from lib.views import Views


@dataclass(frozen=True)
class MoCoConfig(NegativeSettings):
    """MoCo v2's settings; no strategy of SSL-FER is on.

    Attributes:
        queue: number of keys that are kept; at least those of a batch.
        momentum: of the key encoder.
    """

    temperature: float = 0.2
    queue: int = 65536
    momentum: float = 0.999

    def __post_init__(self):
        super().__post_init__()
        if self.variant != "corrected":
            raise ValueError(f"variant: MoCo v2 has only 'corrected', no code of it on clips was released; got {self.variant!r}")
        if self.queue < 1:
            raise ValueError(f"queue: expected at least 1 key, got {self.queue}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum: expected a number in [0, 1), got {self.momentum}")


class MoCo(nn.Module):
    """The first view is the query, the second the key [1]; the loss looks one way, as published.

    With HardNeg a query's negatives are the queue and the key of its clip's other pair. With MaskFN a query picks its false
    negative in the queue, never from its own clip. Our choices, nothing is published: Adam, as for the other methods on
    clips, and no shuffled batch norm, which hides from a query which keys were normalised together: on one device all are.
    """

    def __init__(self, config: MoCoConfig, network: EncoderConfig, views: Views):
        super().__init__()
        self.config, self.view_config = config, views
        self.network = Encoder(network)
        self.head = mlp(self.network.dim, config.head_hidden, config.head_dim)
        self.key_network, self.key_head = follower(self.network), follower(self.head)
        self.pairs = ClipPairs(config, views)
        self.register_buffer("queue", F.normalize(torch.randn(config.queue, config.head_dim), dim=1))
        self.register_buffer("queue_clip", torch.full((config.queue,), -1))
        self.register_buffer("place", torch.zeros((), dtype=torch.long))
        self.descriptor = PartDescriptor(config.descriptor, config.descriptor_pretrained) if config.mask_fn else None
        if self.descriptor is not None:
            self.register_buffer("queue_descriptor", torch.zeros(config.queue, self.descriptor.dim))
        self._new = None

    def items(self, table, epoch: int, draw) -> Tensor:
        return self.pairs.items(table, epoch, draw)

    def views(self, batch: ClipBatch, generator: Generator) -> list[dict]:
        """One step: queries and keys [n, 3, H, W], their clips, and descriptors [2n, D] for MaskFN."""
        pairs = self.pairs(batch, generator)
        if len(pairs.first) > self.config.queue:
            raise ValueError(f"queue: expected at least the {len(pairs.first)} keys of a batch, got {self.config.queue}")
        views = {"query": pairs.first, "key": pairs.second, "clip": pairs.clip, "notes": {}}
        if pairs.swap_failed is not None:
            views["notes"]["swap_failed"] = pairs.swap_failed
        if self.descriptor is not None:
            with torch.autocast(pairs.frames.device.type, enabled=False):  # who is most similar must not be a matter of rounding
                views["descriptors"] = self.descriptor(pairs.frames, pairs.landmarks)[0]
                views["picked"] = self._picked(views["descriptors"][: len(pairs.first)], pairs.clip)
            views["notes"]["picked"] = (views["picked"] >= 0).float().mean()
        return [views]

    def _picked(self, descriptors: Tensor, clip: Tensor) -> Tensor:
        """The key in the queue with the most similar eyes and mouth, [n] long; -1 where none is similar enough."""
        kept = less_mean(self.queue_descriptor, descriptors)  # the frames change, their mean hardly: the batch's is that of all
        own = less_mean(descriptors)
        # neither a key that was drawn to fill the queue nor a face without landmarks has a descriptor: both are 0
        out = (clip[:, None] == self.queue_clip) | ~own.any(1)[:, None] | ~kept.any(1)
        best, picked = (own @ kept.T).masked_fill_(out, float("-inf")).max(1)
        return torch.where(best > self.config.false_threshold, picked, -1)

    def loss(self, views: dict) -> dict[str, Tensor]:
        """InfoNCE of queries and keys against the queue; the keys join it after the step."""
        query = self.head(self.network(views["query"]))
        with torch.no_grad():
            key = F.normalize(self.key_head(self.key_network(views["key"])).float(), dim=1)
        hard = key.roll(len(key) // 2, 0)[:, None] if self.config.hard_neg else None
        self._new = (key, views["clip"], views.get("descriptors"))
        loss = checked_moco_loss(
            query, key, self.queue, self.config.temperature, hard, views.get("picked"), self.config.false_weight
        )
        return {"loss": loss, **views["notes"], "embedding": query}

    def optimizer(self) -> torch.optim.Optimizer:
        return adam(self, self.config.learning_rate, self.config.weight_decay)

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """The key encoder follows, and the step's keys take the places of the oldest."""
        follow(self.key_network, self.network, self.config.momentum)
        follow(self.key_head, self.head, self.config.momentum)
        key, clip, descriptors = self._new
        places = (self.place + torch.arange(len(key), device=key.device)) % self.config.queue
        self.queue[places], self.queue_clip[places] = key, clip
        if descriptors is not None:
            self.queue_descriptor[places] = descriptors[-len(key) :]  # the second views'
        self.place.copy_((self.place + len(key)) % self.config.queue)

    def encoder(self) -> Encoder:
        return self.network
