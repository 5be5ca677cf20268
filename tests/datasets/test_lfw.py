import numpy as np
import pytest
from PIL import Image

from lib.datasets import DatasetError, lfw, open_dataset
from lib.datasets.lfw import SSL_FER, read_pairs

PEOPLE = {"Al_Pacino": 3, "Aaron_Eckhart": 1, "Jose_Maria_Aznar": 12, "Zico": 5}


def tree(root, folder="lfw", people=PEOPLE):
    for number, person in enumerate(sorted(people)):
        (root / folder / person).mkdir(parents=True)
        for i in range(1, people[person] + 1):
            Image.new("L", (250, 250), 40 * number + i).save(root / folder / person / f"{person}_{i:04d}.jpg", quality=95)


@pytest.fixture
def root(tmp_path):
    tree(tmp_path)
    (tmp_path / "lfw" / "pairs_01.txt").write_text("the funneled archive carries lists beside the people")
    return tmp_path


def opened(root, **options):
    return open_dataset("lfw", root, complete=False, **options)


def test_people_and_photographs(root):
    table = open_dataset("lfw", root, complete=False, check=True)
    assert len(table) == 21 and table.image_size == (250, 250) and "split" not in table.columns
    assert table.column("identity").tolist() == [0] + [1] * 3 + [2] * 12 + [3] * 5  # by name
    assert table.column("frame").tolist() == [0, *range(3), *range(12), *range(5)]
    assert table.rows["file"].iloc[15] == "lfw/Jose_Maria_Aznar/Jose_Maria_Aznar_0012.jpg"
    np.testing.assert_allclose(table.images([15])[0, :, 9, 9], 92, atol=2)
    assert opened(root, image_size=(62, 47)).images([0, 9]).shape == (2, 3, 62, 47)


def test_few_faces(root, capsys):
    table = opened(root, min_faces_per_person=5)
    assert table.column("identity").tolist() == [2] * 12 + [3] * 5
    assert "lfw: 2 people with fewer than 5 images left out (4 images)" in capsys.readouterr().out
    with pytest.raises(DatasetError, match="nobody has 200 images; the most are 12"):
        opened(root, **SSL_FER)
    with pytest.raises(ValueError, match="min_faces_per_person: expected at least 1, got 0"):
        opened(root, min_faces_per_person=0)


def test_the_seeded_split(root):
    one, again, other = (opened(root, min_faces_per_person=5, split_seed=seed).column("split") for seed in (0, 0, 1))
    assert (one == again).all() and (one != other).any()
    assert (one == "probe_test").sum() == 6 and (one == "probe_train").sum() == 11  # ceil(0.3 * 17)


def test_official_counts(root, monkeypatch):
    with pytest.raises(DatasetError, match=r"people: expected 5,749, got 4; images: expected 13,233, got 21"):
        open_dataset("lfw", root)
    monkeypatch.setattr(lfw, "COUNTS", {"people": 4, "images": 21})
    assert len(open_dataset("lfw", root, min_faces_per_person=3)) == 20  # counted before people are left out


def test_variants(root):
    tree(root, "lfw-deepfunneled", {"Zico": 2})
    with pytest.raises(DatasetError, match="lfw, lfw-deepfunneled are all there; say which one with variant='lfw'"):
        opened(root)
    assert len(opened(root, variant="lfw-deepfunneled")) == 2
    with pytest.raises(DatasetError, match="expected a folder lfw_funneled, there is none"):
        opened(root, variant="lfw_funneled")
    with pytest.raises(ValueError, match="variant: expected one of lfw, .*got 'lfw2'"):
        opened(root, variant="lfw2")


def test_damaged_trees(root):
    (root / "lfw/Al_Pacino/Al_Pacino_0002.jpg").rename(root / "lfw/Al_Pacino/Alan_0002.jpg")
    with pytest.raises(DatasetError, match=r"1 files that are not .*: Al_Pacino/Alan_0002.jpg; 1 people with a photograph"
                                           r" missing in their numbers: Al_Pacino"):
        opened(root)


PAIRS = """2\t2
Al_Pacino\t1\t3
Zico\t5\t1
Al_Pacino\t2\tAaron_Eckhart\t1
Zico\t3\tJose_Maria_Aznar\t11
Jose_Maria_Aznar\t1\t2
Jose_Maria_Aznar\t12\t2
Aaron_Eckhart\t1\tZico\t4
Zico\t1\tAl_Pacino\t1
"""


def pairs(root, text):
    (root / "pairs.txt").write_text(text)
    return read_pairs(root / "pairs.txt", opened(root))


def test_official_pairs(root):
    table = opened(root)
    found = pairs(root, PAIRS)
    names = [name.split("/")[2][:-4] for name in table.rows["file"]]
    assert [(names[a], names[b]) for a, b in zip(found.first, found.second)][:4] == [
        ("Al_Pacino_0001", "Al_Pacino_0003"), ("Zico_0005", "Zico_0001"), ("Al_Pacino_0002", "Aaron_Eckhart_0001"),
        ("Zico_0003", "Jose_Maria_Aznar_0011")]
    identity = table.column("identity")
    np.testing.assert_array_equal(found.same, identity[found.first] == identity[found.second])
    assert found.fold.tolist() == [0] * 4 + [1] * 4


def test_development_pairs_are_one_fold(root):
    lines = PAIRS.splitlines()
    found = pairs(root, "\n".join(["2", *lines[1:5]]) + "\n")
    assert found.fold.tolist() == [0] * 4 and found.same.tolist() == [True, True, False, False]


@pytest.mark.parametrize("change, message", [
    (lambda t: t.replace("2\t2\n", "2\t3\n", 1), "expected 2 x 2 x 3 pairs after the first line, got 8"),
    (lambda t: t.replace("2\t2\n", "Al_Pacino\t3\n", 1), "in the first line, got 'Al_Pacino 3'; people.txt"),
    (lambda t: "", "in the first line, got ''"),
    (lambda t: t.replace("Zico\t5\t1", "Zico\t5\t1\t2"), "1 malformed pairs: 'Zico 5 1 2' .expected a genuine pair"),
    (lambda t: t.replace("Al_Pacino\t2\tAaron_Eckhart\t1", "Al_Pacino\t2\t1"), "'Al_Pacino 2 1' .expected an impostor pair"),
    (lambda t: t.replace("Zico\t5", "Zico\t6").replace("Aaron_Eckhart\t1\tZ", "Aaron\t1\tZ"),
     "2 images that lfw does not have: Zico_0006, Aaron_0001; the list needs the whole set"),
])
def test_wrong_pairs(root, change, message):
    with pytest.raises(DatasetError, match=message):
        pairs(root, change(PAIRS))
    with pytest.raises(DatasetError, match="expected LFW's list of pairs, it is missing"):
        read_pairs(root / "no.txt", opened(root))
