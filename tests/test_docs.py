"""docs/: every name that the pages give can be imported, every snippet of Python is Python, every file that they name is there."""

import ast
import importlib
import importlib.util
import inspect
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


def named(page: str) -> list[tuple[str, str]]:
    """(module or class, name) of each row of the table; `.other` stands in the module of the name before."""
    found, module = [], ""
    for row in (line for line in page.splitlines() if line.startswith("| `lib")):
        for name in re.findall(r"`(\.?[\w.]+)(?:\([^`]*\))?`", row.split(" | ")[0]):
            if not name.startswith("."):
                module = name.rpartition(".")[0]
            found.append((module, name.rpartition(".")[2]))
    return found


def test_every_name_of_the_table_can_be_imported():
    names = named((ROOT / "docs/api.md").read_text(encoding="utf-8"))
    assert len(names) > 30
    for module, name in names:
        holder = importlib.import_module(module)
        if not hasattr(holder, name):
            importlib.import_module(f"{module}.{name}")  # a row about a whole module


def test_arguments_that_the_table_writes_out_are_those_of_the_function():
    text = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    checked = 0
    for path, arguments in re.findall(r"^\| `(lib[\w.]+)\(([^`]*)\)`", text, re.MULTILINE):
        module, name = path.rpartition(".")[::2]
        known = list(inspect.signature(getattr(importlib.import_module(module), name)).parameters.values())
        given = [part.strip() for part in arguments.split(",") if part.strip() and part.strip() != "..."]
        for i, part in enumerate(given):
            name, _, default = part.partition("=")
            parameter = next((p for p in known if p.name == name), None)
            assert parameter is not None, f"{path}: {name}"
            assert default or known[i].name == name, f"{path}: {name} is not argument {i}"
            assert not default or parameter.default == ast.literal_eval(default), f"{path}: {part}"
            checked += 1
    assert checked > 15


@pytest.mark.parametrize("page", [page for page in PAGES if "```python" in page.read_text(encoding="utf-8")], ids=lambda page: page.name)
def test_snippets_are_python_and_import_what_there_is(page):
    for code in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom):
                assert all(hasattr(importlib.import_module(node.module), alias.name) for alias in node.names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_commands_that_are_named_are_there(page):
    text = page.read_text(encoding="utf-8")
    for path in re.findall(r"`((?:lib|docs|tests|notebooks)/[\w./]+)`", text):
        assert (ROOT / path).exists(), path
    for module in re.findall(r"python -m ((?:lib|tests)\.[\w.]+)", text):
        assert importlib.util.find_spec(module) is not None, module
    targets = re.findall(r"^([\w.]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in re.findall(r"(?:`|^    |\| )make ([\w./]+)", text, re.MULTILINE):
        assert target in targets, target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_the_pages_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#\s]*)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert links
    for link in links:
        assert not link or "://" in link or (page.parent / link).exists(), link
