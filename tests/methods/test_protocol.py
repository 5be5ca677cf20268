"""What a method must have and what its loss must give: what is missing or misspelt is named before anything is trained for long."""

import pytest
import torch
from torch import nn

from lib import methods
from lib.methods import build_method
from lib.methods.aunce import Aunce
from lib.methods.byol import BYOL
from lib.methods.dar_sfrl import DarSfrl
from lib.methods.dar_sfrl_released import DarSfrlReleased
from lib.methods.moco import MoCo
from lib.methods.protocol import check_embedded, check_protocol, check_terms
from lib.methods.simclr import SimCLR
from lib.methods.ssl_fer import SslFer

LOSS, EMBEDDING = torch.tensor(1.0, requires_grad=True), torch.ones(4, 3)


class Mine(nn.Module):
    """A method that does nothing."""

    def __init__(self, config=None, network=None, view_config=None):
        super().__init__()

    views = loss = optimizer = encoder = lambda self, *_: None


def test_a_part_that_is_missing_is_named():
    check_protocol(Mine())
    lacking = Mine()
    lacking.optimizer = lacking.views = None
    with pytest.raises(ValueError, match="^Mine: expected the methods views, loss, optimizer, encoder, missing views, optimizer$"):
        check_protocol(lacking)


@pytest.mark.parametrize(("part", "meant"), [("after_steps", "after_step"), ("after_epochs", "after_epoch"), ("finnish", "finish"),
                                             ("begins", "begin"), ("begin_with", "began_with")])  # fmt: skip
def test_a_part_that_nothing_would_call_is_named(monkeypatch, part, meant):
    monkeypatch.setattr(Mine, f"_{part}", lambda self: None, raising=False)
    for helper in ("augmented", "item", "labels_of", "n_items", "rates", "finished", "after_step_hook"):  # nearly like no part
        monkeypatch.setattr(Mine, helper, lambda self: None, raising=False)
    check_protocol(Mine())
    monkeypatch.setattr(Mine, part, lambda self: None, raising=False)
    with pytest.raises(ValueError, match=rf"^Mine\.{part}: nothing calls it; is {meant} meant\? \(If it is a helper"):
        check_protocol(Mine())


@pytest.mark.parametrize("method", [SimCLR, DarSfrl, DarSfrlReleased, SslFer, MoCo, BYOL, Aunce])
def test_our_own_methods_have_no_such_part(method):
    check_protocol(method.__new__(method))


def test_a_method_is_checked_when_it_is_built(monkeypatch):
    """A notebook asks it for its encoder before it is trained."""
    monkeypatch.setitem(methods.BUILDERS, "mine", (None, Mine))
    assert isinstance(build_method("mine", None, None, None), Mine)
    monkeypatch.delattr(Mine, "encoder")
    with pytest.raises(ValueError, match="^Mine: expected the methods .*, missing encoder$"):
        build_method("mine", None, None, None)


def test_good_terms_pass():
    for further in ({}, {"embedding": EMBEDDING}, {"part": torch.tensor(2.0), "embedding": EMBEDDING}):
        check_terms(Mine(), {"loss": LOSS} | further)
    check_embedded(Mine(), True)


@pytest.mark.parametrize(("terms", "came"), [
    ({"total": LOSS, "embedding": EMBEDDING}, "{'total': a tensor [], 'embedding': a tensor [4, 3]}"),
    ({"loss": torch.ones(4), "embedding": EMBEDDING}, "{'loss': a tensor [4], 'embedding': a tensor [4, 3]}"),
    ({"loss": 0.5}, "{'loss': float}"),
    ({"loss": LOSS, "part": 0.5}, "{'loss': a tensor [], 'part': float}"),
    ({"loss": LOSS, "part": torch.ones(2)}, "{'loss': a tensor [], 'part': a tensor [2]}"),
    ({"loss": LOSS, "embedding": torch.ones(4, 3, 1)}, "{'loss': a tensor [], 'embedding': a tensor [4, 3, 1]}"),
    ({"loss": LOSS, "embedding": None}, "{'loss': a tensor [], 'embedding': NoneType}"),
    (LOSS, "a tensor []"),
    ((LOSS, EMBEDDING), "tuple"),
    (None, "NoneType"),
    ({}, "{}"),
])  # fmt: skip
def test_other_terms_are_refused_with_what_came(terms, came):
    with pytest.raises(ValueError) as caught:
        check_terms(Mine(), terms)
    assert str(caught.value) == (
        "Mine.loss: expected a dict with 'loss' (a scalar) and 'embedding' [B, D] (for the collapse meter), and more scalars if you"
        f" like, got {came}"
    )


def test_a_loss_without_a_gradient_or_a_batch_without_an_embedding_is_refused():
    with pytest.raises(ValueError, match=r"^Mine\.loss: nothing can be learnt from its 'loss', which carries no gradient"):
        check_terms(Mine(), {"loss": LOSS.detach(), "embedding": EMBEDDING})
    with pytest.raises(ValueError, match=r"^Mine\.loss: expected a dict with .*, got no 'embedding' in any step of a batch"):
        check_embedded(Mine(), False)
