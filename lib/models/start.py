"""Where an encoder's first weights come from: ImageNet, or an encoder that this package trained."""

import hashlib
from dataclasses import replace

import timm
import torch
from torch import Tensor

from lib.models.encoder import Encoder, EncoderConfig, load_encoder
from lib.models.named import is_named, named_encoder
from lib.workplace import PRETRAINED, newest

SCRATCH, IMAGENET = "scratch", "imagenet"
BEFORE = ("blur", "photometric", "restorer")  # what comes along of what an encoder does to a face; size and crop are the new one's own


def started_encoder(config: EncoderConfig, init: str) -> tuple[Encoder, str]:
    """An encoder of ``config`` that begins where ``init`` says, and a checksum of the weights that it begins with.

    From another encoder it takes the backbone and what that encoder does to the faces before (blur, gain and offset, DAR-SFRL's
    restorer with its weights): the backbone has learnt from such images. The restorer is trained on with the rest. What stands
    behind the backbone keeps its fresh weights. An encoder whose representation is its restored image (the released DAR-SFRL)
    gives its restorer alone, and the backbone is fresh.

    Returns:
        The encoder, and the checksum, '' for none: a killed run may go on only if it began with the same.

    Args:
        init: ``scratch`` takes nothing; ``imagenet`` are timm's weights, which must be in its cache or be fetched; a name is
            another entry of params.yaml, trained before; PATH@DIGEST is an encoder's file (see lib.models.named).

    Raises:
        ValueError: weights that cannot be had or do not fit the backbone; begins with 'init' and says what to do.
    """
    if init == SCRATCH:
        return Encoder(config), ""
    if init == IMAGENET:
        encoder = Encoder(config)
        return encoder, _load(encoder, "backbone", _imagenet(config), init)
    source = _trained(init)
    encoder = Encoder(replace(config, **{name: getattr(source.config, name) for name in BEFORE}))
    parts = [part for part in ("backbone", "restorer") if getattr(source, part) is not None]
    return encoder, "".join(_load(encoder, part, getattr(source, part).state_dict(), init) for part in parts)


def _load(encoder: Encoder, part: str, weights: dict[str, Tensor], init: str) -> str:
    """Give ``part`` of the encoder these weights; their checksum."""
    module = getattr(encoder, part)
    wanted = module.state_dict()
    unlike = [name for name in wanted.keys() | weights.keys() if name not in wanted or name not in weights
              or wanted[name].shape != weights[name].shape]  # fmt: skip
    if unlike:
        name, *_ = sorted(unlike)
        shape = {side: list(state[name].shape) if name in state else "no such weight" for side, state in
                 (("here", wanted), ("there", weights))}  # fmt: skip
        raise ValueError(
            f"init: {init!r} does not fit the {part} of {encoder.config.backbone}: {len(unlike)} weights differ, the first is {name}"
            f" (here {shape['here']}, there {shape['there']}); train both with the same backbone and backbone_args"
        )
    module.load_state_dict(weights)
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode() + weights[name].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _imagenet(config: EncoderConfig) -> dict[str, Tensor]:
    try:
        return timm.create_model(config.backbone, pretrained=True, num_classes=0, **config.backbone_args).state_dict()
    except Exception as error:  # hub, network and file errors and sizes that do not fit are of many kinds
        raise ValueError(
            f"init: the ImageNet weights of {config.backbone} cannot be had ({type(error).__name__}: {error}). Fetch them once on a"
            f" machine with access to huggingface.co (python -c \"import timm; timm.create_model('{config.backbone}',"
            " pretrained=True)\") and copy its cache folder (HF_HOME) here; only backbone_args that leave the published widths as"
            " they are have any"
        ) from error


def _trained(init: str) -> Encoder:
    try:
        with torch.random.fork_rng(devices=()):  # building it draws weights; the fresh ones of ours stay those of the seed
            encoder = named_encoder("init", init) if is_named(init) else load_encoder(newest(PRETRAINED / init))
    except FileNotFoundError as error:
        raise ValueError(f"init: {error}") from error
    if encoder.backbone is None and encoder.restorer is None:
        raise ValueError(f"init: the encoder {init} is raw pixels and has no weights to begin with")
    return encoder
