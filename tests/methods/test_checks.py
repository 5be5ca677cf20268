"""Settings of methods that no training could have: each is refused by its name."""

import dataclasses

import pytest

from lib.methods import METHODS

METHODS = {name: METHODS[name] for name in ("dar_sfrl", "simclr", "ssl_fer", "moco", "byol", "aunce")}  # not a user's own
CLIPS = ("ssl_fer", "moco", "byol")
NEGATIVE = ("ssl_fer", "moco")
WRONG = [
    *[(name, "learning_rate", 0.0) for name in METHODS],
    *[(name, "learning_rate", float("inf")) for name in METHODS],
    *[(name, "weight_decay", -1e-4) for name in METHODS],
    *[(name, "weight_decay", float("inf")) for name in METHODS],
    *[(name, key, 0) for name in METHODS if name != "aunce" for key in ("head_hidden", "head_dim")],
    *[(name, "temperature", 0.0) for name in METHODS if name != "byol"],
    *[(name, key, value) for name in ("simclr", "dar_sfrl") for key, value in (
        ("attack_steps", -1), ("attack_eps", -1.0), ("attack_eps", 256.0), ("attack_alpha", 800.0), ("attack_alpha", -1.0),
    )],
    *[("dar_sfrl", key, value) for key, value in (
        ("restorer_learning_rate", 0.0), ("hidden", 0), ("channels", 3), ("stages", -1), ("sensitive_batch", 0),
        ("sensitive_negatives", 0), ("restore_weight", -1.0), ("leave_weight", float("inf")), ("orthogonal_weight", -1.0),
        ("weight", -0.1), ("components", -1), ("moving", 1.1), ("identity", -0.1), ("noise", -0.1),
    )],
    *[(name, key, value) for name in CLIPS for key, value in (
        ("fps", 0.0), ("interval", 0.0), ("swap_feather", -0.1), ("part_mask", 1.1), ("mix_probability", -0.1),
    )],
    *[(name, key, value) for name in NEGATIVE for key, value in (
        ("hard_interval", 0.0), ("false_weight", -1.0), ("false_weight", float("inf")), ("false_threshold", 1.5),
    )],
    ("ssl_fer", "tile", -1), ("moco", "queue", 0), ("moco", "momentum", 1.0), ("byol", "momentum", -0.1),
    ("aunce", "beta_present", 0.0), ("aunce", "neighbours", 0), ("aunce", "width", -1), ("aunce", "crop", 0.0), ("aunce", "units", []),
]  # fmt: skip


@pytest.mark.parametrize("name, key, value", WRONG)
def test_an_impossible_setting_is_named(name, key, value):
    with pytest.raises(ValueError, match=f"^{key}: expected .* got "):
        METHODS[name](**{key: value})


@pytest.mark.parametrize("name", METHODS)
def test_no_number_may_be_minus_a_thousand(name):
    """Those that are added later too. The place of a layer is left out: it counts from the end."""
    numbers = [field.name for field in dataclasses.fields(METHODS[name]) if type(field.default) in (int, float)]
    assert "learning_rate" in numbers
    for key in numbers:
        if key != "layer":
            with pytest.raises(ValueError, match=f"^{key}: "):
                METHODS[name](**{key: type(getattr(METHODS[name](), key))(-1000)})


def test_what_is_off_may_be_zero():
    assert METHODS["simclr"](attack_steps=0, attack_eps=0.0, attack_alpha=0.0, weight_decay=0.0).attack_eps == 0
    assert METHODS["dar_sfrl"](stages=0, components=0, moving=0.0, restore_weight=0.0, noise=0.0).stages == 0
