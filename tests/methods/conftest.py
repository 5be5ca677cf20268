"""Tiny faces and a tiny network: a method's step takes milliseconds."""

import pytest
import torch

from lib.models.encoder import EncoderConfig
from lib.training import if_it_has

SIZE = 16


@pytest.fixture
def seeded():
    return lambda seed=0: torch.Generator().manual_seed(seed)


@pytest.fixture
def blobs():
    """``blobs(count)``: [count, 3, 16, 16], two coloured blobs at random places on a coloured ground."""

    def make(count: int, seed: int = 0) -> torch.Tensor:
        g = torch.Generator().manual_seed(seed)
        y, x = torch.meshgrid(torch.arange(SIZE) / SIZE, torch.arange(SIZE) / SIZE, indexing="ij")
        images = torch.rand(count, 3, 1, 1, generator=g).expand(-1, -1, SIZE, SIZE).clone()
        for _ in range(2):
            cx, cy, colour = (torch.rand(count, n, 1, 1, generator=g) for n in (1, 1, 3))
            shape = torch.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 0.03)
            images = images * (1 - shape) + colour * shape
        return images.clamp(0, 1)

    return make


@pytest.fixture
def network():
    return EncoderConfig(SIZE, "resnet10t", {"channels": [8, 8, 16, 16], "stem_width": 8})


@pytest.fixture
def train_for():
    """``train_for(method, images, steps)`` -> terms on one draw of views, before and after training on others."""

    def terms_of(method, drawn) -> dict:
        found = [method.loss(views) for views in drawn]
        return {name: sum(t[name].item() for t in found if name in t) for t in found for name in t if name != "embedding"}

    def run(method, images, steps: int) -> tuple[dict, dict]:
        method.train()
        optimizer = method.optimizer()
        judged = method.views(images, torch.Generator().manual_seed(steps))
        before = terms_of(method, judged)
        for step in range(steps):
            for views in method.views(images, torch.Generator().manual_seed(step)):
                optimizer.zero_grad()
                method.loss(views)["loss"].backward()
                optimizer.step()
            if_it_has(method, "after_step", step)
        return before, terms_of(method, judged)

    return run


@pytest.fixture
def statistics():
    """``statistics(module)``: a copy of every buffer (batch-norm statistics among them)."""
    return lambda module: {name: value.clone() for name, value in module.named_buffers()}
