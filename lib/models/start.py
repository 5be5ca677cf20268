"""Where a backbone's first weights come from: ImageNet, or an encoder that this package trained."""

import hashlib

import timm

from lib.models.encoder import Encoder, load_encoder
from lib.models.named import is_named, named_encoder
from lib.workplace import PRETRAINED, newest

SCRATCH, IMAGENET = "scratch", "imagenet"


def start_backbone(encoder: Encoder, init: str) -> str:
    """Load the first weights of ``encoder``'s backbone; what stands behind the backbone keeps its fresh ones.

    Returns:
        A checksum of the weights, '' for none: a killed run may go on only if it began with the same.

    Args:
        init: ``scratch`` changes nothing; ``imagenet`` are timm's weights, which must be in its cache or be fetched; a name is
            another entry of params.yaml, trained before; PATH@DIGEST is an encoder's file (see lib.models.named).

    Raises:
        ValueError: weights that cannot be had or do not fit the backbone; begins with 'init' and says what to do.
    """
    if init == SCRATCH:
        return ""
    weights = _imagenet(encoder) if init == IMAGENET else _trained(init)
    wanted = encoder.backbone.state_dict()
    unlike = [name for name in wanted.keys() | weights.keys() if name not in wanted or name not in weights
              or wanted[name].shape != weights[name].shape]  # fmt: skip
    if unlike:
        name, *_ = sorted(unlike)
        shape = {side: list(state[name].shape) if name in state else "no such weight" for side, state in
                 (("here", wanted), ("there", weights))}  # fmt: skip
        raise ValueError(
            f"init: {init!r} does not fit the backbone {encoder.config.backbone}: {len(unlike)} weights differ, the first is {name}"
            f" (here {shape['here']}, there {shape['there']}); train both with the same backbone and backbone_args"
        )
    encoder.backbone.load_state_dict(weights)
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode() + weights[name].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _imagenet(encoder: Encoder) -> dict:
    config = encoder.config
    try:
        return timm.create_model(config.backbone, pretrained=True, num_classes=0, **config.backbone_args).state_dict()
    except Exception as error:  # hub, network and file errors and sizes that do not fit are of many kinds
        raise ValueError(
            f"init: the ImageNet weights of {config.backbone} cannot be had ({type(error).__name__}: {error}). Fetch them once on a"
            f" machine with access to huggingface.co (python -c \"import timm; timm.create_model('{config.backbone}',"
            " pretrained=True)\") and copy its cache folder (HF_HOME) here; only backbone_args that leave the published widths as"
            " they are have any"
        ) from error


def _trained(init: str) -> dict:
    try:
        encoder = (named_encoder("init", init) if is_named(init) else load_encoder(newest(PRETRAINED / init)))
    except FileNotFoundError as error:
        raise ValueError(f"init: {error}") from error
    if encoder.backbone is None:
        raise ValueError(f"init: the encoder {init} is raw pixels and has no backbone to begin with")
    config = encoder.config
    before = [name for name in ("restorer", "photometric", "blur") if getattr(config, name)]
    if before:
        raise ValueError(
            f"init: the backbone of {init} has learnt from images that its {' and '.join(before)} made of the faces, which would be"
            " missing here; begin with an encoder that sees the faces as they are"
        )
    return encoder.backbone.state_dict()
