"""An encoder that the settings name by its file and the file's digest, so that the settings say which weights are meant."""

import hashlib
import re
from pathlib import Path

from lib.models.encoder import WEIGHTS, Encoder, load_encoder


def is_named(value: str) -> bool:
    """Whether a setting names an encoder's file, and not a timm model or another word."""
    return "/" in value or "@" in value or value.endswith(".safetensors")


def named_file(key: str, name: str) -> Path:
    """The file of the encoder PATH@DIGEST; its bytes are looked at, not its tensors.

    Raises:
        ValueError: no such file, or another file than DIGEST says; begins with ``key`` and says what can be done.
    """
    path, _, digest = name.partition("@")
    file = Path(path) if path.endswith(".safetensors") else Path(path) / WEIGHTS
    if not file.is_file():
        where = "" if file.is_absolute() else f" ({file.absolute()})"
        raise ValueError(f"{key}: no encoder at {file}{where}; train it first, or name something else")
    with open(file, "rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if not re.fullmatch("[0-9a-f]{8,64}", digest) or not found.startswith(digest):
        raise ValueError(
            f"{key}: expected an encoder with the beginning of its SHA-256, PATH@DIGEST, got {name!r}; if the file as it is"
            f" now is the one that is meant, write {path}@{found[:12]}"
        )
    return file


def named_encoder(key: str, name: str) -> Encoder:
    """The encoder PATH@DIGEST, in eval mode.

    PATH is a ``.safetensors`` file or its folder, DIGEST the beginning of the file's SHA-256, 8 digits or more. It is a part of
    the settings, so that DVC trains anew when another file is named, and a file that was made anew meanwhile is refused.

    Raises:
        ValueError: no such file, another file than DIGEST says, or no encoder; begins with ``key`` and says what can be done.
    """
    file = named_file(key, name)
    try:
        return load_encoder(file)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from error
