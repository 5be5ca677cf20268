"""Looking into one encoder: which faces it holds alike, and what attacks, corruptions and DAFR do to a face.

Behind ``notebooks/explore_encoder.ipynb``. No labels are needed: likeness is the cosine of two features, each minus the
mean feature of the gallery (features of one network share a large offset that makes all faces alike), and an attack
turns a feature away from itself.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lib.datasets import FaceTable, open_dataset
from lib.datasets.columns import ALL_EXPRESSIONS, EXPRESSIONS
from lib.degrade.attacks import attack
from lib.degrade.draws import new_seeds
from lib.degrade.search import random_start
from lib.faces.framing import fit_faces
from lib.faces.shards import open_packed
from lib.models.encoder import Encoder, EncoderConfig, load_encoder
from lib.params import Network

DEMO = Path("data/demo/rendered")
STEPS = 10  # of an attack
NUDGE = 2 / 255  # the cosine is flat where a feature meets itself; so far away it has a slope
RESTORER = {"stages": 3}  # of the untrained stand-in: DAFR as published


def trained_or_stand_in(run: str | Path, image_size: int, network: Network) -> Encoder:
    """The encoder at ``run``, or, where none is trained yet, the same kind of network untrained, and a word about it."""
    try:
        return load_encoder(run)
    except FileNotFoundError as error:
        print(
            f"{error}.\nUntil then this notebook goes on with an UNTRAINED network, so that you see what it does; its"
            " likenesses mean little and it restores nothing."
        )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Encoder(EncoderConfig(image_size, network.backbone, network.backbone_args, RESTORER)).eval()


@dataclass(frozen=True)
class Gallery:
    """Faces as the encoder will see them: images float [N,3,S,S] in [0,1], a caption each, and where they are from."""

    images: Tensor
    captions: list[str]
    source: str


def open_gallery(folder: str | Path | None, size: int, most: int = 120) -> Gallery:
    """Up to ``most`` faces, evenly over the set: aligned where landmarks are known, else their central square.

    ``folder``: a folder of photographs or a packed set (of rendered faces: its test people); None takes the demo's, and
    renders some on a fresh checkout, where there are none yet.

    Raises:
        DatasetError: no such folder, no image in it, an unreadable image.
    """
    if folder is None and not (DEMO / "set.json").is_file():
        return _rendered(size)
    root = DEMO if folder is None else Path(folder)
    table = open_packed(root) if (root / "set.json").is_file() else open_dataset("folder", root)
    if table.source == "rendered" and "split" in table.columns:
        table = table.select(table.column("split") == "probe_test")  # people whom no encoder of the demo was trained on
    spread = np.unique(np.linspace(0, len(table) - 1, min(most, len(table))).round().astype(int))
    table = table.select(spread)
    parts = [np.arange(len(table))] if table.image_size else np.arange(len(table))[:, None]
    images = [
        _fitted(table.images(part), table.landmarks(part) if table.has_landmarks else None, size) for part in parts
    ]
    return Gallery(torch.cat(images), _captions(table), table.source)


def _fitted(images: Tensor, landmarks: Tensor | None, size: int) -> Tensor:
    """uint8 [n,3,H,W] -> float [n,3,size,size] as ``lib.prepare`` packs them (a few without landmarks it leaves out)."""
    return fit_faces(images, landmarks, (size, size))[0].float() / 255


def _captions(table: FaceTable) -> list[str]:
    if "file" in table.columns:
        return [str(file) for file in table.column("file")]
    names = [f"person {person}" for person in table.column("identity")] if "identity" in table.columns else []
    names = names or [f"image {i}" for i in range(len(table))]
    if "expression" in table.columns:
        words = (ALL_EXPRESSIONS[label] if label >= 0 else "" for label in table.column("expression"))
        names = [f"{name}\n{word}" if word else name for name, word in zip(names, words)]
    return names


def _rendered(size: int, people: int = 10) -> Gallery:
    """Some people with all seven expressions, drawn now; takes seconds, a minute when the renderer's kernels are new."""
    from lib.faces.sample import sample_faces  # the renderer is started only when it is needed

    pictures, captions = [], []
    for expression in EXPRESSIONS:
        images, rows, _ = sample_faces(people, seed=1, image_size=2 * size, expression=expression)
        points = torch.from_numpy(np.stack(rows["landmarks"])).view(people, -1, 2)
        pictures.append(_fitted(torch.from_numpy(images).permute(0, 3, 1, 2), points, size))
        captions += [f"person {number}\n{expression}" for number in rows["identity"]]
    return Gallery(torch.cat(pictures), captions, "rendered")


class Space:
    """A gallery in an encoder's feature space.

    Attributes:
        encoder: in eval mode, its parameters without gradients. gallery: on the encoder's device.
        centre: mean feature of the gallery, [D]. features: of the gallery, centred, unit length, [N,D].
    """

    def __init__(self, encoder: Encoder, gallery: Gallery, device: torch.device | str = "cpu"):
        self.encoder = encoder.to(device).eval().requires_grad_(False)
        self.gallery = Gallery(gallery.images.to(device), gallery.captions, gallery.source)
        with torch.no_grad():
            features = torch.cat([self.encoder(part).float() for part in self.gallery.images.split(64)])
        self.centre = features.mean(0)
        self.features = F.normalize(features - self.centre, dim=1)

    def embed(self, images: Tensor) -> Tensor:
        """Images [B,3,H,W] in [0,1] -> centred features of unit length [B,D]; differentiable to the pixels."""
        return F.normalize(self.encoder(images).float() - self.centre, dim=1)

    def nearest(self, images: Tensor, count: int = 6, leave_out: int | None = None) -> tuple[Tensor, Tensor]:
        """The gallery faces most like each image: indices and cosines, both [B,count], the best first.

        ``leave_out``: a gallery index that is not to be found, the query itself.
        """
        with torch.no_grad():
            likeness = self.embed(images) @ self.features.T
        if leave_out is not None:
            likeness[:, leave_out] = -torch.inf
        cosines, index = likeness.topk(min(count, len(self.features) - (leave_out is not None)), dim=1)
        return index, cosines

    def likeness(self, first: Tensor, second: Tensor) -> float:
        """Cosine of two images [1,3,H,W]."""
        with torch.no_grad():
            return float((self.embed(first) * self.embed(second)).sum())

    def attacked(self, face: Tensor, name: str, eps: float, seed: int = 0) -> Tensor:
        """The face [1,3,H,W] after a white-box attack on 1 - cos to its own feature; no label takes part.

        ``eps`` is in 255ths; a step is a quarter of it. The feature to turn away from is that of the face with noise of
        2/255, since at the feature itself the cosine is flat and attacks without random start would not move.
        """
        generator = torch.Generator(face.device).manual_seed(seed)
        with torch.no_grad():
            target = self.embed(random_start(face, NUDGE, new_seeds(1, generator, face.device)))
        budget = {"eps": eps / 255, "alpha": eps / 4 / 255, "steps": STEPS, "generator": generator}
        return attack(name, self.embed, face, target, lambda z, clean: 1 - (z * clean).sum(1).mean(), **budget)
