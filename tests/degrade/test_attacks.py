import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lib.degrade.attacks import ATTACKS, attack
from lib.degrade.draws import derive
from lib.degrade.input_diversity import resize_and_pad
from lib.degrade.recipes import RECIPES, Iteration, Recipe
from lib.degrade.search import random_start
from lib.degrade.draws import uniform

EPS, ALPHA, STEPS = 8 / 255, 2 / 255, 10
PASSES = {"eotpgd": 20, "sinifgsm": 50, "fgsm": 1}


class Net(nn.Module):
    """Batch norm, dropout and a counter: things that an attack could leave changed."""

    def __init__(self, classes: int = 5):
        super().__init__()
        self.conv, self.norm, self.drop = nn.Conv2d(3, 6, 3, stride=2), nn.BatchNorm2d(6), nn.Dropout(0.5)
        self.head = nn.LazyLinear(classes)
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, x):
        self.calls += 1
        return self.head(self.drop(self.norm(self.conv(x)).tanh()).flatten(1))


@pytest.fixture
def setting(images):
    torch.manual_seed(0)
    net = Net()
    net(images)  # fills the lazy layer and moves the running statistics
    return net, images, torch.tensor([0, 1, 2, 3])


def one_by_one(name, net, images, labels, loss_fn=F.cross_entropy):
    """The published loops for one image at a time, without the random ones."""
    net = net.eval()
    results = []
    for image, label in zip(images, labels, strict=True):
        clean, label = image[None], label[None]
        adv, momentum = clean.clone(), torch.zeros_like(clean)
        steps, alpha = (1, EPS) if name == "fgsm" else (STEPS, ALPHA)
        for _ in range(steps):
            point = adv.detach().clone().requires_grad_()
            ahead = point + ALPHA * momentum if name in ("nifgsm", "sinifgsm") else point
            if name == "sinifgsm":
                loss = sum(loss_fn(net(ahead / 2**i), label) for i in range(5)) / 5
            else:
                loss = loss_fn(net(ahead), label)
            grad = torch.autograd.grad(loss, point)[0]
            if name not in ("bim", "fgsm"):
                grad = momentum + grad / grad.abs().mean()
                momentum = grad
            adv = adv.detach() + alpha * grad.sign()
            adv = torch.clamp(clean + torch.clamp(adv - clean, -EPS, EPS), 0, 1)
        results.append(adv.detach())
    return torch.cat(results)


