"""Options of a reader: known ones of the annotated type pass, all others are refused by name, with what was expected."""

import inspect
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib.datasets import DATASETS, check_options, open_dataset
from lib.datasets.options import check_against


def reader(
    root: Path, image_size: tuple[int, int] | None = None, units: tuple[int, ...] | None = None, fps: float = 25.0, least: int = 1,
    complete: bool = True, frames: str | Path | None = None, variant: str = "aligned", names: list[str] | None = None, free=None,
):  # fmt: skip
    """Never called."""


GOOD = [
    {}, {"image_size": [40, 30]}, {"image_size": (40, 30)}, {"image_size": None}, {"image_size": (np.int64(8), 8)}, {"units": [1, 2, 4]},
    {"units": []}, {"fps": 25}, {"fps": 29.97}, {"fps": np.float32(25)}, {"least": 3}, {"complete": False}, {"frames": "list.csv"},
    {"names": ["a"]}, {"names": 5}, {"free": 5}, {"free": {"a": 1}},  # of no form that is looked at: the reader's own to check
    {"frames": Path("list.csv")}, {"frames": None}, {"variant": "funneled"},
]  # fmt: skip
BAD = [
    ({"image_size": 5}, "image_size: expected a list of 2 integers or null, got 5"),
    ({"image_size": [5]}, "image_size: expected a list of 2 integers or null, got [5]"),
    ({"image_size": [5, 5.0]}, "image_size: expected a list of 2 integers or null, got [5, 5.0]"),
    ({"image_size": "55"}, "image_size: expected a list of 2 integers or null, got '55'"),
    ({"image_size": [8, 7]}, "image_size: expected [height, width] of at least 8 px and at most 1 : 4, got [8, 7]"),
    ({"image_size": [0, 40]}, "image_size: expected [height, width] of at least 8 px and at most 1 : 4, got [0, 40]"),
    ({"image_size": [16, 160]}, "image_size: expected [height, width] of at least 8 px and at most 1 : 4, got [16, 160]"),
    ({"units": 1}, "units: expected a list of integers or null, got 1"),
    ({"units": [1, True]}, "units: expected a list of integers or null, got [1, True]"),
    ({"fps": "25"}, "fps: expected a number, got '25'"),
    ({"fps": True}, "fps: expected a number, got True"),
    ({"fps": None}, "fps: expected a number, got None"),
    ({"least": 1.5}, "least: expected an integer, got 1.5"),
    ({"complete": 1}, "complete: expected true or false, got 1"),
    ({"complete": "no"}, "complete: expected true or false, got 'no'"),
    ({"frames": 3}, "frames: expected text or a path or null, got 3"),
    ({"variant": None}, "variant: expected text, got None"),
    ({"size": 5}, "size: the data set 'mine' has no such option; it has image_size, units, fps, least, complete, frames, variant"),
    ({"root": "x"}, "root: the data set 'mine' has no such option; it has image_size"),
]


@pytest.mark.parametrize("options", GOOD)
def test_what_fits_passes(options):
    check_against(reader, "mine", options)


@pytest.mark.parametrize(("options", "message"), BAD)
def test_what_does_not_fit_is_refused_by_name(options, message):
    with pytest.raises(ValueError) as caught:
        check_against(reader, "mine", options)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("name", DATASETS)
def test_the_defaults_of_every_reader_fit_its_own_annotations(name):
    parameters = list(inspect.signature(DATASETS[name].open_set).parameters.values())[1:]
    check_options(name, {parameter.name: parameter.default for parameter in parameters})
    for parameter in parameters:
        with pytest.raises(ValueError, match=f"^{parameter.name}: expected "):
            check_options(name, {parameter.name: {"no": "reader takes a dict"}})


def test_lists_of_params_yaml_are_the_tuples_of_the_reader(tmp_path):
    (tmp_path / "anna").mkdir()
    Image.new("RGB", (40, 50)).save(tmp_path / "anna" / "1.png")
    assert open_dataset("folder", tmp_path, image_size=[20, 10]).image_size == (20, 10)
