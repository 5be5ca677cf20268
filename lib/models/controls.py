"""Controls: encoders that no pre-training made, or that take a part of one away. Every table carries them."""

from dataclasses import replace

import torch

from lib.models.encoder import Encoder, EncoderConfig
from lib.models.readout import fit_readout


def raw_pixels(encoder: Encoder) -> Encoder:
    """The pixels at the encoder's size are the representation: what a probe gets without any learning."""
    return Encoder(EncoderConfig(image_size=encoder.image_size, backbone="pixels")).eval()


def untrained(encoder: Encoder, seed: int = 0) -> Encoder:
    """The encoder's architecture with fresh random weights: what the architecture alone gives."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Encoder(replace(encoder.config, readout=None)).eval()


def blur(encoder: Encoder, sigma: float = 1.0) -> Encoder:
    """The encoder behind a Gaussian blur of ``sigma`` px: the cheapest defence against eps there is."""
    return _with_weights_of(encoder, replace(encoder.config, blur=sigma))


def photometric(encoder: Encoder) -> Encoder:
    """The encoder behind the closed-form undoing of gain and offset: what that step alone gives, without DAR-SFRL."""
    return _with_weights_of(encoder, replace(encoder.config, photometric=True))


def photometric_pixels(encoder: Encoder) -> Encoder:
    """Raw pixels behind that step: what it gives without any learning."""
    return Encoder(EncoderConfig(image_size=encoder.image_size, backbone="pixels", photometric=True)).eval()


def moving_pixels(encoder: Encoder) -> Encoder:
    """The pixels that the encoder's readout found to move, gain and offset undone: neither DAFR's image, nor backbone maps,
    nor components. Where to look was found on the restored images. All pixels where nothing was seen to move.
    """
    pixels = encoder.readout.pixels if encoder.readout is not None else []
    if not len(pixels):
        print("moving_pixels: this encoder saw nothing move, so the control has all pixels (as photometric_pixels)", flush=True)
        return photometric_pixels(encoder)
    readout = {**encoder.config.readout, "components": 0}
    control = Encoder(EncoderConfig(encoder.image_size, "pixels", photometric=True, readout=readout))
    control.readout.pixels.copy_(pixels)
    return control.eval()


def pixel_readout(encoder: Encoder, faces) -> Encoder:
    """The encoder's readout, fitted anew on plain pixels with gain and offset undone: what it gives without any network.

    Args:
        faces: the table that the encoder was trained on.
    """
    control = photometric_pixels(encoder)
    if encoder.readout is None:
        print("pixel_readout: this encoder has no readout, so the control has all pixels (as photometric_pixels)", flush=True)
        return control
    device = encoder.readout.mean.device
    readout = fit_readout(control.to(device), faces, **encoder.config.readout, device=device)
    if readout is not None:
        control.read_out(readout)
    return control.eval()


def identity_restorer(encoder: Encoder) -> Encoder:
    """The encoder with DAFR taken out (restored = input): what restoring adds when the features are used.

    Raises:
        ValueError: the encoder has no restorer.
    """
    if encoder.restorer is None:
        raise ValueError("identity_restorer: the encoder has no restorer to take out")
    return _with_weights_of(encoder, replace(encoder.config, restorer=None))


def _with_weights_of(encoder: Encoder, config: EncoderConfig) -> Encoder:
    control = Encoder(config)
    wanted = control.state_dict()
    control.load_state_dict({name: value for name, value in encoder.state_dict().items() if name in wanted})
    return control.eval()


CONTROLS = {
    "raw_pixels": raw_pixels,
    "untrained": untrained,
    "blur": blur,
    "photometric": photometric,
    "photometric_pixels": photometric_pixels,
    "moving_pixels": moving_pixels,
    "identity_restorer": identity_restorer,
}
FITTED = {"pixel_readout": pixel_readout}
KINDS = (*CONTROLS, *FITTED)


def build_control(kind: str, encoder: Encoder, faces) -> Encoder:
    """The control ``kind`` (of :data:`KINDS`) of a pre-trained encoder and the faces that it was trained on."""
    return FITTED[kind](encoder, faces) if kind in FITTED else CONTROLS[kind](encoder)
