"""What every attack says of a model or of labels that do not fit: one clear error, before any search."""

import pytest
import torch
from torch import nn

from lib.degrade.apgd import apgd, apgd_targeted
from lib.degrade.attacks import attack
from lib.degrade.autoattack import autoattack
from lib.degrade.fab import fab_targeted
from lib.degrade.objectives import cross_entropy, misclassified
from lib.degrade.square import square_search
from lib.degrade.structured import structured_attack

IMAGES = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
CLASSES = torch.tensor([0, 1, 2, 0])
OF_CLASSES = {
    "apgd_targeted": lambda model, classes: apgd_targeted(model, IMAGES, classes, steps=2),
    "fab_targeted": lambda model, classes: fab_targeted(model, IMAGES, classes, steps=2),
    "autoattack": lambda model, classes: autoattack(model, IMAGES, classes, steps=2, queries=2),
}
WITH_BROKEN = {
    "attack": lambda model, broken: attack(
        "pgd", model, IMAGES, CLASSES, lambda z, y: cross_entropy(z, y).sum(), steps=2, broken_fn=broken
    ),
    "apgd": lambda model, broken: apgd(model, IMAGES, CLASSES, cross_entropy, steps=2, broken_fn=broken),
}


def means(images):
    return images.mean((2, 3))


@pytest.mark.parametrize("run", OF_CLASSES.values(), ids=OF_CLASSES)
@pytest.mark.parametrize(
    ("model", "classes", "message"),
    [
        (lambda x: means(x)[:2], CLASSES, r"logits_fn: expected logits \[4,C\] of at least 2 classes, got \[2, 3\]"),
        (lambda x: x.mean((1, 2, 3)), CLASSES, "logits_fn: expected logits"),
        (lambda x: (means(x),), CLASSES, "logits_fn: expected logits .* got tuple"),
        (lambda x: means(x) * float("nan"), CLASSES, "logits_fn: expected finite scores"),
        (means, torch.tensor([0, 1, 2, 3]), "classes: expected 0 to 2, got 0 to 3"),
        (means, torch.tensor([0, -1, 2, 1]), "classes: expected 0 to 2, got -1 to 2"),
        (means, CLASSES.float(), r"classes: expected a long tensor \[B\], got torch.float32"),
        (means, CLASSES[:, None], "classes: expected a long tensor"),
    ],
)
def test_models_and_classes(run, model, classes, message):
    with pytest.raises(ValueError, match=message):
        run(model, classes)


@pytest.mark.parametrize("run", WITH_BROKEN.values(), ids=WITH_BROKEN)
@pytest.mark.parametrize(
    ("model", "broken", "message"),
    [
        (lambda x: means(x)[:2], misclassified, "logits_fn: expected 4 rows"),
        (lambda x: (means(x),), misclassified, "logits_fn: expected 4 rows, one an image, got tuple"),
        (lambda x: means(x) * float("nan"), misclassified, "logits_fn: expected finite scores"),
        (means, lambda z, y: misclassified(z, y).long(), r"broken_fn: expected a bool tensor \[4\], got torch.int64"),
    ],
)
def test_early_stopping(run, model, broken, message):
    with pytest.raises(ValueError, match=message):
        run(model, broken)


def test_no_gradient_and_counts():
    right = means(IMAGES).argmax(1)
    with pytest.raises(ValueError, match="no gradient to the images"):
        fab_targeted(lambda x: means(x).detach(), IMAGES, right)
    for run in (apgd_targeted, fab_targeted):
        for change in ({"targets": 0}, {"targets": -3}, {"most_rows": 0}, {"eps": -1.0}, {"steps": 0}, {"generator": 0}):
            with pytest.raises(ValueError, match=next(iter(change))):
                run(means, IMAGES, CLASSES, **change)
    head = nn.Linear(3, 3)
    with pytest.raises(ValueError, match="does not depend on the images"):
        structured_attack(lambda x: head(torch.ones(4, 3)), IMAGES, CLASSES, cross_entropy, steps=2)
    with pytest.raises(ValueError, match="each_fn: expected finite losses"):
        structured_attack(means, IMAGES, CLASSES, lambda z, y: cross_entropy(z, y) * float("nan"), steps=2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"queries": 0}, "queries: expected an integer >= 1"),
        ({"eps": -0.1}, "eps: expected a finite number >= 0"),
        ({"eps": 8.0}, r"eps: expected at most 1, got 8.0: pixels are in \[0,1\]; did you mean 8/255\?"),
        ({"share": 0}, "share: expected a number above 0"),
        ({"seeds": torch.arange(3)}, r"seeds: expected a long tensor \[4\]"),
        ({"images": IMAGES[:0]}, "images: expected at least one image"),
        ({"images": IMAGES + 1}, r"images: expected values in \[0,1\]"),
        ({"images": (255 * IMAGES).byte()}, "images: expected float32"),
        ({"judge": lambda x, rows: None}, r"judge: expected a loss and whether it is broken, two tensors \[4\], got NoneType"),
        ({"judge": lambda x, rows: (rows.float(), True)}, r"judge: expected a loss .* got \['Tensor', 'bool'\]"),
        ({"judge": lambda x, rows: (means(x), rows < 0)}, r"judge: expected the loss of each image, floats \[4\], got .* \[4, 3\]"),
        ({"judge": lambda x, rows: (rows, rows < 0)}, "judge: expected the loss of each image, floats"),
        ({"judge": lambda x, rows: (rows.float(), rows)}, r"judge: expected which images are broken, bool \[4\], got torch.int64"),
        ({"judge": lambda x, rows: (rows.float(), rows[:2] < 0)}, r"judge: expected which images are broken, bool \[4\]"),
        ({"judge": lambda x, rows: (rows / rows, rows < 0)}, "judge: expected finite losses"),
    ],
)
def test_a_search_by_scores(change, message):
    good = {"judge": lambda x, rows: (means(x)[:, 0], rows < 0), "images": IMAGES, "eps": 0.1, "queries": 3, "seeds": torch.arange(4)}
    square_search(**good)
    with pytest.raises(ValueError, match=message):
        square_search(**{**good, **change})
