"""What severity 1 to 5 means, in one table: Tiny-ImageNet-C's parameters up to 64 px, ImageNet-C's from 224 px.

Between 64 and 224 px (the shorter side) every parameter is interpolated linearly in the side; below 64 and above 224
it stays at the table's end. Lengths are in pixels, but for elastic_transform's, which are shares of the side.
Source: Hendrycks & Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations",
arXiv 1903.12261, and the parameter lists published with it. The types that are not ImageNet-C's are ours and have one row.
"""

from functools import lru_cache
from itertools import chain

from torch import Tensor

from lib.device import constant, sent

SMALL, LARGE = 64, 224

# name: (parameters in words, Tiny-ImageNet-C, ImageNet-C)
LEVELS = {
    "gaussian_noise": ("sigma", (0.04, 0.08, 0.12, 0.15, 0.18), (0.08, 0.12, 0.18, 0.26, 0.38)),
    "shot_noise": ("photons at white", (250, 100, 50, 30, 15), (60, 25, 12, 5, 3)),
    "impulse_noise": ("share of values replaced", (0.01, 0.02, 0.05, 0.08, 0.14), (0.03, 0.06, 0.09, 0.17, 0.27)),
    "speckle_noise": ("sigma", (0.15, 0.2, 0.25, 0.3, 0.35), (0.15, 0.2, 0.35, 0.45, 0.6)),
    "gaussian_blur": ("sigma in pixels", (0.5, 0.75, 1, 1.25, 1.5), (1, 2, 3, 4, 6)),
    "defocus_blur": (
        "radius, sigma of the softened edge",
        ((0.5, 0.6), (1, 0.1), (1.5, 0.1), (2.5, 0.01), (3, 0.1)),
        ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    ),
    "glass_blur": (
        "sigma, largest shift, iterations",
        ((0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2)),
        ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    ),
    "motion_blur": (
        "radius, sigma along the path",
        ((10, 1), (10, 1.5), (10, 2), (10, 2.5), (12, 3)),
        ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    ),
    "zoom_blur": (
        "number of zooms, step between them",
        ((7, 0.01), (12, 0.01), (16, 0.01), (21, 0.01), (26, 0.01)),
        ((12, 0.01), (16, 0.01), (11, 0.02), (13, 0.02), (11, 0.03)),
    ),
    "snow": (
        "flake mean, flake sigma, zoom, threshold, blur radius, blur sigma, share of the original",
        (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.8),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.8),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.7),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.65),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.6),
        ),
        (
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
    ),
    "frost": (
        "weight of the image, weight of the frost",
        ((1, 0.3), (0.9, 0.4), (0.8, 0.45), (0.75, 0.5), (0.7, 0.55)),
        ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
    ),
    "fog": (
        "density, decay of the plasma",
        ((0.4, 3), (0.7, 3), (1, 2.5), (1.5, 2), (2, 1.75)),
        ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    ),
    "brightness": ("added to the value of HSV", (0.1, 0.2, 0.3, 0.4, 0.5), (0.1, 0.2, 0.3, 0.4, 0.5)),
    "saturate": (
        "factor, offset of the saturation of HSV",
        ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (30, 0.2)),
        ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
    ),
    "contrast": ("factor", (0.4, 0.3, 0.2, 0.1, 0.05), (0.4, 0.3, 0.2, 0.1, 0.05)),
    "elastic_transform": (
        "strength, smoothness, largest shift of the corners; shares of the side",
        ((0, 0, 0.08), (0.05, 0.3, 0.06), (0.1, 0.08, 0.06), (0.1, 0.03, 0.03), (0.16, 0.03, 0.02)),
        tuple(
            tuple(244 / 224 * share for share in row)  # the published 244 stands for a side of 224
            for row in ((2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02))
        ),
    ),
    "pixelate": ("side of the small image", (0.9, 0.8, 0.7, 0.6, 0.5), (0.6, 0.5, 0.4, 0.3, 0.25)),
    "jpeg_compression": ("quality", (65, 58, 50, 40, 25), (25, 18, 15, 10, 7)),
    "spatter": (
        "liquid's mean, sigma, smoothness in pixels, threshold, amount or mud's smoothness, 1 for mud",
        (
            (0.62, 0.1, 0.7, 0.7, 0.6, 0), (0.65, 0.1, 0.8, 0.7, 0.6, 0), (0.65, 0.3, 1, 0.69, 0.6, 0),
            (0.65, 0.1, 0.7, 0.68, 0.6, 1), (0.65, 0.1, 0.5, 0.67, 0.6, 1),
        ),
        (
            (0.65, 0.3, 4, 0.69, 0.6, 0), (0.65, 0.3, 3, 0.68, 0.6, 0), (0.65, 0.3, 2, 0.68, 0.5, 0),
            (0.65, 0.3, 1, 0.65, 1.5, 1), (0.67, 0.4, 1, 0.65, 1.5, 1),
        ),
    ),
} | {
    # of faces in the field; ours, the same at every size
    name: (words, row, row)
    for name, words, row in (
        ("low_light", "gain", (0.7, 0.55, 0.4, 0.3, 0.2)),
        ("over_exposure", "gain", (1.2, 1.4, 1.65, 1.95, 2.4)),
        ("colour_cast", "log of a channel's gain", (0.1, 0.2, 0.3, 0.42, 0.55)),
        ("low_resolution", "side of the small image", (0.6, 0.45, 0.33, 0.25, 0.18)),
        (
            "video_compression",
            "quantiser scale (16 is the standard's matrix), share of skipped macroblocks, their largest shift in pixels",
            ((12, 0, 0), (24, 0.05, 1), (40, 0.1, 2), (64, 0.15, 3), (100, 0.2, 4)),
        ),
        (
            "rain",
            "share of pixels with a drop, length of a streak in sides, its opacity, share of the veil",
            (
                (0.004, 0.12, 0.35, 0.06), (0.006, 0.15, 0.45, 0.12), (0.009, 0.18, 0.5, 0.18),
                (0.012, 0.22, 0.55, 0.24), (0.016, 0.26, 0.6, 0.3),
            ),
        ),
        ("haze", "optical thickness", (0.3, 0.55, 0.85, 1.2, 1.7)),
        ("occlusion", "share of the area", (0.05, 0.1, 0.15, 0.2, 0.25)),
        ("mask", "height of its upper edge from the chin to the bridge of the nose", (0.25, 0.45, 0.6, 0.75, 0.9)),
        (
            "sunglasses",
            "half width of a lens in distances of the eyes, opacity",
            ((0.3, 0.6), (0.34, 0.75), (0.38, 0.9), (0.43, 1), (0.48, 1)),
        ),
    )
}

