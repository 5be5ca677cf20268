"""The options of a data set's reader, as they come from params.yaml: are they among its keyword arguments, and of their types?"""

import inspect
import os
import types
import typing
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from pathlib import Path

from lib.datasets.image_files import LARGEST_ASPECT, LEAST_SIDE

_NAMES = {int: "an integer", float: "a number", str: "text", bool: "true or false", Path: "a path", types.NoneType: "null"}


def check_against(reader: Callable, name: str, options: Mapping[str, object]) -> None:
    """``ValueError`` unless ``options`` are keyword arguments of the data set's ``reader``, each of the annotated type.

    The message begins with the option's name and says which there are, or what was expected.
    """
    known = list(inspect.signature(reader).parameters)[1:]  # the first is the folder
    kinds = typing.get_type_hints(reader)
    for option, value in options.items():
        if option not in known:
            raise ValueError(f"{option}: the data set {name!r} has no such option; it has {', '.join(known) or 'none'}")
        kind = kinds.get(option)
        if _is_known(kind) and not _fits(value, kind):
            raise ValueError(f"{option}: expected {_in_words(kind)}, got {value!r}")
        if option == "image_size" and value is not None and not LEAST_SIDE <= min(value) <= max(value) <= LARGEST_ASPECT * min(value):
            raise ValueError(
                f"{option}: expected [height, width] of at least {LEAST_SIDE} px and at most 1 : {LARGEST_ASPECT}, got {value!r}"
            )


def _is_known(kind: type | None) -> bool:
    """Is it one of the forms below? What a reader writes otherwise, or not at all, is its own to check."""
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is tuple:
        return all(map(_is_known, (part for part in kind.__args__ if part is not Ellipsis)))
    return kind in _NAMES


def _fits(value: object, kind: type) -> bool:
    """Is a value that may come from YAML (lists for tuples, text for paths, 25 for 25.0) of the annotated type?"""
    if isinstance(kind, types.UnionType):
        return any(_fits(value, part) for part in kind.__args__)
    if typing.get_origin(kind) is tuple:
        parts = kind.__args__
        if not isinstance(value, (list, tuple)):
            return False
        if parts[-1] is Ellipsis:
            return all(_fits(item, parts[0]) for item in value)
        return len(value) == len(parts) and all(map(_fits, value, parts))
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, {int: Integral, float: Real, Path: os.PathLike}.get(kind, kind))


def _in_words(kind: type) -> str:
    if isinstance(kind, types.UnionType):
        return " or ".join(map(_in_words, kind.__args__))
    if typing.get_origin(kind) is tuple:
        parts = kind.__args__
        number = "" if parts[-1] is Ellipsis else f"{len(parts)} "
        return f"a list of {number}{_NAMES[parts[0]].split()[-1]}s"
    return _NAMES[kind]
