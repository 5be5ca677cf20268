"""Things in front of the face, placed by its 68 landmarks where they are known: M and eps in F' = F·M + eps.

The covered part of the image is taken away (M), the thing's own colour is put there (eps; a black block has none).
"""

import torch
from torch import Tensor

from lib.degrade.levels import level

# Where the landmarks of an upright, centred face are, in the unit square: the mean of the rendered demo faces after
# alignment. Used where the landmarks are not known.
MEAN_FACE = (
    (0.105, 0.355), (0.114, 0.494), (0.132, 0.624), (0.149, 0.707), (0.171, 0.81), (0.225, 0.914), (0.29, 0.982),
    (0.408, 1.048), (0.5, 1.061), (0.592, 1.048), (0.71, 0.982), (0.775, 0.914), (0.829, 0.81), (0.851, 0.707),
    (0.868, 0.624), (0.886, 0.494), (0.895, 0.355), (0.166, 0.239), (0.24, 0.216), (0.292, 0.205), (0.406, 0.197),
    (0.462, 0.231), (0.538, 0.231), (0.594, 0.197), (0.708, 0.205), (0.76, 0.216), (0.834, 0.239), (0.5, 0.347),
    (0.5, 0.434), (0.5, 0.525), (0.5, 0.629), (0.408, 0.637), (0.45, 0.655), (0.5, 0.67), (0.55, 0.655),
    (0.592, 0.637), (0.236, 0.345), (0.267, 0.325), (0.335, 0.32), (0.375, 0.356), (0.329, 0.371), (0.267, 0.367),
    (0.625, 0.356), (0.665, 0.32), (0.733, 0.325), (0.764, 0.345), (0.733, 0.367), (0.671, 0.371), (0.332, 0.798),
    (0.379, 0.772), (0.445, 0.743), (0.5, 0.762), (0.555, 0.743), (0.621, 0.772), (0.668, 0.798), (0.589, 0.876),
    (0.543, 0.889), (0.5, 0.892), (0.457, 0.889), (0.411, 0.876), (0.36, 0.8), (0.428, 0.784), (0.5, 0.789),
    (0.572, 0.784), (0.64, 0.8), (0.573, 0.81), (0.5, 0.816), (0.427, 0.81),
)  # fmt: skip
SCANLINES = 2  # a pixel row; sideways the cover is exact
CLOTH = ((0.55, 0.75, 0.85), (0.93, 0.93, 0.93), (0.12, 0.12, 0.14), (0.35, 0.50, 0.70))
LENS = ((0.05, 0.05, 0.06), (0.10, 0.07, 0.04), (0.06, 0.09, 0.13))


def occlusion(
    images: Tensor, severity: Tensor, generator: torch.Generator | None, landmarks: Tensor | None = None
) -> Tensor:
    """One black rectangle of the level's share of the area, as much as possible inside the image; shapes 1:2 to 2:1.

    Its centre is one of the landmarks, drawn for each image; where they are not known (None, NaN) it may be anywhere.
    """
    (share,) = level("occlusion", severity, images)
    batch, _, height, width = images.shape
    draw = torch.rand(3, batch, 1, 1, 1, generator=generator, device=images.device, dtype=images.dtype)
    stretch = 2 ** (draw[0] - 0.5)
    tall, wide = (share.sqrt() * stretch * height).round(), (share.sqrt() / stretch * width).round()
    top, left = (draw[1] * (height - tall + 1)).floor(), (draw[2] * (width - wide + 1)).floor()
    if landmarks is not None:
        chosen = landmarks[torch.arange(batch, device=images.device), (draw[1].flatten() * landmarks.shape[1]).long()]
        x, y = chosen.T[:, :, None, None, None]
        for_y, for_x = ((p - (n - 1) / 2).round().clamp(min=0) for p, n in ((y, tall), (x, wide)))
        top = torch.where(y.isnan(), top, torch.minimum(for_y, height - tall))
        left = torch.where(x.isnan(), left, torch.minimum(for_x, width - wide))
    down = torch.arange(height, device=images.device, dtype=images.dtype).view(1, 1, -1, 1) - top
    across = torch.arange(width, device=images.device, dtype=images.dtype).view(1, 1, 1, -1) - left
    covered = (down >= 0) & (down < tall) & (across >= 0) & (across < wide)
    return images * ~covered


def mask(
    images: Tensor, severity: Tensor, generator: torch.Generator | None, landmarks: Tensor | None = None
) -> Tensor:
    """A cloth over the lower face: from the jaw up to below the mouth (1), the mouth, the nose's base, tip, bridge (5)."""
    landmarks = known_or_mean(landmarks, images)
    (height,) = level("mask", severity, images)
    cover = polygon_cover(_mask_outline(landmarks, height.flatten()), images.shape[2:])
    return _covered(images, cover, CLOTH, generator)


def sunglasses(
    images: Tensor, severity: Tensor, generator: torch.Generator | None, landmarks: Tensor | None = None
) -> Tensor:
    """Two lenses and a bridge; the lenses grow and darken with the severity."""
    landmarks = known_or_mean(landmarks, images)
    size, opaque = level("sunglasses", severity, images)
    cover = _lenses(landmarks, size.flatten(), images.shape[2:])
    return _covered(images, cover * opaque, LENS, generator)


