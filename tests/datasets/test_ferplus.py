import csv
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from lib.datasets import DatasetError, ferplus, open_dataset
from lib.datasets.columns import ALL_EXPRESSIONS
from lib.datasets.ferplus import CODES, LINES, MAJORITY, majority, read_votes

OFFICIAL = Path(os.environ.get("FERPLUS_ROOT", Path(__file__).parents[2] / "data" / "ferplus"))
HEADER = "Usage,Image name," + ",".join(CODES) + "\n"
# One line a row of fer2013.csv: usage, image name ('' = no face), votes in the order of CODES.
ROWS = [
    ("Training", "fer0000000.png", "0 0 0 0 9 0 1 0 0 0"),  # anger
    ("Training", "", "0 0 0 0 0 0 0 0 0 10"),  # no face, so the next number is not the row's
    ("Training", "fer0000001.png", "0 0 0 0 0 0 0 8 2 0"),  # contempt
    ("Training", "fer0000004.png", "0 10 0 0 0 0 0 0 0 0"),  # a stray: the name belongs to a later row
    ("Training", "fer0000003.png", "5 5 0 0 0 0 0 0 0 0"),  # no majority
    ("Training", "fer0000004.png", "1 0 6 1 1 1 0 0 0 0"),  # surprise
    ("PublicTest", "fer0000005.png", "0 0 0 0 0 6 3 0 1 0"),  # disgust
    ("PublicTest", "fer0000006.png", "0 0 0 2 0 0 0 0 8 0"),  # unknown
    ("PrivateTest", "fer0000007.png", "0 0 0 0 2 2 6 0 0 0"),  # fear
    ("PrivateTest", "fer0000005.png", "0 0 0 0 0 0 0 0 0 10"),  # a stray
    ("PrivateTest", "fer0000008.png", "2 7 1 0 0 0 0 0 0 0"),  # happiness
]
PART = {"Training": "FER2013Train", "PublicTest": "FER2013Valid", "PrivateTest": "FER2013Test"}
STRAYS = (3, 9)


def labels(root, rows=ROWS, top="data"):
    (root / "fer2013new.csv").write_text(HEADER + "".join(f"{u},{n},{v.replace(' ', ',')}\n" for u, n, v in rows))
    for usage, part in PART.items():
        (root / top / part).mkdir(parents=True, exist_ok=True)
        lines = [f'{name},"(0, 0, 48, 48)",{votes.replace(" ", ",")}\n' for i, (u, name, votes) in enumerate(rows)
                 if u == usage and name and i not in STRAYS]
        (root / top / part / "label.csv").write_text("".join(reversed(lines)))  # the order of lines says nothing


@pytest.fixture
def root(tmp_path):
    labels(tmp_path)
    (tmp_path / "fer2013.csv").write_text("emotion,pixels,Usage\n" + "".join(
        f"0,{' '.join([str(i)] * 2304)},{usage}\n" for i, (usage, _, _) in enumerate(ROWS)))
    return tmp_path


def slow_majority(votes):
    """The rule in the words of the paper's code: drop outliers, ask for more than half, refuse unknown and no face."""
    votes = [vote if vote > 1 else 0 for vote in votes]
    for kind, vote in enumerate(votes):
        if vote > 0.5 * sum(votes):
            return kind if kind < 8 else -1
    return -1


def test_the_majority_rule():
    rng = np.random.default_rng(0)
    votes = np.array([rng.multinomial(10, rng.dirichlet(np.full(10, 0.3))) for _ in range(2000)])
    expected = [slow_majority(row) for row in votes.tolist()]
    assert majority(votes).tolist() == expected
    assert set(expected) == set(range(-1, 8))
    assert majority(np.ones((1, 10), int)).tolist() == [-1] and majority(np.zeros((0, 10), int)).tolist() == []
    for wrong in (np.ones((2, 9), int), np.ones((2, 10)), np.ones(10, int)):
        with pytest.raises(ValueError, match=r"votes: expected integers \[N,10\], got"):
            majority(wrong)


def test_labels_meet_the_right_pixels(root, capsys):
    table = open_dataset("ferplus", root, complete=False, check=True)
    assert [ALL_EXPRESSIONS[i] for i in table.column("expression")] == [
        "anger", "contempt", "surprise", "disgust", "fear", "happiness"]
    assert table.images()[:, 0, 0, 0].tolist() == [0, 2, 5, 6, 8, 10]  # the row of fer2013.csv is written in the pixels
    assert table.column("split").tolist() == ["probe_train"] * 3 + ["probe_val"] + ["probe_test"] * 2
    assert len(set(table.column("identity"))) == 6
    said = capsys.readouterr().out
    assert "ferplus: 3 of 11 rows of fer2013.csv left out: no label.csv names them" in said
    assert "ferplus: 2 of 8 images left out: no majority, unknown or no face" in said


def test_seven_classes(root):
    table = open_dataset("ferplus", root, complete=False, classes=7)
    assert len(table) == 5 and table.column("expression").max() < 7
    assert table.notes[-1] == "1 images of contempt left out (classes=7)"
    with pytest.raises(ValueError, match="classes: expected 7 or 8, got 6"):
        open_dataset("ferplus", root, classes=6)


