"""AUNCE: contrastive learning of action units from AU labels, and its supervised ancestor.

References:
    [1] AUNCE: the released code. Its network is in lib.models.au_graph, its loss in lib.losses.aunce, its views in
        lib.methods.aunce_views.
    [2] Luo et al., ME-GraphAU, IJCAI 2022: the ancestor, the same network trained by weighted cross-entropy.
"""

from dataclasses import dataclass, field, replace

import torch
from torch import Generator, Tensor, nn

from lib.datasets.action_units import BP4D_UNITS, au_labels
from lib.degrade.draws import drawn_here
from lib.losses.aunce import FIRST_RELEASE, PROBABILITIES, checked_aunce_loss, draw_branches
from lib.losses.weighted_bce import checked_weighted_bce, inverse_rate_weights
from lib.methods.adam import adamw
from lib.methods.aunce_views import enhanced_view
from lib.methods.checks import check_counts, check_not_negative, check_positive
from lib.models.encoder import Encoder, EncoderConfig
from lib.models.start import IMAGENET, SCRATCH, started_encoder
from lib.views import Views

# The published backbone; weights of ImageNet-1k were loaded into it.
PUBLISHED = EncoderConfig(224, "swin_base_patch4_window7_224", {"drop_path_rate": 0.5})


@dataclass(frozen=True)
class AunceConfig:
    """AUNCE's settings; the defaults are the published ones, but for ``init``, which needs no network.

    Attributes:
        variant: ``corrected``, ``released``, or ``first_release``: the code of February 2024, from which the published
            numbers on DISFA are; it has beta_absent 0.4, whatever ``beta_absent`` says, and weighs the AUs.
        objective: ``contrast``, or ``cross_entropy``: the ancestor [2], the same network with a head of two layers per AU.
        units: the numbers of the AUs, in the order of the label columns.
        temperature: T of the loss.
        beta_present, beta_absent: exponents of the negatives of an anchor whose AU is present, absent.
        probabilities: of the three kinds of positives: max, mean, self.
        width: length of an AU's vector; 0 is the width of the backbone's tokens.
        neighbours: of a node in the graph of AUs.
        layer: which map of a backbone that gives several is read.
        crop: share of the height and width that a view shows; the finished encoder sees that share around the centre.
        init: where the network begins: ``scratch``, ``imagenet`` (published), PATH@DIGEST of an encoder's file, or the name of
            another entry, under ``continued`` in params.yaml alone. DAR-SFRL's restorer comes along; see lib.models.start.
        learning_rate, weight_decay: of AdamW.
    """

    variant: str = "corrected"
    objective: str = "contrast"
    units: list[int] = field(default_factory=lambda: list(BP4D_UNITS))
    temperature: float = 0.5
    beta_present: float = 1.2
    beta_absent: float = 0.8
    probabilities: list[float] = field(default_factory=lambda: list(PROBABILITIES))
    width: int = 0
    neighbours: int = 4
    layer: int = -1
    crop: float = 0.875
    init: str = SCRATCH
    learning_rate: float = 1e-5
    weight_decay: float = 1e-6

    def __post_init__(self):
        choices = {"variant": ("corrected", "released", "first_release"), "objective": ("contrast", "cross_entropy")}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name}: expected one of {', '.join(known)}, got {getattr(self, name)!r}")
        check_positive(self, "temperature", "beta_present", "beta_absent", "learning_rate")
        check_not_negative(self, "weight_decay")
        check_counts(self, "neighbours")
        if not self.units or len(set(self.units)) < len(self.units) or min(self.units) < 1:
            raise ValueError(f"units: expected different numbers of action units, got {self.units}")
        if not 0 < self.crop <= 1:
            raise ValueError(f"crop: expected a share in (0, 1], got {self.crop}")
        if not self.init:
            raise ValueError(f"init: expected {SCRATCH}, {IMAGENET}, PATH@DIGEST of an encoder or the name of an entry, got {self.init!r}")
        if self.width < 0:
            raise ValueError(f"width: expected 0 (as wide as the tokens) or more, got {self.width}")
        draw_branches(1, torch.Generator(), self.probabilities)  # refuses what is no distribution


