"""The attack on M: within its bounds, what it says is what it did, and stronger than chance and than a grid."""

import pytest
import torch
from torch import nn

from lib.degrade.objectives import cross_entropy
from lib.degrade.structured import Bounds, Structure, apply_structure, structured_attack


@pytest.fixture
def setting(make_images):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 5, stride=2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(5)).eval()
    images = make_images(12, 24)
    net(images)
    return net, images, net(images).argmax(1)


def slow_degrade(image, kernel, gain, centre, side):
    """One image by loops over pixels; mirrored borders, a square with edges one pixel wide."""
    channels, height, width = image.shape
    half = len(kernel) // 2
    result = torch.zeros_like(image)
    fold = lambda i, n: -i if i < 0 else 2 * n - 2 - i if i >= n else i  # noqa: E731
    for row in range(height):
        for column in range(width):
            total = sum(
                kernel[a, b] * image[:, fold(row + a - half, height), fold(column + b - half, width)]
                for a in range(len(kernel)) for b in range(len(kernel))
            )
            inside = [min(max(side / 2 - abs(p - c) + 0.5, 0), 1) for p, c in zip((row, column), centre.tolist())]
            result[:, row, column] = (total * gain * (1 - inside[0] * inside[1])).clamp(0, 1)
    return result


def test_what_comes_back_is_the_structure_applied_within_its_bounds(setting):
    net, images, labels = setting
    bounds = Bounds(kernel=5, spread=0.6, gain=0.2, square=0.3)
    got, structure = structured_attack(net, images, labels, cross_entropy, bounds, steps=5, seeds=torch.arange(12))
    side = 0.3 * 24
    assert torch.allclose(structure.kernel.sum((1, 2)), torch.ones(12)) and structure.kernel.min() >= 0
    assert (structure.kernel[:, 2, 2] >= 0.4).all() and structure.gain.log().abs().max() <= 0.2 + 1e-6
    assert structure.centre.min() >= side / 2 - 0.5 - 1e-4 and structure.centre.max() <= 24 - side / 2 - 0.5 + 1e-4
    assert torch.allclose(got, apply_structure(images, structure, bounds), atol=1e-6)
    slow = slow_degrade(images[3], structure.kernel[3], structure.gain[3][:], structure.centre[3], side)
    assert torch.allclose(got[3], slow, atol=1e-5)


def test_stronger_than_as_many_random_tries(setting):
    net, images, labels = setting
    bounds = Bounds()
    found, _ = structured_attack(net, images, labels, cross_entropy, bounds, steps=15, restarts=2, seeds=torch.arange(12))
    tried = [
        structured_attack(net, images, labels, lambda z, y: cross_entropy(z.detach(), y) + 0 * z.sum(1), bounds, steps=1,
                          restarts=1, seeds=torch.arange(12) + 100 * i)[0]
        for i in range(48)
    ]  # fmt: skip
    best = torch.stack([cross_entropy(net(x), labels) for x in tried]).amax(0)
    assert (cross_entropy(net(found), labels) > best).float().mean() > 0.8


def test_an_occluder_finds_the_pixels_that_matter(make_images):
    images = make_images(8, 32) * 0.5 + 0.4
    places = torch.tensor([[6, 20], [20, 8], [24, 24], [7, 7], [16, 16], [10, 25], [25, 12], [13, 5]])
    weight = torch.zeros(8, 32, 32)
    for i, (row, column) in enumerate(places.tolist()):
        weight[i, row - 3 : row + 3, column - 3 : column + 3] = 1
    bounds = Bounds(kernel=1, spread=0, gain=0, square=0.25)
    loss = lambda z, rows: -(z.mean(1) * weight[rows]).sum((1, 2))  # noqa: E731
    _, structure = structured_attack(
        lambda x: x, images, torch.arange(8), loss, bounds, steps=40, restarts=4, seeds=torch.arange(8)
    )
    assert ((structure.centre - (places - 0.5)).abs().amax(1) < 2).float().mean() >= 0.75