def test_the_votes_of_fer2013new(root):
    table = open_dataset("ferplus", root, complete=False, labels="fer2013new")
    assert table.images()[:, 0, 0, 0].tolist() == [0, 2, 3, 5, 6, 8, 10]
    assert len(table.notes) == 1 and table.notes[0].startswith("4 of 11 images")
    with pytest.raises(ValueError, match="labels: expected one of label, fer2013new, got 'votes'"):
        open_dataset("ferplus", root, labels="votes")


def test_official_counts(root, monkeypatch):
    with pytest.raises(DatasetError, match=r"fer2013new\.csv: .*Training: expected 28,709, got 6"):
        open_dataset("ferplus", root)
    monkeypatch.setattr(ferplus, "FER_COUNTS", {"Training": 6, "PublicTest": 2, "PrivateTest": 3})
    with pytest.raises(DatasetError, match=r"label\.csv: .*Training: expected 28,558, got 4"):
        open_dataset("ferplus", root)
    monkeypatch.setattr(ferplus, "LINES", {"Training": 4, "PublicTest": 2, "PrivateTest": 2})
    with pytest.raises(DatasetError, match=r"Training: expected 25,045, got 3"):
        open_dataset("ferplus", root)
    monkeypatch.setitem(MAJORITY, "label", {"Training": 3, "PublicTest": 1, "PrivateTest": 2})
    assert len(open_dataset("ferplus", root)) == 6


def edit(root, path, old, new):
    text = (root / path).read_text()
    assert old in text
    (root / path).write_text(text.replace(old, new))


@pytest.mark.parametrize("path, old, new, message", [
    ("fer2013new.csv", "unknown,NF", "NF,unknown", "expected the columns Usage, Image name, neutral, .*got Usage"),
    ("fer2013new.csv", "PublicTest,fer0000005", "Training,fer0000005", r"label\.csv: 1 images that are not in PublicTest"),
    ("fer2013.csv", "PublicTest", "Training", r"2 lines whose Usage differs from that of fer2013.csv: 8, 9"),
    ("fer2013new.csv", "fer0000008.png,2", "fer0000008.png,many", "1 lines with votes that are no counts: 12"),
    ("fer2013new.csv", "fer0000008.png", "test8.png", "1 image names that are not fer<7 digits>.png: test8.png"),
    ("data/FER2013Test/label.csv", "fer0000008.png", "fer0000099.png", "1 images that fer2013new.csv does not know: fer0000099"),
    ("data/FER2013Test/label.csv", "fer0000008.png", "fer0000007.png", "1 repeated images: fer0000007.png"),
    ("data/FER2013Test/label.csv", ",2,7,1", ",2,7", "1 other lines: line 1: 11 fields"),
    ("data/FER2013Test/label.csv", ",2,7,1", ",2,7,1.5", "1 lines with votes that are no counts: 1"),
    ("data/FER2013Test/label.csv", '"(0, 0, 48, 48)",2', '"(4, 4, 40, 40)",2', "1 boxes that are not .*: fer0000008.png"),
])
def test_files_of_another_release(root, path, old, new, message):
    edit(root, path, old, new)
    with pytest.raises(DatasetError, match=message):
        open_dataset("ferplus", root, complete=False)


def test_missing_files_and_rows(root):
    (root / "data/FER2013Valid/label.csv").unlink()
    with pytest.raises(DatasetError, match=r"FER2013Valid/label\.csv: expected FER\+'s label file, it is missing"):
        open_dataset("ferplus", root, complete=False)
    labels(root, ROWS[:-1])
    with pytest.raises(DatasetError, match="expected a row for each of the 11 rows of fer2013.csv, got 10"):
        open_dataset("ferplus", root, complete=False)
    (root / "fer2013new.csv").unlink()
    with pytest.raises(DatasetError, match=r"fer2013new\.csv: expected FER\+'s votes, the file is missing"):
        open_dataset("ferplus", root, complete=False)


@pytest.mark.skipif(not (OFFICIAL / "fer2013new.csv").is_file(),
                    reason=f"the official label files are not in {OFFICIAL} (FERPLUS_ROOT says another place)")
def test_the_official_label_files():
    for source, lines in (("label", LINES), ("fer2013new", ferplus.FER_COUNTS)):
        row, votes, usage = read_votes(OFFICIAL, source)
        assert (np.diff(row) > 0).all() and Counter(usage[row]) == lines
        assert Counter(usage[row[majority(votes) >= 0]]) == MAJORITY[source]
    # Every label.csv line meets the row of its own name, in the rows' order but for the strays.
    row, votes, _ = read_votes(OFFICIAL)
    with open(OFFICIAL / "fer2013new.csv", newline="") as file:
        names = [line["Image name"] for line in csv.DictReader(file)]
    numbers = [int(names[i][3:10]) for i in row]
    assert numbers == sorted(numbers) and len(set(numbers)) == 35710
