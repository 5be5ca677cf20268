"""DAR-SFRL, released: what the published code does, crashes fixed. The representation is the restored image, flattened.

Three Adam steps an iteration, each on the sum over DAFR's stages:
    restore    noisy image and its mirror image, each + 0.4 N(0, 1): |x_k - g|_1 (both), the difference loss between
               frozen random projections of x_k and n_k (both), and (x_k - mirror's x_k)^2 NOT mirrored back
    robust     InfoNCE on x_k of two quadrant crops of the noisy image, negatives mixed with Beta(1.6, 1.6) weights
    sensitive  InfoNCE on n_k: two augmentations of an image against augmentations of mirrored images; the published
               index error is kept (an anchor's negatives are views of ALL images of the batch, not of its own mirror)
The second and third are weighted by a dynamic weight average (T = 2, from the third epoch).

Kept because the published code does it: the mirror term without mirroring back, the projections of the difference loss
that no optimiser trains, the index error above, no clean view in the contrasts. Mended: crashes; and restoration targets
are the same image (``legacy_pairs: true`` draws other ones, as the published loader did by mistake). Unknown and chosen
here: how the published noisy image folder was made; the training mixture of lib.degrade.mixture stands for it.
"""

import torch
from torch import Generator, Tensor, nn

from lib.degrade.mixture import checked_degrade
from lib.losses.contrastive import checked_mixed_info_nce
from lib.losses.orthogonality import difference_loss
from lib.methods.dwa import DynamicWeightAverage
from lib.models.encoder import Encoder, EncoderConfig
from lib.models.heads import projection
from lib.views import Views, colour_jitter, gradient_magnitude, quadrant_crops, random_blur

MIX = 1.6  # both parameters of the Beta distribution of the mixing weights


