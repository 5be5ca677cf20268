import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lib.degrade.masking import masking_checks
from lib.degrade.verdicts import verdicts

EPS = 8 / 255
QUICK = {"eps": EPS, "steps": (1, 5, 20), "sweep": (4 / 255, 16 / 255, 64 / 255), "queries": 200, "batch": 24}


def correct(scores, labels):
    return scores.argmax(1) == labels


def cross_entropy(scores, labels):
    return F.cross_entropy(scores, labels)


@pytest.fixture
def setting(make_images):
    """Two classes told apart by a weak pattern, and a linear model that knows it."""
    images = make_images(40, 16) * 0.5 + 0.25
    pattern = torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(0)).sign()
    labels = torch.arange(40) % 2
    images = (images + 0.03 * (2 * labels - 1).view(-1, 1, 1, 1) * pattern).clamp(0, 1)
    weight = torch.stack([-pattern.flatten(), pattern.flatten()]) * 0.02
    model = nn.Sequential(nn.Flatten(), nn.Linear(768, 2, bias=False))
    model[1].weight.data = weight
    assert correct(model(images), labels).float().mean() > 0.9
    return model, images, labels


def row(rows, check, setting=None):
    return next(r for r in rows if r["check"] == check and setting in (None, r["setting"]))


def test_an_honest_model_passes_and_is_left_as_it_was(setting, seeded):
    model, images, labels = setting
    model.train()
    shifted = {"other": (images + EPS * torch.randn(images.shape, generator=seeded()).sign()).clamp(0, 1)}
    arguments = (model, images, labels, cross_entropy, correct)
    rows = masking_checks(*arguments, seeded(), transfer=shifted, **QUICK)
    assert rows == masking_checks(*arguments, seeded(), transfer=shifted, **QUICK)
    assert model.training and model[1].weight.requires_grad
    assert verdicts(rows) == dict.fromkeys(["steps", "sweep", "restarts", "gradient_free", "noise", "transfer"], True)
    assert [r["setting"] for r in rows if r["check"] == "steps"] == [1, 5, 20]
    assert [r["setting"] for r in rows if r["check"] == "sweep"] == list(QUICK["sweep"])
    clean, broken = row(rows, "clean"), row(rows, "white_box")
    assert clean["accuracy"] == pytest.approx(correct(model(images), labels).float().mean().item())
    assert clean["loss"] == pytest.approx(cross_entropy(model(images), labels).item(), rel=1e-4)
    assert broken["setting"] == 20 and broken["loss"] == row(rows, "steps", 20)["loss"] > 2 * clean["loss"]
    assert row(rows, "sweep", 64 / 255)["accuracy"] == 0


def test_a_sum_loss_and_chunks_give_the_same_rows(setting, seeded):
    model, images, labels = setting
    summed = masking_checks(
        model, images, labels, lambda s, y: F.cross_entropy(s, y, reduction="sum"), correct, seeded(), **QUICK
    )
    mean = masking_checks(model, images, labels, cross_entropy, correct, seeded(), **QUICK)
    for a, b in zip(summed, mean, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-3) and a["accuracy"] == pytest.approx(b["accuracy"])


def test_a_masked_gradient_is_found(setting, seeded):
    model, images, labels = setting

    class Masked(nn.Module):
        """The same decisions, but nearly all of the gradient goes through a pattern that means nothing."""

        def forward(self, x):
            scores = model(x)
            useless = (x * torch.linspace(-1, 1, 16)).flatten(1).sum(1, keepdim=True) * scores.new_tensor([[1.0, -1.0]])
            return scores.detach() + useless - useless.detach()

    rows = masking_checks(Masked(), images, labels, cross_entropy, correct, seeded(), **QUICK)
    found = verdicts(rows)
    assert not found["gradient_free"] and not found["sweep"]


def test_transfer_that_beats_the_white_box_is_found(setting, seeded):
    model, images, labels = setting
    direction = (2 * labels - 1).view(-1, 1, 1, 1) * model[1].weight[1].detach().view(3, 16, 16).sign()
    strong = (images - EPS * direction).clamp(0, 1)
    weak = {**QUICK, "alpha": 0.01 / 255}
    rows = masking_checks(model, images, labels, cross_entropy, correct, seeded(), transfer={"strong": strong}, **weak)
    assert not verdicts(rows)["transfer"] and row(rows, "transfer")["accuracy"] < row(rows, "white_box")["accuracy"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": ()}, "steps: expected integers >= 1"),
        ({"steps": (0, 5)}, "steps: expected integers >= 1"),
        ({"restarts": 0}, "restarts: expected integers >= 1"),
        ({"queries": 1.5}, "queries: expected integers >= 1"),
        ({"eps": -1.0}, "eps: expected"),
        ({"labels": torch.zeros(3, dtype=torch.long)}, "labels: expected a tensor with 40 rows"),
        ({"images": torch.rand(40, 3, 16, 16) + 1}, "images: expected values"),
        ({"correct_fn": lambda s, y: s}, r"correct_fn: expected a bool tensor \[24\]"),
        ({"transfer": {"x": torch.rand(2, 3, 16, 16)}}, r"transfer\['x'\]: expected images of shape"),
        ({"transfer": {"x": torch.zeros(40, 3, 16, 16)}}, r"transfer\['x'\]: expected images within eps"),
        ({"sweep": ()}, "sweep: expected"),
    ],
)
def test_bad_input(setting, change, message):
    model, images, labels = setting
    good = {"scores_fn": model, "images": images, "labels": labels, "loss_fn": cross_entropy, "correct_fn": correct}
    with pytest.raises(ValueError, match=message):
        masking_checks(**{**good, **QUICK, **change})
