"""Batches as they are read: what lies where, and that reading goes on while the batch before is used."""

import threading

import numpy as np
import pandas as pd
import pytest
import torch

from lib.datasets import FaceTable
from lib.loading import ahead, read

CPU = torch.device("cpu")


class Reader:
    has_masks = False

    def images(self, index):
        value = np.arange(4 * 5 * 3).reshape(4, 5, 3) * 2 + index[:, None, None, None]
        return value.astype(np.uint8)


def make_table(landmarks=True, count=8):
    rows = pd.DataFrame({"clip": np.arange(count) // 4 * 8 + 1, "frame": np.arange(count) % 4}).sample(frac=1, random_state=3)
    points = np.random.default_rng(0).normal(size=(count, 68, 2)).astype(np.float32) if landmarks else None
    return FaceTable(name="set", source="drawn", licence="-", credit="-", image_size=(4, 5), rows=rows, reader=Reader(), landmarks=points)


def test_images_are_those_of_the_table():
    table = make_table()
    images = read(table, torch.tensor([6, 1, 1]), CPU).on(CPU)
    assert images.shape == (3, 3, 4, 5) and images.is_contiguous()
    assert torch.equal(images, table.images([6, 1, 1]).float() / 255)


def test_clips_keep_their_frames_in_order():
    table = make_table()
    rows = torch.tensor([[0, 5, 2], [7, 1, 1]])
    batch = read(table, rows, CPU).on(CPU)
    assert len(batch) == 2 and batch.images.shape == (2, 3, 3, 4, 5)
    assert torch.equal((batch.images[..., 0, 0, 0] * 255).round().long(), rows)
    assert torch.equal(batch.landmarks[1, 0], table.landmarks([7])[0])
    assert batch.clip.tolist() == table.column("clip")[[0, 7]].tolist()
    assert read(make_table(landmarks=False), rows, CPU).on(CPU).landmarks is None


def test_the_next_is_read_while_one_is_used_and_no_more():
    began = [threading.Event() for _ in range(4)]

    def work(number):
        began[number].set()
        return number * 10

    for number, result in enumerate(ahead(work, range(4))):
        assert result == number * 10
        assert number == 3 or began[number + 1].wait(5)
        assert number > 1 or not began[number + 2].is_set()
    assert number == 3 and list(ahead(work, [])) == []


def test_an_error_comes_at_its_place():
    results = ahead(lambda n: 1 / n, [2, 1, 0, 4])
    assert [next(results), next(results)] == [0.5, 1.0]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_whoever_stops_early_leaves_no_thread():
    before = threading.active_count()
    for _ in ahead(lambda n: n, range(100)):
        break
    assert threading.active_count() == before
