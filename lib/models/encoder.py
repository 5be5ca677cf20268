"""Encoders: a face image in [0, 1] in, a feature vector out, everything in between inside the module.

The preprocessing is part of the network, so that no caller can get it wrong and a perturbation of the pixels means the
same for every encoder:

    images [B, 3, H, W] -> centre (AUNCE) -> resize -> blur (control) -> gain and offset, DAFR (DAR-SFRL) -> normalise
    -> timm backbone -> graph of action units (AUNCE) or readout (DAR-SFRL) -> features [B, D]

or, where the representation is the pixels themselves (raw pixels; the released DAR-SFRL: the restored image), flatten
instead of normalise and backbone; ``keep_image`` has both.

File format: safetensors; the configuration as JSON in the metadata; the backbone's keys as timm names them, the
restorer's behind ``restorer.``, the readout's behind ``readout.``, the graph's behind ``au_graph.``. Plain
``timm.create_model(..., checkpoint_path=...)`` loads a file that has none of these.
"""

import json
import os
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path

import safetensors
import safetensors.torch
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib.files import write_aside
from lib.models.au_graph import AuGraph, token_map
from lib.models.checks import LEAST_SIDE, check_images, check_values
from lib.models.dafr import DAFR
from lib.models.photometric import undo_gain_and_offset
from lib.models.readout import Readout

WEIGHTS = "encoder.safetensors"
PARTS = ("restorer", "readout", "au_graph")  # what an encoder may have beside its backbone
PIXEL_MEAN, PIXEL_STD = 0.45, 0.25  # about those of face images; one constant, so that no data set leaks into the input


@dataclass(frozen=True)
class EncoderConfig:
    """What an encoder is built from; stored in its file.

    Attributes:
        image_size: side of the square image that the network sees, px.
        backbone: a timm model name, or ``pixels``: the image itself is the representation.
        backbone_args: keyword arguments for timm's model (a smaller width, say).
        restorer: DAFR's arguments (stages, channels, hidden), or None.
        photometric: undo one gain and one offset of each channel first; see lib.models.photometric.
        keep_image: the (restored) image itself, flattened, is a part of the description, before the backbone's maps.
        readout: arguments of lib.models.readout.Readout (moving, components, weight), or None: the description is the
            representation.
        blur: sigma in px of a Gaussian blur before everything else; 0 is none. The blur-as-defence control.
        au_graph: arguments of lib.models.au_graph.AuGraph (units, width, neighbours), and optionally which of several
            maps it reads (layer, default the last), or None. The representation is then one unit vector per action
            unit, one after the other: K times D numbers.
        centre: share of the height and width that is kept around the centre, before everything else; 1 is all.
    """

    image_size: int
    backbone: str
    backbone_args: dict = field(default_factory=dict)
    restorer: dict | None = None
    photometric: bool = False
    keep_image: bool = False
    readout: dict | None = None
    blur: float = 0.0
    au_graph: dict | None = None
    centre: float = 1.0

    def __post_init__(self):
        if self.image_size < LEAST_SIDE:
            raise ValueError(f"image_size: expected at least {LEAST_SIDE} px, got {self.image_size}")
        if self.blur < 0:
            raise ValueError(f"blur: expected a sigma >= 0, got {self.blur}")
        if not 0 < self.centre <= 1:
            raise ValueError(f"centre: expected a share in (0, 1], got {self.centre}")
        if self.au_graph and self.backbone == "pixels":
            raise ValueError("au_graph: a graph of action units needs a backbone, got 'pixels'")


