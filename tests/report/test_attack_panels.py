"""Every attack of the package is shown, within its budget, and is what it says."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lib.degrade.attacks import ATTACKS
from lib.degrade.autoattack import PARTS
from lib.models.encoder import Encoder, EncoderConfig
from lib.probe_params import ProbeParams
from lib.report.attack_panels import attack_panels
from lib.strong_attacks import PARTS_OF_M, STRONG, Strong

PARAMS = ProbeParams(images=28, pairs=40, attacks=["pgd"], steps=2, eps=32.0, strong=Strong(steps=4, queries=20))


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return Encoder(EncoderConfig(16, "pixels")).eval()


def panels_of(encoder, table, params=PARAMS, count=4):
    return attack_panels(encoder, "simclr", table, params, torch.device("cpu"), 1, count)


@pytest.fixture(scope="module")
def panels(encoder, synthetic_faces):
    return panels_of(encoder, synthetic_faces(shots=2))


def test_all_attacks_of_the_package_are_shown(panels):
    names = [name for panel in panels.values() for name in panel["names"]]
    assert set(names) == {*ATTACKS, *STRONG, *PARTS, "dodging", "impersonation"} - {"apgd_ce"}  # that one is 'apgd'
    assert len(set(names)) == len(names) and panels["attacks"]["names"][0] == "fgsm"
    for panel in panels.values():
        assert panel["images"].shape == (len(panel["names"]), 4, 3, 16, 16) and panel["task"] == "expression"
        for name, images in zip(panel["names"], panel["images"]):
            change = (images - panel["clean"]).abs().amax()
            assert images.min() >= 0 and images.max() <= 1 and (change <= 32 / 255 + 1e-6 or name in PARTS_OF_M), name
            assert change > 0 or name in ("fab_t", "square"), name  # which may break nobody
    broken = dict(zip(panels["strong_attacks"]["names"], panels["strong_attacks"]["images"]))["autoattack"]
    assert (broken != panels["strong_attacks"]["clean"]).flatten(1).any(1).all()  # all were right, so all could be broken
    assert torch.equal(panels["attacks"]["clean"], panels["strong_attacks"]["clean"])


def test_dodging_leaves_the_person_and_impersonation_nears_another(panels, encoder, synthetic_faces):
    table, shown = synthetic_faces(shots=2), panels["strong_attacks"]
    test = np.flatnonzero(table.column("split") == "probe_test")
    pixels = table.images(test).float() / 255
    rows = [test[(pixels == face).flatten(1).all(1)][0] for face in shown["clean"]]
    person = table.column("identity")
    other = [np.flatnonzero(person == person[row]) for row in rows]
    target = {
        "dodging": [same[same != row][0] for same, row in zip(other, rows)],
        "impersonation": [*rows[1:], rows[0]],
    }
    for kind, sign in (("dodging", -1), ("impersonation", 1)):
        with torch.no_grad():
            features = encoder(table.images(target[kind]).float() / 255)
            before, after = (
                F.cosine_similarity(encoder(faces), features)
                for faces in (shown["clean"], shown["images"][shown["names"].index(kind)])
            )
        assert (sign * (after - before) > 0).all()


def test_what_cannot_be_made_is_not_shown(encoder, synthetic_faces):
    table = synthetic_faces()
    units = table.with_rows(table.rows.drop(columns="expression"))
    shown = panels_of(encoder, units)
    assert shown["attacks"]["task"] == "action_units"
    assert not {"autoattack", "apgd_t", "fab_t", "square"} & set(shown["strong_attacks"]["names"])
    alone = panels_of(encoder, table, dataclasses.replace(PARAMS, tasks=["expression"]), count=1)
    assert "dodging" in alone["strong_attacks"]["names"] and "impersonation" not in alone["strong_attacks"]["names"]
