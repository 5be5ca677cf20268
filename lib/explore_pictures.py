"""The pictures of ``notebooks/explore_encoder.ipynb``: nearest neighbours, a changed face, DAFR's stages."""

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lib.explore import Space

TILE = 1.25  # inches a face
OWN, OTHER = "#009E73", "#D55E00"  # a neighbour that was there before the change, and one that was not


def neighbours_figure(space: Space, queries: list[int], count: int = 6) -> Figure:
    """A row a query: the gallery face, then the faces most like it with their cosines."""
    figure, axes = _sheet(len(queries), 1 + count)
    for row, query in zip(axes, queries):
        index, cosines = space.nearest(_face(space, query), count, leave_out=query)
        _show(row[0], _face(space, query)[0], f"query\n{space.gallery.captions[query]}")
        _neighbours(row[1:], space, index[0], cosines[0])
    figure.suptitle(f"Nearest neighbours and their cosines ({space.gallery.source})")
    return figure


def change_figure(space: Space, query: int, changed: Tensor, what: str, count: int = 6) -> Figure:
    """What a change does: the face before, after, the magnified difference, what DAFR makes of it; then the neighbours.

    ``changed`` [1,3,S,S] is the gallery face ``query`` after ``what``. A neighbour's frame says whether it was among
    the ``count`` nearest of the unchanged face.
    """
    face = _face(space, query)
    difference = changed - face
    size = float(difference.abs().max())
    figure, axes = _sheet(3, 1 + count)
    shown = [
        (face, "clean"),
        (changed, f"{what}\ncosine to clean {space.likeness(face, changed):.2f}"),
        (0.5 + difference / (2 * size or 1), f"difference\nx {1 / (2 * size or 0.5):.0f}, largest {255 * size:.0f}/255"),
    ]
    if space.encoder.restorer is not None:
        with torch.no_grad():
            restored = [space.encoder.restore(image)[-1] for image in (face, changed)]
        shown += [(restored[0], "clean,\nrestored by DAFR"), (restored[1], "changed,\nrestored by DAFR")]
    for ax, (image, title) in zip(axes[0], shown):
        _show(ax, image[0], title)
    before, cosines = space.nearest(face, count, leave_out=query)
    _show(axes[1, 0], face[0], "neighbours of\nthe clean face")
    _neighbours(axes[1, 1:], space, before[0], cosines[0])
    after, cosines = space.nearest(changed, count, leave_out=query)
    _show(axes[2, 0], changed[0], "neighbours of\nthe changed face")
    _neighbours(axes[2, 1:], space, after[0], cosines[0], known=set(before[0].tolist()))
    return figure


def restoration_figure(space: Space, query: int, degraded: Tensor) -> Figure:
    """DAFR stage by stage: what is restored, and what is taken away as noise.

    Above each picture its PSNR in dB to the clean face, both as DAFR gets them (an encoder may undo gain and offset
    first); above the last stage also the cosine of what the backbone makes of it.

    Raises:
        ValueError: the encoder has no restorer.
    """
    clean = _face(space, query)
    with torch.no_grad():
        stages = space.encoder.restore(degraded)
        target, given = space.encoder.prepare(clean), space.encoder.prepare(degraded)
    figure, axes = _sheet(2, 3 + len(stages))
    _show(axes[0, 0], clean[0], "clean")
    _show(axes[0, 1], degraded[0], "degraded")
    _show(axes[1, 0], target[0], "clean,\nas DAFR gets it")
    _show(axes[0, 2], given[0], f"as DAFR gets it\n{psnr(given, target):.1f} dB")
    for number, (above, below, image) in enumerate(zip(axes[0, 3:], axes[1, 3:], stages), start=1):
        end = f", cosine {space.likeness(clean, degraded):.2f}" if number == len(stages) else ""
        _show(above, image[0], f"stage {number}\n{psnr(image, target):.1f} dB{end}")
        _show(below, 0.5 + (given - image)[0], f"noise image {number}")
    return figure


def psnr(image: Tensor, clean: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of images whose values span 0 to 1; infinite where they are equal."""
    return float(-10 * (image - clean).square().mean().log10())


def _face(space: Space, query: int) -> Tensor:
    return space.gallery.images[query : query + 1]


def _sheet(rows: int, columns: int) -> tuple[Figure, object]:
    size = (TILE * columns, 1.4 * TILE * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for ax in axes.flat:
        ax.axis("off")
    return figure, axes


def _show(ax: Axes, image: Tensor, title: str) -> None:
    ax.imshow(image.permute(1, 2, 0).clamp(0, 1).cpu(), interpolation="nearest")
    ax.set_title(title, fontsize=7)


def _neighbours(row, space: Space, index: Tensor, cosines: Tensor, known: set[int] | None = None) -> None:
    for ax, at, cosine in zip(row, index.tolist(), cosines.tolist()):
        _show(ax, space.gallery.images[at], f"{cosine:.2f}\n{space.gallery.captions[at]}")
        if known is not None:
            height, width = space.gallery.images.shape[-2:]
            frame = plt.Rectangle((-0.5, -0.5), width, height, fill=False, lw=3, ec=OWN if at in known else OTHER)
            ax.add_patch(frame)
