import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lib.degrade.search import random_start
from lib.degrade.draws import new_seeds
from lib.degrade.self_supervised import adversarial_positive

BUDGET = {"eps": 8 / 255, "steps": 3, "alpha": 4 / 255}


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.Tanh(), nn.Flatten(), nn.Linear(1800, 16))


def test_turns_each_embedding_away_within_the_budget(net, images, seeded):
    net.eval()
    target = net(images)
    got = adversarial_positive(net, images, target, **BUDGET, generator=seeded())
    assert torch.equal(got, adversarial_positive(net, images, target, **BUDGET, generator=seeded()))
    assert not got.requires_grad and (got - images).abs().max() <= 8 / 255 + 1e-6 and 0 <= got.min() and got.max() <= 1
    noise = (images + 8 / 255 * (torch.rand(images.shape, generator=seeded()) - 0.5).sign()).clamp(0, 1)
    turned, shaken = (F.cosine_similarity(net(x), target) for x in (got, noise))
    assert (turned < shaken - 0.05).all()


def test_equals_a_loop_over_single_images(net, images, seeded):
    net.eval()
    target = net(images.flip(0)).detach()
    start = random_start(images, BUDGET["eps"], new_seeds(len(images), seeded(), images.device))
    expected = []
    for clean, point, goal in zip(images, start, target, strict=True):
        for _ in range(BUDGET["steps"]):
            point = point.detach().requires_grad_()
            loss = 1 - F.cosine_similarity(net(point[None]), goal[None])
            step = BUDGET["alpha"] * torch.autograd.grad(loss.sum(), point)[0].sign()
            point = torch.clamp(clean + torch.clamp(point.detach() + step - clean, -BUDGET["eps"], BUDGET["eps"]), 0, 1)
        expected.append(point)
    got = adversarial_positive(net, images, target, **BUDGET, generator=seeded())
    assert (got - torch.stack(expected)).abs().gt(1e-6).float().mean() < 0.002


@pytest.mark.parametrize("training", [True, False])
def test_modes_and_gradients_are_left_alone_and_passes_counted(net, images, training):
    net.train(training)
    target, calls = net(images), []
    net.register_forward_hook(lambda *_: calls.append(net.training))
    adversarial_positive(net, images, target, **BUDGET)
    assert calls == [training] * 3 and net.training is training
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    target.sum().backward()  # the target's own graph is still there


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": torch.rand(3, 3)}, r"target: expected shape \[4,D\], got \[3, 3\]"),
        ({"target": torch.rand(4)}, r"target: expected shape"),
        ({"target": torch.rand(4, 5)}, r"embed_fn: expected embeddings shaped like target \[4, 5\]"),
        ({"embed_fn": lambda x: x.detach().mean((2, 3))}, "embed_fn: its result has no gradient"),
        ({"embed_fn": lambda x: torch.ones(4, 3, requires_grad=True)}, "embed_fn.* does not depend on the images"),
        ({"eps": -1.0}, "eps: expected"),
        ({"steps": 0}, "steps: expected"),
        ({"images": torch.rand(4, 3, 8, 8) - 1}, "images: expected values"),
    ],
)
def test_bad_input(change, message):
    embed_fn = lambda x: x.mean((2, 3))  # noqa: E731
    good = {"embed_fn": embed_fn, "images": torch.rand(4, 3, 8, 8), "target": torch.rand(4, 3), **BUDGET}
    adversarial_positive(**good)
    with pytest.raises(ValueError, match=message):
        adversarial_positive(**{**good, **change})
