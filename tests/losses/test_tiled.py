"""Cross-entropy by tiles against the plain one: values, gradients, exclusions, and how much is held at a time."""

import weakref

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lib.losses.contrastive import nt_xent, nt_xent_rows
from lib.losses.tiled import row_cross_entropy


@pytest.fixture
def rows():
    g = torch.Generator().manual_seed(2)
    return torch.randn(11, 4, generator=g, dtype=torch.double), torch.tensor([3, 7, 0, 1, 9, 2, 10]), g


def plain(z, positive, temperature, exclude=None):
    out = torch.eye(len(positive), len(z), dtype=torch.bool)
    if exclude is not None:
        out = out | exclude
    logits = (z[: len(positive)] @ z.T / temperature).masked_fill(out, float("-inf"))
    return F.cross_entropy(logits, positive, reduction="none")


def as_columns(exclude):
    most = int(exclude.sum(1).max())
    rows = [[j for j in range(exclude.shape[1]) if exclude[i, j]] for i in range(len(exclude))]
    return torch.tensor([row + [-1] * (most - len(row)) for row in rows])


def drawn_exclude(positive, count, g):
    exclude = torch.rand(len(positive), count, generator=g) < 0.3
    exclude[torch.arange(len(positive)), positive] = False
    return exclude


@pytest.mark.parametrize("form", ["none", "mask", "columns"])
@pytest.mark.parametrize("tile", [1, 3, 7, 100])
def test_values_and_gradients_are_those_of_autograd(rows, form, tile):
    z, positive, g = rows
    exclude = None if form == "none" else drawn_exclude(positive, len(z), g)
    weights = torch.rand(len(positive), generator=g, dtype=torch.double)
    gradients, values = [], []
    for function in (
        lambda x: plain(x, positive, 0.4, exclude),
        lambda x: row_cross_entropy(x, positive, 0.4, as_columns(exclude) if form == "columns" else exclude, tile),
    ):
        x = z.clone().requires_grad_()
        values.append(function(x))
        (values[-1] * weights).sum().backward()
        gradients.append(x.grad)
    assert torch.allclose(*values, atol=1e-12) and torch.allclose(*gradients, atol=1e-12)


@pytest.mark.parametrize("form", ["none", "mask", "columns"])
def test_gradcheck(rows, form):
    z, positive, g = rows
    exclude = None if form == "none" else drawn_exclude(positive, len(z), g)
    exclude = as_columns(exclude) if form == "columns" else exclude
    assert torch.autograd.gradcheck(lambda x: row_cross_entropy(x, positive, 0.5, exclude, 3), z.requires_grad_())


def test_tiles_do_not_change_nt_xent(rows):
    z, positive, g = rows
    z, exclude = z.float(), drawn_exclude(positive, len(z), g)
    found = []
    for tile in (None, 1, 4):
        for left_out in (exclude, as_columns(exclude)):
            x = z.clone().requires_grad_()
            value = nt_xent(x, positive, 0.07, left_out, tile)
            value.backward()
            found.append((value.detach(), x.grad))
    for value, gradient in found[1:]:
        assert value.item() == pytest.approx(found[0][0].item(), rel=1e-6) and torch.allclose(gradient, found[0][1], atol=1e-5)
    assert nt_xent_rows(z, positive, 0.07, exclude).mean().item() == pytest.approx(found[0][0].item(), rel=1e-6)


def test_a_pair_that_is_left_out_gets_no_gradient():
    z = torch.eye(5, dtype=torch.double).requires_grad_()
    row_cross_entropy(z, torch.tensor([1]), 1.0, torch.tensor([[4, -1]]), 1).sum().backward()
    assert z.grad[4].abs().sum() == 0 and z.grad[3].abs().sum() > 0


class Live(TorchDispatchMode):
    """The most bytes that tensors made inside held at one time; views and tensors changed in place are no new ones."""

    def __init__(self):
        super().__init__()
        self.held, self.most = {}, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **kwargs or {})
        given = {x.untyped_storage()._cdata for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)}
        for x in tree_leaves(made):
            if isinstance(x, torch.Tensor) and (key := x.untyped_storage()._cdata) not in given | set(self.held):
                self.held[key] = x.untyped_storage().nbytes()
                weakref.finalize(x.untyped_storage(), self.held.pop, key, None)
        self.most = max(self.most, sum(self.held.values()))
        return made


@pytest.mark.parametrize("tile", [64, 100, None])
def test_never_more_than_a_tile_is_held(tile):
    count, width = 512, 4
    z = torch.randn(count, width, generator=torch.Generator().manual_seed(0)).requires_grad_()
    exclude = torch.full((count, 1), -1)
    one = 4 * (tile or count) * count  # bytes of a tile of logits
    with Live() as forward:
        value = nt_xent(z, torch.arange(count).roll(count // 2), 0.1, exclude, tile)
    with Live() as backward:
        value.backward()
    for live in (forward, backward):  # the rest is a few numbers a row; a second tile would show
        assert one <= live.most < one + 4 * 12 * width * count < 2 * one


@pytest.mark.parametrize("tile", [0, 2.5, True])
def test_an_odd_tile_is_refused(rows, tile):
    with pytest.raises(ValueError, match=r"tile: expected None or an integer >= 1"):
        nt_xent(rows[0], rows[1], tile=tile)


def test_odd_columns_are_refused(rows):
    z, positive, _ = rows
    with pytest.raises(ValueError, match=r"exclude: expected columns -1..10, got -1..11"):
        nt_xent(z, positive, exclude=torch.tensor([[11], *[[-1]] * 6]))
    with pytest.raises(ValueError, match="takes out a row's own positive"):
        nt_xent(z, positive, exclude=positive[:, None])
    with pytest.raises(ValueError, match=r"exclude: expected bool \[7, 11\] or long \[7, E\]"):
        nt_xent(z, positive, exclude=torch.zeros(6, 1, dtype=torch.long))
