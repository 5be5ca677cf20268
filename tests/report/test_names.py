import torch

from lib.degrade.objectives import mistaken
from lib.probe_params import BESIDE, TASKS
from lib.report import names


def test_order_is_baselines_methods_controls():
    assert names.ordered(["blur", "my_method", "dar_sfrl", "simclr"]) == ["simclr", "dar_sfrl", "my_method", "blur"]


def test_unknown_encoder_keeps_its_name():
    assert names.look("my_method").label == "my_method"
    assert names.look("my_method").group == "method"


def test_looks_can_be_told_apart():
    looks = names.ENCODERS.values()
    assert len({look.colour for look in looks}) == len({look.marker for look in looks}) == len(looks)


def test_labels():
    assert names.condition_label("mifgsm") == "MIFGSM"
    assert names.condition_label("gaussian_noise") == "gaussian noise"
    assert names.condition_label("transfer_simclr") == "transfer from SimCLR"
    assert names.task_label("verification", "orl") == "Verification, ORL"
    assert names.dataset_label("mine") == "the faces of 'mine'" and names.dataset_label("bp4d") == "BP4D"


def test_a_long_title_takes_two_lines():
    assert names.panel_title("action_units", "rendered") == "Action units, rendered"
    assert names.panel_title("valence_arousal_finetuned", "rendered") == "Valence/arousal (fine-tuned),\nrendered"


def test_every_task_has_a_name_and_a_metric_with_a_label():
    assert set(names.TASKS) == set(names.MAIN_METRIC) == {*TASKS, *BESIDE}
    assert set(names.MAIN_METRIC.values()) == set(names.METRIC_LABEL)


def test_the_loss_of_every_task_has_words():
    assert {task: names.attack_loss(task) for task in names.TASKS}["expression_finetuned"] == names.ATTACK_LOSSES["expression"]


def test_verification_attacks_a_cosine_whose_sign_turns_for_one_person():
    raised = mistaken(torch.tensor([1.0, 1.0, -1.0]), torch.tensor([True, False, True]))
    assert raised.tolist() == [-1.0, 1.0, 1.0]
    assert "its sign turned where they show one person, so from -1 to 1" in names.attack_loss("verification")
