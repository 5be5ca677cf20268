import pytest

from lib.probe_params import Attacked, Finetune, ProbeParams


def test_default_tasks_are_the_linear_three():
    assert ProbeParams().tasks == ["expression", "action_units", "verification"]
    assert Attacked(expression=5, valence_arousal=7).of("valence_arousal_finetuned") == 7
    assert Finetune("fer2013").chosen.epochs == 300 and Finetune("fer2013", 2).chosen.epochs == 2


@pytest.mark.parametrize(
    "change, message",
    [
        ({"images": 0}, "images must be at least 1"),
        ({"pairs": 30}, "pairs must be a positive multiple of 20"),
        ({"l2": 0.0}, "l2 must be positive"),
        ({"eps": -1.0}, "eps must be positive"),
        ({"steps": 0}, "steps must be"),
        ({"corruptions": ["hail"]}, "corruptions must be among .* got hail"),
        ({"attacks": ["cw"]}, "attacks must be among"),
        ({"severities": [0]}, "severities must be among 1, 2, 3, 4, 5, got 0"),
        ({"severities": []}, "severities must not be"),
        ({"attacks": ["pgd", "pgd"]}, "attacks must hold each entry once"),
        ({"sweep": [8]}, "sweep must hold positive eps"),
        ({"sweep": [2, 256]}, "eps, alpha and sweep are in 255ths of the pixels' range, so at most 255"),
        ({"eps": 300.0, "sweep": []}, "eps, alpha and sweep are in 255ths"),
        ({"alpha": 800.0}, r"eps, alpha and sweep .* so at most 255, got 8, 800 and \[2, 16, 64\]"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"resamples": 0}, "resamples must be"),
        ({"check_steps": []}, "check_steps must hold"),
        ({"check_steps": [0]}, "check_steps must hold"),
        ({"queries": 0}, "queries must"),
        ({"tasks": []}, "tasks must not be empty"),
        ({"tasks": ["gender"]}, "tasks must be among expression, .*valence_arousal_finetuned, got gender"),
        ({"tasks": ["verification", "expression_finetuned"]}, "tasks must hold expression where expression_finetuned is"),
        ({"tasks": ["expression", "valence_arousal_knn"]}, "tasks must hold valence_arousal where valence_arousal_knn is"),
    ],
)
def test_a_bad_parameter_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        ProbeParams(**change)


def test_a_bad_number_of_attacked_items_is_named():
    with pytest.raises(ValueError, match="verification must be at least 1, got 0"):
        Attacked(verification=0)


def test_bad_fine_tuning_is_named():
    with pytest.raises(ValueError, match="recipe must be one of affectnet, fer2013, demo, got 'rafdb'"):
        Finetune("rafdb")
    with pytest.raises(ValueError, match="epochs must be at least 1, or 0"):
        Finetune(epochs=-1)
