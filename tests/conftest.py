"""Shared by the probes' and the evaluation's tests: small faces of which everything is known."""

import numpy as np
import pandas as pd
import pytest

from lib.datasets import FaceTable

SIZE = 16
UNITS = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)


class _InMemory:
    has_masks = False

    def __init__(self, pixels):
        self.pixels = pixels

    def images(self, index):
        return self.pixels[index]


@pytest.fixture(scope="session")
def synthetic_faces():
    """``synthetic_faces(shots=1, labelled=True)``: 40 persons x 7 expressions x shots of 16 px.

    An image is the sum of one pattern of its person, one of its expression and noise, so that a linear model can tell
    all of them. AU k is present in the expressions e with (e + k) % 3 == 0; valence and arousal belong to the expression.
    Persons 0..19 are for fitting.
    """

    def make(shots: int = 1, labelled: bool = True, noise: float = 6.0) -> FaceTable:
        rng = np.random.default_rng(11)
        person, expression = (x.ravel() for x in np.mgrid[0:40, 0:7, 0:shots][:2])
        patterns = rng.normal(0, 20, (40, SIZE, SIZE, 3)), rng.normal(0, 20, (7, SIZE, SIZE, 3))
        pixels = (
            128 + patterns[0][person] + patterns[1][expression] + rng.normal(0, noise, (len(person), SIZE, SIZE, 3))
        )
        rows = pd.DataFrame({"identity": person, "frame": np.arange(len(person))})
        if labelled:
            rows["split"] = np.where(person < 20, "probe_train", "probe_test")
            rows["fold"] = person % 3
            rows["expression"] = expression
            rows["valence"], rows["arousal"] = np.cos(expression) * 0.8, np.sin(expression) * 0.6 + 0.1
            for k, unit in enumerate(UNITS):
                rows[f"au_{unit}"] = np.where((expression + k) % 3 == 0, 3.0, 1.0)
        return FaceTable(
            name="rendered" if labelled else "orl",
            source="rendered" if labelled else "ORL",
            licence="-",
            credit="-",
            image_size=(SIZE, SIZE),
            rows=rows,
            reader=_InMemory(pixels.clip(0, 255).astype(np.uint8)),
        )

    return make


@pytest.fixture(scope="session")
def pixel_encoder():
    """``pixel_encoder(dim=None)``: pixels as features, or a fixed random linear map of them."""
    import torch

    def make(dim: int | None = None):
        layers = [torch.nn.Flatten()]
        if dim:
            with torch.random.fork_rng():
                torch.manual_seed(5)
                layers.append(torch.nn.Linear(3 * SIZE * SIZE, dim))
        return torch.nn.Sequential(*layers)

    return make


@pytest.fixture(scope="session")
def trainable_encoder():
    """``trainable_encoder(dim)``: pixels, batch-norm, a linear map: a network that a few steps can teach."""
    import torch

    def make(dim: int):
        with torch.random.fork_rng():
            torch.manual_seed(5)
            layers = torch.nn.BatchNorm1d(3 * SIZE * SIZE), torch.nn.Linear(3 * SIZE * SIZE, dim)
        return torch.nn.Sequential(torch.nn.Flatten(), *layers).eval()

    return make


@pytest.fixture
def own_faces(synthetic_faces):
    """``own_faces(people, drop=...)``: a user's faces with few people for testing, and without some columns."""

    def make(people=20, drop=()):
        table = synthetic_faces()
        table = table.select(table.column("identity") < 20 + people)
        for start in drop:
            table.rows.drop(columns=[name for name in table.rows if name.startswith(start)], inplace=True)
        return table

    return make
