"""Presets: each is a valid params.yaml, and a bad one changes nothing."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lib import preset
from lib.params import ParamsError, load

ROOT = Path(__file__).parents[1]


@pytest.fixture
def params(tmp_path):
    return Path(shutil.copy(ROOT / "params.yaml", tmp_path / "params.yaml"))


@pytest.mark.parametrize("name", preset.names())
def test_every_preset_is_valid_and_says_what_it_is(params, name):
    demo = load(params)
    preset.apply(name, params)
    found, text = load(params), params.read_text()
    assert found.prepare.dataset == "voxceleb" and found.network.backbone == "resnet50" and found.schedule.epochs in (300, 500)
    assert "simclr_adversarial" not in found.methods and set(found.controls) == {"untrained"}
    assert found.probe == demo.probe and found.views.corruptions == demo.views.corruptions  # what it does not name stays
    assert "# Everything that the pipeline can be told." in text and "BMVC 2022" in preset.about(name)


def test_the_rows_of_the_table_differ_in_their_strategies(params):
    preset.apply("ssl_fer_table", params)
    strategies = ("time_aug", "hard_neg", "face_swap", "mask_fn", "cut_mix")
    on = {name: {s for s in strategies if getattr(method.config, s, False)} for name, method in load(params).methods.items()}
    assert on["simclr_clips"] == on["byol_clips"] == on["moco_clips"] == set() and on["ssl_fer_a"] == {"time_aug"}
    assert on["ssl_fer_g"] == set(strategies) - {"cut_mix"} and on["ssl_fer_c"] == {"time_aug", "hard_neg", "cut_mix"}
    assert len({frozenset(s) for name, s in on.items() if name.startswith("ssl_fer")}) == 7


def test_a_second_time_changes_nothing(params):
    preset.apply("ssl_fer", params)
    once = params.read_text()
    preset.apply("ssl_fer", params)
    assert params.read_text() == once


def test_bad_ones_change_nothing(params, tmp_path, monkeypatch):
    before = params.read_text()
    with pytest.raises(ValueError, match="name: expected one of ssl_fer, .*, got 'sslfer'"):
        preset.apply("sslfer", params)
    monkeypatch.setattr(preset, "FOLDER", tmp_path)
    (tmp_path / "broken.yaml").write_text("# no\nschedule: {epochs: 0}\n")
    with pytest.raises(ParamsError, match="epochs: expected at least 1"):
        preset.apply("broken", params)
    assert params.read_text() == before and not list(tmp_path.glob("*tmp*"))


def test_the_command_lists_them():
    said = subprocess.run([sys.executable, "-m", "lib.preset"], cwd=ROOT, capture_output=True, text=True).stderr
    assert all(name in said for name in preset.names()) and "run_maskclr" in said