@pytest.mark.parametrize("name", ["bim", "fgsm", "mifgsm", "upgd", "nifgsm", "sinifgsm"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_equals_the_published_loop_on_single_images(setting, name, reduction):
    net, images, labels = setting
    expected = one_by_one(name, net, images, labels)
    got = attack(name, net, images, labels, lambda z, y: F.cross_entropy(z, y, reduction=reduction))
    assert (got - expected).abs().gt(1e-6).float().mean() < 0.002  # a sign may turn where a gradient is nearly 0


@pytest.mark.parametrize("name", ATTACKS)
def test_budget_range_loss_and_seed(setting, seeded, name):
    net, images, labels = setting
    images = images.clone()
    images[0, :, :4], images[1, :, :4] = 0, 1
    got = attack(name, net, images, labels, F.cross_entropy, generator=seeded())
    again = attack(name, net, images, labels, F.cross_entropy, generator=seeded())
    assert torch.equal(got, again) and not got.requires_grad and got.dtype == images.dtype
    assert (got - images).abs().max() <= EPS + 1e-6 and got.min() >= 0 and got.max() <= 1
    net.eval()
    assert F.cross_entropy(net(got), labels) > F.cross_entropy(net(images), labels) + 0.01
    assert torch.equal(attack(name, net, images, labels, F.cross_entropy, eps=0, generator=seeded()), images)


@pytest.mark.parametrize("name", ATTACKS)
def test_no_pass_more_than_needed(setting, seeded, name):
    net, images, labels = setting
    calls = []
    net.register_forward_hook(lambda *_: calls.append(1))
    attack(name, net, images, labels, F.cross_entropy, generator=seeded())
    assert len(calls) == PASSES.get(name, STEPS)


def test_upgd_is_mifgsm_and_eotpgd_is_pgd_on_a_deterministic_model(setting, seeded):
    net, images, labels = setting
    results = {n: attack(n, net, images, labels, F.cross_entropy, generator=seeded()) for n in ATTACKS}
    assert torch.equal(results["upgd"], results["mifgsm"])
    assert torch.equal(results["eotpgd"], results["pgd"])
    assert not torch.equal(results["pgd"], attack("pgd", net, images, labels, F.cross_entropy, generator=seeded(1)))
    assert len({result.sum().item() for result in results.values()}) == len(ATTACKS) - 2


def test_images_do_not_influence_each_other(setting):
    net, images, labels = setting
    whole = attack("mifgsm", net, images, labels, F.cross_entropy)
    single = torch.cat([attack("mifgsm", net, images[i:i + 1], labels[i:i + 1], F.cross_entropy) for i in range(4)])
    assert (whole - single).abs().gt(1e-6).float().mean() < 0.002


def test_an_image_without_gradient_stays_and_stays_finite(images):
    weight = torch.randn(3 * 32 * 32, 2, generator=torch.Generator().manual_seed(0))
    gate = torch.tensor([0.0, 1, 1, 1])[:, None]
    labels = torch.tensor([0, 1, 0, 1])
    got = attack("mifgsm", lambda x: x.flatten(1) @ weight * gate, images, labels, F.cross_entropy)
    assert torch.equal(got[0], images[0]) and torch.isfinite(got).all() and not torch.equal(got[1], images[1])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_module_is_left_as_it_was(setting, training, fails):
    net, images, labels = setting
    net.train(training)
    net.norm.eval()  # a part in another mode than the whole
    net.conv.weight.requires_grad_(False)
    net.conv.bias.grad = torch.ones_like(net.conv.bias)
    state = {key: value.clone() for key, value in net.state_dict().items()}
    modes, flags = [m.training for m in net.modules()], [p.requires_grad for p in net.parameters()]
    seen = []

    def loss_fn(logits, target):
        seen.append((net.training, net.drop.training, any(p.requires_grad for p in net.parameters())))
        if fails and len(seen) == 3:
            raise RuntimeError("stop")
        return F.cross_entropy(logits, target)

    if fails:
        with pytest.raises(RuntimeError, match="stop"):
            attack("pgd", net, images, labels, loss_fn)
    else:
        attack("pgd", net, images, labels, loss_fn)
    assert set(seen) == {(False, False, False)}
    assert [m.training for m in net.modules()] == modes and [p.requires_grad for p in net.parameters()] == flags
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
    assert torch.equal(net.conv.bias.grad, torch.ones_like(net.conv.bias)) and net.head.weight.grad is None


def test_a_graph_that_holds_the_buffers_survives_an_attack(setting):
    net, images, labels = setting
    del net._buffers["calls"]
    net.calls = 0
    loss = net.eval()(images).sum()
    attack("bim", net, images, labels, F.cross_entropy, steps=1)
    loss.backward()


def test_works_under_no_grad_and_inference_mode(setting):
    net, images, labels = setting
    expected = attack("bim", net, images, labels, F.cross_entropy)
    with torch.no_grad():
        assert torch.equal(attack("bim", net, images, labels, F.cross_entropy), expected)
    with torch.inference_mode():
        assert torch.equal(attack("bim", net, images.clone(), labels.clone(), F.cross_entropy), expected)


def test_multi_label_targets(setting):
    net, images, _ = setting
    targets = torch.tensor([[1, 0, 1, 0, 0]] * 4).float()
    got = attack("pgd", net, images, targets, F.binary_cross_entropy_with_logits)
    before, after = (F.binary_cross_entropy_with_logits(net.eval()(x), targets) for x in (images, got))
    assert after > before + 0.01


def test_a_random_model_needs_the_two_samples(images, seeded):
    calls = []

    def logits(x):
        calls.append(x.detach())
        return x.mean((2, 3))

    attack("eotpgd", logits, images, torch.zeros(4, dtype=torch.long), F.cross_entropy, steps=2, generator=seeded())
    assert torch.equal(calls[0], calls[1]) and not torch.equal(calls[1], calls[2]) and torch.equal(calls[2], calls[3])


def test_lookahead_uses_the_momentum_and_the_scales_halve(images):
    seen = []

    def logits(x):
        seen.append(x.detach())
        return x.flatten(1) @ torch.linspace(-1, 1, 3072)[:, None].expand(-1, 2) * torch.tensor([1.0, -1.0])

    attack("sinifgsm", logits, images, torch.zeros(4, dtype=torch.long), F.cross_entropy, steps=2)
    for i in range(5):
        assert torch.allclose(seen[i], images / 2**i) and torch.allclose(seen[5 + i], seen[5] / 2**i)
    assert (seen[5] - images).abs().max() > ALPHA * 1.5  # beyond the one step made


def test_resize_and_pad_is_interpolation_then_zero_padding(images):
    images = images.repeat(16, 1, 1, 1)[:, :, :, :24]
    seeds = torch.arange(64)
    expected = []
    for image, (coin, shrink, down, across) in zip(images, uniform(seeds, 3, 4).tolist(), strict=True):
        if coin >= 0.5:
            expected.append(image)
            continue
        size = [int(int(n * 0.9) + shrink * (n - int(n * 0.9))) for n in (32, 24)]
        top, left = int(down * (32 - size[0])), int(across * (24 - size[1]))
        small = F.interpolate(image[None], size=size, mode="bilinear", align_corners=False)[0]
        expected.append(F.pad(small, (left, 24 - size[1] - left, top, 32 - size[0] - top)))
    got = resize_and_pad(images, seeds, 3)
    assert torch.allclose(got, torch.stack(expected), atol=1e-5)
    kept = (got == images).flatten(1).all(1).float().mean()
    assert 0.3 < kept < 0.7


def test_each_step_is_visible(setting):
    net, images, labels = setting
    bim = Iteration(Recipe(), net.eval(), F.cross_entropy, EPS, ALPHA, 3)
    points = list(bim.points(images, labels, torch.arange(4)))
    assert len(points) == 3 and torch.equal(points[-1], attack("bim", net, images, labels, F.cross_entropy, steps=3))
    assert set(RECIPES) == set(ATTACKS)


@pytest.mark.parametrize("name", ATTACKS)
def test_what_comes_out_for_an_image_does_not_depend_on_the_batch(setting, name):
    net, images, labels = setting
    seeds = torch.tensor([5, 1, 2**61, 9])
    whole = attack(name, net, images, labels, F.cross_entropy, seeds=seeds)
    part = attack(name, net, images[1:3], labels[1:3], F.cross_entropy, seeds=seeds[1:3])
    assert (whole[1:3] - part).abs().gt(1e-6).float().mean() < 0.002


def wrong(logits, labels):
    return logits.argmax(1) != labels


@pytest.fixture
def many(setting, make_images):
    """Images that the network gets right, and a few that it does not."""
    net = setting[0].eval()
    images = make_images(24, seed=4)
    labels = net(images).argmax(1)
    labels[:3] = (labels[:3] + 1) % 3
    return net, images, labels


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("restarts", [1, 2])
def test_early_stopping_breaks_what_the_attack_breaks_on_the_way(many, name, restarts):
    net, images, labels = many
    seeds, eps, alpha, steps = torch.arange(24), 0.004, 0.0012, 6
    got = attack(
        name, net, images, labels, F.cross_entropy, eps, alpha, steps, restarts=restarts, broken_fn=wrong, seeds=seeds
    )
    assert (got - images).abs().max() <= eps + 1e-6 and got.min() >= 0 and got.max() <= 1
    ever = wrong(net(images), labels)
    assert ever[:3].all() and torch.equal(got[:3], images[:3])
    for restart in range(restarts):
        for image in range(24):
            one = slice(image, image + 1)
            start = derive(seeds[one], restart)
            points = list(
                Iteration(RECIPES[name], net, F.cross_entropy, eps, alpha, steps).points(images[one], labels[one], start)
            )
            if RECIPES[name].random_start:
                points.insert(0, random_start(images[one], eps, start))
            ever[image] |= any(bool(wrong(net(point), labels[one])) for point in points)
    assert torch.equal(wrong(net(got), labels), ever) and 3 < ever.sum() < 24


def test_broken_images_leave_the_batch(many):
    net, images, labels = many
    sizes = []
    net.register_forward_hook(lambda module, inputs, output: sizes.append(len(output)))
    attack("pgd", net, images, labels, F.cross_entropy, 0.05, 0.01, 10, broken_fn=wrong, seeds=torch.arange(24))
    assert sizes[:2] == [24, 21] and sizes == sorted(sizes, reverse=True) and sum(sizes) < 0.7 * 24 * 12


def test_of_several_starts_the_largest_loss_is_kept(many):
    net, images, labels = many
    seeds = torch.arange(24)
    each = lambda points: F.cross_entropy(net(points), labels, reduction="none")  # noqa: E731
    pgd = Iteration(RECIPES["pgd"], net, F.cross_entropy, EPS, ALPHA, 1)
    runs = [next(pgd.points(images, labels, derive(seeds, i))) for i in range(3)]
    best = attack("pgd", net, images, labels, F.cross_entropy, steps=1, seeds=seeds, restarts=3)
    found = torch.stack([each(run) for run in runs])
    assert torch.allclose(each(best), found.amax(0), atol=1e-6) and (found.amax(0) > found[0]).any()


def test_no_start_of_an_image_is_another_start_of_its_neighbour(many):
    net, images, labels = many
    seen = []
    model = lambda x: seen.append(x.detach()) or net(x)  # noqa: E731
    same = images[:1].expand(6, -1, -1, -1)
    attack("pgd", model, same, labels[:1].expand(6), F.cross_entropy, steps=1, seeds=torch.arange(6), restarts=4)
    starts = torch.cat(seen[::2])  # every other pass judges the result
    apart = (starts[:, None] - starts).abs().amax((2, 3, 4)) + torch.eye(24)
    assert len(starts) == 24 and apart.min() > 0.02


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "cw"}, "name: expected one of pgd"),
        ({"images": torch.zeros(4, 3, 8, 8, dtype=torch.uint8)}, "images: expected float32"),
        ({"images": torch.rand(4, 3, 8)}, r"images: expected shape \[B,3,H,W\], got \[4, 3, 8\]"),
        ({"images": torch.rand(4, 1, 8, 8)}, "images: expected shape"),
        ({"images": torch.rand(4, 3, 1, 1)}, "images: expected at least 2 x 2"),
        ({"images": torch.rand(0, 3, 8, 8)}, "images: expected at least one image"),
        ({"images": torch.rand(4, 3, 8, 8) + 0.5}, "images: expected values in"),
        ({"images": torch.full((4, 3, 8, 8), float("nan"))}, "images: .* got NaN"),
        ({"images": torch.rand(4, 3, 8, 8).half()}, "images: expected float32 .* call .float"),
        ({"labels": torch.zeros(3, dtype=torch.long)}, "labels: expected a tensor with 4 rows"),
        ({"labels": [0, 1, 2, 3]}, "labels: expected a tensor with 4 rows"),
        ({"eps": -0.1}, "eps: expected a finite number >= 0, got -0.1"),
        ({"eps": 8}, r"eps: expected at most 1, got 8: pixels are in \[0,1\]; did you mean 8/255\?"),
        ({"alpha": float("inf")}, "alpha: expected a finite number"),
        ({"steps": 0}, "steps: expected an integer >= 1, got 0"),
        ({"steps": 2.0}, "steps: expected an integer >= 1, got 2.0"),
        ({"generator": 3}, "generator: expected a torch.Generator or None"),
        ({"restarts": 0}, "restarts: expected an integer >= 1, got 0"),
        ({"seeds": torch.arange(3)}, r"seeds: expected a long tensor \[4\], got torch.int64 \[3\]"),
        ({"seeds": torch.rand(4)}, "seeds: expected a long tensor"),
        ({"broken_fn": lambda z, y: z}, r"broken_fn: expected a bool tensor \[4\]"),
        ({"logits_fn": lambda x: (x, x)}, "logits_fn: expected a tensor with 4 rows, got tuple"),
        ({"logits_fn": lambda x: x.flatten(1)[:2]}, "logits_fn: expected 4 rows"),
        ({"logits_fn": lambda x: x.detach().mean((2, 3))}, "logits_fn: its result has no gradient"),
        ({"logits_fn": lambda x: torch.ones(4, 3, requires_grad=True)}, "loss does not depend on the images"),
        ({"loss_fn": lambda z, y: F.cross_entropy(z, y, reduction="none")}, r"loss_fn: expected a scalar .* got \[4\]"),
        ({"loss_fn": lambda z, y: z.sum() * float("nan")}, "loss_fn: expected a finite loss, got nan"),
    ],
)
def test_bad_input(change, message):
    good = {
        "name": "pgd", "logits_fn": lambda x: x.mean((2, 3)), "images": torch.rand(4, 3, 8, 8),
        "labels": torch.tensor([0, 1, 2, 0]), "loss_fn": F.cross_entropy,
    }  # fmt: skip
    attack(**good)
    with pytest.raises(ValueError, match=message):
        attack(**{**good, **change})


@pytest.mark.parametrize("name", ["bim", "mifgsm", "nifgsm"])
def test_a_loss_that_fails_after_the_first_step_is_told(setting, name):
    net, images, labels = setting
    calls = []

    def failing(logits, labels):
        calls.append(None)
        return F.cross_entropy(logits, labels) * (float("nan") if len(calls) == 3 else 1.0)

    with pytest.raises(ValueError, match="loss_fn: expected a finite loss in every step, their sum is nan"):
        attack(name, net, images, labels, failing, steps=5)
    assert len(calls) == 5  # it is asked once at the end, not in each step
