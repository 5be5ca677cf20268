"""The whole pipeline in a clone, with tiny faces and networks: what a user does, from ``dvc repro`` to a killed run.

The tests share one clone and go on where the one before ended; they run in the order in which they stand here.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import yaml

from lib.datasets.action_units import BP4D_UNITS
from lib.faces.shards import open_packed
from lib.models.encoder import load_encoder
from lib.results import read_results

pytestmark = pytest.mark.skipif(
    "DAR_FACES_PIPELINE" not in os.environ, reason="takes minutes: DAR_FACES_PIPELINE=1 python -m pytest tests/test_pipeline_run.py"
)
ROOT = Path(__file__).parent.parent
TINY = {
    "seed": 1,
    # 59 people for the probes leave 20 for testing: verification wants two in each of its ten folds
    "demo": {"image_size": 24, "pretrain_identities": 8, "probe_identities": 59, "clips_per_identity": 2,
             "frames_per_clip": 2, "workers": 2},
    "prepare": {"dataset": "demo", "probe": "demo", "image_size": 24},
    "network": {"backbone": "resnet10t", "backbone_args": {"channels": [8, 8, 16, 16], "stem_width": 8}},
    "views": {},
    "schedule": {"batch_size": 16, "epochs": 40, "warmup_epochs": 1.0, "precision": "float32"},
    "methods": {
        "simclr": {"method": "simclr", "surrogate": "dar_sfrl", "head_hidden": 16, "head_dim": 8},
        "dar_sfrl": {"method": "dar_sfrl", "surrogate": "simclr", "stages": 1, "channels": 2, "hidden": 2,
                     "head_hidden": 16, "head_dim": 8, "attack_steps": 1, "components": 8},
    },
    "continued": {},
    "controls": {"raw_pixels": {"of": "simclr", "kind": "raw_pixels"}},
    "probe": {"images": 60, "pairs": 20, "attacked": {"expression": 20, "action_units": 20, "verification": 20},
              "corruptions": ["gaussian_noise", "contrast"], "severities": [3],
              "attacks": ["pgd", "bim"], "steps": 1, "sweep": [64], "checked": 4, "check_steps": [1, 2], "queries": 2,
              "resamples": 50},
}  # fmt: skip
FEWER_FRAMES = {"ROUNDS = 3 ": "ROUNDS = 1 ", "FREE_CLIPS, FREE_FRAMES = 5, ": "FREE_CLIPS, FREE_FRAMES = 1, "}


class Clone:
    """A checkout with the environment of these tests in front of its PATH."""

    def __init__(self, root: Path, home: Path):
        self.root = root
        tools = Path(sys.executable).parent
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("DVC_")}
        self.env |= {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "DVC_SITE_CACHE_DIR": str(home)}
        self.env.pop("PYTHONDONTWRITEBYTECODE", None)  # caches of Python lie in lib, as on a user's machine

    def start(self, *command: str, cwd: str = ".") -> subprocess.Popen:
        return subprocess.Popen(
            command, cwd=self.root / cwd, env=self.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def run(self, *command: str, fails: bool = False, cwd: str = ".") -> str:
        began = time.monotonic()
        with self.start(*command, cwd=cwd) as process:
            said = process.communicate(timeout=600)[0]
        print(f"{' '.join(command)}: {time.monotonic() - began:.1f} s")
        assert bool(process.returncode) == fails, said[-5000:]
        return said

    def set(self, key: str, value) -> None:
        path = self.root / "params.yaml"
        tree = yaml.safe_load(path.read_text())
        *groups, last = key.split(".")
        group = tree
        for name in groups:
            group = group[name]
        group[last] = value
        path.write_text(yaml.safe_dump(tree, sort_keys=False))

    def read(self, path: str) -> bytes:
        return (self.root / path).read_bytes()


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clone of the working tree as it is, with tiny parameters."""
    top = tmp_path_factory.mktemp("pipeline")
    root = top / "clone"

    def git(*command: str, cwd: Path) -> str:
        return subprocess.run(["git", *command], cwd=cwd, check=True, capture_output=True, text=True).stdout

    git("clone", "-q", str(ROOT), str(root), cwd=top)
    changed = git("ls-files", "-z", "--modified", "--others", "--exclude-standard", cwd=ROOT).split("\0")
    changed += git("diff", "-z", "--cached", "--name-only", cwd=ROOT).split("\0")
    for name in filter(None, changed):
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name)
        else:
            (root / name).unlink(missing_ok=True)
    (root / "dvc.lock").unlink(missing_ok=True)  # it is of the real parameters
    shutil.rmtree(root / "reports", ignore_errors=True)
    (root / "params.yaml").write_text(yaml.safe_dump(TINY, sort_keys=False))
    faces = root / "lib" / "faces" / "demo_set.py"
    text = faces.read_text()
    for old, new in FEWER_FRAMES.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    faces.write_text(text)
    git("config", "user.name", "A", cwd=root)
    git("config", "user.email", "a@example.org", cwd=root)
    git("add", "-A", cwd=root)
    git("commit", "-q", "-m", "Tiny parameters", cwd=root)
    return Clone(root, top / "site")


