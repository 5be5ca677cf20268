"""Where a notebook reads and writes, whoever runs it.

The pipeline runs notebooks in the checkout's top folder, JupyterLab in notebooks/. And an interactive run must not touch
the pipeline's outputs: it reads them, and writes its own under work/interactive/.

Every notebook imports this first, so nothing of weight is imported here.
"""

import os
from pathlib import Path

PREPARED = Path("work/prepared")
PRETRAINED = Path("work/pretrain")
PROBED = Path("work/probe")
CHECKPOINTS = Path(".cache/pretrain")
DEMO, DEMO_SETS = "demo", ("rendered", "orl")  # a folder of two packed sets: rendered faces, and photographs for verification


def find_root(start: str | os.PathLike | None = None) -> Path:
    """The checkout's top folder: the nearest one upwards that holds params.yaml and dvc.yaml.

    Raises:
        FileNotFoundError: there is none upwards of ``start`` (None: the working directory).
    """
    start = Path(start or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        if (folder / "params.yaml").is_file() and (folder / "dvc.yaml").is_file():
            return folder
    raise FileNotFoundError(
        f"no params.yaml with a dvc.yaml beside it in {start} or above: run inside a checkout of the project"
    )


def enter() -> Path:
    """Make the checkout's top folder the working directory and return it.

    Before torch is loaded, so that it counts: threads that wait sleep (OMP_WAIT_POLICY, where nobody set it). By default
    they spin, and on a machine that is shared they then eat the time that the others wait for: 10 times slower was seen.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    root = find_root()
    os.chdir(root)
    return root


def output(path: Path) -> Path:
    """Where to write what belongs at ``path``: there inside the pipeline, else below work/interactive/."""
    if "DVC_STAGE" in os.environ:
        return path
    return Path("work/interactive") / path


def newest(path: Path) -> Path:
    """Where to read what belongs at ``path``: the interactive copy where somebody made one by hand, else the pipeline's."""
    mine = output(path)
    return mine if mine.exists() else path
