import pytest

from lib.report.wording import counted, every_mean, joined, percent, points


def test_cells_and_lists():
    assert points((12.34, 10.0, 14.96)) == "12.3 points [10.0, 15.0]" and percent((0.0, 0.0, 2.0)) == "0.0% [0.0, 2.0]"
    assert [joined(list("abc"[:n])) for n in (1, 2, 3)] == ["a", "a and b", "a, b and c"]


@pytest.mark.parametrize("count, said", [(1, "the one mean compared"), (2, "both means compared"), (4, "all 4 means compared")])
def test_how_many_means(count, said):
    assert every_mean(count) == said


def test_numbers_in_words():
    assert [counted(n, "task") for n in (0, 1, 2, 10, 11)] == ["no tasks", "one task", "two tasks", "ten tasks", "11 tasks"]
    assert counted(3) == "three"
