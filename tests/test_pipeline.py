"""dvc.yaml against the code that it runs: keys, files, and what a change re-runs. Nothing is executed here."""

import ast
import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo

from lib import resume, training

ROOT = Path(__file__).parent.parent
# Says nothing about what a stage computes: finding and checking parameters, locks, progress, where files go.
PLUMBING = {f"lib/{name}.py" for name in ("__init__", "params", "workplace", "lock", "progress", "files", "run_record", "device")}


@pytest.fixture(scope="module")
def stages():
    """Every stage with its foreach and matrix unrolled, by name; ``data.dvc`` among them."""
    with Repo(str(ROOT)) as repo:
        return {stage.addressing: stage for stage in repo.index.stages}


def dependencies(stage) -> list[str]:
    return [dep.def_path for dep in stage.deps if not hasattr(dep, "params")]


def outputs(stage) -> list[str]:
    return [out.def_path for out in stage.outs]


def keys(stage) -> list[str]:
    return [key for dep in stage.deps for key in getattr(dep, "params", [])]


def within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def covered(path: str, given) -> bool:
    return any(within(path, entry) for entry in given)


def upstream(stages, name) -> set[str]:
    """Names of the stages that make something that ``name`` reads, and theirs."""
    found = set()
    for other, stage in stages.items():
        made = outputs(stage)
        if any(within(o, d) or within(d, o) for o in made for d in dependencies(stages[name])):
            found |= {other} | upstream(stages, other)
    return found


def module_file(module: str) -> Path | None:
    path = ROOT / Path(*module.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)


def imports(code: str) -> set[str]:
    """Files of lib that a piece of code imports itself, the packages above them included."""
    modules = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    parents = {".".join(m.split(".")[:n]) for m in modules if m.split(".")[0] == "lib" for n in range(1, m.count(".") + 2)}
    return {file.relative_to(ROOT).as_posix() for file in map(module_file, parents) if file}


def all_imports(code: str) -> set[str]:
    found, left = set(), imports(code) - PLUMBING
    while left:
        name = left.pop()
        found.add(name)
        left |= imports((ROOT / name).read_text()) - PLUMBING - found
    return found


