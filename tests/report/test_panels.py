"""Faces are shown where they are rendered, and nowhere else; what is not shown has a reason."""

import dataclasses

import numpy as np
import pytest
import torch

from lib.degrade.corruptions import CORRUPTIONS
from lib.degrade.occluders import MEAN_FACE
from lib.models.encoder import Encoder, EncoderConfig
from lib.probe_params import ProbeParams
from lib.report.build import FACES, PANELS
from lib.report.panels import SHOWN_FACES, SWAPPED_FACES, make_panels
from lib.strong_attacks import Strong

PARAMS = ProbeParams(
    images=28,
    pairs=40,
    corruptions=["gaussian_noise", "contrast", "fog", "snow", "pixelate"],
    attacks=["pgd", "bim"],
    steps=1,
    strong=Strong(steps=2, queries=5),
)


@pytest.fixture(scope="module")
def encoders():
    torch.manual_seed(0)
    restorer = {"stages": 2, "channels": 2, "hidden": 2}
    readout = {"moving": 0.1, "components": 0, "weight": 1.0}
    return {
        "simclr": Encoder(EncoderConfig(16, "pixels")).eval(),
        "dar_sfrl": Encoder(EncoderConfig(16, "pixels", restorer=restorer, readout=readout)).eval(),
    }


@pytest.fixture
def faces(synthetic_faces):
    """``faces(source="rendered", drop=..., landmarks=False)``: the rows of the small faces, without some columns."""

    def make(source="rendered", drop=(), landmarks=False):
        table = synthetic_faces()
        table.source = source
        if landmarks:
            table._landmarks = np.tile(np.array(MEAN_FACE, np.float32) * 16, (len(table), 1, 1))
        rows = table.rows.drop(columns=[name for name in table.rows if name.startswith(tuple(drop))] if drop else [])
        return table.with_rows(rows)

    return make


def panels_of(encoders, table, params=PARAMS):
    return make_panels(encoders, table, params, device=torch.device("cpu"), seed=1)


def test_every_panel_of_rendered_faces(encoders, faces):
    table = faces(landmarks=True)
    panels = panels_of(encoders, table)
    assert panels["left_out"] == {} and set(PANELS) < set(panels) and panels["source"] == "rendered"
    assert all(set(keys) <= set(panels[name]) for name, keys in PANELS.items())
    assert panels["corruptions"]["images"].shape == (len(CORRUPTIONS), 6, 3, 16, 16)
    assert (panels["attacks"]["encoder"], panels["attacks"]["task"]) == ("dar_sfrl", "expression")
    assert panels["restoration"]["restored"].shape == (SHOWN_FACES, 2, 3, 16, 16)
    shown = panels["restoration"]
    assert torch.equal(encoders["dar_sfrl"].prepare(shown["seen"]), shown["degraded"])
    assert torch.allclose(torch.stack(encoders["dar_sfrl"].restore(shown["seen"]), 1), shown["restored"], atol=1e-5)
    assert panels["moving"]["encoder"] == "dar_sfrl"
    assert np.flatnonzero(panels["moving"]["pixels"]).tolist() == encoders["dar_sfrl"].readout.pixels.tolist()
    assert all(panels["face_swap"][name].shape == (SWAPPED_FACES, 3, 16, 16) for name in ("head", "expression", "swapped"))
    assert set(panels["embeddings"]["features"]) == set(encoders)
    test = table.images(np.flatnonzero(table.column("split") == "probe_test")).float() / 255
    for face in panels["corruptions"]["images"][:, 0]:
        assert (test == face).flatten(1).all(1).any()  # nobody an encoder was trained on


def test_corruptions_are_shown_on_several_people(encoders, faces):
    clean = panels_of(encoders, faces())["corruptions"]["images"][:, 0]
    assert len({face.numpy().tobytes() for face in clean}) == SHOWN_FACES
    assert torch.equal(clean[0], clean[SHOWN_FACES])


def test_the_most_frontal_face_of_a_person_is_shown(encoders, faces):
    table = faces()
    table.rows["yaw"] = np.where(table.rows["expression"] == 3, 1.0, -20.0)
    table.rows["pitch"] = 0.0
    clean = panels_of(encoders, table)["corruptions"]["images"][0, 0]
    wanted = np.flatnonzero((table.column("identity") == 20) & (table.column("expression") == 3))
    assert torch.equal(clean, table.images(wanted)[0].float() / 255)


def test_no_photograph_is_shown(encoders, faces):
    panels = panels_of(encoders, faces("mine"))
    assert set(panels) == {"source", "left_out", "embeddings"}
    why = "panels show rendered faces only; this run used mine"
    assert panels["left_out"] == dict.fromkeys(FACES, why)


@pytest.mark.parametrize("source, task", [("mine", None), ("rendered", "action_units")])
def test_without_expressions_there_is_no_map(encoders, faces, source, task):
    panels = panels_of(encoders, faces(source, ["expression"]))
    assert "embeddings" not in panels
    assert panels["left_out"]["embeddings"] == "it needs 20 test images with a known expression, rendered has 0"
    assert task is None or panels["attacks"]["task"] == task


def test_what_the_run_did_not_have_has_a_reason(encoders, faces):
    bare = dataclasses.replace(PARAMS, corruptions=[], attacks=[], strong=Strong(attacks=[]))
    panels = panels_of({"simclr": encoders["simclr"]}, faces(), bare)
    assert set(panels) == {"source", "left_out", "corruptions", "embeddings"}
    assert panels["left_out"] == {
        "attacks": "there were no attacks in this run",
        "strong_attacks": "there were no attacks in this run",
        "restoration": "no encoder of this run has a restorer",
        "moving": "no encoder of this run has a readout that saw faces move",
        "face_swap": "it needs landmarks, and two people",
    }


@pytest.mark.parametrize("measured", [{"attacks": ["pgd"], "strong": Strong(attacks=[])}, {"attacks": [], "strong": PARAMS.strong}])
def test_all_attacks_are_shown_where_any_is_measured(encoders, faces, measured):
    panels = panels_of({"simclr": encoders["simclr"]}, faces(), dataclasses.replace(PARAMS, **measured))
    assert {"attacks", "strong_attacks"} < set(panels)
