import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lib.degrade.attacks import attack
from lib.degrade.autoattack import PARTS, autoattack
from lib.degrade.objectives import misclassified

QUICK = {"steps": 20, "queries": 100}


@pytest.fixture
def setting(make_images):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(7)).eval()
    images = make_images(40, 16)
    mean = net(images).mean(0).detach()
    net[-1].bias.data -= mean  # so that every class is near
    labels = net(images).argmax(1)
    labels[:3] = (labels[:3] + 1) % 7
    return net, images, labels


def test_each_part_adds_to_what_the_last_ones_broke(setting):
    net, images, labels = setting
    eps, before = 0.004, 3
    for count in range(1, 5):
        got = autoattack(net, images, labels, eps, parts=PARTS[:count], seeds=torch.arange(40), **QUICK)
        broken = misclassified(net(got), labels)
        assert broken.sum() >= before and torch.equal(got[~broken], images[~broken]) and torch.equal(got[:3], images[:3])
        assert (got - images).abs().max() <= eps + 1e-6 and got.min() >= 0 and got.max() <= 1
        before = broken.sum()
    assert 5 < before < 40
    pgd = attack("pgd", net, images, labels, F.cross_entropy, eps, eps / 4, 20, seeds=torch.arange(40))
    assert before >= misclassified(net(pgd), labels).sum()


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("classes", [2, 3, 7])
def test_every_part_alone_with_few_classes(setting, part, classes):
    net, images, _ = setting
    net = nn.Sequential(net, nn.Linear(7, classes)).eval()
    net[-1].bias.data -= net(images).mean(0)
    labels = net(images).argmax(1)
    got = autoattack(net, images, labels, 0.05, parts=(part,), seeds=torch.arange(40), **QUICK)
    assert misclassified(net(got), labels).sum() > 10


def test_the_first_square_has_the_published_share_of_the_image(setting):
    net, images, labels = setting
    seen = []
    model = lambda x: seen.append(x.clone()) or net(x)  # noqa: E731
    autoattack(model, images[5:6], labels[5:6], 1e-4, parts=("square",), seeds=torch.arange(1), steps=1, queries=4000)
    stripes, tried = seen[1:3]  # after the look at the clean image
    _, _, rows, columns = (stripes != tried).nonzero().T
    side = round((0.8 * 256) ** 0.5)
    assert max(rows.max() - rows.min(), columns.max() - columns.min()) + 1 == side


def test_the_batch_does_not_matter(setting):
    net, images, labels = setting
    whole = autoattack(net, images, labels, 0.004, seeds=torch.arange(40), **QUICK)
    part = autoattack(net, images[10:14], labels[10:14], 0.004, seeds=torch.arange(10, 14), **QUICK)
    assert (whole[10:14] - part).abs().gt(1e-6).float().mean() < 0.01


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parts": ("apgd_ce", "cw")}, "parts: expected some of apgd_ce, apgd_t, fab_t, square, got 'cw'"),
        ({"queries": 0}, "queries: expected an integer >= 1"),
        ({"steps": 0}, "steps: expected"),
        ({"eps": -1.0}, "eps: expected"),
        ({"classes": torch.zeros(3, dtype=torch.long)}, "labels: expected a tensor with 4 rows"),
        ({"logits_fn": lambda x: x.mean((1, 2, 3))}, r"logits_fn: expected logits \[4,C\] of at least 2 classes"),
    ],
)
def test_bad_input(change, message):
    good = {
        "logits_fn": lambda x: x.mean((2, 3)), "images": torch.rand(4, 3, 8, 8), "classes": torch.tensor([0, 1, 2, 0]), **QUICK
    }
    with pytest.raises(ValueError, match=message):
        autoattack(**{**good, **change})