def notebook_code(name: str) -> str:
    cells = json.loads((ROOT / "notebooks" / name).read_text())["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def code_of(stage) -> str:
    """What the stage's command runs: a notebook's cells, or an import of the module; nothing for other programs."""
    if match := re.match(r"papermill work/nb/(\S+\.ipynb)", stage.cmd or ""):
        return notebook_code(match[1])
    match = re.match(r"python -m (\S+)", stage.cmd or "")
    return f"import {match[1]}" if match else ""


def test_the_stages_are_those_of_the_readme_s_pipeline(stages):
    assert {name.split("@")[0] for name in stages} == {
        "params", "strip", "demo", "data.dvc", "prepare", "pretrain", "probe", "control", "figures",
    }  # fmt: skip


def test_every_key_under_params_exists(stages):
    tree = yaml.safe_load((ROOT / "params.yaml").read_text())
    listed = {(name, key) for name, stage in stages.items() for key in keys(stage)}
    assert listed
    for name, key in listed:
        value = tree
        for part in key.split("."):
            assert part in value, f"{name}: params.yaml has no {key}"
            value = value[part]


def test_every_dependency_is_in_the_repository_or_made_by_a_stage(stages):
    made = [path for stage in stages.values() for path in outputs(stage)]
    for name, stage in stages.items():
        for dep in dependencies(stage):
            ready = (ROOT / dep).exists() and not dep.startswith(("work", "data", "reports"))
            assert ready or any(within(dep, path) or within(path, dep) for path in made), f"{name}: {dep}"


def test_params_yaml_and_the_folders_of_data_are_looked_at_before_anything_else(stages):
    """Else DVC says of a folder that is missing only that it is."""
    for name in stages:
        assert "params" in upstream(stages, name) or name == "params" or name.startswith("strip@"), name
    groups = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert set(keys(stages["params"])) == set(groups) and not dependencies(stages["params"])
    (said,) = stages["params"].outs
    assert not said.use_cache  # it is of the folders too, so it must not be taken for known


def test_lib_is_listed_part_by_part(stages):
    assert not [name for name, stage in stages.items() if "lib" in dependencies(stage)]


def test_every_stage_that_runs_code_sees_changes_of_all_of_it(stages):
    """By its own dependencies or those of a stage before it, whose new outputs re-run it."""
    checked = 0
    for name, stage in stages.items():
        if not (code := code_of(stage)):
            continue
        checked += 1
        given = set(dependencies(stage)).union(*(dependencies(stages[other]) for other in upstream(stages, name)))
        missing = sorted(file for file in all_imports(code) if not covered(file, given))
        assert not missing, f"{name} uses what neither it nor a stage before it depends on: {', '.join(missing)}"
    assert checked > 6


def test_no_stage_depends_on_code_that_it_does_not_use(stages):
    for name, stage in stages.items():
        used = all_imports(code_of(stage)) if code_of(stage) else set()
        idle = [d for d in dependencies(stage) if within(d, "lib") and not any(within(file, d) for file in used)]
        assert not idle, f"{name}: {idle}"


def test_plots_train_and_measure_nothing(stages):
    for name, stage in stages.items():
        if name != "figures":
            assert not covered("lib/report/draw.py", dependencies(stage)), name
        if name.split("@")[0] in ("demo", "prepare", "pretrain"):
            assert not covered("lib/probes/linear.py", dependencies(stage)), name


@pytest.mark.parametrize(("stage", "code"), [("pretrain", training.CODE), ("probe", resume.CODE), ("control", resume.CODE)])
def test_what_a_fingerprint_is_of_re_runs_the_stage(stages, stage, code):
    for name, entry in stages.items():
        if name.split("@")[0] == stage:
            assert all(covered(f"lib/{part}", dependencies(entry)) for part in code), name


def test_every_group_of_parameters_that_a_notebook_reads_is_listed(stages):
    found = {}
    for name, stage in stages.items():
        if code := code_of(stage):
            read = {
                node.attr for node in ast.walk(ast.parse(code))
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "params"
            }  # fmt: skip
            read = {"schedule" if attribute == "schedule_of" else attribute for attribute in read}
            group = found.setdefault(re.match(r"\w+", name.replace("control", "probe"))[0], (read, set()))
            group[1].update(key.split(".")[0] for key in keys(stage))
    assert len(found) == 5
    for name, (read, listed) in found.items():
        # which encoder is the surrogate stands among the probe's dependencies
        assert read - {"methods"} <= listed if name == "probe" else read <= listed, name


def test_a_probe_depends_on_its_surrogate(stages):
    methods = yaml.safe_load((ROOT / "params.yaml").read_text())["methods"]
    for name, entry in methods.items():
        wanted = {f"work/pretrain/{who}/encoder.safetensors" for who in (name, entry["surrogate"])}
        assert wanted <= set(dependencies(stages[f"probe@{name}"]))


def test_what_continues_another_is_trained_after_it_and_probed_like_it(tmp_path):
    tree = yaml.safe_load((ROOT / "params.yaml").read_text())
    tree["continued"] = {"units": {"method": "aunce", "init": "simclr", "surrogate": "simclr_adversarial"}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(tree))
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    with Repo.init(str(tmp_path), no_scm=True) as repo:
        stages = {stage.name: stage for stage in repo.index.stages}
    trained, like = stages["pretrain_continued@units"], stages["pretrain@simclr"]
    assert set(dependencies(trained)) == {*dependencies(like), "work/pretrain/simclr/encoder.safetensors"}
    assert "params" in upstream(stages, "pretrain_continued@units")  # there a name of ``init`` that is none is said
    assert [key.replace("continued.units", "methods.simclr") for key in keys(trained)] == keys(like)
    for one, other in ((trained, like), (stages["probe_continued@units"], stages["probe@simclr"])):
        assert [out.replace("/units/", "/simclr/") for out in outputs(one)] == outputs(other)
        assert one.cmd.replace("units", "simclr") == other.cmd
    assert {f"work/pretrain/{name}/encoder.safetensors" for name in ("units", "simclr_adversarial")} <= set(
        dependencies(stages["probe_continued@units"])
    )


def test_executed_notebooks_are_nobody_s_dependency(stages):
    """They hold times, so they never have the same bytes twice."""
    for stage in stages.values():
        assert not any(within(d, "reports") for d in dependencies(stage))
        assert not any(d.startswith("notebooks/") for d in dependencies(stage) if code_of(stage))


def test_outputs_of_stages_do_not_overlap_with_what_a_user_brings(stages):
    made = [path for stage in stages.values() for path in outputs(stage)]
    assert [path for path in made if within(path, "data")] == ["data/demo"]
    assert len(set(made)) == len(made)


def test_the_demo_faces_are_an_unfrozen_import(stages):
    entry = yaml.safe_load((ROOT / "data.dvc").read_text())
    assert not entry.get("frozen") and not stages["data.dvc"].frozen
    assert [dep["path"] for dep in entry["deps"]] == ["work/demo"]
    assert [out["path"] for out in entry["outs"]] == ["data/demo"]


def test_caches_of_editors_and_python_dirty_nothing():
    ignored = (ROOT / ".dvcignore").read_text().split()
    assert {"__pycache__", ".ipynb_checkpoints", "*.pyc", ".cache"} <= set(ignored)
    assert {"work/", "/data/", ".cache/", "reports/notebooks/"} <= set((ROOT / ".gitignore").read_text().split())


def test_nothing_is_reported_to_anybody():
    with Repo(str(ROOT)) as repo:
        assert repo.config["core"]["analytics"] is False


def test_the_small_outputs_are_kept_in_git(stages):
    for out in stages["figures"].outs:
        assert not out.use_cache, out.def_path
