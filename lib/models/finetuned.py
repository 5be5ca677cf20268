"""An encoder that is fine-tuned with its head: images in, scores out; SSL-FER's head for AffectNet, ten crops for FER2013."""

import torch
from torch import Tensor, nn

HIDDEN = (1024, 512)  # of the published head, behind 2048 features
DROPOUT = 0.5


class FineTuned(nn.Module):
    """``body``: images [B,3,H,W] in [0,1] -> features [B,F]; ``head``: features -> scores [B,outputs].

    Kept apart so that an evaluation can treat them as encoder and probe.

    Args:
        encoder: images -> features [B, D]; it becomes a part of this model.
        dim: D. outputs: classes or dimensions.
        crop: share of the side of ten crops (corners, centre, and their mirror images) whose scores are averaged; 0: none,
            the image as it is.
    """

    def __init__(self, encoder: nn.Module, dim: int, outputs: int, crop: float = 0.0):
        super().__init__()
        self.body = TenCrops(encoder, crop) if crop else encoder
        self.head = MeanOverCrops(published_head(dim, outputs)) if crop else published_head(dim, outputs)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images))


def published_head(dim: int, outputs: int) -> nn.Sequential:
    """SSL-FER's head: dropout, Linear(dim, 1024), ReLU, dropout, Linear(1024, 512), dropout, Linear(512, outputs).

    Behind fewer features than the published 2048 the hidden layers have a half and a quarter of their number. The published
    head begins with a ReLU, which does nothing to features of a ResNet, as these are means of a ReLU's outputs. It is left
    out: of features that have a sign (components, say) it would drop a half.
    """
    first, second = (max(outputs, min(most, dim // part)) for most, part in zip(HIDDEN, (2, 4)))
    return nn.Sequential(
        nn.Dropout(DROPOUT), nn.Linear(dim, first), nn.ReLU(),
        nn.Dropout(DROPOUT), nn.Linear(first, second),
        nn.Dropout(DROPOUT), nn.Linear(second, outputs),
    )  # fmt: skip


class TenCrops(nn.Module):
    """Features of the ten crops of each image, side by side: [B, 3, H, W] -> [B, 10 D]. In training: of the images as they
    are, each of which is a crop."""

    def __init__(self, encoder: nn.Module, crop: float):
        super().__init__()
        self.encoder, self.crop = encoder, crop

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            return self.encoder(images)
        ten = ten_crops(images, self.crop)
        features = self.encoder(ten.flatten(0, 1))
        return features.view(len(ten), len(images), -1).transpose(0, 1).flatten(1)


class MeanOverCrops(nn.Module):
    """Scores [B, outputs] as the mean over the crops of features [B, 10 D]; in training there is one crop, [B, D]."""

    def __init__(self, head: nn.Module):
        super().__init__()
        self.head = head

    def forward(self, features: Tensor) -> Tensor:
        if self.training:
            return self.head(features)
        return self.head(features.view(len(features), 10, -1)).mean(1)


def ten_crops(images: Tensor, share: float) -> Tensor:
    """The four corners and the centre, ``share`` of the sides long, then their mirror images: [B, 3, H, W] -> [10, B, 3, h, w]."""
    height, width = images.shape[-2:]
    h, w = round(share * height), round(share * width)
    if not (0 < h <= height and 0 < w <= width):
        raise ValueError(f"share: expected a share of the side in (0, 1] that leaves a pixel, got {share}")
    bottom, right = height - h, width - w
    places = [(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)]
    five = torch.stack([images[..., top : top + h, left : left + w] for top, left in places])
    return torch.cat([five, five.flip(-1)])