class DarSfrlReleased(nn.Module):
    """The released variant; see the module's text."""

    def __init__(self, config, network: EncoderConfig, views: Views):
        super().__init__()
        self.config, self.view_config = config, views  # its augmentations are the published ones, whatever the views
        restorer = {"stages": config.stages, "channels": config.channels, "hidden": config.hidden}
        self.network = Encoder(EncoderConfig(network.image_size, "pixels", restorer=restorer))
        heads = (self.network.dim, config.head_hidden, config.head_dim)
        self.clean_head, self.noise_head = projection(*heads), projection(*heads)
        self.clean_projection, self.noise_projection = projection(*heads), projection(*heads)  # frozen, as published
        self.clean_projection.requires_grad_(False)
        self.noise_projection.requires_grad_(False)
        self.weights = DynamicWeightAverage(("robust_contrast", "sensitive_contrast"))

    def views(self, images: Tensor, generator: Generator) -> list[dict]:
        """Three optimiser steps: restoration, facial-robust contrast, noise-sensitive contrast."""
        noisy = checked_degrade(
            images, generator, self.view_config.corruptions, self.view_config.severities, self.config.identity
        ).images
        target = images
        if self.config.legacy_pairs:
            target = images[torch.randperm(len(images), generator=generator, device=images.device)]
        inputs = torch.cat([noisy, noisy.flip(3)])
        inputs = inputs + self.config.noise * torch.randn(inputs.shape, generator=generator, device=inputs.device)
        restore = {"step": "restore", "images": inputs, "target": torch.cat([target, target.flip(3)])}

        first, second = (augment(crop, generator) for crop in quadrant_crops(noisy, generator))
        faces = torch.cat([first, second])
        candidates = len(faces) - 2
        robust = {"step": "robust", "images": faces, "mix": mixing(len(faces), candidates, generator)}

        few = noisy[: self.config.sensitive_batch]
        repeated = few.flip(3).repeat(self.config.sensitive_negatives, 1, 1, 1)  # augmentation-major
        shown = torch.cat([augment(few, generator), augment(few, generator), augment(repeated, generator)])
        mix = mixing(len(few), self.config.sensitive_negatives, generator)
        sensitive = {"step": "sensitive", "images": shown, "count": len(few), "mix": mix}
        return [restore, robust, sensitive]

    def loss(self, views: dict) -> dict[str, Tensor]:
        """The terms of one of the three steps, each summed over the stages."""
        restored, noise = self.network.restorer(self.network.prepare(views["images"]))
        if views["step"] == "restore":
            terms = [self.restore_terms(x, n, views["target"]) for x, n in zip(restored, noise)]
            terms = {name: sum(stage[name] for stage in terms) for name in terms[0]}
            return {"loss": sum(terms.values()), **terms}
        weights = self.weights.weights()
        if views["step"] == "robust":
            z = [self.clean_head(x.flatten(1)) for x in restored]
            term = sum(self.robust_contrast(stage, views["mix"]) for stage in z)
            return {"loss": weights["robust_contrast"] * term, "robust_contrast": term, "embedding": z[-1]}
        term = sum(self.sensitive_contrast(self.noise_head(n.flatten(1)), views) for n in noise)
        return {"loss": weights["sensitive_contrast"] * term, "sensitive_contrast": term}

    def restore_terms(self, restored: Tensor, noise: Tensor, target: Tensor) -> dict[str, Tensor]:
        """|x - g|, the difference loss and the (un-mirrored) mirror term of one stage; images, then their mirrors."""
        clean, other = self.clean_projection(restored.flatten(1)), self.noise_projection(noise.flatten(1))
        half = len(restored) // 2
        return {
            "restore": sum((x - g).abs().mean() for x, g in zip(restored.split(half), target.split(half))),
            "orthogonal": sum(difference_loss(a, b) for a, b in zip(clean.split(half), other.split(half))),
            "mirror": (restored[:half] - restored[half:]).square().mean(),
        }

    def robust_contrast(self, z: Tensor, mix: tuple[Tensor, Tensor]) -> Tensor:
        """InfoNCE of two crops [2B, D] (first crops, then second); negatives are the other 2B - 2 rows, mixed."""
        rows = torch.arange(len(z), device=z.device)
        partner = (rows + len(z) // 2) % len(z)
        unit = nn.functional.normalize(z.float(), dim=1)
        # not by indexing: its gradient is summed by threads in any order, so two runs with one seed would differ
        negatives = unit.index_select(0, all_but(rows, partner).flatten()).view(len(z), -1, z.shape[1])
        return checked_mixed_info_nce(z, z[partner], negatives, mix, self.config.temperature)

    def sensitive_contrast(self, z: Tensor, views: dict) -> Tensor:
        """InfoNCE of two augmentations against mirrored augmentations, with the published order of the negatives."""
        count = views["count"]
        query, key, rest = z[:count], z[count : 2 * count], nn.functional.normalize(z[2 * count :].float(), dim=1)
        # the published split: consecutive rows of an augmentation-major list, so each anchor gets views of all images
        return checked_mixed_info_nce(query, key, rest.view(count, -1, z.shape[1]), views["mix"], self.config.temperature)

    def optimizer(self) -> torch.optim.Optimizer:
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return torch.optim.Adam(trained, self.config.learning_rate, weight_decay=self.config.weight_decay)

    def after_epoch(self, means: dict[str, float]) -> None:
        """The dynamic weights follow the epoch's mean losses."""
        self.weights.record(means)

    def encoder(self) -> Encoder:
        return self.network


def augment(images: Tensor, generator: Generator) -> Tensor:
    """PCL's augmentations: colour jitter, grey (0.2), blur (0.8), gradient magnitude (0.6); no crop."""
    x = colour_jitter(images, 0.8, 0.2, generator)
    return gradient_magnitude(random_blur(x, 0.8, generator, largest=2.0), 0.6, generator)


def all_but(one: Tensor, other: Tensor) -> Tensor:
    """Which of M rows are neither ``one`` [M] nor ``other`` [M] long, two different ones: [M, M - 2] long, rising."""
    first, second = torch.minimum(one, other)[:, None], torch.maximum(one, other)[:, None]
    left = torch.arange(len(one) - 2, device=one.device).expand(len(one), -1)
    left = left + (left >= first)
    return left + (left >= second)


def mixing(rows: int, negatives: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Beta(1.6, 1.6) weights [rows, negatives] and one permutation of the negatives."""
    gamma = torch._standard_gamma(torch.full((2, rows, negatives), MIX, device=generator.device), generator=generator)
    return gamma[0] / gamma.sum(0), torch.randperm(negatives, generator=generator, device=generator.device)