@pytest.mark.parametrize("off", ["spread", "gain", "square"])
def test_each_part_can_be_switched_off(setting, off):
    net, images, labels = setting
    bounds = Bounds(**{"spread": 0.0, "gain": 0.0, "square": 0.0} | {off: 0.3})
    got, structure = structured_attack(net, images, labels, cross_entropy, bounds, steps=3)
    centre = torch.zeros(12, 5, 5)
    centre[:, 2, 2] = 1
    # what is switched off does nothing: without the part that is on, the images come back
    left = {
        "spread": apply_structure(images, structure._replace(kernel=centre), bounds),
        "gain": apply_structure(images, structure._replace(gain=torch.ones(12, 3)), bounds),
        "square": got,
    }[off]
    if off == "square":
        changed = (got != images).any(1)
        side = round(0.3 * 24)
        assert (got[changed[:, None].expand_as(got)] < images[changed[:, None].expand_as(got)] + 1e-6).all()
        assert changed.flatten(1).sum(1).max() <= (side + 2) ** 2
    else:
        assert torch.allclose(left, images, atol=1e-6) and (got - images).abs().amax((1, 2, 3)).min() > 1e-3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bounds": lambda: Bounds(kernel=4)}, "kernel: expected an odd number"),
        ({"bounds": lambda: Bounds(spread=2)}, "spread: expected a number from 0 to 1"),
        ({"bounds": lambda: Bounds(kernel=31)}, "kernel: 31 is larger than the image"),
        ({"steps": 0}, "steps: expected an integer >= 1"),
        ({"restarts": 0}, "restarts: expected an integer >= 1"),
        ({"labels": torch.zeros(2, dtype=torch.long)}, "labels: expected a tensor with 12 rows"),
        ({"each_fn": lambda z, y: z.sum()}, r"each_fn: expected the loss of each image \[12\]"),
        ({"each_fn": lambda z, y: z.detach().sum(1)}, "no gradient to the images"),
    ],
)
def test_bad_input(setting, change, message):
    net, images, labels = setting
    good = {"logits_fn": net, "images": images, "labels": labels, "each_fn": cross_entropy}
    with pytest.raises(ValueError, match=message):
        change = {key: value() if key == "bounds" else value for key, value in change.items()}
        structured_attack(**{**good, **change})


@pytest.mark.parametrize("bounds", [Bounds(), Bounds(kernel=1, spread=0, gain=0)])
def test_the_batch_does_not_matter(setting, bounds):
    net, images, labels = setting
    net, images, seeds = net.double(), images.double(), torch.arange(12)
    run = lambda i: structured_attack(net, images[i], labels[i], cross_entropy, bounds, steps=4, seeds=seeds[i])  # noqa: E731
    whole, structure = run(seeds)
    for part in (torch.tensor([7, 2, 9]), torch.tensor([4])):
        alone, its_own = run(part)
        assert torch.allclose(whole[part], alone, atol=1e-9)
        assert all(torch.allclose(a[part], b, atol=1e-9) for a, b in zip(structure, its_own, strict=True))


def test_covered_pixels_are_black_and_have_a_gradient(make_images):
    images, bounds = make_images(4, 24).clamp(min=0.1), Bounds(kernel=1, spread=0, gain=0, square=0.3)
    centre = (torch.tensor([[11.3, 12.1], [6.2, 5.7], [14.9, 9.4], [10.0, 16.6]])).requires_grad_()
    for start in range(-2, 3):
        square = Structure(torch.ones(4, 1, 1), torch.ones(4, 3), centre)
        degraded = apply_structure(images, square, bounds)
        covered = degraded.detach() == 0
        assert covered.flatten(1).any(1).all() and (degraded.detach() >= 0).all()
        ramp = torch.arange(24.0)[None, None, :, None] + start
        (gradient,) = torch.autograd.grad((degraded * covered * ramp).sum(), centre)
        place = (centre.detach() + 0).requires_grad_()
        soft = [torch.sigmoid(4 * (3.6 - (torch.arange(24.0) - place[:, axis, None]).abs()) / 3.6) for axis in (0, 1)]
        slow = images * (1 - (soft[0][:, :, None] * soft[1][:, None])[:, None])
        (wanted,) = torch.autograd.grad((slow * covered * ramp).sum(), place)
        assert torch.allclose(gradient, wanted, rtol=1e-4, atol=1e-4)


def test_broken_images_drop_out_and_each_start_is_another(setting):
    net, images, labels = setting
    sizes, seen, seeds = [], [], torch.arange(12)

    def model(x):
        sizes.append(len(x))
        seen.append(x.detach())
        return net(x)

    wrong = lambda z, y: z.argmax(1) != y  # noqa: E731
    got, structure = structured_attack(
        model, images, labels, cross_entropy, steps=6, restarts=3, seeds=seeds, broken_fn=wrong
    )
    broken = wrong(net(got), labels)
    assert sizes[0] == 12 and sizes == sorted(sizes, reverse=True) and sizes[-1] < 12 and broken.any()
    assert torch.allclose(got, apply_structure(images, structure, Bounds()), atol=1e-6)
    full, _ = structured_attack(net, images, labels, cross_entropy, steps=6, restarts=3, seeds=seeds)
    assert (wrong(net(full), labels) <= broken).all() and torch.allclose(got[~broken], full[~broken], atol=1e-6)
    seen.clear()
    structured_attack(model, images[:1], labels[:1], cross_entropy, steps=2, restarts=2, seeds=seeds[:1])
    assert (seen[0] - seen[3]).abs().max() > 0.01
