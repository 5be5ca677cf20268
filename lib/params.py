"""A strict, typed view of params.yaml: every key is known, present and of its type, or there is one clear error.

Each group is a frozen dataclass next to the code that it drives; a group whose dataclass has defaults may leave keys out.
"""

import dataclasses
import difflib
import os
import re
import typing
from dataclasses import dataclass, field
from pathlib import Path

import timm

from lib.datasets import check_options, reader_of
from lib.methods import METHODS
from lib.methods.dar_sfrl import DarSfrlConfig
from lib.models.checks import LEAST_SIDE
from lib.models.controls import KINDS
from lib.models.named import is_named
from lib.models.start import IMAGENET, SCRATCH
from lib.params_checks import LOOKED_AT, check_all
from lib.probe_params import ProbeParams
from lib.strict_yaml import ParamsError, check_keys, parse, read_tree
from lib.training import Schedule
from lib.views import Views
from lib.workplace import DEMO, DEMO_SETS, enter, find_root


# what the renderer and the three folds need at least; lib.faces.demo_set refuses less too
LEAST_DEMO = {
    "image_size": 16, "pretrain_identities": 1, "probe_identities": 3, "clips_per_identity": 1, "frames_per_clip": 1, "workers": 1,
}  # fmt: skip
LARGEST_SEED = 2**32 - 1  # NumPy's
OWN_SCHEDULE = {"epochs": 1, "batch_size": 2}  # what of the schedule a method may have for itself, and the least that it can be


@dataclass(frozen=True)
class Demo:
    """The demo set: rendered faces and the ORL photographs.

    Attributes:
        image_size: side of the rendered images, px.
        pretrain_identities, probe_identities: people for pre-training (no label is used) and for the probes.
        clips_per_identity, frames_per_clip: of the people for pre-training.
        workers: rendering processes; the images do not depend on it.
    """

    image_size: int
    pretrain_identities: int
    probe_identities: int
    clips_per_identity: int
    frames_per_clip: int
    workers: int

    def __post_init__(self):
        for name, least in LEAST_DEMO.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name}: expected at least {least}, got {getattr(self, name)}")


@dataclass(frozen=True)
class Prepare:
    """Which data sets, and how large the networks see a face.

    Attributes:
        dataset: a folder under data/: its people of the split ``pretrain`` are learnt from.
        probe: a folder under data/, the same or another: its people train and test the probes.
        image_size: px.
        options: data set -> those of its reader (the keyword arguments of its ``open_set`` in lib/datasets).
        test_folds: the folds (1, 2, 3) of the set ``probe`` whose people are tested, on encoders and probes that never saw them;
            see lib.splits.by_folds. Empty: the set's own split, or people are dealt.
    """

    dataset: str
    probe: str
    image_size: int
    options: dict = field(default_factory=dict)
    test_folds: list[int] = field(default_factory=list)

    def __post_init__(self):
        for key in ("dataset", "probe"):
            name = getattr(self, key)
            if name in ("", ".", "..") or "/" in name or "\\" in name:
                raise ValueError(f"{key}: expected the name of a folder under data/, got {name!r}")
            if name in DEMO_SETS and DEMO in (self.dataset, self.probe):
                raise ValueError(f"{key}: the demo has a set {name!r} of its own; give data/{name} another name")
        if self.image_size < LEAST_SIDE:
            raise ValueError(f"image_size: expected at least {LEAST_SIDE} px, got {self.image_size}")
        if len(set(self.test_folds)) < len(self.test_folds) or not set(self.test_folds) <= {1, 2, 3}:
            raise ValueError(f"test_folds: expected some of the folds 1, 2, 3, each once, got {self.test_folds}")
        if self.test_folds and self.probe == DEMO:
            raise ValueError(f"test_folds: the people of the demo set are dealt already, got {self.test_folds}")
        for name, value in self.options.items():
            if name not in (self.dataset, self.probe) or not isinstance(value, dict):
                raise ValueError(f"options: expected options by data set ({self.dataset}, {self.probe}), got {name!r}: {value!r}")
            if name == DEMO and value:
                raise ValueError(f"options.{DEMO}: the demo set has none, got {', '.join(map(str, value))}")
            if name != DEMO:
                try:
                    check_options(reader_of(name), value)
                except ValueError as error:
                    raise ValueError(f"options.{name}.{error}") from None

    @property
    def pretrain_set(self) -> str:
        """The packed set below work/prepared that is learnt from."""
        return DEMO_SETS[0] if self.dataset == DEMO else self.dataset

    @property
    def probe_sets(self) -> tuple[str, ...]:
        """The packed sets below work/prepared that are probed."""
        return DEMO_SETS if self.probe == DEMO else (self.probe,)


