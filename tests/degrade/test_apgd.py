"""Auto-PGD against a loop over one image written from the paper, and by what it must reach."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lib.degrade.apgd import apgd, apgd_targeted
from lib.degrade.attacks import attack
from lib.degrade.draws import derive
from lib.degrade.objectives import cross_entropy, dlr, misclassified, targeted_dlr
from lib.degrade.search import random_start

EPS = 4 / 255


@pytest.fixture
def setting(make_images):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(5)
    ).eval()
    images = make_images(24, 16)
    mean = net(images).mean(0).detach()
    net[-1].bias.data -= mean  # so that every class is near
    labels = net(images).argmax(1)
    labels[:2] = (labels[:2] + 1) % 5
    return net, images, labels


def one_image(net, image, label, eps, steps, seed):
    """Algorithm 1 of the paper for one image, with its checkpoints as fractions of the steps: (best point, all points)."""
    fractions = [0.0, 0.22]
    while fractions[-1] < 1:
        fractions.append(fractions[-1] + max(fractions[-1] - fractions[-2] - 0.03, 0.06))
    checkpoints = [int(round(f * steps)) for f in fractions]
    low, high = (image - eps).clamp(min=0), (image + eps).clamp(max=1)

    def value(x):
        x = x.detach().requires_grad_()
        loss = F.cross_entropy(net(x), label)
        return loss.item(), torch.autograd.grad(loss, x)[0]

    size, x = 2 * eps, torch.clamp(random_start(image, eps, seed), low, high)
    loss, gradient = value(x)
    visited = [x]
    best, best_loss, best_gradient = x, loss, gradient
    old, rises, halved, best_at_check = x, 0, True, loss
    for k in range(steps):
        z = torch.clamp(x + size * gradient.sign(), low, high)
        a = 0.75 if k else 1.0
        new = torch.clamp(x + a * (z - x) + (1 - a) * (x - old), low, high)
        old, x, before = x, new, loss
        loss, gradient = value(x)
        visited.append(x)
        rises += loss > before
        if loss > best_loss:
            best, best_loss, best_gradient = x, loss, gradient
        if k + 1 in checkpoints:
            span = k + 1 - checkpoints[checkpoints.index(k + 1) - 1]
            if rises <= 0.75 * span or (not halved and best_at_check >= best_loss):
                size, halved = size / 2, True
                x, loss, gradient = best, best_loss, best_gradient
            else:
                halved = False
            best_at_check, rises = best_loss, 0
    return best, visited


@pytest.mark.parametrize("curved", [False, True])
def test_visits_the_points_of_the_published_loop(setting, curved):
    net, images, labels = setting
    net, images, eps = net.double(), images.double(), EPS
    if curved:  # where the loss often falls again, so that steps are halved for both reasons
        net[0].weight.data *= 12
        net[2].weight.data *= 4
        eps = 16 / 255
    visited = []
    for number in range(0, 24, 1 if curved else 6):
        one, seed = slice(number, number + 1), torch.tensor([number])
        visited.clear()
        model = lambda x: visited.append(x.detach()) or net(x)  # noqa: E731
        got = apgd(model, images[one], labels[one], cross_entropy, eps, 100, seeds=seed)
        best, expected = one_image(net, images[one], labels[one], eps, 100, derive(seed, 0))
        assert torch.allclose(torch.cat(visited), torch.cat(expected), atol=1e-12) and torch.allclose(got, best, atol=1e-12)


def test_within_the_budget_and_at_least_as_high_as_pgd(setting):
    net, images, labels = setting
    got = apgd(net, images, labels, cross_entropy, EPS, 50, seeds=torch.arange(24))
    assert (got - images).abs().max() <= EPS + 1e-6 and got.min() >= 0 and got.max() <= 1 and not got.requires_grad
    pgd = attack("pgd", net, images, labels, F.cross_entropy, EPS, EPS / 2, 50, seeds=torch.arange(24))
    ours, theirs = (cross_entropy(net(x), labels) for x in (got, pgd))
    assert ours.mean() > 0.999 * theirs.mean()
    twice = apgd(net, images, labels, cross_entropy, EPS, 5, seeds=torch.arange(24), restarts=3)
    once = apgd(net, images, labels, cross_entropy, EPS, 5, seeds=torch.arange(24))
    assert (cross_entropy(net(twice), labels) >= cross_entropy(net(once), labels) - 1e-6).all()


@pytest.mark.parametrize("each", [cross_entropy, dlr])
def test_broken_images_drop_out_and_the_others_are_searched_as_before(setting, each):
    net, images, labels = setting
    sizes = []
    hook = net.register_forward_hook(lambda module, inputs, output: sizes.append(len(output)))
    got = apgd(net, images, labels, each, EPS / 2, 30, seeds=torch.arange(24), broken_fn=misclassified)
    hook.remove()
    assert sizes[:2] == [24, 22] and sizes == sorted(sizes, reverse=True)
    assert torch.equal(got[:2], images[:2])
    broken = misclassified(net(got), labels)
    assert 3 < broken.sum() < 24 and sizes[-1] < 22
    full = apgd(net, images, labels, each, EPS / 2, 30, seeds=torch.arange(24))
    assert torch.allclose(got[~broken], full[~broken], atol=1e-6)
    assert (misclassified(net(full), labels) <= broken).all()  # stopping early loses none


def test_targeted_visits_every_wrong_class_and_no_more(setting):
    net, images, labels = setting
    got = apgd_targeted(net, images, labels, EPS / 2, 20, seeds=torch.arange(24))
    assert (got - images).abs().max() <= EPS / 2 + 1e-6
    broken = misclassified(net(got), labels)
    assert torch.equal(got[~broken], images[~broken]) and broken[:2].all() and broken.sum() > 3
    plain = apgd(net, images, labels, cross_entropy, EPS / 2, 20, seeds=torch.arange(24), broken_fn=misclassified)
    assert broken.sum() >= misclassified(net(plain), labels).sum()
    for classes in (2, 3):
        few = nn.Sequential(net, nn.Linear(5, classes))
        apgd_targeted(few, images, few(images).argmax(1), EPS, 3, targets=9, seeds=torch.arange(24))


def test_several_targets_at_once_find_what_one_after_the_other_finds(setting):
    net, images, labels = setting
    net, images = net.double(), images.double()
    seeds, expected, sizes = torch.arange(24), [], []
    order = net(images).scatter(1, labels[:, None], float("-inf")).argsort(1, descending=True)
    for number in range(24):
        one, point = slice(number, number + 1), images[number : number + 1]
        for place in range(4):
            target = order[one, place]
            point = apgd(
                net, images[one], labels[one], lambda z, y, t=target: targeted_dlr(z, y, t), EPS / 5, 8,
                seeds=derive(seeds[one], place), broken_fn=misclassified,
            )  # fmt: skip
            if misclassified(net(point), labels[one]):
                break
            point = images[one]
        expected.append(point)
    model = lambda x: sizes.append(len(x)) or net(x)  # noqa: E731
    got = apgd_targeted(model, images, labels, EPS / 5, 8, seeds=seeds)
    assert torch.allclose(got, torch.cat(expected), atol=1e-12)
    broken = misclassified(net(got), labels)
    assert 3 < broken.sum() < 22 and max(sizes) <= 24
    assert any(later > earlier for earlier, later in zip(sizes, sizes[1:]))  # several targets of those that are left
    assert len(sizes) < 1 + 4 * 9
    sizes.clear()
    assert torch.allclose(apgd_targeted(model, images, labels, EPS / 5, 8, seeds=seeds, most_rows=88), got, atol=1e-12)
    assert sizes[:2] == [24, 88] and len(sizes) <= 1 + 9  # all 4 targets of 22 images


def test_a_module_is_left_as_it_was(setting):
    net, images, labels = setting
    net.train()
    apgd_targeted(net, images, labels, EPS, 3)
    apgd(net, images, labels, cross_entropy, EPS, 3)
    assert net.training and all(p.requires_grad and p.grad is None for p in net.parameters())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": torch.rand(4, 3, 8, 8) + 1}, "images: expected values"),
        ({"labels": torch.zeros(3, dtype=torch.long)}, "labels: expected a tensor with 4 rows"),
        ({"eps": -1.0}, "eps: expected"),
        ({"steps": 0}, "steps: expected"),
        ({"restarts": 0}, "restarts: expected"),
        ({"seeds": torch.rand(4)}, "seeds: expected"),
        ({"logits_fn": lambda x: x.mean((2, 3))[:2]}, "logits_fn: expected 4 rows"),
        ({"logits_fn": lambda x: x.detach().mean((2, 3))}, "the loss does not depend on the images"),
        ({"each_fn": F.cross_entropy}, r"each_fn: expected the loss of each image \[4\]"),
        ({"each_fn": lambda z, y: z.sum(1) * float("nan")}, "each_fn: expected finite losses"),
    ],
)
def test_bad_input(change, message):
    good = {
        "logits_fn": lambda x: x.mean((2, 3)), "images": torch.rand(4, 3, 8, 8), "labels": torch.tensor([0, 1, 2, 0]),
        "each_fn": cross_entropy, "steps": 3,
    }  # fmt: skip
    apgd(**good)
    with pytest.raises(ValueError, match=message):
        apgd(**{**good, **change})
