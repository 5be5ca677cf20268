import pytest

from lib.degrade.verdicts import verdicts
from tests.report.invented import claims_of, rows


@pytest.mark.parametrize("losses, holds", [((1.0, 2.0, 3.0), True), ((1.0, 3.0, 2.0), False), ((2.0, 2.0, 2.0), False)])
def test_loss_rises(losses, holds):
    extra = [("check", "pgd", s, "loss", x) for s, x in zip((1, 5, 20), losses)]
    claim = claims_of(rows("dar_sfrl", {}, extra=extra))["expression_rendered_loss_rises"]
    assert claim.holds is holds and claim.numbers["steps"] == [1.0, 5.0, 20.0]


@pytest.mark.parametrize("task, words", [("expression", "(cross-entropy)"), ("verification", "so from -1 to 1)")])
def test_the_loss_is_named(task, words):
    extra = [("check", "pgd", s, "loss", x) for s, x in ((1, -0.344), (50, -0.162))]
    claim = claims_of(rows("dar_sfrl", {}, task=task, extra=extra))[f"{task}_rendered_loss_rises"]
    assert f"{words} goes from -0.344 with 1 step to -0.162 with 50." in claim.text


@pytest.mark.parametrize("left, holds", [(0.0, True), (5.0, True), (12.0, False)])
def test_large_budget(left, holds):
    claim = claims_of(rows("dar_sfrl", {}, extra=[("sweep", "pgd", 64, "accuracy", left)]))[
        "expression_rendered_large_budget"
    ]
    assert claim.holds is holds


@pytest.mark.parametrize("free, holds", [(50.0, True), (39.0, True), (30.0, False)])
def test_no_masking(free, holds):
    extra = [
        ("check", "white_box", 0, "accuracy", 40.0),
        ("check", "gradient_free", 0, "accuracy", free),
        ("check", "noise", 0, "accuracy", 70.0),
    ]
    claim = claims_of(rows("dar_sfrl", {}, extra=extra))["expression_rendered_no_masking"]
    assert claim.holds is holds and set(claim.numbers) == {"white_box", "gradient_free", "noise"}


@pytest.mark.parametrize("left, holds", [(40.0, True), (30.0, True), (25.0, False)])
def test_more_starts_take_little(left, holds):
    extra = [("check", "restarts", count, "accuracy", value) for count, value in ((3, left), (1, 40.0), (2, 38.0))]
    claim = claims_of(rows("dar_sfrl", {}, extra=extra))["expression_rendered_restarts"]
    assert claim.holds is holds and claim.numbers["one"]["value"] == 40.0 and claim.numbers["starts"] == 3


def test_no_masking_falls_back_to_the_attack():
    extra = [("attack", "pgd", 0, "accuracy", 40.0), ("check", "transfer_simclr", 0, "accuracy", 60.0)]
    claim = claims_of(rows("dar_sfrl", {}, extra=extra))["expression_rendered_no_masking"]
    assert claim.holds and claim.numbers["white_box"]["value"] == 40.0


@pytest.mark.parametrize("left, holds", [(40.0, True), (35.0, True), (34.9, False), (45.5, False)])
def test_autoattack_takes_as_much_as_a_part_of_it_and_little_more(left, holds):
    extra = [("strong", "apgd", 0, "accuracy", 40.0), ("strong", "autoattack", 0, "accuracy", left)]
    claim = claims_of(rows("dar_sfrl", {}, extra=extra))["expression_rendered_autoattack"]
    assert claim.holds is holds
    assert ("little more is lost" in claim.text, "is weaker" in claim.text) == (holds, left > 45)


@pytest.mark.parametrize("white_box, other", [(40.0, 38.0), (40.0, 37.9), (3.0, 0.9), (3.0, 1.1)])
def test_the_rules_are_those_of_the_verdicts(white_box, other):
    """The same scores as shares, through ``verdicts``: one rule, whoever asks."""
    table = [("white_box", 50, 2.0, white_box), ("steps", 50, 2.0, white_box), ("sweep", 8 / 255, 2.0, white_box)]
    table += [("restarts", 1, 2.0, white_box), ("noise", 8 / 255, 1.0, other)]
    measured = [{"check": c, "setting": s, "loss": loss, "accuracy": share / 100} for c, s, loss, share in table]
    extra = [("check", "white_box", 0, "accuracy", white_box), ("check", "noise", 0, "accuracy", other)]
    claim = claims_of(rows("dar_sfrl", {}, extra=extra))["expression_rendered_no_masking"]
    assert claim.holds is verdicts(measured)["noise"] is (white_box - other <= 2.0)
