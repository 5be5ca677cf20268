"""MaskFN's mouth-eye descriptor: a frozen network over a patch of the eyes and a patch of the mouth.

References:
    [1] Shu et al., SSL-FER, BMVC 2022: a fixed ResNet-18, trained on ImageNet, over 64 x 64 patches. It is torchvision's, with
        its weights: resnet18.tv_in1k in timm.
"""

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib.faces.parts import part_patches
from lib.models.named import is_named, named_encoder

PATCH, PIXEL_PATCH = 64, 32  # px: for a network [1], and where the patch itself is the descriptor
PIXELS = "pixels"


class PartDescriptor(nn.Module):
    """Images and landmarks -> unit vectors that are alike where eyes and mouth look alike. Always in eval mode, no gradient.

    ``network``: a timm model name; an encoder of this package, PATH@DIGEST; or 'pixels', the patches themselves: grey, less
    their mean, smoothed to 16 x 16. On rendered faces 'pixels' finds samples with more alike action units than a random
    ResNet-18 does, so it is what to use where there are no weights. PATH@DIGEST: see lib.models.named.
    """

    def __init__(self, network: str = "resnet18.tv_in1k", pretrained: bool = True):
        """``pretrained``: with timm's weights, which must be in the cache or be fetched; else with random ones.

        Raises:
            ValueError: unknown network, weights that cannot be had, another file than DIGEST says; says what can be done.
        """
        super().__init__()
        self.network, mean, std = None, (0.0,) * 3, (1.0,) * 3
        if is_named(network):
            self.network = named_encoder("descriptor", network)
        elif network != PIXELS:
            self.network = _timm_model(network, pretrained)
            self.network.to(memory_format=torch.channels_last)
            mean, std = self.network.default_cfg["mean"], self.network.default_cfg["std"]
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()
        with torch.no_grad():
            self.dim = 2 * self._features(torch.zeros(1, 3, PATCH, PATCH)).shape[1]  # of a descriptor

    def train(self, mode: bool = True) -> "PartDescriptor":
        """Stays in eval mode: its batch-norm statistics are fixed."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor, landmarks: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 3, H, W] in [0, 1] and [B, 68, 2] -> descriptors [B, D], unit vectors, and bool [B]: which are valid.

        Where the patches cannot be cut out the descriptor is 0: alike to nothing. (In the published code all such images
        share one descriptor, that of two black patches.)
        """
        patches, valid = part_patches(images, landmarks, PIXEL_PATCH if self.network is None else PATCH)
        features = self._features(patches.flatten(0, 1)).float().unflatten(0, (-1, 2)).flatten(1)
        return F.normalize(features, dim=1) * valid[:, None], valid

    def _features(self, patches: Tensor) -> Tensor:
        if self.network is None:
            grey = patches.mean(1)
            inside = grey > 0  # the padding is black, and says nothing
            mean = grey.sum((1, 2), keepdim=True) / inside.sum((1, 2), keepdim=True).clamp(min=1)
            return F.adaptive_avg_pool2d((grey - mean) * inside, 16).flatten(1)
        return self.network(((patches - self.mean) / self.std).contiguous(memory_format=torch.channels_last))


def less_mean(descriptors: Tensor, of: Tensor | None = None) -> Tensor:
    """Unit vectors of what tells descriptors [B, D] apart: less the mean of ``of`` (None: their own).

    Descriptors that are 0, those of faces without landmarks, have no part in the mean and stay 0.
    """
    of = descriptors if of is None else of
    mean = of.sum(0) / of.any(1).sum().clamp(min=1)
    return F.normalize(descriptors - mean, dim=1) * descriptors.any(1, keepdim=True)


def _timm_model(name: str, pretrained: bool) -> nn.Module:
    if not timm.is_model(name):
        raise ValueError(f"descriptor: timm has no model {name!r}; name one (resnet18.tv_in1k), an encoder's path, or 'pixels'")
    try:
        return timm.create_model(name, pretrained=pretrained, num_classes=0)
    except Exception as error:  # hub, network and file errors are of many kinds
        if not pretrained:
            raise
        raise ValueError(
            f"descriptor: the weights of {name} cannot be had ({type(error).__name__}). Fetch them once on a machine with"
            f" access to huggingface.co (python -c \"import timm; timm.create_model('{name}', pretrained=True)\") and copy its"
            " cache folder (HF_HOME) here; or set descriptor: pixels, or descriptor_pretrained: false (random weights)"
        ) from error