class Aunce(nn.Module):
    """Unit vectors of an AU attract where the AU's labels agree and repel where they differ; see lib.losses.aunce.

    Not free of labels: the training images need AU columns (see lib.training and :meth:`labels`).

    Deviations from the published code, in all variants: the encoder's own constant mean and deviation instead of
    CIFAR-10's; the learning rate's schedule is the training loop's; the order of the colour operations is drawn once a
    batch. Only in ``corrected``: what lib.losses.aunce says of 'max' and 'mean'. The width of the ancestor's head is not
    known; it is that of the AU's vector here.
    """

    def __init__(self, config: AunceConfig, network: EncoderConfig, views: Views):
        super().__init__()
        self.config, self.view_config = config, views
        graph = {"units": len(config.units), "width": config.width or None, "neighbours": config.neighbours}
        graph["layer"] = config.layer
        self.network, self.began_with = started_encoder(replace(network, au_graph=graph, centre=config.crop), config.init)
        self.head = None
        if config.objective == "cross_entropy":
            count, width = len(config.units), self.network.au_graph.width
            self.head = nn.Sequential(  # K heads side by side
                nn.Conv1d(count * width, count * width, 1, groups=count),
                nn.ReLU(inplace=True),
                nn.Conv1d(count * width, count, 1, groups=count),
            )
        self.register_buffer("unit_weights", torch.full((len(config.units),), float("nan")))
        self.rates_known = False  # once they are, no step looks again: it would wait for a GPU

    @property
    def weighs_units(self) -> bool:
        """Whether the loss needs :meth:`learn_rates`."""
        return self.config.objective == "cross_entropy" or self.config.variant == "first_release"

    def learn_rates(self, labels: Tensor) -> None:
        """Weigh the AUs by the inverse of their rate in ``labels`` [N, K] of the training images (9, -1 unknown)."""
        self.unit_weights.copy_(inverse_rate_weights(labels))

    def labels(self, table) -> Tensor:
        """The AU labels [N, K] of the training images; where the AUs are weighed their rates are learnt from them.

        Raises:
            ValueError: the table has none of the AUs.
        """
        labels = torch.from_numpy(au_labels(table, self.config.units))
        if self.weighs_units:
            self.learn_rates(labels)
        return labels

    def embed(self, images: Tensor) -> Tensor:
        """Views [B, 3, H, W], already cropped, -> one unit vector per AU, [B, D, K]."""
        return self.network.unit_vectors(self.network.restored(images, centre=1))

    def views(self, images: Tensor, generator: Generator, labels: Tensor) -> list[dict]:
        """Two views of every image (the ancestor: one), [2B, 3, H, W], with its AU labels [B, K]; one optimiser step."""
        units = len(self.config.units)
        if labels.shape != (len(images), units):
            raise ValueError(f"labels: expected [{len(images)}, {units}], one an image and AU, got {list(labels.shape)}")
        count = 1 if self.head is not None else 2
        shown = torch.cat([enhanced_view(images, self.config.crop, generator) for _ in range(count)])
        branch = draw_branches(units, drawn_here(generator), self.config.probabilities) if count == 2 else []
        return [{"images": shown, "labels": labels.to(images.device, non_blocking=True), "branch": branch}]

    def loss(self, views: dict) -> dict[str, Tensor]:
        """The AUNCE loss of two views, or the ancestor's weighted cross-entropy of one.

        Raises:
            ValueError: the AUs are to be weighed, and ``learn_rates`` was not called.
        """
        weights = self.unit_weights if self.weighs_units else None
        if weights is not None and not self.rates_known:
            if weights.isnan().any():
                raise ValueError("unit_weights: the AUs' rates are not known yet; call learn_rates(labels) before training")
            self.rates_known = True
        units, labels = self.embed(views["images"]), views["labels"]
        if self.head is not None:
            logits = self.head(units.mT.flatten(1)[..., None])[..., 0]
            return {"loss": checked_weighted_bce(logits, labels, weights), "embedding": units.flatten(1)}
        config = self.config
        beta = config.beta_present, FIRST_RELEASE["beta"][1] if config.variant == "first_release" else config.beta_absent
        first, second = units.chunk(2)
        value = checked_aunce_loss(  # labels from a table and normalised vectors are right
            first, second, labels, views["branch"], config.temperature, beta, config.variant != "corrected", weights
        )
        return {"loss": value, "embedding": first.flatten(1)}

    def optimizer(self) -> torch.optim.Optimizer:
        return adamw(self, self.parameters(), self.config.learning_rate, self.config.weight_decay)

    def encoder(self) -> Encoder:
        return self.network
