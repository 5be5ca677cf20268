import pytest

from tests.report.invented import claims_of, rows


@pytest.mark.parametrize("ours, holds", [(10.0, True), (18.5, False), (25.0, False)])
def test_less_drop_needs_intervals_apart(ours, holds):
    claim = claims_of(rows("simclr", {"attack": 20.0}), rows("dar_sfrl", {"attack": ours}))[
        "expression_rendered_attack_vs_simclr"
    ]
    assert claim.holds is holds
    assert f"{ours:.1f} points" in claim.text and ("clearly less" in claim.text) == holds
    assert claim.numbers["simclr"] == {"value": 20.0, "ci_low": 19.0, "ci_high": 21.0}


@pytest.mark.parametrize("clean, holds", [(77.0, True), (76.9, False), (90.0, True)])
def test_clean_margin(clean, holds):
    claim = claims_of(rows("simclr", {}), rows("dar_sfrl", {}, clean=clean))["expression_rendered_clean_vs_simclr"]
    assert claim.holds is holds and claim.numbers["difference"] == pytest.approx(clean - 80)


@pytest.mark.parametrize("ours, holds", [(20.0, True), (20.5, False), (10.0, True)])
def test_not_worse_than_adversarial_simclr(ours, holds):
    claim = claims_of(rows("simclr_adversarial", {"corruption": 20.0}), rows("dar_sfrl", {"corruption": ours}))
    assert claim["expression_rendered_corruption_vs_simclr_adversarial"].holds is holds