# A published list that does not rise: the images may be nearer to the clean ones than at the severity before. Ours all rise.
NOT_MONOTONE = {
    "glass_blur": "sigma, shift and iterations are traded for one another: a larger shift comes with fewer iterations",
    "elastic_transform": "the first severities shift the corners most, the later ones ripple: large smooth shifts change more pixels",
    "frost": "the image's and the frost's weights change together: less of the image and more frost can leave the sum where it was",
    "snow": "from 224 px severity 2 and 3 differ by larger flakes and a higher threshold, which nearly cancel",
    "saturate": "1 and 2 take colour away, 3 to 5 add it: two directions on one scale",
    "spatter": "1 to 3 are water, 4 and 5 mud",
}


@lru_cache(maxsize=256)
def rows(name: str, side: int) -> tuple[tuple[float, ...], ...]:
    """The parameters of severity 1 to 5 at an image side, one tuple a severity."""
    _, small, large = LEVELS[name]
    weight = min(max((side - SMALL) / (LARGE - SMALL), 0.0), 1.0)
    listed = [row if isinstance(row, tuple) else (row,) for row in (*small, *large)]
    return tuple(
        tuple((1 - weight) * a + weight * b for a, b in zip(listed[i], listed[i + 5], strict=True)) for i in range(5)
    )


def pick(stack: Tensor, severity: Tensor) -> Tensor:
    """Rows of ``stack`` [5,...] by ``severity`` [B] (on the CPU): [B,...], or [1,...] where all images have the same.

    A leading 1 lets the caller's arithmetic broadcast, and shares one operator over the batch.
    """
    first = int(severity[0])
    if bool((severity == first).all()):
        return stack[first - 1 : first]
    return stack[sent(severity - 1, stack.device)]


def level(name: str, severity: Tensor, images: Tensor) -> list[Tensor]:
    """The parameters of each image, a tensor [B,1,1,1] or [1,1,1,1] for each, on the device of ``images``; not to be written into."""
    listed = rows(name, min(images.shape[2:]))
    table = constant(tuple(chain.from_iterable(listed)), images.device, images.dtype).view(5, -1)
    return [column[:, None, None, None] for column in pick(table, severity).unbind(1)]


def page() -> str:
    """The table as Markdown, one row a type: what it is of F' = F M + eps, and its levels at the two sizes."""
    from lib.degrade.corruptions import REGISTRY  # which needs this file

    def listed(levels: tuple) -> str:
        shown = (", ".join(f"{v:.3g}" for v in row) if isinstance(row, tuple) else f"{row:.3g}" for row in levels)
        return " · ".join(f"({row})" if "," in row else row for row in shown)

    lines = [
        "# What the severities mean", "",
        f"Up to {SMALL} px the first list holds (Tiny-ImageNet-C's where the type is ImageNet-C's), from {LARGE} px the second"
        " (ImageNet-C's), between them each parameter is interpolated in the shorter side. Written by `python -m lib.degrade.levels`.",
        "", f"| corruption | part of F' = F·M + eps | linear | parameters | {SMALL} px, severity 1 to 5 | {LARGE} px |",
        "|:--|:--|:--|:--|:--|:--|",
    ]  # fmt: skip
    for name, kind in REGISTRY.items():
        words, small, large = LEVELS[name]
        same = "the same" if small == large else listed(large)
        linear = "yes" if kind.linear else "no"
        lines.append(f"| {name} | {kind.part} | {linear} | {words} | {listed(small)} | {same} |")
    lines += [
        "", "## Where a higher severity is not always a larger change", "",
        "Measured by PSNR to the clean image. The published lists are kept, because numbers are compared by them:", "",
        *(f"- {name}: {why}." for name, why in NOT_MONOTONE.items()),
    ]  # fmt: skip
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    print(page(), end="")
