"""SimCLR, and SimCLR with one adversarial positive: the baselines that show what DAFR and NOCL add.

References:
    [1] Chen et al., SimCLR, ICML 2020.
    [2] Kim, Tack, Hwang, Adversarial Self-Supervised Contrastive Learning (RoCL), NeurIPS 2020: the adversarial view of
        an image, found without labels, is one more positive of it.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from lib.losses.contrastive import two_view_nt_xent
from lib.methods.adam import adamw
from lib.methods.adversarial_view import turned_away
from lib.methods.checks import check_attack, check_counts, check_not_negative, check_positive
from lib.methods.modes import eval_mode
from lib.models.encoder import Encoder, EncoderConfig
from lib.models.heads import projection
from lib.views import Views, random_view


@dataclass(frozen=True)
class SimCLRConfig:
    """SimCLR's settings.

    Attributes:
        variant: only ``corrected``: there is no released code of this baseline.
        temperature: of NT-Xent.
        head_hidden, head_dim: the projection head's widths.
        learning_rate, weight_decay: of AdamW.
        attack_steps: sign steps of the adversarial positive [2]; 0 is plain SimCLR.
        attack_eps, attack_alpha: its L-infinity budget and step size, in pixel values of 255.
    """

    variant: str = "corrected"
    temperature: float = 0.2
    head_hidden: int = 256
    head_dim: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    attack_steps: int = 0
    attack_eps: float = 8.0
    attack_alpha: float = 4.0

    def __post_init__(self):
        if self.variant != "corrected":
            raise ValueError(f"variant: SimCLR has only 'corrected', got {self.variant!r}")
        check_positive(self, "temperature", "learning_rate")
        check_not_negative(self, "weight_decay")
        check_counts(self, "head_hidden", "head_dim")
        check_attack(self)


class SimCLR(nn.Module):
    """Two views of an image attract each other, all other images of the batch repel; optionally a third, adversarial view."""

    def __init__(self, config: SimCLRConfig, network: EncoderConfig, views: Views):
        super().__init__()
        self.config, self.view_config = config, views
        self.network = Encoder(network)
        self.head = projection(self.network.dim, config.head_hidden, config.head_dim)

    def embed(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] -> what the loss compares, [B, head_dim]."""
        return self.head(self.network(images))

    def views(self, images: Tensor, generator: Generator) -> list[dict]:
        """Two (three) views, [2B or 3B, 3, H, W], image-major within a view; one optimiser step."""
        first, second = (random_view(images, self.view_config, generator) for _ in range(2))
        views = [first, second]
        if self.config.attack_steps:
            with eval_mode(self):  # the attack must not move the batch-norm statistics
                with torch.no_grad():
                    target = self.embed(second)
                views.append(turned_away(self.embed, first, target, self.config, generator))
        return [{"images": torch.cat(views), "count": len(images)}]

    def loss(self, views: dict) -> dict[str, Tensor]:
        """NT-Xent between the first two views, and between the adversarial view and the second [2]."""
        z = self.embed(views["images"]).split(views["count"])
        terms = {"contrast": two_view_nt_xent(z[0], z[1], self.config.temperature)}
        if len(z) == 3:
            terms["adversarial_contrast"] = two_view_nt_xent(z[2], z[1], self.config.temperature)
        return {"loss": sum(terms.values()) / len(terms), **terms, "embedding": z[0]}

    def optimizer(self) -> torch.optim.Optimizer:
        return adamw(self, self.parameters(), self.config.learning_rate, self.config.weight_decay)

    def encoder(self) -> Encoder:
        return self.network
