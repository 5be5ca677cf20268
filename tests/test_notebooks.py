"""Notebooks as they lie in git: no outputs, one kernel, in the form that nbstripout writes, and thin parameters."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lib.params import load

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
DVC = yaml.safe_load((ROOT / "dvc.yaml").read_text())
AXES = {"02_pretrain": {"method"}, "03_probe": {"encoder"}}  # what the pipeline's matrix hands to a notebook
STAGES = DVC["stages"]["strip"]["matrix"]["notebook"]


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return request.param, json.loads(request.param.read_text())


def code_cells(content):
    return [cell for cell in content["cells"] if cell["cell_type"] == "code"]


def source(cell):
    return "".join(cell["source"])


def tagged(content):
    return [cell for cell in content["cells"] if "parameters" in cell["metadata"].get("tags", [])]


def test_the_pipeline_strips_every_notebook_that_it_runs():
    assert set(STAGES) <= {path.stem for path in NOTEBOOKS}
    run = {part for entry in DVC["stages"].values() for part in str(entry).split() if part.startswith("work/nb/")}
    assert {f"work/nb/{name}.ipynb" for name in STAGES} == {name for name in run if "${" not in name}


def test_kernel_is_the_plain_one(notebook):
    assert notebook[1]["metadata"]["kernelspec"] == {"display_name": "Python 3", "language": "python", "name": "python3"}


def test_there_are_no_outputs(notebook):
    for cell in code_cells(notebook[1]):
        assert cell["outputs"] == [] and cell["execution_count"] is None


def test_it_is_in_the_form_that_nbstripout_writes(notebook):
    command = DVC["stages"]["strip"]["cmd"]
    keys = command.split('--extra-keys "')[1].split('"')[0]
    assert keys.split() == ["metadata.language_info", "metadata.papermill", "cell.metadata.papermill", "cell.metadata.execution"]
    before = notebook[0].read_bytes()
    after = subprocess.run(
        [sys.executable, "-m", "nbstripout", "-t", "--extra-keys", keys], input=before, capture_output=True, check=True
    ).stdout
    assert after == before
    assert [cell["id"] for cell in notebook[1]["cells"]] == [str(i) for i in range(len(notebook[1]["cells"]))]


def test_parameters_are_the_axes_of_the_matrix(notebook):
    path, content = notebook
    cells = tagged(content)
    axes = AXES.get(path.stem, set()) if path.stem in STAGES else None
    if axes == set():
        assert cells == []
        return
    if axes is None and not cells:
        return
    (cell,) = cells
    tree = ast.parse(source(cell))
    assert all(isinstance(line, ast.Assign) for line in tree.body)
    defaults = {line.targets[0].id: ast.literal_eval(line.value) for line in tree.body}
    params = load()
    assert axes is None or set(defaults) == axes
    known = {"method": list(params.methods), "encoder": [*params.methods, *params.controls]}
    for name, value in defaults.items():
        if name in known:
            assert value in known[name]


def test_the_pipeline_sets_every_axis():
    for name, axes in AXES.items():
        commands = [
            stage.get("cmd", stage.get("do", {}).get("cmd", "")) for stage in DVC["stages"].values()
            if f"work/nb/{name}.ipynb" in str(stage.get("cmd", stage.get("do", {}).get("cmd", "")))
        ]  # fmt: skip
        commands = [command for command in commands if command.startswith("papermill")]
        assert commands
        for command in commands:
            given = {word for before, word in zip(command.split(), command.split()[1:]) if before == "-p"}
            assert given == axes


def first_cell(content) -> str:
    return source(next(cell for cell in code_cells(content) if cell not in tagged(content)))


def test_all_notebooks_begin_alike():
    assert len({first_cell(json.loads(path.read_text())) for path in NOTEBOOKS}) == 1


@pytest.mark.parametrize("start", [".", "notebooks"])
def test_the_first_cell_finds_the_checkout(start):
    code = first_cell(json.loads(NOTEBOOKS[0].read_text())) + "\nimport os\nprint(os.getcwd())\nprint(__import__('lib').__file__)"
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=ROOT / start, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(ROOT), str(ROOT / "lib" / "__init__.py")]


def test_cells_are_short_and_explained(notebook):
    content = notebook[1]
    assert content["cells"][0]["cell_type"] == "markdown" and source(content["cells"][0]).startswith("# ")
    assert max(len(cell["source"]) for cell in code_cells(content)) <= 40


def test_nothing_is_defined_that_belongs_in_lib(notebook):
    for cell in code_cells(notebook[1]):
        classes = [node for node in ast.walk(ast.parse(source(cell))) if isinstance(node, ast.ClassDef)]
        assert classes == []  # a spawned worker cannot unpickle a notebook's class
