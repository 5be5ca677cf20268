import math

import pytest
import torch

from lib.step_values import METER, collapse_meter, under_way


def slow_meter(z):
    rows = [row / row.norm() for row in z.double()]
    count, width = len(rows), z.shape[1]
    columns = [[float(row[d]) for row in rows] for d in range(width)]
    means = [sum(column) / count for column in columns]
    spread = [math.sqrt(sum((v - m) ** 2 for v in column) / count) for column, m in zip(columns, means)]
    covariance = torch.zeros(width, width, dtype=torch.double)
    for row in rows:
        centred = row - torch.tensor(means, dtype=torch.double)
        covariance += torch.outer(centred, centred)
    share = [float(v) / float(torch.trace(covariance)) for v in torch.linalg.eigvalsh(covariance)]
    return math.sqrt(width) * sum(spread) / width, math.exp(-sum(s * math.log(s) for s in share if s > 1e-12))


@pytest.mark.parametrize("shape", [(20, 6), (5, 12)])
def test_the_collapse_meter_is_the_slow_one(shape):
    z = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * torch.arange(1, shape[1] + 1)
    std, rank = slow_meter(z)
    assert collapse_meter(z) == pytest.approx({"embedding_std": std, "effective_rank": rank}, rel=1e-4)


def test_the_collapse_meter_at_its_ends():
    spread = collapse_meter(torch.eye(16) * 3)
    assert spread == pytest.approx({"embedding_std": math.sqrt(1 - 1 / 16), "effective_rank": 15}, rel=1e-4)
    dead = collapse_meter(torch.ones(32, 16))
    assert dead["embedding_std"] == pytest.approx(0, abs=1e-5) and dead["effective_rank"] == pytest.approx(1, abs=1e-3)
    random = collapse_meter(torch.randn(4000, 16, generator=torch.Generator().manual_seed(0)))
    assert random["embedding_std"] == pytest.approx(1, abs=0.01) and random["effective_rank"] > 15.9


def test_the_values_are_those_of_the_moment_they_were_sent():
    embedding = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    loss, part = torch.tensor(2.5, requires_grad=True), torch.tensor(1.25, dtype=torch.bfloat16)
    read = under_way({"loss": loss * 2, "part": part}, embedding)
    expected = {"loss": 5.0, "part": 1.25, **collapse_meter(embedding)}
    with torch.no_grad():  # an optimiser moves on before they are read
        loss.zero_()
        embedding.zero_()
    assert read() == expected and tuple(expected)[2:] == METER


def test_without_an_embedding_there_is_no_meter():
    assert under_way({"loss": torch.tensor(float("nan"))})().keys() == {"loss"}
