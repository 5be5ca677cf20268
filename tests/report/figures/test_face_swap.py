"""The gallery of swapped faces: what it shows, and what it does not."""

import numpy as np
import pandas as pd
import pytest
import torch

from lib.datasets import FaceTable
from lib.degrade.occluders import MEAN_FACE
from lib.faces.swap import swap_faces
from lib.report.figures.face_swap import face_swap_gallery, swapped_faces


class Noise:
    has_masks = False

    def images(self, index):
        return np.random.default_rng(0).integers(0, 256, (12, 24, 24, 3), np.uint8)[index]


def faces(source="rendered", people=4, broken=()):
    points = np.random.default_rng(1).normal(0, 0.5, (12, 68, 2)) + np.array(MEAN_FACE) * 24
    points[list(broken)] = np.nan
    rows = pd.DataFrame({"identity": np.arange(12) % people})
    return FaceTable(name="set", source=source, licence="-", credit="-", image_size=(24, 24), rows=rows, reader=Noise(),
                     landmarks=points.astype(np.float32))  # fmt: skip


def test_each_head_gets_another_persons_face_as_face_swap_makes_it():
    table = faces()
    shown = swapped_faces(table, 8)
    assert shown["failed"] == 0 and shown["head"].shape == (4, 3, 24, 24)
    assert torch.equal(shown["expression"], shown["head"].roll(-1, 0))
    everything, places = table.images().float() / 255, table.landmarks()
    row = [int((everything == head).flatten(1).all(1).nonzero()) for head in shown["head"]]
    assert len(set(table.column("identity")[row])) == 4
    again = swap_faces(shown["head"], places[row], shown["expression"], places[np.roll(row, -1)])
    assert torch.allclose(again.images, shown["swapped"], atol=1e-5)


def test_failed_swaps_are_counted_and_not_shown():
    shown = swapped_faces(faces(people=12, broken=(3,)), 12)
    assert shown["failed"] == 2 and len(shown["swapped"]) == 10


def test_the_gallery_has_three_rows():
    shown = swapped_faces(faces(), 3)
    figure = face_swap_gallery(shown["head"], shown["expression"], shown["swapped"])
    assert [text.get_text() for text in figure.axes[0].texts] == ["head", "expression", "swapped"]
    sheet = np.asarray(figure.axes[0].images[0].get_array())
    assert sheet.shape == (3 * 24 + 2 + 4, 3 * 24 + 2, 3)
    assert np.array_equal(sheet[-24:, :24], (shown["swapped"][0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))


def test_what_is_refused():
    with pytest.raises(ValueError, match="^table: expected rendered faces, got ORL"):
        swapped_faces(faces("ORL"))
    with pytest.raises(ValueError, match="^table: expected at least two people, got 1"):
        swapped_faces(faces(people=1))
    with pytest.raises(ValueError, match="^expression, swapped: expected .* like head"):
        face_swap_gallery(np.zeros((2, 3, 8, 8)), np.zeros((2, 3, 8, 8)), np.zeros((1, 3, 8, 8)))
