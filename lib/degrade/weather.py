"""Weather: a layer that does not come from the face (eps in F' = F·M + eps) over a face that it partly veils.

Every function takes images [B,3,H,W] in [0,1], severity [B] (long, on the CPU) and a generator, and returns images
that are not clamped yet.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from lib.degrade.blur import along_path, by_severity, zoom_matrix
from lib.degrade.digital import LUMA
from lib.degrade.levels import level, rows
from lib.degrade.separable import along_both, half_path

ICE = (0.80, 0.92, 1.00)
VEIL, STREAK = 0.5, 0.85  # grey of wet air, and of a drop that catches the light


def fog(images: Tensor, severity: Tensor, generator: torch.Generator | None) -> Tensor:
    """A plasma veil; the sum is scaled back to the brightness that the image had at its brightest."""
    density, decay = level("fog", severity, images)
    brightest = images.amax(dim=(1, 2, 3), keepdim=True)
    veil = plasma(images, decay.expand(len(images), 1, 1, 1), generator)
    return torch.addcmul(images, density, veil) * (brightest / (brightest + density))


def frost(images: Tensor, severity: Tensor, generator: torch.Generator | None) -> Tensor:
    """Ice flowers over the image.

    ImageNet-C lays photographs of frosted glass over the image; here the frost is procedural (ridges and patches of
    plasma noise in the colour of ice, at the mean brightness of such photographs), with the published weights. Scores
    under it are therefore not comparable with ImageNet-C's frost digit for digit.
    """
    keep, weight = level("frost", severity, images)
    decays = images.new_tensor([1.5, 1.35, 1.9]).repeat_interleave(len(images)).view(-1, 1, 1, 1)
    like = images[:1].expand(len(decays), -1, -1, -1)  # the three maps of all images at once
    ridged, fine, patches = plasma(like, decays, generator).chunk(3)
    # a crest where a smooth field crosses its middle makes thin branching lines, the fine field breaks them up
    veins = (1 - (2 * ridged - 1).abs()) ** 6 + 0.7 * (1 - (2 * fine - 1).abs()) ** 8
    ice = (0.17 + 0.52 * patches + 0.86 * veins * (0.4 + 0.6 * patches)).clamp_(0, 1)
    return keep * images + weight * ice * images.new_tensor(ICE).view(1, 3, 1, 1)


def snow(images: Tensor, severity: Tensor, generator: torch.Generator | None) -> Tensor:
    """Flakes blurred along their fall, laid over a whitened image together with themselves turned by 180 degrees."""
    mean, sigma, _, threshold, _, _, share = level("snow", severity, images)
    levels = rows("snow", min(images.shape[2:]))
    batch, _, height, width = images.shape
    flakes = torch.randn(batch, 1, height, width, generator=generator, device=images.device, dtype=images.dtype)
    angle = torch.rand(batch, generator=generator, device=images.device, dtype=images.dtype)
    angle = (angle * 90 - 135) * (math.pi / 180)

    def zoomed(part: Tensor, chosen: int) -> Tensor:
        down, across = (zoom_matrix(length, levels[chosen - 1][2])[None].to(part) for length in part.shape[2:])
        return along_both(part, down, across)

    flakes = by_severity(flakes * sigma + mean, severity, zoomed)
    flakes = torch.where(flakes < threshold, 0.0, flakes).clamp_(0, 1)
    flakes = along_path(flakes, [half_path(row[4], row[5]) for row in levels], severity, angle)
    grey = (images * images.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
    white = share * images + (1 - share) * torch.maximum(images, grey * 1.5 + 0.5)
    return white + flakes + flakes.flip(2, 3)


def rain(images: Tensor, severity: Tensor, generator: torch.Generator | None) -> Tensor:
    """Bright streaks along one direction near the vertical, and a grey veil; both linear in the image (M + eps).

    A streak is a drop, drawn with the level's share a pixel, smeared along its fall over a part of the image's side.
    """
    share, length, bright, veil = level("rain", severity, images)
    batch, _, height, width = images.shape
    levels = rows("rain", min(height, width))
    draw = torch.rand(batch, 1, height, width, generator=generator, device=images.device, dtype=images.dtype)
    size = torch.rand(batch, 1, height, width, generator=generator, device=images.device, dtype=images.dtype)
    angle = torch.rand(batch, generator=generator, device=images.device, dtype=images.dtype)
    drops = torch.where(draw < share, 0.4 + 0.6 * size, 0.0)
    taps = [max(round(row[1] * min(height, width)), 2) for row in levels]
    paths = [torch.full((count,), 1.0, dtype=torch.float64) for count in taps]
    edge = max(taps)  # nothing falls in from the border's own pixels
    streaks = along_path(F.pad(drops, (edge,) * 4), paths, severity, (angle * 40 + 70) * (math.pi / 180))
    streaks = streaks[:, :, edge : edge + height, edge : edge + width].clamp(max=1)
    return images * (1 - veil) * (1 - bright * streaks) + veil * VEIL + bright * streaks * STREAK


def haze(images: Tensor, severity: Tensor, generator: torch.Generator | None) -> Tensor:
    """The scattering model F t + A (1 - t): transmission t varies smoothly over the image, A is the air's grey light."""
    (thickness,) = level("haze", severity, images)
    smooth = plasma(images, images.new_full((len(images), 1, 1, 1), 2.2), generator)
    air = torch.rand(len(images), 1, 1, 1, generator=generator, device=images.device, dtype=images.dtype) * 0.2 + 0.75
    kept = torch.exp(-thickness * (0.7 + 0.6 * smooth))
    return images * kept + air * (1 - kept)


def plasma(images: Tensor, decay: Tensor, generator: torch.Generator | None) -> Tensor:
    """Diamond-square height maps [B,1,H,W] in [0,1], one for each image; ``decay`` [B,1,1,1].

    Made on a periodic square whose side is the next power of two, scaled to [0,1] there, then cut to H x W. At each
    halving of the step the noise shrinks by the square of ``decay``, as in the published code.
    """
    batch, _, height, width = images.shape
    side = 1 << (max(height, width) - 1).bit_length()
    decay = decay[:, 0]
    field = images.new_zeros(batch, side, side)
    amplitude = images.new_full((batch, 1, 1), 100.0**2)

    def noisy(total: Tensor) -> Tensor:
        draw = torch.rand(total.shape, generator=generator, device=images.device, dtype=images.dtype)
        return total / 4 + amplitude * (2 * draw - 1)

    step = side
    while step >= 2:
        half = step // 2
        corner = field[:, ::step, ::step]
        pairs = corner + corner.roll(-1, 1)
        field[:, half::step, half::step] = noisy(pairs + pairs.roll(-1, 2))
        centre = field[:, half::step, half::step]
        field[:, ::step, half::step] = noisy(centre + centre.roll(1, 1) + corner + corner.roll(-1, 2))
        field[:, half::step, ::step] = noisy(centre + centre.roll(1, 2) + corner + corner.roll(-1, 1))
        step, amplitude = half, amplitude / decay**2
    low, high = field.amin((1, 2), keepdim=True), field.amax((1, 2), keepdim=True)
    return ((field - low) / (high - low))[:, None, :height, :width]
