import numpy as np
import pandas as pd
import pytest
import torch

from lib.datasets.table import FaceTable


class Counting:
    """Ten 2x2 images whose every value is their number."""

    has_masks = False

    def images(self, index):
        return np.broadcast_to(index[:, None, None, None], (len(index), 2, 2, 3)).astype(np.uint8)


@pytest.fixture
def table():
    rows = pd.DataFrame({"identity": np.arange(10) // 2, "expression": np.arange(10) % 7})
    return FaceTable(name="ten", source="rendered", licence="CC0", credit="nobody", image_size=(2, 2), rows=rows,
                     reader=Counting())


def numbers(table, index=None):
    return table.images(index)[:, 0, 0, 0].tolist()


def test_images_are_uint8_channels_first(table):
    images = table.images([3, 4])
    assert images.dtype == torch.uint8 and images.shape == (2, 3, 2, 2) and images.is_contiguous()


@pytest.mark.parametrize("index, expected", [
    (None, list(range(10))), ([2, 2, 0], [2, 2, 0]), (np.array([-1]), [9]), (slice(1, 4), [1, 2, 3]), (5, [5]),
    ([], []),
    (torch.tensor([7, 8]), [7, 8]), (np.arange(10) > 7, [8, 9]), (torch.arange(10) > 8, [9]),
])
def test_every_kind_of_index(table, index, expected):
    assert numbers(table, index) == expected
    if index is not None:
        view = table.select(index)
        assert numbers(view) == expected and view.column("identity").tolist() == [i // 2 for i in expected]


def test_a_view_of_a_view(table):
    view = table.select([9, 7, 5, 3]).select(np.array([False, True, True, False]))
    assert numbers(view) == [7, 5] and numbers(view, [1]) == [5] and len(view) == 2
    assert view.rows.index.tolist() == [0, 1]


def test_with_rows_changes_annotations_only(table):
    view = table.select([4, 6])
    other = view.with_rows(view.rows.assign(split="pretrain"))
    assert numbers(other) == [4, 6] and "split" in other.columns and "split" not in view.columns


@pytest.mark.parametrize("call, message", [
    (lambda t: t.column("split"), "no column 'split'; it has identity, expression"),
    (lambda t: t.landmarks(), "no landmarks"),
    (lambda t: t.column("landmarks"), "no column 'landmarks'"),
    (lambda t: t.masks(), "no part masks"),
    (lambda t: t.images([10]), r"positions must lie in 0\.\.9, got 10\.\.10"),
    (lambda t: t.images([-11]), "positions"),
    (lambda t: t.select([True, False]), "boolean mask must have 10 entries, got 2"),
    (lambda t: t.select([0.5]), "expected integers or a boolean mask, got float64"),
    (lambda t: t.select([[1]]), r"one dimension, got shape \[1, 1\]"),
    (lambda t: t.with_rows(pd.DataFrame({"a": [1]})), "rows: expected 10"),
])
def test_bad_input(table, call, message):
    with pytest.raises(ValueError, match=message):
        call(table)


def test_views_keep_the_notes(table):
    noted = FaceTable(name="ten", source="s", licence="l", credit="c", image_size=(2, 2), rows=table.rows, reader=Counting(),
                      notes=["3 images left out"])
    assert table.notes == () and noted.notes == ("3 images left out",)
    assert noted.select([1, 2]).notes == noted.with_rows(table.rows).notes == noted.notes
