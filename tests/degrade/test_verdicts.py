import pytest

from lib.degrade.verdicts import beats_white_box, loss_rises, nothing_left, restarts_help, verdicts


@pytest.mark.parametrize(
    ("losses", "rises"),
    [
        ((1.0, 2.0, 3.0), True), ((1.0, 3.0, 2.0), False), ((2.0, 2.0, 2.0), False), ((1.0, 3.0, 2.975), True), ((1.0, 3.0, 2.965), False),
        ((-3.0, -2.0, -2.02), True), ((-3.0, -2.0, -2.04), False), ((1.0, 1.001, 1.0), False), ((5.0,), True), ((), True),
    ],
)  # fmt: skip
def test_a_loss_rises_but_for_a_hundredth_of_the_largest(losses, rises):
    assert loss_rises(losses) is rises


def test_a_margin_itself_is_within_whatever_the_rounding():
    for tenths in range(20, 1000):
        score = tenths / 1000
        assert not beats_white_box(score - 0.02, score) and not beats_white_box((1000 * score - 20) / 1000, score)
        assert beats_white_box(score - 0.021, score) and not beats_white_box(score, score - 0.3)
        assert not restarts_help(score + 0.1, score) and restarts_help(score + 0.101, score)
    assert nothing_left(0.05) and nothing_left(1 - 0.95) and not nothing_left(0.0501)
    assert not beats_white_box(0.3, 0.35, tolerance=0.05) and beats_white_box(0.3, 0.35, tolerance=0.04)


def test_verdicts_read_the_rows():
    def rows(**changes):
        values = {
            ("white_box", 50): (2.0, 0.3), ("steps", 1): (1.0, 0.5), ("steps", 50): (2.0, 0.3),
            ("sweep", 8 / 255): (2.0, 0.3), ("sweep", 64 / 255): (9.0, 0.0),
            ("restarts", 1): (2.0, 0.32), ("restarts", 5): (2.1, 0.3),
            ("gradient_free", 500): (1.5, 0.4), ("noise", 0.03): (1.0, 0.7),
        }  # fmt: skip
        values.update({(check, setting): pair for (check, setting), pair in changes.get("put", {}).items()})
        return [{"check": c, "setting": s, "loss": pair[0], "accuracy": pair[1]} for (c, s), pair in values.items()]

    assert all(verdicts(rows()).values()) and "transfer" not in verdicts(rows())
    for key, pair in {
        ("steps", 50): (0.9, 0.3), ("sweep", 64 / 255): (3.0, 0.2), ("restarts", 5): (3.0, 0.1),
        ("gradient_free", 500): (3.0, 0.2), ("noise", 0.03): (3.0, 0.2), ("transfer", "x"): (3.0, 0.2),
    }.items():  # fmt: skip
        assert verdicts(rows(put={key: pair}))[key[0]] is False
    assert verdicts(rows(put={("gradient_free", 500): (1.5, 0.29)}))["gradient_free"]
    assert not verdicts(rows(put={("gradient_free", 500): (2.11, 0.4)}))["gradient_free"]  # the loss tells it too
    assert verdicts(rows(put={("gradient_free", 500): (1.5, 0.25)}), tolerance=0.05)["gradient_free"]
    assert verdicts([row for row in rows() if row["setting"] != 64 / 255])["sweep"]  # which does not reach far enough to say
