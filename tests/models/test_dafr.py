"""DAFR: published size, its equations step by step, exact identity at zero, any image size."""

import pytest
import torch

from lib.models.dafr import DAFR, PReLU


def test_published_parameter_count():
    model = DAFR()
    assert sum(p.numel() for p in model.parameters()) == 26_838
    assert all(stage.alpha.item() == 0.5 for stage in model.stages)


def test_all_zero_parameters_restore_the_input():
    model = DAFR(stages=2, channels=4, hidden=4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    y = torch.rand(2, 3, 9, 7)
    restored, noise = model(y)
    assert all(torch.equal(x, y) for x in restored) and all(not n.any() for n in noise)


def test_a_stage_is_its_formula():
    model = DAFR(stages=1, channels=4, hidden=5)
    stage, y = model.stages[0], torch.rand(1, 3, 6, 6)
    conv = torch.nn.functional.conv2d

    def block(b, x):
        h = conv(x, b.widen.weight, b.widen.bias, padding=1)
        return x + conv(torch.where(h > 0, h, b.act.weight * h), b.narrow.weight, b.narrow.bias, padding=1)

    t = y - 0.5 * block(stage.transposed_operator, block(stage.forward_operator, y) - y)
    f = conv(t, stage.lift.weight, stage.lift.bias, padding=1)
    cab = stage.attention
    h = conv(f, cab.first.weight, cab.first.bias, padding=1)
    r = conv(torch.where(h > 0, h, cab.act.weight * h), cab.second.weight, cab.second.bias, padding=1)
    pooled = r.mean((2, 3))
    squeezed = torch.relu(pooled @ cab.squeeze.weight[:, :, 0, 0].T + cab.squeeze.bias)
    gate = torch.sigmoid(squeezed @ cab.excite.weight[:, :, 0, 0].T + cab.excite.bias)
    x = t + conv(f + gate[:, :, None, None] * r, stage.project.weight)
    restored, noise = model(y)
    assert torch.allclose(restored[0], x, atol=1e-6) and torch.allclose(noise[0], y - x, atol=1e-6)


def test_begins_as_the_identity_and_still_learns():
    torch.manual_seed(0)
    model = DAFR(2, 4, 4).begin_as_identity()
    image = torch.rand(2, 3, 8, 8)
    restored, noise = model(image)
    assert all(torch.equal(x, image) for x in restored) and not torch.stack(noise).any()
    (restored[-1] - 0.5).abs().mean().backward()
    for stage in model.stages:
        assert stage.forward_operator.narrow.weight.grad.any() and stage.project.weight.grad.any()


@pytest.mark.parametrize("size", [(5, 8), (1, 1), (33, 20)])
def test_any_size(size):
    restored, noise = DAFR(channels=4, hidden=4)(torch.rand(2, 3, *size))
    assert len(restored) == len(noise) == 3
    assert all(x.shape == (2, 3, *size) for x in restored + noise)


def test_learns_to_denoise():
    torch.manual_seed(0)
    model = DAFR(stages=2, channels=8, hidden=8)
    clean = torch.nn.functional.interpolate(torch.rand(16, 3, 4, 4), size=16, mode="bilinear")
    noisy = clean + 0.2 * torch.randn_like(clean)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(60):
        loss = (model(noisy)[0][-1] - clean).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.6 * (noisy - clean).abs().mean()


def test_bad_input():
    with pytest.raises(ValueError, match="stages: expected at least 1"):
        DAFR(stages=0)
    with pytest.raises(ValueError, match="channels: expected an even number"):
        DAFR(channels=5)
    for y in (torch.rand(1, 1, 8, 8), torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.rand(0, 3, 8, 8)):
        with pytest.raises(ValueError, match="y: expected non-empty float images"):
            DAFR()(y)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_gradient_without_that_of_the_slopes_is_the_same_bit_for_bit(memory_format):
    """Held still it is another kernel of torch's; an attack must see the very same gradient."""
    torch.manual_seed(0)
    model = DAFR(stages=2, channels=4, hidden=6).to(memory_format=memory_format)
    y = torch.rand(3, 3, 9, 8).contiguous(memory_format=memory_format)
    found = []
    for trained in (True, False):
        model.requires_grad_(trained)
        pixels = y.clone().requires_grad_()
        restored = model(pixels)[0][-1]
        found.append((restored.detach(), *torch.autograd.grad(restored.square().sum(), pixels)))
    assert all(map(torch.equal, *found))


def test_a_slope_of_its_own_and_numbers_that_are_none():
    x = torch.tensor([2.0, 0.0, -0.0, -3.0, float("inf"), float("-inf"), float("nan")])
    act = PReLU(init=0.1).requires_grad_(False)
    assert torch.equal(act(x).view(torch.int32), torch.nn.PReLU(init=0.1)(x).detach().view(torch.int32))
    assert act(x.bfloat16()).dtype == torch.bfloat16
    assert not PReLU()(x).grad_fn.name().startswith("LeakyRelu")  # trained: its slope has a gradient
