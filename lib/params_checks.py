"""Is there what params.yaml names: the folders of data sets, a backbone that takes such images, encoders named by PATH@DIGEST?"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

from lib.datasets import DATASETS, about, reader_of
from lib.models.encoder import Encoder, EncoderConfig
from lib.models.named import is_named, named_file
from lib.strict_yaml import ParamsError
from lib.workplace import DEMO

if TYPE_CHECKING:  # lib.params calls these
    from lib.params import Params, Prepare


def check_folders(prepare: Prepare, data: Path) -> None:
    """Are the data sets that params.yaml names there? The demo is not looked for: the pipeline makes it.

    Raises:
        ParamsError: a folder that is missing or empty, or a file in its place; names the key and the path, and says where to get
            the set and what must lie there.
    """
    found = sorted(path.name for path in data.iterdir() if path.is_dir()) if data.is_dir() else []
    problems = []
    for name in dict.fromkeys((prepare.dataset, prepare.probe)):
        folder = data / name
        if name == DEMO or (folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir())):
            continue
        keys = " and ".join(f"prepare.{key}" for key in ("dataset", "probe") if getattr(prepare, key) == name)
        what = "an empty folder" if folder.is_dir() else "a file" if folder.exists() else "nothing"
        near = difflib.get_close_matches(name, sorted({DEMO, *DATASETS, *found} - {name}), 1)
        meant = f" (did you mean {near[0]!r}?)" if near else ""
        problems.append(f"{keys}: expected the data set in {data.name}/{name}, there is {what}{meant}\n{about(reader_of(name))}")
    if problems:
        raise ParamsError("\n".join(f"params.yaml: {problem}" for problem in problems))


def check_network(params: Params) -> None:
    """Can the backbone be built, and does it take images of this size? It is built, which takes up to seconds.

    Raises:
        ParamsError: names the keys and what timm said.
    """
    network, size = params.network, params.prepare.image_size
    try:
        Encoder(EncoderConfig(size, network.backbone, network.backbone_args))
    except Exception as error:  # timm's models raise many kinds
        raise ParamsError(
            f"params.yaml: network: timm's {network.backbone} cannot be built with backbone_args {network.backbone_args} for images of"
            f" {size} px (prepare.image_size): {type(error).__name__}: {error}"
        ) from None


def check_named_files(params: Params) -> None:
    """Are the encoders that methods name by PATH@DIGEST there, and the ones that are meant? Their tensors are not looked at.

    Raises:
        ParamsError: all that are not, with what can be done.
    """
    problems = []
    for key, method in params.methods.items():
        used = ["init"] + ["descriptor"] * getattr(method.config, "mask_fn", False)
        for setting, name in ((setting, getattr(method.config, setting, "")) for setting in used):
            try:
                if is_named(name):
                    named_file(f"methods.{key}.{setting}", name)
            except ValueError as error:
                problems.append(f"params.yaml: {error}")
    if problems:
        raise ParamsError("\n".join(problems))


# The same whatever the settings are: the stages that read it would run again where it changes.
LOOKED_AT = (
    "params.yaml: every key is known, present and possible; timm builds the network for images of this size; the encoders named by"
    " PATH@DIGEST, if any, are there and are these; the folders of the data sets are there (what lies in them is read by the stage"
    " prepare; the demo is rendered by the pipeline)"
)


def check_all(params: Params, root: Path) -> list[str]:
    """What is wrong by :func:`check_folders`, :func:`check_network` and :func:`check_named_files` in the checkout ``root``."""
    problems = []
    for check in (lambda: check_folders(params.prepare, root / "data"), lambda: check_network(params), lambda: check_named_files(params)):
        try:
            check()
        except ParamsError as error:
            problems.append(str(error))
    return problems
