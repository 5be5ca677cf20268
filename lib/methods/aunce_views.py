"""AUNCE's two views of a face (its mode 'enhance'): crop, mirror, colour, grey, blur; batched on the device.

Reference:
    [1] AUNCE (`data_loader.py`, `pre_process.py`); the colour operations are those of torchvision's ColorJitter.
"""

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from lib.degrade.draws import drawn_here
from lib.device import constant
from lib.views import at_full_precision, luma, uniform

COLOUR, HUE = 0.4, 0.1  # factors in [0.6, 1.4] of brightness, contrast and saturation; turns of hue in [-0.1, 0.1]
JITTER, GREYED = 0.8, 0.2  # shares of the images
SIGMA = (0.1, 2.0)  # of the blur, px


@at_full_precision
def enhanced_view(images: Tensor, crop: float, generator: Generator) -> Tensor:
    """One random view of every image [1]: [B, 3, H, W] in [0, 1] -> [B, 3, crop H, crop W] in [0, 1].

    Every image has its own place, mirroring, factors and blur. The four colour operations come in one random order for the
    whole batch, where torchvision draws one for every image.
    """
    x = crop_and_mirror(images, crop, generator)
    jittered = x
    for step in torch.randperm(4, generator=drawn_here(generator)).tolist():
        low, high = (1 - COLOUR, 1 + COLOUR) if step < 3 else (-HUE, HUE)
        jittered = (brightness, contrast, saturation, turn_hue)[step](jittered, uniform(x, low, high, generator))
    x = torch.where(uniform(x, 0, 1, generator) < JITTER, jittered, x)
    x = torch.where(uniform(x, 0, 1, generator) < GREYED, luma(x).expand_as(x), x)
    return blur3(x, uniform(x, *SIGMA, generator))


def crop_and_mirror(images: Tensor, share: float, generator: Generator) -> Tensor:
    """A box of ``share`` of the height and width at a random place, no resampling; half of the images mirrored."""
    batch, channels, height, width = images.shape
    rows, columns = (torch.arange(max(1, round(side * share)), device=images.device) for side in (height, width))
    top, left, mirror = (uniform(images, 0, 1, generator).flatten() for _ in range(3))
    # the product of a number just under 1 can round up to the whole
    rows = rows + (top * (height - len(rows) + 1)).long().clamp(max=height - len(rows))[:, None]
    first = (left * (width - len(columns) + 1)).long().clamp(max=width - len(columns))[:, None]
    columns = torch.where(mirror[:, None] < 0.5, columns.flip(0), columns) + first
    image = torch.arange(batch, device=images.device).view(-1, 1, 1, 1)
    channel = torch.arange(channels, device=images.device).view(1, -1, 1, 1)
    return images[image, channel, rows[:, None, :, None], columns[:, None, None, :]]


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    return (images * factor).clamp(0, 1)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Away from (or to) the mean grey of the image."""
    mean = luma(images).mean((2, 3), keepdim=True)
    return (mean + (images - mean) * factor).clamp(0, 1)


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Away from (or to) the grey of each pixel."""
    grey = luma(images)
    return (grey + (images - grey) * factor).clamp(0, 1)


def turn_hue(images: Tensor, turn: Tensor) -> Tensor:
    """Rotate the hue of HSV by ``turn`` [B, 1, 1, 1] of a full turn; value and saturation stay."""
    red, green, blue = images.split(1, 1)
    value = images.amax(1, keepdim=True)
    chroma = value - images.amin(1, keepdim=True)
    safe = torch.where(chroma > 0, chroma, 1)  # grey has no hue, and keeps its colour whatever it is
    hue = torch.where(
        value == red, (green - blue) / safe, torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe)
    )
    sector = (hue + 6 * turn + constant((5.0, 3.0, 1.0), images.device, images.dtype).view(1, 3, 1, 1)) % 6
    return (value - chroma * torch.minimum(sector, 4 - sector).clamp(0, 1)).clamp(0, 1)


def blur3(images: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur with a 3 x 3 kernel of each image's own ``sigma`` [B, 1, 1, 1] in px, edges reflected."""
    side = torch.exp(-0.5 / sigma.square())
    centre, side = 1 / (1 + 2 * side), side / (1 + 2 * side)
    x = F.pad(images, (1, 1, 1, 1), mode="reflect")
    x = centre * x[..., 1:-1] + side * (x[..., :-2] + x[..., 2:])
    return (centre * x[..., 1:-1, :] + side * (x[..., :-2, :] + x[..., 2:, :])).clamp(0, 1)
