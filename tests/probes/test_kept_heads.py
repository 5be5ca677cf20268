"""Kept heads: fitted once, read again equal; another feature, label, fold, person, setting or test image gives other heads."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import lib.probes.kept_heads
from lib.probes.au_linear import CHOICES, Recipe, fit_folds
from lib.probes.kept_heads import kept_folds

RECIPE = Recipe(epochs=3, batch_size=16, standardise=True)


@pytest.fixture
def given():
    """Arguments of ``fit_folds``: 60 images of 12 people in 3 folds, 2 AUs."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(60, 5, generator=generator)
    labels = (features[:, :2] > 0.3).long()
    person = np.arange(60) // 5
    return {
        "features": features, "labels": labels, "fold": person % 3, "person": person, "recipe": RECIPE, "seed": 1,
        "tested": np.ones(60, bool),
    }  # fmt: skip


@pytest.fixture
def fits(monkeypatch):
    """A list that grows with each fit."""
    made = []
    monkeypatch.setattr(lib.probes.kept_heads, "fit_folds", lambda *args: made.append(1) or fit_folds(*args))
    return made


def assert_same(one, other):
    assert one.folds == other.folds and one.epochs == other.epochs and np.array_equal(one.learned, other.learned)
    assert one.learned.dtype == other.learned.dtype
    for choice in CHOICES:
        for name in ("weight", "bias"):
            assert torch.equal(getattr(one, name)[choice], getattr(other, name)[choice])
            assert getattr(one, name)[choice].dtype == getattr(other, name)[choice].dtype


def test_fitted_once_and_read_equal(given, fits, tmp_path):
    wanted = fit_folds(**given)
    for _ in range(3):
        found = kept_folds(tmp_path, **given)
        assert_same(found, wanted)
        place = torch.arange(60) % 3
        assert torch.equal(found.scores(given["features"], place), wanted.scores(given["features"], place))
    assert len(fits) == 1 and len(list(tmp_path.iterdir())) == 1


def test_without_a_folder_nothing_is_kept(given, fits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert_same(kept_folds(None, **given), fit_folds(**given))
    assert len(fits) == 2 and list(tmp_path.iterdir()) == []


def test_whatever_changes_gives_other_heads(given, fits, tmp_path):
    kept_folds(tmp_path, **given)
    moved, flipped = given["features"].clone(), given["labels"].clone()
    moved[7, 3] = torch.nextafter(moved[7, 3], torch.tensor(9.0))  # the least that can change
    flipped[7, 1] = 1 - flipped[7, 1]
    people, folds, tested = given["person"].copy(), given["fold"].copy(), given["tested"].copy()
    people[:5] = 99  # one person under another number: others are held out
    folds[:5] = 2
    tested[0] = False
    changes = [
        {"features": moved}, {"labels": flipped}, {"person": people}, {"fold": folds}, {"tested": tested}, {"seed": 2},
        *({"recipe": replace(RECIPE, **{name: value})} for name, value in (
            ("epochs", 4), ("batch_size", 17), ("learning_rate", 2e-3), ("weight_decay", 0.0), ("held_out", 0.5), ("standardise", False),
        )),
    ]  # fmt: skip
    for count, change in enumerate(changes, 2):
        assert_same(kept_folds(tmp_path, **given | change), fit_folds(**given | change))
        assert len(fits) == count, change
    kept_folds(tmp_path, **given)
    assert len(fits) == len(changes) + 1


def test_other_code_gives_other_heads(given, fits, tmp_path, monkeypatch):
    kept_folds(tmp_path, **given)
    monkeypatch.setattr(lib.probes.kept_heads, "CODE", lib.probes.kept_heads.CODE[1:])
    kept_folds(tmp_path, **given)
    assert len(fits) == 2


def test_a_broken_file_is_fitted_anew(given, fits, tmp_path):
    wanted = kept_folds(tmp_path, **given)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-40])
    assert_same(kept_folds(tmp_path, **given), wanted)
    assert_same(kept_folds(tmp_path, **given), wanted)
    assert len(fits) == 2


def test_a_fit_that_stops_leaves_nothing(given, tmp_path, monkeypatch):
    def stops(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(lib.probes.kept_heads, "fit_folds", stops)
        kept_folds(tmp_path, **given)
    assert list(tmp_path.iterdir()) == []


def test_all_code_that_decides_on_heads_is_in_the_key():
    """What au_linear imports of the package, and what that imports, but for what only an evaluation of a whole table needs."""
    import ast
    from pathlib import Path

    root = Path(lib.kept.__file__).parent
    beside = {"datasets/action_units.py", "probes/features.py", "probes/task.py"}
    found, wanted = set(), ["probes/kept_heads.py"]
    while wanted:
        name = wanted.pop()
        if name in found | beside or name == "files.py":
            continue
        found.add(name)
        for node in ast.walk(ast.parse((root / name).read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lib."):
                wanted.append(node.module.removeprefix("lib.").replace(".", "/") + ".py")
    assert found == set(lib.probes.kept_heads.CODE)
