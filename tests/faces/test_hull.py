"""Hull masks against SciPy's convex hull."""

import numpy as np
import pytest
import torch
from scipy.spatial import ConvexHull

from lib.faces.hull import _edges, hull_cover

SIZE = (40, 48)


def drawn(kind, count=12):
    g = torch.Generator().manual_seed(7)
    if kind == "spread":
        return torch.rand(count, 22, 2, generator=g) * 30 + 4
    if kind == "grid":  # many points in a row
        return (torch.rand(count, 22, 2, generator=g) * 8).round() * 4 + 3
    if kind == "rows":  # far more and longer pairs of points on two of the hull's edges than on the others
        along, turn = torch.rand(count, 22, generator=g) * 20, torch.rand(count, 1, generator=g) * 0.8
        away = (torch.arange(22) % 2) * 12.0
        return torch.stack([along * turn.cos() - away * turn.sin(), along * turn.sin() + away * turn.cos()], 2) + 12
    if kind == "near":  # each point twice, from 1e-5 px to a pixel apart
        points = torch.rand(count, 11, 2, generator=g) * 28 + 6
        return torch.cat([points, points + torch.randn(count, 11, 2, generator=g) * 10 ** -(torch.arange(11.0) / 2)[:, None]], 1)
    if kind == "frame":  # far more pairs of points on the hull's edges than edges
        side = torch.arange(6.0) * 5 + 5
        low, high = torch.full((6,), 5.0), torch.full((6,), 30.0)
        square = torch.stack([torch.cat([side, side, low, high]), torch.cat([low, high, side, side])], 1)
        order = torch.stack([torch.randperm(24, generator=g) for _ in range(count)])
        return square[order] + torch.arange(count).view(-1, 1, 1) * 0.3
    return torch.randn(count, 3, 2, generator=g) * 12 + 20  # triangles, some beyond the border


def outside(points):
    """Signed distance of each pixel centre to SciPy's hull, > 0 outside."""
    equations = ConvexHull(points.double().numpy()).equations
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    return (np.stack([x, y], -1) @ equations[:, :2].T + equations[:, 2]).max(-1)


@pytest.mark.parametrize("kind", ["spread", "grid", "triangle", "frame", "rows", "near"])
def test_hard_masks_have_the_pixels_whose_centre_is_inside(kind):
    points = drawn(kind)
    covers = hull_cover(points, SIZE, hard=True)
    assert covers.shape == (12, 1, *SIZE) and set(covers.unique().tolist()) == {0.0, 1.0}
    for cover, one in zip(covers[:, 0].numpy(), points):
        distance = outside(one)
        clear = np.abs(distance) > 1e-3
        assert ((cover > 0) == (distance < 0))[clear].all()


def test_an_edge_is_found_whatever_rounding_does_to_points_on_it():
    """A point on the line between two others, or inside by less than float32 can tell, leaves their edge where it is."""
    g = torch.Generator().manual_seed(3)
    turn, size, at = 0.785 + 0.1 * torch.randn(100_000, generator=g), 1 + torch.rand(100_000, generator=g), torch.rand(100_000, generator=g)
    along = torch.stack([-torch.ones_like(at), torch.ones_like(at), 2 * at - 1, torch.zeros_like(at)], 1)  # in units of what is worst
    away = torch.tensor([1.0, 1.0, 1.0, -1.0])
    turn, size = turn[:, None], size[:, None]
    points = torch.stack([away * turn.cos() - along * turn.sin(), away * turn.sin() + along * turn.cos()], 2) * size[..., None]
    first, last, between = points[:, :3].double().unbind(1)
    to, on = last - first, between - first
    inside = to[:, 0] * on[:, 1] - to[:, 1] * on[:, 0] >= 0  # the products of float32 numbers are exact in float64
    assert 0.4 < inside.float().mean() < 0.9
    points = points[inside]
    edge, way = _edges(points)
    assert edge[:, 0].all() and torch.equal(torch.stack(way, 2)[:, 0], points[:, 1] - points[:, 0])


@pytest.mark.parametrize("kind", ["spread", "grid", "rows", "near"])
def test_soft_masks_have_the_hulls_area_and_a_soft_edge(kind):
    points = drawn(kind)
    for cover, one in zip(hull_cover(points, SIZE)[:, 0].numpy(), points):
        distance, area = outside(one), ConvexHull(one.numpy()).volume
        assert cover.sum() == pytest.approx(area, rel=0.01)
        assert (cover[distance < -1] == 1).all() and (cover[distance > 1] == 0).all()
        assert ((cover > 0) & (cover < 1)).sum() > 10


def test_the_batch_does_not_matter_nor_the_order_of_points():
    points = drawn("spread")
    together = hull_cover(points, SIZE)
    assert torch.allclose(together[3:4], hull_cover(points[3:4], SIZE), atol=1e-5)
    assert torch.allclose(together, hull_cover(points.flip(1), SIZE), atol=1e-4)


def test_points_that_are_not_finite_cover_nothing():
    points = drawn("spread", 2)
    points[1, 4, 0] = float("nan")
    assert hull_cover(points, SIZE)[1].sum() == 0 and hull_cover(points, SIZE)[0].sum() > 0


@pytest.mark.parametrize("points", [torch.zeros(2, 2, 2), torch.zeros(2, 5, 3), torch.zeros(5, 2), torch.zeros(2, 5, 2).long()])
def test_bad_points(points):
    with pytest.raises(ValueError, match=r"^points: expected float \[B, R >= 3, 2\], got"):
        hull_cover(points, SIZE)
