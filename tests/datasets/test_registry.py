import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lib.datasets import DATASETS, DatasetError, describe, open_dataset
from lib.faces.shards import PackedWriter


@pytest.fixture(scope="module")
def orl_tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("orl")
    for person in range(1, 41):
        (root / f"s{person}").mkdir()
        for number in range(1, 11):
            Image.new("L", (92, 112), person * 5 + number % 5).save(root / f"s{person}" / f"{number}.pgm")
    return root


def pack(root, source, people=40, photographs=10):
    identity = np.repeat(np.arange(people), photographs)
    with PackedWriter(root, name="set", source=source, licence="l", credit="c") as writer:
        writer.add(np.zeros((len(identity), 4, 4, 3), np.uint8), pd.DataFrame({"identity": identity}))


@pytest.mark.parametrize("name", DATASETS)
def test_a_missing_set_says_what_describe_prints(tmp_path, capsys, name):
    describe(name)
    said = capsys.readouterr().out.strip()
    for word in ("where to get it", "licence", "credit", "expected"):
        assert word in said
    with pytest.raises(DatasetError) as caught:
        open_dataset(name, tmp_path / "nothing")
    assert str(tmp_path / "nothing") in str(caught.value) and said in str(caught.value)


def test_an_unknown_name_lists_the_known():
    with pytest.raises(DatasetError, match=f"expected one of {', '.join(DATASETS)}, got 'olr' .did you mean 'orl'"):
        open_dataset("olr", "data")
    for name, near in {"raf": "'rafdb'", "AffectNet": "'affectnet'", "disfa+": "'disfa' or 'disfa_plus'"}.items():
        with pytest.raises(DatasetError, match=rf"\(did you mean {near}\?\)$"):
            describe(name)
    with pytest.raises(DatasetError, match="got 'xyz'$"):
        describe("xyz")


def test_the_official_orl_tree(orl_tree):
    table = open_dataset("orl", str(orl_tree))
    assert len(table) == 400 and table.image_size == (112, 92) and table.source == "ORL"
    assert table.column("identity").tolist() == [i // 10 for i in range(400)]
    assert table.rows["file"].iloc[[0, 9, 10, 399]].tolist() == ["s1/1.pgm", "s1/10.pgm", "s2/1.pgm", "s40/10.pgm"]
    assert table.images([0, 399])[:, 0, 0, 0].tolist() == [6, 200]


@pytest.mark.parametrize("damage, message", [
    (lambda path: path.unlink(), r"400 images, 1 are missing: s7/3\.pgm"),
    (lambda path: Image.new("L", (92, 100)).save(path), r"3\.pgm: expected 92 x 112 pixels, got 92 x 100"),
    (lambda path: path.write_bytes(b""), r"3\.pgm: expected an image"),
])
def test_a_damaged_orl_tree(orl_tree, damage, message):
    path = orl_tree / "s7" / "3.pgm"
    whole = path.read_bytes()
    damage(path)
    try:
        with pytest.raises(DatasetError, match=message):
            open_dataset("orl", orl_tree)
    finally:
        path.write_bytes(whole)


def test_packed_sets(tmp_path):
    pack(tmp_path / "orl", "ORL")
    assert len(open_dataset("orl", tmp_path / "orl")) == 400
    pack(tmp_path / "rendered", "rendered", 3, 2)
    assert len(open_dataset("rendered", tmp_path / "rendered")) == 6


def test_the_wrong_packed_set_is_refused(tmp_path):
    pack(tmp_path / "few", "ORL", people=39)
    with pytest.raises(DatasetError, match="40 identities x 10 images, got 'ORL' and 39 identities, 390 images"):
        open_dataset("orl", tmp_path / "few")
    pack(tmp_path / "other", "mine")
    for name in ("orl", "rendered"):
        with pytest.raises(DatasetError, match="expected source .*, got 'mine'"):
            open_dataset(name, tmp_path / "other")
