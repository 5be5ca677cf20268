"""Images for the degradation tests: smooth shapes with edges and a little texture, values over most of [0, 1]."""

import pytest
import torch
from torch.nn import functional as F


def draw_images(count: int, height: int = 32, width: int | None = None, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    width = width or height
    smooth = F.interpolate(torch.rand(count, 3, 6, 6, generator=draw), (height, width), mode="bicubic").clamp(0, 1)
    edges = F.interpolate(torch.rand(count, 3, 4, 4, generator=draw).round(), (height, width), mode="nearest")
    return (0.65 * smooth + 0.2 * edges + 0.1 * torch.rand(count, 3, height, width, generator=draw)).clamp(0, 1)


@pytest.fixture
def images() -> torch.Tensor:
    return draw_images(4)


@pytest.fixture
def seeded():
    return lambda seed=0: torch.Generator().manual_seed(seed)


@pytest.fixture
def make_images():
    return draw_images
