"""CITATION.cff: what a citation manager reads of this package, and what README says beside it."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
# Of format 1.2.0: keys of the top level that it requires, and all that are used here with their types.
REQUIRED = ("cff-version", "message", "title", "authors")
KNOWN = {
    "cff-version": str, "message": str, "title": str, "authors": list, "type": str, "abstract": str, "version": str, "license": str,
    "keywords": list,
}  # fmt: skip


@pytest.fixture(scope="module")
def citation() -> dict:
    # as plain text: a version such as 1.10 would be read as a number
    return yaml.load((ROOT / "CITATION.cff").read_text(encoding="utf-8"), Loader=yaml.BaseLoader)


def test_the_file_has_the_form_of_the_format(citation):
    assert set(REQUIRED) <= set(citation) <= set(KNOWN), "a key that is not in KNOWN: look it up in the format 1.2.0 and add it"
    assert all(isinstance(value, KNOWN[key]) and value for key, value in citation.items())
    assert citation["cff-version"] == "1.2.0" and citation["type"] in ("software", "dataset")
    assert citation["authors"] == [{"name": "The dar-faces authors"}]
    assert all(isinstance(word, str) for word in citation["keywords"]) and len(set(citation["keywords"])) == len(citation["keywords"])
    plain = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert all(isinstance(plain[key], str) for key in ("cff-version", "version", "license"))  # numbers would not be valid


def test_name_version_and_licence_are_those_of_the_package(citation):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["version"] == project["version"] and citation["license"] == project["license"]
    assert citation["title"].startswith(f"{project['name']}: ")
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith(f"{citation['license']} License")


def test_readme_says_how_to_cite(citation):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    said = readme[readme.index("### How to cite") :].split("\n#")[0]
    assert "[CITATION.cff](CITATION.cff)" in said and citation["version"] in said and citation["title"] in " ".join(said.split())
    assert "Degradation-adaptive Attack-Robust Self-Supervised Facial Representation Learning" in " ".join(said.split())
    assert "authors, venue and year are not known to us" in " ".join(said.split())
    assert not re.search(r"doi\.org|\b10\.\d{4}", said)  # neither this package nor DAR-SFRL has one that is known
