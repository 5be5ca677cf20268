"""DAR-SFRL, corrected: degradation-aware restoration (DAFR) with noise-orthogonal contrastive learning (NOCL).

A degraded face is F' = F M + eps. In training M is drawn from a mixture of structured corruptions, and eps is Gaussian
noise plus the worst perturbation within an L-infinity ball that sign steps find against the model itself, without labels.
The restorer (lib.models.dafr) and a timm backbone on the restored image are trained together, one step on the sum of

    L_rec   DAFR: mean over stages of |x_k - g|_1 of the degraded faces, g the clean image of each, and, weighted less, of
            clean faces, so that restoring does not smooth what needs none
    L_frc   facial-robust contrast: the clean view and the degraded, attacked view of a face are positives, and so are
            two clean views, so that robustness is not bought with the clean score (NT-Xent, mean of the two)
    L_nsc   noise-sensitive contrast on the noise image n = y - x_K: two faces that went through the same corruption at
            the same severity are positives; every other corruption, and every clean face (the same face too), negatives
    L_orth  noise-orthogonal: the face embedding and the noise embedding share no linear direction (difference loss)

L_frc and L_nsc are balanced by a dynamic weight average, as published. After the last step a readout (lib.models.readout)
is fitted without labels; it decides which directions of all this a probe gets to see.

Where this goes beyond, or away from, the released code (`variant: released`, lib.methods.dar_sfrl_released), after what
the README promises ("keeps eps out of the representation", "adversarially robust"):
    * the representation is a readout of the restored pixels, as published, and of a backbone's maps on the restored image;
      the readout looks at which clip an image is from (never at who is in it);
    * clean and degraded views meet in the contrastive loss (published: the degraded folder alone);
    * positives of the noise contrast share the degradation (published: the image), so noise is what it is sensitive to;
    * L_orth acts on the embeddings that the two contrasts train (published: on frozen random projections of the pixels),
      so it cannot be met by a projection that throws everything away;
    * the contrasts use the last stage only, and there is no flip term: mirroring is one of the augmentations;
    * one gain and one offset a channel, the part of M that has a closed form, are undone before the learned stages, and
      the image is restored up to them (lib.models.photometric);
    * DAFR begins as the identity;
    * degradations are made on the fly and known, and eps has an adversarial part, found through restorer and backbone.

References: DAR-SFRL's README and configuration; Kim et al. (RoCL), NeurIPS 2020; Bousmalis et al. (DSN), NeurIPS 2016.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from lib.degrade.mixture import checked_degrade, checked_degrade_with
from lib.device import sent
from lib.losses.contrastive import checked_rows, two_view_nt_xent
from lib.losses.orthogonality import difference_loss
from lib.methods.adam import adamw
from lib.methods.adversarial_view import turned_away
from lib.methods.checks import check_attack, check_counts, check_not_negative, check_positive
from lib.methods.dwa import DynamicWeightAverage
from lib.methods.modes import eval_mode
from lib.models.encoder import Encoder, EncoderConfig
from lib.models.heads import projection
from lib.models.readout import fit_readout
from lib.views import Views, random_view, uniform


@dataclass(frozen=True)
class DarSfrlConfig:
    """DAR-SFRL's settings.

    Attributes:
        variant: ``corrected`` or ``released``.
        stages, channels, hidden: DAFR's size (published: 3, 16, 32). ``stages: 0`` takes DAFR away (an ablation).
        temperature: of the contrastive losses (published: 0.07).
        head_hidden, head_dim: widths of the projection heads (published: 2048, 512).
        learning_rate, weight_decay: of AdamW (corrected) or Adam (released: 1e-4, 1e-3 as published).
        restorer_learning_rate: corrected: DAFR's own; it is shallow, begins as the identity and takes larger steps.
        photometric: corrected: undo one gain and one offset a channel before DAFR (the part of M with a closed form).
        keep_image: corrected: the restored image is a part of the description, beside the backbone's maps.
        moving, components, weight: corrected: the readout's, see lib.models.readout. Neither moving nor components (both
            0) leaves it away: the whole description is the representation (an ablation).
        identity: share of images that no structured corruption touches.
        noise: corrected: largest sigma of the Gaussian noise, drawn per image; released: its sigma (published: 0.4).
        attack_steps, attack_eps, attack_alpha: corrected: the adversarial part of eps; eps and step in values of 255.
        restore_weight, orthogonal_weight: weights of L_rec and L_orth against the contrasts (published: 1).
        leave_weight: corrected: within L_rec, of clean faces against degraded ones.
        sensitive_batch, sensitive_negatives: released: images of a noise-contrast step and augmentations of the flip of
            each (published: 10 and 100).
        legacy_pairs: released: restoration targets are other images, as the published loader drew them by mistake.
    """

    variant: str = "corrected"
    stages: int = 3
    channels: int = 16
    hidden: int = 32
    temperature: float = 0.07
    head_hidden: int = 2048
    head_dim: int = 512
    learning_rate: float = 1e-4
    restorer_learning_rate: float = 1e-3
    weight_decay: float = 1e-3
    photometric: bool = True
    keep_image: bool = True
    moving: float = 0.18
    components: int = 64
    weight: float = 0.7
    identity: float = 0.1
    noise: float = 0.1
    attack_steps: int = 3
    attack_eps: float = 8.0
    attack_alpha: float = 4.0
    restore_weight: float = 1.0
    leave_weight: float = 0.3
    orthogonal_weight: float = 1.0
    sensitive_batch: int = 10
    sensitive_negatives: int = 100
    legacy_pairs: bool = False

    def __post_init__(self):
        if self.variant not in ("released", "corrected"):
            raise ValueError(f"variant: expected 'released' or 'corrected', got {self.variant!r}")
        if self.variant == "released" and self.stages < 1:
            raise ValueError("stages: the released variant is its restorer, it needs at least 1 stage")
        check_positive(self, "temperature", "learning_rate", "restorer_learning_rate")
        check_counts(self, "hidden", "head_hidden", "head_dim", "sensitive_batch", "sensitive_negatives")
        if self.channels < 2 or self.channels % 2:
            raise ValueError(f"channels: expected an even number >= 2, got {self.channels}")
        for name in ("identity", "moving"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected a share in [0, 1], got {getattr(self, name)}")
        weights = ("restore_weight", "leave_weight", "orthogonal_weight", "weight")
        check_not_negative(self, "stages", "noise", "weight_decay", "components", *weights)
        check_attack(self)


class NoiseHead(nn.Module):
    """Embeds a noise image [B, 3, H, W] -> [B, out]: two strided convolutions, mean and spread over the image, a head.

    Noise types differ in second-order statistics, which no linear map of single pixels sees.
    """

    def __init__(self, hidden: int, out: int):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.ReLU(inplace=True), nn.Conv2d(16, 32, 3, stride=2, padding=1)
        )
        self.head = projection(64, hidden, out)

    def forward(self, noise: Tensor) -> Tensor:
        f = self.features(noise).flatten(2)
        return self.head(torch.cat([f.mean(2), (f.var(2, unbiased=False) + 1e-6).sqrt()], 1))


class DarSfrl(nn.Module):
    """The corrected variant; see the module's text."""

    def __init__(self, config: DarSfrlConfig, network: EncoderConfig, views: Views):
        super().__init__()
        self.config, self.view_config = config, views
        restorer = {"stages": config.stages, "channels": config.channels, "hidden": config.hidden}
        self.network = Encoder(
            EncoderConfig(
                network.image_size, network.backbone, network.backbone_args, restorer if config.stages else None,
                config.photometric, config.keep_image,
            )
        )  # fmt: skip
        if self.network.restorer is not None:
            self.network.restorer.begin_as_identity()
        self.face_head = projection(self.network.dim, config.head_hidden, config.head_dim)
        self.noise_head = NoiseHead(config.head_hidden, config.head_dim) if config.stages else None
        self.weights = DynamicWeightAverage(("robust_contrast", "sensitive_contrast"))

    def embed(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] -> the face embedding that the loss compares, [B, head_dim]."""
        return self.face_head(self.network.describe(self.network.restored(images)))

    def views(self, images: Tensor, generator: Generator) -> list[dict]:
        """The clean view g, and y = g' M + eps of another clean view g'; one optimiser step.

        The (corruption, severity) of image i + B/2 is that of image i: each has a partner for the noise contrast.

        Raises:
            ValueError: an odd number of images.
        """
        batch = len(images)
        if batch % 2:
            raise ValueError(f"batch_size: DAR-SFRL pairs the images of a batch, so it must be even, got {batch}")
        clean, target = (random_view(images, self.view_config, generator) for _ in range(2))
        kinds, levels = self.view_config.corruptions, self.view_config.severities
        half = checked_degrade(target[: batch // 2], generator, kinds, levels, self.config.identity)
        other = checked_degrade_with(target[batch // 2 :], half.op, half.severity, generator, kinds)
        degraded = torch.cat([half.images, other])
        sigma = uniform(degraded, 0, self.config.noise, generator)
        noise = torch.randn(degraded.shape, generator=generator, device=degraded.device)
        degraded = (degraded + sigma * noise).clamp(0, 1)
        if self.config.attack_steps:
            with eval_mode(self):  # the attack must not move the batch-norm statistics
                with torch.no_grad():
                    face = self.embed(clean)
                degraded = turned_away(self.embed, degraded, face, self.config, generator)
        kind = torch.where(half.op < 0, -1, half.op * 6 + half.severity)  # severities are 1..5
        return [{"clean": clean, "target": target, "degraded": degraded, "kind": sent(kind.repeat(2), degraded.device)}]

    def loss(self, views: dict) -> dict[str, Tensor]:
        """The terms and their weighted sum."""
        clean, degraded = views["clean"], views["degraded"]
        batch = len(clean)
        image = self.network.prepare(torch.cat([clean, degraded, views["target"]]))
        terms = {}
        total = torch.zeros((), device=image.device)
        if self.network.restorer is not None:
            truth = self.network.prepare(views["target"])
            restored, noise = self.network.restorer(image)
            # apart: in one mean over a batch that is mostly clean, leaving all as it is would be best in L1
            terms["restore"] = sum((x[batch : 2 * batch] - truth).abs().mean() for x in restored) / len(restored)
            terms["leave"] = sum((x[:batch] - image[:batch]).abs().mean() for x in restored) / len(restored)
            rec = terms["restore"] + self.config.leave_weight * terms["leave"]
            total = total + self.config.restore_weight * rec
            image = restored[-1]
        face = self.face_head(self.network.describe(image))
        contrast = [two_view_nt_xent(face[:batch], other, self.config.temperature) for other in face[batch:].split(batch)]
        terms["robust_contrast"] = sum(contrast) / 2
        weights = self.weights.weights()
        total = total + weights["robust_contrast"] * terms["robust_contrast"]
        if self.network.restorer is not None:
            sensitive = self.noise_head(noise[-1][: 2 * batch])
            terms["sensitive_contrast"] = noise_contrast(sensitive, views["kind"], self.config.temperature)
            terms["orthogonal"] = difference_loss(face[: 2 * batch], sensitive)
            total = total + weights["sensitive_contrast"] * terms["sensitive_contrast"]
            total = total + self.config.orthogonal_weight * terms["orthogonal"]
        return {"loss": total, **terms, "embedding": face[:batch]}

    def optimizer(self) -> torch.optim.Optimizer:
        restorer = [] if self.network.restorer is None else list(self.network.restorer.parameters())
        rest = [p for p in self.parameters() if not any(p is own for own in restorer)]
        groups = [{"params": rest}, {"params": restorer, "lr": self.config.restorer_learning_rate}]
        return adamw(self, groups, self.config.learning_rate, self.config.weight_decay)

    def after_epoch(self, means: dict[str, float]) -> None:
        """The dynamic weights follow the epoch's mean losses."""
        if self.network.restorer is not None:
            self.weights.record(means)

    def finish(self, table, device) -> None:
        """Fit the readout on the pre-training images."""
        if not self.config.moving and not self.config.components:
            return
        with eval_mode(self.network):
            readout = fit_readout(
                self.network, table, self.config.moving, self.config.components, self.config.weight, device
            )
        if readout is not None:
            self.network.read_out(readout)

    def encoder(self) -> Encoder:
        return self.network


def noise_contrast(noise: Tensor, kind: Tensor, temperature: float) -> Tensor:
    """Noise-sensitive contrast: NT-Xent over noise embeddings, the degraded images being the anchors.

    The positive of a degraded image is its partner, B/2 further on. Every other image of its kind is left out; clean
    images are negatives, but not to images that no corruption touched.

    Args:
        noise: [2B, D], of B clean images, then of their B degraded views.
        kind: [B], the degraded images' (corruption, severity) as one number, -1 for none; i + B/2 has the kind of i.
    """
    batch = len(kind)
    rows = torch.arange(batch, device=noise.device)
    partner = (rows + batch // 2) % batch
    kinds = torch.cat([kind, torch.full_like(kind, -1)])
    exclude = kind[:, None] == kinds[None, :]
    exclude[rows, partner] = False
    return checked_rows(torch.cat([noise[batch:], noise[:batch]]), partner, temperature, exclude, None).mean()
