"""Strict YAML: a tree of keys as typed, frozen dataclasses, where anything unknown, missing or of another type is one clear error."""

import dataclasses
import types
import typing

import yaml


class ParamsError(ValueError):
    """params.yaml does not say what it should; the message names the file, the key and the remedy."""


def read_tree(text: str):
    """The plain tree of a YAML text.

    Raises:
        ParamsError: not YAML, or two equal keys in a group, of which YAML would keep the last in silence.
    """
    try:
        return yaml.load(text, Loader=_UniqueKeys)
    except yaml.YAMLError as error:
        raise ParamsError(f"not valid YAML: {error}") from error


class _UniqueKeys(yaml.SafeLoader):
    """A key that stands twice in a group is an error."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep) for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def parse(value, kind, key: str):
    """``value`` as ``kind``: a scalar type, list[...], dict, or a dataclass, whose fields with a default may be left out.

    Args:
        key: what to call the value: ``probe.images``.
    Raises:
        ParamsError: names the key.
    """
    origin = typing.get_origin(kind)
    if dataclasses.is_dataclass(kind):
        fields = {f.name: f for f in dataclasses.fields(kind)}
        required = [name for name, f in fields.items() if f.default is f.default_factory is dataclasses.MISSING]
        check_keys(value, fields, required, f"{key}.")
        hints = typing.get_type_hints(kind)
        parsed = {name: parse(item, hints[name], f"{key}.{name}") for name, item in value.items()}
        try:
            return kind(**parsed)
        except ValueError as error:  # the dataclass's own check begins with the field's name
            raise ParamsError(f"{key}.{error}") from None
    if origin in (list, tuple):
        if not isinstance(value, list):
            raise ParamsError(f"{key}: expected a list, got {value!r}")
        inner = typing.get_args(kind)[0]
        return [parse(item, inner, f"{key}[{i}]") for i, item in enumerate(value)]
    if isinstance(kind, types.UnionType):
        raise TypeError(f"{key}: the loader knows no unions")
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        hint = " (write 1.0e-3, not 1e-3: YAML reads that as text)" if kind is float and isinstance(value, str) else ""
        raise ParamsError(f"{key}: expected {kind.__name__}, got {value!r}{hint}")
    if kind is float and value != value:
        raise ParamsError(f"{key}: expected a number, got NaN")
    return value


def check_keys(tree, known, required, prefix: str) -> None:
    """``ParamsError`` unless ``tree`` is a group of ``known`` keys, with all that are ``required``; they are called ``prefix`` + key."""
    if not isinstance(tree, dict):
        raise ParamsError(f"{prefix.rstrip('.') or 'the file'}: expected a group of keys, got {tree!r}")
    for name in tree:
        if name not in known:
            raise ParamsError(f"unknown key {prefix}{name}; there are {', '.join(known)}")
    for name in required:
        if name not in tree:
            raise ParamsError(f"missing key {prefix}{name}")
