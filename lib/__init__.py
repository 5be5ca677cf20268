"""Degradation-robust self-supervised facial representations: data, methods, degradations, probes and reports."""


def load_encoder(path_or_run):
    """An encoder from its safetensors file or its pre-training folder; see :func:`lib.models.encoder.load_encoder`."""
    from lib.models.encoder import load_encoder as load  # torch and timm are imported only when they are needed

    return load(path_or_run)