@dataclass(frozen=True)
class Network:
    """The backbone of all methods.

    Attributes:
        backbone: a timm model name.
        backbone_args: keyword arguments of that timm model.
    """

    backbone: str
    backbone_args: dict

    def __post_init__(self):
        if not timm.is_model(self.backbone):
            near = difflib.get_close_matches(self.backbone, timm.list_models(), 5) or ["resnet10t"]
            raise ValueError(f"backbone: timm has no model {self.backbone!r}; it has {', '.join(near)}")


@dataclass(frozen=True)
class Control:
    """A control made from a trained encoder.

    Attributes:
        of: the method's name under ``methods``.
        kind: one of lib.models.controls.KINDS.
    """

    of: str
    kind: str

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"kind: unknown {self.kind!r}; there are {', '.join(KINDS)}")


@dataclass(frozen=True)
class Method:
    """A pre-training run.

    Attributes:
        method: the system's name.
        surrogate: the method whose adversarial images are tried on this one, to see that no gradient is masked.
        epochs, batch_size: where they differ from those of ``schedule``, else None.
        config: the system's own configuration.
    """

    method: str
    surrogate: str
    epochs: int | None
    batch_size: int | None
    config: typing.Any


@dataclass(frozen=True)
class Params:
    """All of params.yaml. ``methods`` also holds the entries of the group ``continued``."""

    seed: int
    demo: Demo
    prepare: Prepare
    network: Network
    views: Views
    schedule: Schedule
    methods: dict[str, Method]
    controls: dict[str, Control]
    probe: ProbeParams

    def schedule_of(self, method: str) -> Schedule:
        """The schedule of one of ``methods``, with its own numbers of epochs and images a step where it has them."""
        own = {name: getattr(self.methods[method], name) for name in OWN_SCHEDULE}
        return dataclasses.replace(self.schedule, **{name: value for name, value in own.items() if value is not None})


def load(path: str | os.PathLike | None = None) -> Params:
    """Read and check params.yaml (default: the one of the checkout).

    Raises:
        ParamsError: unknown or missing key, wrong type, impossible value, broken YAML; names the key and the remedy.
        FileNotFoundError: no ``path`` given outside a checkout.
    """
    path = Path(path) if path else find_root() / "params.yaml"
    try:
        text = path.read_text()
    except FileNotFoundError:
        raise ParamsError(f"{path}: no such file; it is part of the repository: `git checkout params.yaml`") from None
    try:
        return _parse_top(read_tree(text))
    except ParamsError as error:
        raise ParamsError(f"{path.name}: {error}") from None


def _parse_top(tree) -> Params:
    fields = {f.name: f.type for f in dataclasses.fields(Params)}
    check_keys(tree, [*fields, "continued"], {*fields, "continued"}, "")
    values = {}
    for name, kind in fields.items():
        if name == "methods":
            values[name] = {key: _parse_method(entry, f"methods.{key}") for key, entry in _entries(tree, name)}
        elif name == "controls":
            values[name] = {key: parse(entry, Control, f"controls.{key}") for key, entry in _entries(tree, name)}
        else:
            values[name] = parse(tree[name], kind, name)
    if not 0 <= values["seed"] <= LARGEST_SEED:
        raise ParamsError(f"seed: expected 0 to {LARGEST_SEED}, got {values['seed']}")
    continued = {key: _parse_method(entry, f"continued.{key}") for key, entry in _entries(tree, "continued")}
    group = lambda key: "continued" if key in continued else "methods"  # noqa: E731
    _check_inits(values["methods"], continued)
    values["methods"] |= continued
    for key, method in values["methods"].items():
        if method.surrogate not in values["methods"] or method.surrogate == key:
            others = ", ".join(name for name in values["methods"] if name != key)
            raise ParamsError(f"{group(key)}.{key}.surrogate: expected another method ({others}), got {method.surrogate!r}")
    for key, control in values["controls"].items():
        if control.of not in values["methods"]:
            raise ParamsError(f"controls.{key}.of: {control.of!r} is not under methods ({', '.join(values['methods'])})")
        if key in values["methods"]:
            raise ParamsError(f"controls.{key}: a method has that name too; rename one of them")
    params = Params(**values)
    for key in params.methods:
        try:
            schedule = params.schedule_of(key)
        except ValueError as error:
            raise ParamsError(f"{group(key)}.{key}.epochs: {error}") from None
        entry, size = params.methods[key], schedule.batch_size
        if isinstance(entry.config, DarSfrlConfig) and entry.config.variant == "corrected" and size % 2:
            where = f"{group(key)}.{key}" if entry.batch_size else "schedule"
            raise ParamsError(f"{where}.batch_size: DAR-SFRL ({key}) pairs the images of a batch: expected an even number, got {size}")
    return params


