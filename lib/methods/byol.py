"""BYOL on clips: a network predicts what a moving average of itself makes of another view; there are no negatives.

References:
    [1] Grill et al., Bootstrap Your Own Latent, NeurIPS 2020.
    [2] Shu et al., SSL-FER, BMVC 2022: lists BYOL as a baseline; its settings are not published.
"""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from lib.loading import ClipBatch
from lib.losses.byol import byol_loss
from lib.methods.adam import adam
from lib.methods.clip_pairs import ClipPairs, ClipSettings
from lib.methods.moving_average import follow, follower
from lib.models.encoder import Encoder, EncoderConfig
from lib.models.heads import normalised_mlp
from lib.views import Views


@dataclass(frozen=True)
class BYOLConfig(ClipSettings):
    """BYOL's settings. HardNeg and MaskFN are not among them: they are about negatives, and BYOL has none.

    Attributes:
        momentum: of the target at the start of training; it rises to 1 as a cosine [1].
    """

    head_hidden: int = 4096
    head_dim: int = 256
    momentum: float = 0.996

    def __post_init__(self):
        super().__post_init__()
        if self.variant != "corrected":
            raise ValueError(f"variant: BYOL has only 'corrected', no code of it that runs was released; got {self.variant!r}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum: expected a number in [0, 1), got {self.momentum}")


class BYOL(nn.Module):
    """Each view's prediction is drawn to the target's projection of the other view, both ways [1].

    Our choice, nothing is published: Adam, as for the other methods on clips, where [1] has LARS for batches of 4096.
    """

    def __init__(self, config: BYOLConfig, network: EncoderConfig, views: Views):
        super().__init__()
        self.config, self.view_config = config, views
        self.network = Encoder(network)
        self.projector = normalised_mlp(self.network.dim, config.head_hidden, config.head_dim)
        self.predictor = normalised_mlp(config.head_dim, config.head_hidden, config.head_dim)
        self.target_network, self.target_projector = follower(self.network), follower(self.projector)
        self.pairs = ClipPairs(config, views)
        self.steps = None

    def begin(self, steps: int) -> None:
        """The momentum's cosine is as long as the run."""
        self.steps = steps

    def items(self, table, epoch: int, draw) -> Tensor:
        return self.pairs.items(table, epoch, draw)

    def views(self, batch: ClipBatch, generator: Generator) -> list[dict]:
        """One step: both views [n, 3, H, W]."""
        pairs = self.pairs(batch, generator)
        notes = {} if pairs.swap_failed is None else {"swap_failed": pairs.swap_failed}
        return [{"first": pairs.first, "second": pairs.second, "notes": notes}]

    def loss(self, views: dict) -> dict[str, Tensor]:
        """The sum of both directions [1]: 0 where all agree, 8 at most."""
        # one view at a time, as published: batch norm must not see which rows are positives of each other
        projections = [self.projector(self.network(views[name])) for name in ("first", "second")]
        with torch.no_grad():
            targets = [self.target_projector(self.target_network(views[name])) for name in ("second", "first")]
        loss = sum(byol_loss(self.predictor(z), target) for z, target in zip(projections, targets, strict=True))
        return {"loss": loss, **views["notes"], "embedding": projections[0]}

    def optimizer(self) -> torch.optim.Optimizer:
        return adam(self, self.config.learning_rate, self.config.weight_decay)

    def after_step(self, step: int) -> None:
        """The target follows; see :meth:`momentum`."""
        follow(self.target_network, self.network, self.momentum(step))
        follow(self.target_projector, self.projector, self.momentum(step))

    def momentum(self, step: int) -> float:
        """1 - (1 - momentum) (cos(pi step / steps) + 1) / 2 [1]; constant where the number of steps is not known."""
        if self.steps is None:
            return self.config.momentum
        return 1 - (1 - self.config.momentum) * (math.cos(math.pi * step / self.steps) + 1) / 2

    def encoder(self) -> Encoder:
        return self.network