def kernel_of(process: subprocess.Popen) -> psutil.Process:
    """The notebook kernel that a running ``dvc repro`` has started."""
    for child in psutil.Process(process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if any("ipykernel_launcher" in word for word in child.cmdline()):
                return child
    raise AssertionError("no kernel is running")


def wait_for(pattern: str, folder: Path, process: subprocess.Popen) -> None:
    """Until a file of that pattern is there."""
    while not list(folder.glob(pattern)):
        assert process.poll() is None, process.communicate()[0][-5000:]
        time.sleep(0.01)


def stages_run(said: str) -> list[str]:
    return re.findall(r"^Running stage '(.+)':", said, re.MULTILINE)


@pytest.fixture(scope="module")
def killed(clone):
    """What ``dvc repro`` says when the kernel is killed in the midst of pre-training."""
    process = clone.start("dvc", "repro", "pretrain@dar_sfrl")
    try:
        wait_for(".cache/pretrain/*/last.pt", clone.root, process)
        kernel_of(process).kill()
        return process.communicate(timeout=120)[0]
    finally:
        process.kill()


@pytest.fixture(scope="module")
def first(clone, killed):
    """What the first whole ``dvc repro`` says; it finds the killed run's checkpoint."""
    return clone.run("dvc", "repro")


def test_a_killed_run_fails_and_leaves_nothing_but_its_checkpoint(clone, killed):
    assert stages_run(killed)[-1] == "pretrain@dar_sfrl"
    assert "DeadKernelError" in killed and "failed to reproduce 'pretrain@dar_sfrl'" in killed
    assert len(list(clone.root.glob(".cache/pretrain/*/last.pt"))) == 1


def test_one_command_makes_everything(clone, first):
    assert stages_run(first)[-1] == "figures" and "pretrain@simclr" in stages_run(first)
    assert "demo" not in stages_run(first)  # the killed run had made it
    results = read_results(clone.root / "reports" / "results.csv")
    assert set(results.method) == {"simclr", "dar_sfrl", "raw_pixels"} and set(results.source) == {"rendered", "ORL"}
    assert set(results.task) == {"expression", "verification", "action_units"}
    for name in ("report.html", "claims.json", "run.json", "tables", "figures"):
        assert (clone.root / "reports" / name).exists(), name
    for name in ("simclr", "dar_sfrl"):
        assert load_encoder(clone.root / "work" / "pretrain" / name).image_size == 24
        assert {p.name for p in (clone.root / "work" / "pretrain" / name).iterdir()} == {
            "encoder.safetensors", "history.csv", "run.json",
        }  # fmt: skip
    assert open_packed(clone.root / "data" / "demo" / "rendered").source == "rendered"
    executed = {p.stem for p in (clone.root / "reports" / "notebooks").iterdir()}
    assert executed >= {"01_prepare", "02_pretrain-simclr", "03_probe-raw_pixels", "04_figures"}
    record = json.loads(clone.read("work/pretrain/simclr/run.json"))
    assert record["stage"] == "pretrain simclr" and record["versions"]["torch"] and record["machine"]


def test_the_run_went_on_from_the_checkpoint_and_removed_it(clone, first):
    assert re.search(r"dar_sfrl: goes on at step [1-9]\d* of 80 \(\.cache/pretrain/", first)
    assert list((clone.root / ".cache" / "pretrain").iterdir()) == []


def test_a_second_repro_does_nothing(clone, first):
    said = clone.run("dvc", "repro")
    assert stages_run(said) == [] and "Data and pipelines are up to date." in said
    assert list(clone.root.glob("lib/**/__pycache__"))  # they were there, and did not count
    changed = subprocess.run(["git", "status", "--short"], cwd=clone.root, capture_output=True, text=True).stdout
    assert not re.search(r"lib/|notebooks/|work/|data/|\.cache", changed), changed


def test_a_changed_probe_touches_probes_and_figures_only(clone, first):
    clone.set("probe.attacked.expression", 18)
    said = clone.run("dvc", "repro", "--dry")
    assert sorted(stages_run(said)) == ["control@raw_pixels", "figures", "params", "probe@dar_sfrl", "probe@simclr"]
    clone.set("probe.attacked.expression", 20)
    clone.set("methods.dar_sfrl.learning_rate", 2.0e-4)
    assert stages_run(clone.run("dvc", "repro", "--dry"))[:2] == ["params", "pretrain@dar_sfrl"]
    clone.set("methods.dar_sfrl", TINY["methods"]["dar_sfrl"])
    assert stages_run(clone.run("dvc", "repro", "--dry")) == []


def test_a_mistyped_parameter_stops_the_stage_with_its_name(clone, first):
    clone.set("prepare.image_size", "24 px")
    said = clone.run("dvc", "repro", "demo", "prepare", "--single-item", fails=True)
    assert "params.yaml: prepare.image_size: expected int, got '24 px'" in said
    clone.set("prepare.image_size", 24)
    clone.run("dvc", "checkout", "--quiet")


def test_a_notebook_run_by_hand_changes_nothing_that_is_trained(clone, first):
    """As JupyterLab does: in notebooks/, outputs and times kept in the file."""
    before = {p: p.read_bytes() for p in (clone.root / "work").rglob("*") if p.is_file()}
    clone.run("jupyter", "execute", "--inplace", "02_pretrain.ipynb", cwd="notebooks")
    notebook = json.loads(clone.read("notebooks/02_pretrain.ipynb"))
    assert any(cell.get("outputs") for cell in notebook["cells"])
    after = {p: p.read_bytes() for p in (clone.root / "work").rglob("*") if p.is_file()}
    new = {p.relative_to(clone.root).as_posix() for p in set(after) - set(before)}
    assert new == {f"work/interactive/work/pretrain/dar_sfrl/{n}" for n in ("encoder.safetensors", "history.csv", "run.json")}
    assert all(after[p] == before[p] for p in before)
    status = json.loads(clone.run("dvc", "status", "--json"))
    assert set(status) == {"strip@02_pretrain"}
    assert stages_run(clone.run("dvc", "repro")) == ["strip@02_pretrain"]
    # trained by hand, on the same machine: the very same encoder
    assert clone.read("work/interactive/work/pretrain/dar_sfrl/encoder.safetensors") == clone.read(
        "work/pretrain/dar_sfrl/encoder.safetensors"
    )
    subprocess.run(["git", "checkout", "-q", "notebooks"], cwd=clone.root, check=True)
    clone.run("dvc", "repro", "strip@02_pretrain")


def test_a_second_run_beside_the_first_is_told_so_and_an_unbroken_run_gives_the_same_bytes(clone, first):
    kept = ("work/pretrain/dar_sfrl/encoder.safetensors", "work/probe/dar_sfrl/results.csv", "reports/results.csv")
    resumed = {path: clone.read(path) for path in kept}
    process = clone.start("dvc", "repro", "--force", "--downstream", "pretrain@dar_sfrl")
    try:
        wait_for(".cache/pretrain/*/last.pt", clone.root, process)
        said = clone.run("dvc", "repro", fails=True)
        assert "is busy, it is being blocked by" in said and str(process.pid) in said and "Traceback" not in said
        whole = process.communicate(timeout=600)[0]
    finally:
        process.kill()
    assert process.returncode == 0, whole[-5000:]
    assert "goes on at step" not in whole and stages_run(whole)[0] == "pretrain@dar_sfrl"
    assert {"probe@dar_sfrl", "figures"} <= set(stages_run(whole))
    for path in kept:
        assert clone.read(path) == resumed[path], path


def test_an_experiment_sets_a_parameter(clone, first):
    subprocess.run(["git", "add", "-A"], cwd=clone.root, check=True)
    subprocess.run(["git", "commit", "-q", "-m", "Results"], cwd=clone.root, check=True)
    before = clone.read("work/probe/raw_pixels/results.csv")
    said = clone.run("dvc", "exp", "run", "-S", "probe.attacked.expression=10", "control@raw_pixels")
    assert stages_run(said) == ["params", "control@raw_pixels"] and "Ran experiment" in said
    assert yaml.safe_load(clone.read("params.yaml"))["probe"]["attacked"]["expression"] == 10
    assert clone.read("work/probe/raw_pixels/results.csv") != before
    assert "probe.attacked.expression" in clone.run("dvc", "exp", "show", "--csv")
    clone.set("probe.attacked.expression", 20)
    said = clone.run("dvc", "repro", "control@raw_pixels")  # known from before, so nothing is measured again
    assert "cached" in said and clone.read("work/probe/raw_pixels/results.csv") == before


def test_what_continues_another_begins_with_its_encoder_and_a_name_that_is_none_is_said(clone, first):
    entry = {"method": "aunce", "surrogate": "simclr", "epochs": 2, "width": 8}
    clone.set("continued", {"units": entry | {"init": "dar_sfrl"}})
    said = clone.run("dvc", "repro", "pretrain_continued@units")
    assert stages_run(said) == ["params", "pretrain_continued@units"]
    trained = load_encoder(clone.root / "work" / "pretrain" / "units")
    assert trained.dim == 8 * len(BP4D_UNITS) and trained.restorer is not None  # DAR-SFRL's comes along
    clone.set("continued", {"units": entry | {"init": "simcrl"}})
    said = clone.run("dvc", "repro", "pretrain_continued@units", fails=True)
    assert "params.yaml: continued.units.init: expected another entry (simclr, dar_sfrl) without a circle, got 'simcrl'" in said
    clone.set("continued", {})


def test_faces_of_ones_own_that_are_not_there_are_named(clone, first):
    clone.set("prepare.dataset", "mine")
    said = clone.run("dvc", "repro", fails=True)
    assert stages_run(said) == ["params"] and "Traceback" not in said and "missing data" not in said
    assert "error: params.yaml: prepare.dataset: expected the data set in data/mine, there is nothing" in said
    assert "where to get it: put photographs into data/<name>/" in said
    clone.set("prepare.probe", "rafdb")
    said = clone.run("dvc", "exp", "run", fails=True)
    assert "prepare.probe: expected the data set in data/rafdb, there is nothing\nrafdb: " in said and "licence" in said
    clone.set("prepare.probe", "demo")


def test_a_truncated_shard_is_named_and_ones_own_folder_is_left_alone(clone, first):
    mine = clone.root / "data" / "mine"
    shutil.copytree(clone.root / "data" / "demo" / "orl", mine)
    shard = next(mine.glob("images-*.npy"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    for key in ("prepare.dataset", "prepare.probe"):
        clone.set(key, "mine")
    said = clone.run("dvc", "repro", "prepare", fails=True)
    assert "DatasetError" in said and shard.name in said
    assert not list((clone.root / "work").glob("prepared/*/set.json"))
    shard.write_bytes(whole)
    said = clone.run("dvc", "repro", "prepare")
    assert stages_run(said) == ["prepare"]
    assert np.array_equal(open_packed(clone.root / "work" / "prepared" / "mine").images([0]), open_packed(mine).images([0]))
    for key in ("prepare.dataset", "prepare.probe"):
        clone.set(key, "demo")
    assert "cached" in clone.run("dvc", "repro", "prepare")
    assert {p.name for p in mine.iterdir()} == {p.name for p in (clone.root / "data" / "demo" / "orl").iterdir()}


def test_a_method_on_clips_with_every_strategy_trains_in_the_pipeline(clone, first):
    clone.set("demo.frames_per_clip", 3)
    entry = {"method": "ssl_fer", "surrogate": "simclr", "epochs": 2, "fps": 1.0, "interval": 1.0, "hard_interval": 2.0,
             "descriptor": "pixels", "head_hidden": 16, "head_dim": 8, "cut_mix": True}  # fmt: skip
    clone.set("methods.clips", entry)
    clone.run("dvc", "repro", "pretrain@clips")
    history = pd.read_csv(clone.root / "work/pretrain/clips/history.csv")
    assert len(history) == 2 and {"swap_failed", "picked"} <= set(history) and history["swap_failed"].max() < 1
