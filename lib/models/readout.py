"""The last step of a DAR-SFRL representation: where faces move, and the main components of everything.

A linear probe may use any direction of thousands of features, and finds those that a perturbation eps of the pixels
turns most easily: training the network against eps does not keep eps out of what a probe reads. Here the probe is left
few directions, chosen without labels after the last training step:

    moving      the restored image at the pixels that vary most *within* a clip, as a share of their variance over all
                faces: mostly brows, eyes and mouth, hardly any hair, clothes or background. What an L-infinity eps can do to a linear
                score is the L1 norm of its weights; on pixels that say nothing those weights are cost alone.
    components  the first principal components of the whole description (restored image and backbone maps): who it is.

Both are scaled to the same variance over the faces that they are fitted on, then ``moving`` by ``weight``; this matters to
distances (verification), not to probes, which standardise. Nothing here is in the published DAR-SFRL; it serves its aim, a
representation without eps.
"""

import numpy as np
import torch
from torch import Tensor, nn

MOST_IMAGES = 4096  # clips, evenly spread over the set, are enough to choose pixels and components
MOST_VALUES = 2**27  # of all their descriptions: 0.5 GiB, and twice that in float64
LEAST_EIGENVALUE = 1e-10  # of the largest: a direction with less holds rounding errors
BATCH = 128


class Readout(nn.Module):
    """Restored image [B, 3, S, S] and description [B, D] -> [B, dim]. Fixed once fitted: buffers only.

    Args:
        image_size: S. wide: D. moving: share of the S^2 pixels, 0 to 1. components: number of them, 0 is none.
        weight: of the moving pixels in a distance, against the components.
    """

    def __init__(self, image_size: int, wide: int, moving: float, components: int, weight: float):
        super().__init__()
        if not 0 <= moving <= 1:
            raise ValueError(f"moving: expected a share in [0, 1], got {moving}")
        if components < 0 or weight < 0:
            raise ValueError(f"components, weight: expected 0 or more, got {components}, {weight}")
        count = round(moving * image_size**2)
        if not count and not components:
            raise ValueError("moving, components: one of them must leave something")
        self.moving, self.weight = moving, weight
        self.register_buffer("pixels", torch.arange(count))
        self.register_buffer("mean", torch.zeros(wide))
        self.register_buffer("basis", torch.zeros(wide, components))
        self.register_buffer("scales", torch.ones(2))

    @property
    def dim(self) -> int:
        return 3 * len(self.pixels) + self.basis.shape[1]

    def forward(self, image: Tensor, description: Tensor) -> Tensor:
        moving = image.flatten(2)[:, :, self.pixels].flatten(1)
        parts = [self.weight * moving / self.scales[0]]
        if self.basis.shape[1]:
            parts.append((description - self.mean) @ self.basis / self.scales[1])
        return torch.cat(parts, 1)


@torch.no_grad()
def fit_readout(encoder: nn.Module, table, moving: float, components: int, weight: float, device) -> Readout | None:
    """A readout for an encoder in eval mode, from the images of ``table`` and which clip each is from; no label.

    Where no clip has two images nothing is seen to move, and there are fewer components than images. A line says so where
    that changes what was asked for; None where nothing is left (the description is the representation then). This is known
    after training only, which must not be lost.
    """
    clips = table.column("clip") if "clip" in table.columns else np.arange(len(table))
    rows = whole_clips(clips, max(2, min(MOST_IMAGES, MOST_VALUES // encoder.dim)))
    images, descriptions = [], []
    for part in torch.as_tensor(rows).split(BATCH):
        image = encoder.restored(table.images(part).to(device).float() / 255)
        images.append(image)
        descriptions.append(encoder.describe(image))
    image, description = torch.cat(images), torch.cat(descriptions)
    del images, descriptions
    share = moving_share(image, torch.as_tensor(np.unique(clips[rows], return_inverse=True)[1], device=device))
    if share is None and moving:
        print("no clip has two images, so it is not known where faces move: the representation is components alone", flush=True)
        moving = 0.0
    mean = description.mean(0)
    description -= mean
    basis = principal_components(description, components)
    if basis.shape[1] < components:
        print(f"{len(rows)} images have {basis.shape[1]} components, not {components}", flush=True)
    count = round(moving * image.shape[-1] ** 2)
    if not count and not basis.shape[1]:
        print("the readout has neither moving pixels nor components: the whole description is the representation", flush=True)
        return None
    readout = Readout(image.shape[-1], description.shape[1], moving, basis.shape[1], weight).to(device)
    if count:
        readout.pixels = share.flatten().topk(count).indices.sort().values
    readout.mean, readout.basis = mean, basis
    for i, part in enumerate((image.flatten(2)[:, :, readout.pixels].flatten(1), description @ basis)):
        if part.shape[1]:
            readout.scales[i] = (part - part.mean(0)).square().sum(1).mean().sqrt().clamp(min=1e-6)
    return readout


def principal_components(centred: Tensor, count: int) -> Tensor:
    """[N, D] of mean zero -> [D, count], orthonormal directions of the largest variance, the largest first.

    Fewer than ``count`` where the points vary in fewer directions. By the smaller of the two Gram matrices, in float64. Of
    a direction's two signs the one that makes its largest entry positive.
    """
    if not count:
        return centred.new_zeros(centred.shape[1], 0)
    points = centred.double()
    wide = points.shape[1] > len(points)
    values, vectors = torch.linalg.eigh(points @ points.T if wide else points.T @ points)
    count = min(count, int((values > LEAST_EIGENVALUE * values[-1].clamp(min=1e-300)).sum()))
    if not count:
        return centred.new_zeros(centred.shape[1], 0)
    basis = vectors.flip(1)[:, :count]
    basis = nn.functional.normalize(points.T @ basis, dim=0) if wide else basis
    largest = basis.gather(0, basis.abs().argmax(0, keepdim=True))
    return (basis * largest.sign()).to(centred.dtype).contiguous()


def moving_share(images: Tensor, clip: Tensor) -> Tensor | None:
    """[N, 3, H, W] and the clip of each [N] long -> [H, W]: variance within clips over variance, mean over channels.

    None where no clip has two images.
    """
    count = torch.bincount(clip)
    if count.max() < 2:
        return None
    flat = images.flatten(1)
    means = torch.zeros(len(count), flat.shape[1], device=flat.device).index_add_(0, clip, flat) / count[:, None]
    within = (flat - means[clip]).square().mean(0)
    total = (flat - flat.mean(0)).square().mean(0)
    return (within / total.clamp(min=1e-12)).view(images.shape[1:]).mean(0)


def whole_clips(clips: np.ndarray, most: int) -> np.ndarray:
    """Rows [n], in order, of whole clips spread evenly over the set, at most ``most`` rows in all.

    A clip that does not fit any more is left out; where none fits, so many frames of the shortest as do.
    """
    names, place = np.unique(clips, return_inverse=True)
    if len(clips) <= most:
        return np.arange(len(clips))
    golden = (np.arange(len(names)) * 0.6180339887498949) % 1  # every beginning of its order is spread evenly
    size, kept, room = np.bincount(place), np.zeros(len(names), bool), most
    for clip in golden.argsort(kind="stable"):
        if size[clip] <= room:
            kept[clip], room = True, room - size[clip]
    rows = np.flatnonzero(kept[place])
    return rows if len(rows) else np.flatnonzero(place == size.argmin())[:most]