def known_or_mean(landmarks: Tensor | None, images: Tensor) -> Tensor:
    """``landmarks`` [B,68,2], those of an upright, centred face where they are NaN or where there are none."""
    usual = mean_landmarks(images)
    return usual if landmarks is None else torch.where(landmarks.isnan(), usual, landmarks)


def mean_landmarks(images: Tensor) -> Tensor:
    """The landmarks [B,68,2] in pixels (x, y) of upright, centred faces that fill ``images``."""
    height, width = images.shape[2:]
    places = torch.tensor(MEAN_FACE, device=images.device, dtype=images.dtype)
    return (places * images.new_tensor([width, height]) - 0.5).expand(len(images), -1, -1)


def _covered(images: Tensor, cover: Tensor, colours: tuple, generator: torch.Generator | None) -> Tensor:
    """``cover`` [B,1,H,W] of each image in one of the colours, a little lighter or darker."""
    draw = torch.rand(2, len(images), 1, generator=generator, device=images.device, dtype=images.dtype)
    chosen = images.new_tensor(colours)[(draw[0, :, 0] * len(colours)).long()]
    colour = (chosen * (0.85 + 0.3 * draw[1])).clamp(max=1)
    return images * (1 - cover) + cover * colour[:, :, None, None]


def _mask_outline(landmarks: Tensor, height: Tensor) -> Tensor:
    """[B,R,2]: the jaw from ear to ear as far as the cloth reaches, then back over the face.

    ``height`` [B or 1]: 0 at the chin, 1 at the bridge of the nose.
    """
    jaw = landmarks[:, 1:16]
    chin, bridge = landmarks[:, 8], landmarks[:, 27]
    up = (bridge - chin)[:, None]
    reach = height.expand(len(landmarks))[:, None]
    climbed = ((jaw - chin[:, None]) * up).sum(-1) / up.square().sum(-1).clamp(min=1e-6)  # 0 at the chin, 1 at the bridge
    lowered = jaw - (climbed - 0.85 * reach).clamp(min=0)[..., None] * up  # the cloth sags towards the ears
    top = chin[:, None] + reach[:, :, None] * up
    return torch.cat([lowered, top], 1)


def polygon_cover(outline: Tensor, size: tuple[int, int]) -> Tensor:
    """How much of each pixel lies in the polygon [B,R,2] of pixel places (x, y): [B,1,H,W] in [0,1].

    By winding: an edge that a scanline crosses covers everything to its right, up or down by its direction.
    """
    height, width = size
    line = (torch.arange(height * SCANLINES, device=outline.device, dtype=outline.dtype) + 0.5) / SCANLINES - 0.5
    across = torch.arange(width, device=outline.device, dtype=outline.dtype)
    winding = outline.new_zeros(len(outline), height * SCANLINES, width)
    for start, end in zip(outline.unbind(1), outline.roll(-1, 1).unbind(1), strict=True):
        (x0, y0), (x1, y1) = start.T[..., None], end.T[..., None]
        direction = ((y0 <= line) & (line < y1)).to(outline.dtype) - ((y1 <= line) & (line < y0)).to(outline.dtype)
        steep = y1 - y0
        crossing = x0 + (line - y0) / torch.where(steep == 0, 1.0, steep) * (x1 - x0)
        winding += direction[..., None] * (across + 0.5 - crossing[..., None]).clamp(0, 1)
    cover = winding.abs().clamp(max=1).view(len(outline), height, SCANLINES, width).mean(2)
    return cover[:, None]


def _lenses(landmarks: Tensor, size: Tensor, shape: tuple[int, int]) -> Tensor:
    """[B,1,H,W]: two ellipses on the eyes and a bar between, along the line of the eyes."""
    left, right = landmarks[:, 36:42].mean(1), landmarks[:, 42:48].mean(1)
    apart = (right - left).norm(dim=1).clamp(min=1e-6)
    along = (right - left) / apart[:, None]
    height, width = shape
    y, x = torch.meshgrid(*(torch.arange(n, device=landmarks.device, dtype=landmarks.dtype) for n in shape), indexing="ij")

    def place(origin: Tensor) -> tuple[Tensor, Tensor]:
        dx, dy = x - origin[:, :1, None], y - origin[:, 1:, None]
        c, s = along[:, 0, None, None], along[:, 1, None, None]
        return c * dx + s * dy, c * dy - s * dx  # along the line of the eyes, and down from it

    apart, size = apart[:, None, None], size.expand(len(landmarks))[:, None, None]
    cover = []
    for eye in (left, right):
        u, v = place(eye)
        wide, tall = size * apart, 0.8 * size * apart
        radius = ((u / wide) ** 2 + (v / tall) ** 2).sqrt()
        cover.append(((1 - radius) * tall + 0.5).clamp(0, 1))  # about a pixel's antialiasing
    u, v = place((left + right) / 2)
    bar = (0.5 * apart - u.abs()).clamp(0, 1) * (0.04 * apart + 0.5 - (v + 0.05 * apart).abs()).clamp(0, 1)
    return torch.stack([*cover, bar]).amax(0)[:, None]