class Encoder(nn.Module):
    """Features from face images; see the module's text. ``dim``, ``image_size`` and ``config`` describe it.

    Refused are images that are no float RGB, smaller than 8 px a side, longer than 1 : 4 or, outside autocast, of another precision
    than the weights; in eval mode also those with values outside [0, 1]: on a CPU in every batch, on a GPU, which would have to be
    waited for, in each until one has passed. Values are not looked at in training, where noise may lead out, nor where images carry
    a gradient: those of an attack may look ahead.
    """

    _looked_at = False  # a batch was there, and its values were in [0, 1]

    def __init__(self, config: EncoderConfig):
        super().__init__()
        self.config = config
        self.image_size = config.image_size
        self.restorer = DAFR(**config.restorer) if config.restorer else None
        self.readout = self.au_graph = None
        if config.backbone == "pixels":
            self.backbone = None
            self.dim = 3 * config.image_size**2
        else:
            self.backbone = timm.create_model(config.backbone, pretrained=False, num_classes=0, **config.backbone_args)
            self.backbone.eval()
            with torch.no_grad():
                if config.au_graph:
                    settings = {name: value for name, value in config.au_graph.items() if name != "layer"}
                    tokens = self.tokens(torch.zeros(1, 3, config.image_size, config.image_size))
                    self.au_graph = AuGraph(tokens.shape[2], **settings).eval()
                self.dim = self.describe(torch.zeros(1, 3, config.image_size, config.image_size)).shape[1]
            self.train()
        if config.readout:
            self.read_out(Readout(config.image_size, self.dim, **config.readout))
        self.to(memory_format=torch.channels_last)  # about 1.5x faster than the default on CPUs, no slower on GPUs

    def prepare(self, images: Tensor, centre: float | None = None) -> Tensor:
        """Check, keep the centre, resize (antialiased), blur and undo gain and offset as configured.

        -> [B, 3, image_size, image_size]. ``centre`` is the share that is kept, None the configured one; 1 for views that are
        cropped already.

        Raises:
            ValueError: what cannot be faces in [0, 1]; see the class for when values are looked at.
        """
        check_images(images)
        self._look_at(images)
        images = centre_crop(images, self.config.centre if centre is None else centre)
        if images.shape[-2:] != (self.image_size, self.image_size):
            images = F.interpolate(images, (self.image_size,) * 2, mode="bilinear", antialias=True, align_corners=False)
        images = gaussian_blur(images, self.config.blur) if self.config.blur else images
        images = undo_gain_and_offset(images) if self.config.photometric else images
        return images.contiguous(memory_format=torch.channels_last)

    def _look_at(self, images: Tensor) -> None:
        weights = next(self.parameters(), images)  # raw pixels have none
        expected = weights.dtype
        if images.dtype != expected and (images.dtype == torch.float64 or not torch.is_autocast_enabled(images.device.type)):
            raise ValueError(f"images: expected {expected} like the encoder's weights, got {images.dtype}; images.to({expected}) is")
        if self.training or images.requires_grad or torch.compiler.is_compiling():
            return
        if images.device.type == "cpu" or not self._looked_at:
            check_values(images)
            self._looked_at = True

    def restore(self, images: Tensor) -> list[Tensor]:
        """What each stage of DAFR makes of the images: a list of [B, 3, S, S], S = image_size.

        Raises:
            ValueError: this encoder has no restorer, or see :meth:`prepare`.
        """
        if self.restorer is None:
            raise ValueError("this encoder has no restorer: only DAR-SFRL's, and what began with one, restore")
        return self.restorer(self.prepare(images))[0]

    def read_out(self, readout: Readout) -> None:
        """Put a fitted readout behind the description; it becomes a part of the encoder and of its file."""
        self.readout, self.dim = readout, readout.dim
        settings = {"moving": readout.moving, "components": readout.basis.shape[1], "weight": readout.weight}
        self.config = replace(self.config, readout=settings)

    def restored(self, images: Tensor, centre: float | None = None) -> Tensor:
        """Images [B, 3, H, W] -> what the representation is made of: prepared and, where there is DAFR, its last stage."""
        image = self.prepare(images, centre)
        return image if self.restorer is None else self.restorer(image)[0][-1]

    def describe(self, image: Tensor) -> Tensor:
        """Everything known of restored images [B, 3, S, S], before a readout chooses: pixels, backbone maps or both."""
        if self.backbone is None:
            return image.flatten(1)
        if self.au_graph is not None:
            return self.unit_vectors(image).mT.flatten(1)
        maps = self.backbone((image - PIXEL_MEAN) / PIXEL_STD)
        maps = maps if isinstance(maps, list) else [maps]  # timm's features_only gives the maps of several layers
        maps = [features.flatten(1) for features in ([image, *maps] if self.config.keep_image else maps)]
        # a part weighs in a distance by its mean square, not by how many values it has
        mean_size = sum(features.shape[1] for features in maps) / len(maps)
        return torch.cat([features * (mean_size / features.shape[1]) ** 0.5 for features in maps], 1)

    def tokens(self, image: Tensor) -> Tensor:
        """The backbone's map before pooling, of prepared images [B, 3, S, S]: [B, L, C]."""
        image, args = (image - PIXEL_MEAN) / PIXEL_STD, self.config.backbone_args
        maps = self.backbone(image) if args.get("features_only") else self.backbone.forward_features(image)
        last = getattr(self.backbone, "output_fmt", "NCHW") == "NHWC"
        layer = (self.config.au_graph or {}).get("layer", -1)
        return token_map(maps, last, getattr(self.backbone, "num_prefix_tokens", 0), layer)

    def unit_vectors(self, image: Tensor) -> Tensor:
        """One vector of length 1 per action unit, of prepared images [B, 3, S, S]: [B, D, K].

        Raises:
            ValueError: this encoder has no graph of action units.
        """
        if self.au_graph is None:
            raise ValueError("this encoder has no graph of action units: only AUNCE encoders have one vector per unit")
        return self.au_graph(self.tokens(image))

    def represent(self, image: Tensor) -> Tensor:
        """Features [B, dim] of restored images [B, 3, S, S]."""
        description = self.describe(image)
        return description if self.readout is None else self.readout(image, description)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] in [0, 1] -> features [B, dim]; differentiable down to the pixels. Errors: :meth:`prepare`."""
        return self.represent(self.restored(images))


def centre_crop(images: Tensor, share: float) -> Tensor:
    """The middle of [B, C, H, W]: ``share`` of its height and width, rounded to whole pixels."""
    if share == 1:
        return images
    sides = [max(1, round(side * share)) for side in images.shape[-2:]]
    top, left = ((whole - side) // 2 for whole, side in zip(images.shape[-2:], sides))
    return images[..., top : top + sides[0], left : left + sides[1]]


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """Separable Gaussian blur of [B, C, H, W], kernel cut at 3 sigma, edges reflected."""
    radius = min(max(1, round(3 * sigma)), min(images.shape[-2:]) - 1)
    x = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (x / sigma) ** 2)
    kernel = kernel / kernel.sum()
    channels = images.shape[1]
    images = F.pad(images, (radius,) * 4, mode="reflect")
    images = F.conv2d(images, kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
    return F.conv2d(images, kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)


def save_encoder(encoder: Encoder, path: str | os.PathLike) -> None:
    """Write weights and configuration as safetensors (whole or not at all)."""
    weights = {} if encoder.backbone is None else dict(encoder.backbone.state_dict())
    for part in PARTS:
        if (module := getattr(encoder, part)) is not None:
            weights |= {f"{part}.{name}": value for name, value in module.state_dict().items()}
    weights = weights or {"empty": torch.zeros(0)}  # safetensors wants a tensor; raw pixels have none
    weights = {name: value.detach().contiguous().cpu() for name, value in weights.items()}
    with write_aside(path) as aside:
        safetensors.torch.save_file(weights, aside, metadata={"config": json.dumps(asdict(encoder.config), sort_keys=True)})


def load_encoder(path_or_run: str | os.PathLike) -> Encoder:
    """An encoder in eval mode from its ``.safetensors`` file, or from the pre-training folder that holds one.

    Raises:
        FileNotFoundError: nothing there; says which command makes it.
        ValueError: not an encoder file of this package, or of another version of it: a missing or unexpected key of its
            configuration or weights, a weight of another shape or that is not finite; names the file, the key and the remedy.
    """
    path = Path(path_or_run)
    if path.is_dir():
        path = path / WEIGHTS
    if not path.is_file():
        where = "" if path.is_absolute() else f" ({path.absolute()})"
        raise FileNotFoundError(
            f"no encoder at {path}{where}: `dvc repro pretrain` trains them all, `dvc repro pretrain@NAME` one"
            " (pretrain_continued@NAME under 'continued')"
        )
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path}: not a readable safetensors file ({error}); train it or copy it again") from error
    if "config" not in metadata:
        raise ValueError(f"{path}: no 'config' in its metadata, so it is not an encoder of this package")
    encoder = _built(path, metadata["config"])
    _check_finite(path, weights)
    parts, rest = [], {name: value for name, value in weights.items() if name != "empty"}
    for part in PARTS:
        own = {name: rest.pop(name) for name in list(rest) if name.startswith(f"{part}.")}
        parts.append((getattr(encoder, part), f"{part}.", own))
    parts.append((encoder.backbone, "", rest))
    for module, prefix, state in parts:
        expected = {f"{prefix}{name}": value for name, value in module.state_dict().items()} if module is not None else {}
        if missing := sorted(expected.keys() - state.keys()):
            raise ValueError(f"{path}: missing key {missing[0]!r} ({len(missing)} in all)")
        if unexpected := sorted(state.keys() - expected.keys()):
            raise ValueError(f"{path}: unexpected key {unexpected[0]!r} ({len(unexpected)} in all)")
        for name, value in expected.items():
            if state[name].shape != value.shape:
                raise ValueError(
                    f"{path}: the weight {name!r} has the shape {list(state[name].shape)}, its config asks for {list(value.shape)};"
                    " train it or copy it again"
                )
        if module is not None:
            module.load_state_dict({name.removeprefix(prefix): value for name, value in state.items()})
    return encoder.eval()


def _built(path: Path, text: str) -> Encoder:
    """The encoder of the configuration in a file's metadata, its weights fresh."""
    remedy = "train it again, or use that version"
    known = {item.name: item for item in fields(EncoderConfig)}
    try:
        config = json.loads(text)
        if not isinstance(config, dict):
            raise ValueError(f"expected a dict, got {config!r}")
    except ValueError as error:
        raise ValueError(f"{path}: the 'config' in its metadata cannot be read ({error}); train it or copy it again") from None
    if unknown := sorted(config.keys() - known.keys()):
        raise ValueError(f"{path}: written by another version of dar-faces (its config has {unknown[0]!r}); {remedy}")
    missing = [name for name, item in known.items() if item.default is item.default_factory is MISSING and name not in config]
    if missing:
        raise ValueError(f"{path}: written by another version of dar-faces (its config has no {missing[0]!r}); {remedy}")
    try:
        return Encoder(EncoderConfig(**config))
    except Exception as error:  # timm's models raise many kinds
        raise ValueError(
            f"{path}: no encoder can be built from its config ({type(error).__name__}: {error}); if another version of dar-faces or"
            f" timm wrote it, {remedy}"
        ) from error


def _check_finite(path: Path, weights: dict[str, Tensor]) -> None:
    broken = [name for name, value in weights.items() if not value.float().isfinite().all()]
    if broken:
        raise ValueError(
            f"{path}: the weight {broken[0]!r} is not finite ({len(broken)} such weights in all); train it or copy it again"
        )
