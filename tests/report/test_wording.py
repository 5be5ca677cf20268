import pytest

from lib.report.wording import every_mean, joined, percent, points


def test_cells_and_lists():
    assert points((12.34, 10.0, 14.96)) == "12.3 points [10.0, 15.0]" and percent((0.0, 0.0, 2.0)) == "0.0% [0.0, 2.0]"
    assert [joined(list("abc"[:n])) for n in (1, 2, 3)] == ["a", "a and b", "a, b and c"]


@pytest.mark.parametrize("count, said", [(1, "the one mean compared"), (2, "both means compared"), (4, "all 4 means compared")])
def test_how_many_means(count, said):
    assert every_mean(count) == said