def _check_inits(methods: dict[str, Method], continued: dict[str, Method]) -> None:
    """Entries that begin with another's encoder stand under ``continued``, where the pipeline trains that one first."""
    for key, method in methods.items():
        init = getattr(method.config, "init", SCRATCH)
        if key in continued:
            raise ParamsError(f"continued.{key}: a method has that name too; rename one of them")
        if init not in (SCRATCH, IMAGENET) and not is_named(init):
            raise ParamsError(
                f"methods.{key}.init: expected {SCRATCH}, {IMAGENET} or PATH@DIGEST of an encoder, got {init!r}; what begins with the"
                " encoder of another entry stands under 'continued', so that the pipeline trains that one first"
            )
    for key, method in continued.items():
        init = getattr(method.config, "init", None)
        if init is None:
            raise ParamsError(f"continued.{key}.method: {method.method} has no init, so it cannot begin with an encoder; aunce can")
        chain = [key]
        while init in continued and init not in chain:
            chain.append(init)
            init = continued[init].config.init
        if init not in methods:
            known = ", ".join(name for name in (*methods, *continued) if name != key)
            raise ParamsError(f"continued.{chain[-1]}.init: expected another entry ({known}) without a circle, got {init!r}")


def _entries(tree: dict, name: str):
    if not isinstance(tree[name], dict):
        raise ParamsError(f"{name}: expected a group of named entries, got {tree[name]!r}")
    for key in tree[name]:
        if not _is_a_name(key):
            raise ParamsError(
                f"{name}.{key}: expected a name of A-Z, a-z, 0-9, _ and -, that neither begins with - nor reads as a number, True,"
                f" False or None: files and stages of the pipeline are called so, got {key!r}"
            )
    return tree[name].items()


def _is_a_name(key: object) -> bool:
    """May an entry be called so? DVC takes what is before a dot or @ for a name of its own; papermill hands 1e5 on as a number."""
    if not isinstance(key, str) or not re.fullmatch("[A-Za-z0-9_][A-Za-z0-9_-]*", key) or key in ("True", "False", "None"):
        return False
    try:
        float(key)
    except ValueError:
        return True
    return False


def _parse_method(tree, key: str) -> Method:
    if not isinstance(tree, dict) or "method" not in tree:
        raise ParamsError(f"{key}: expected a group with the key 'method' ({', '.join(METHODS)})")
    if tree["method"] not in METHODS:
        raise ParamsError(f"{key}.method: unknown {tree['method']!r}; there are {', '.join(METHODS)}")
    if "surrogate" not in tree:
        raise ParamsError(f"missing key {key}.surrogate: the method whose adversarial images are tried on this one")
    own = {name: tree.get(name) for name in OWN_SCHEDULE}
    for name, least in OWN_SCHEDULE.items():
        value = own[name]
        if name in tree and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            raise ParamsError(f"{key}.{name}: expected an integer >= {least} (or no such key: schedule.{name}), got {value!r}")
    config = {name: value for name, value in tree.items() if name not in ("method", "surrogate", *OWN_SCHEDULE)}
    return Method(tree["method"], tree["surrogate"], **own, config=parse(config, METHODS[tree["method"]], key))


def main() -> None:
    """``python -m lib.params``: is params.yaml as it should be, and is there what it names? If not, the reasons (of mistakes
    inside the file the first), and exit code 1."""
    try:
        params = load()
        root = enter()  # relative paths begin there
    except (ParamsError, FileNotFoundError) as error:
        raise SystemExit(f"error: {error}") from None
    if problems := check_all(params, root):
        raise SystemExit("error: " + "\n".join(problems))
    print(LOOKED_AT)


if __name__ == "__main__":
    main()
