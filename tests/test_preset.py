"""Presets: each is a valid params.yaml, and a bad one changes nothing."""

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lib import preset
from lib.datasets.voxceleb import open_set
from lib.degrade.occluders import MEAN_FACE
from lib.faces.shards import open_packed
from lib.loading import read
from lib.methods import build_method
from lib.models.encoder import EncoderConfig
from lib.params import ParamsError, load
from lib.prepare import PEOPLE_TO_VERIFY, prepare

ROOT = Path(__file__).parents[1]
PUBLISHED = [name for name in preset.names() if name != "tiny"]


@pytest.fixture
def params(tmp_path):
    return Path(shutil.copy(ROOT / "params.yaml", tmp_path / "params.yaml"))


def test_the_tiny_one_is_the_demo_with_fewer_of_everything(params):
    demo = load(params)
    preset.apply("tiny", params)
    found = load(params)
    assert found.prepare.dataset == found.prepare.probe == "demo" and found.schedule.epochs == 1
    assert set(found.methods) == {"simclr", "dar_sfrl"} < set(demo.methods) and set(found.controls) < set(demo.controls)
    for part in ("demo", "probe"):
        small, large = (dataclasses.asdict(getattr(settings, part)) for settings in (found, demo))
        counts = [key for key, value in small.items() if isinstance(value, int)]
        assert len(counts) > 4 and all(small[key] <= large[key] for key in counts)
    people = found.demo.probe_identities
    assert people - round(people * 2 / 3) >= PEOPLE_TO_VERIFY  # a third of them are tested
    assert set(found.probe.corruptions) < set(demo.probe.corruptions) and found.probe.tasks == demo.probe.tasks


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_preset_is_valid_and_says_what_it_is(params, name):
    demo = load(params)
    preset.apply(name, params)
    found, text = load(params), params.read_text()
    assert found.prepare.dataset == "voxceleb" and found.network.backbone == "resnet50" and found.schedule.epochs in (300, 500)
    assert found.schedule.constant_epochs == 10 and found.schedule.warmup_epochs == 0
    assert "simclr_adversarial" not in found.methods and set(found.controls) == {"untrained"}
    assert found.probe.sweep == demo.probe.sweep and found.views.corruptions == demo.views.corruptions  # what it does not name stays
    assert {"valence_arousal", "expression_finetuned"} <= set(found.probe.tasks) and found.probe.finetune.recipe == "affectnet"
    assert found.network.backbone_args == {"zero_init_last": False}  # as torchvision's ResNet-50 begins
    for key, method in found.methods.items():  # 256 pairs, but in the released trainer with its defaults
        pairs = found.schedule_of(key).batch_size * (1 + getattr(method.config, "hard_neg", False))
        assert pairs == (128 if method.config.variant == "released" else 256)
    assert "# Everything that the pipeline can be told." in text and "BMVC 2022" in preset.about(name)


def test_the_rows_of_the_table_differ_in_their_strategies(params):
    preset.apply("ssl_fer_table", params)
    strategies = ("time_aug", "hard_neg", "face_swap", "mask_fn", "cut_mix")
    on = {name: {s for s in strategies if getattr(method.config, s, False)} for name, method in load(params).methods.items()}
    assert on["simclr_clips"] == on["byol_clips"] == on["moco_clips"] == set() and on["ssl_fer_a"] == {"time_aug"}
    assert on["ssl_fer_g"] == set(strategies) - {"cut_mix"} and on["ssl_fer_c"] == {"time_aug", "hard_neg", "cut_mix"}
    assert len({frozenset(s) for name, s in on.items() if name.startswith("ssl_fer")}) == 7
    longer = {name for name, method in load(params).methods.items() if method.epochs == 500}
    assert longer == {"ssl_fer_d", "ssl_fer_e", "ssl_fer_g"} == {name for name in on if "face_swap" in on[name]}


SIDE = 40  # of the frames below


@pytest.fixture
def voxceleb(tmp_path):
    """Three people of one clip of 18 frames each, in the official layout; landmarks of all frames but three."""
    for person in range(3):
        clip = tmp_path / f"voxceleb/faces/wav/id1000{person}/vid/00001"
        clip.mkdir(parents=True)
        for frame in range(18):
            Image.effect_noise((SIDE, SIDE), 60).convert("RGB").save(clip / f"{frame:07d}.jpg")
    points = np.array(MEAN_FACE) * SIDE + np.random.default_rng(0).normal(0, 0.3, (54, 68, 2))
    points[[0, 20, 40]] = np.nan
    np.save(tmp_path / "voxceleb/landmarks.npy", points.astype(np.float32))
    return tmp_path / "voxceleb"


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_methods_of_every_preset_take_voxceleb_as_it_comes_with_landmarks(params, voxceleb, tmp_path, name):
    preset.apply(name, params)
    found = load(params)
    options = found.prepare.options["voxceleb"]
    assert "3 frames without landmarks" in "".join(open_set(voxceleb, **options).notes)
    prepare(voxceleb, tmp_path / "out", "voxceleb", 16, options=options)
    table = open_packed(tmp_path / "out" / "voxceleb")
    for method in found.methods.values():
        assert method.config.part_mask == 0.8
        small = {"head_hidden": 8, "head_dim": 8, "descriptor": "pixels", "queue": 64}
        config = dataclasses.replace(method.config, **{key: small[key] for key in small if hasattr(method.config, key)})
        network = EncoderConfig(16, "resnet10t", {"channels": [8, 8, 16, 16], "stem_width": 8})
        built = build_method(method.method, config, network, found.views)
        items = built.items(table, 0, lambda epoch: torch.Generator().manual_seed(epoch))
        assert len(items) == 3
        cpu = torch.device("cpu")
        views = built.views(read(table, items, cpu).on(cpu), torch.Generator().manual_seed(0))
        pictures = [value for value in views[0].values() if isinstance(value, torch.Tensor) and value.dim() == 4]
        assert pictures and all(part.isfinite().all() for part in pictures)


def test_a_second_time_changes_nothing(params):
    preset.apply("ssl_fer", params)
    once = params.read_text()
    preset.apply("ssl_fer", params)
    assert params.read_text() == once


@pytest.mark.parametrize("name", PUBLISHED)
def test_comments_stay_where_they_belong_and_those_of_values_that_went_go(params, name):
    before = params.read_text().splitlines()
    preset.apply(name, params)
    after = params.read_text().splitlines()
    above = lambda lines, key: lines[next(i for i, line in enumerate(lines) if line.startswith(key)) - 1]  # noqa: E731
    for key in ("methods:", "continued:", "network:", "views:", "schedule:", "controls:", "probe:"):
        assert above(after, key) == above(before, key), key
    assert above(after, "methods:").startswith("# epochs and batch_size where") and above(after, "network:") == ""
    assert not any("half-width" in line for line in after) and not any("hardly change any more" in line for line in after)
    assert any(line.endswith("}  # the branches of a block begin as torchvision's do, not at 0") for line in after)
    inside = after[after.index("schedule:  # lib.training.Schedule") + 1 :]
    assert any(line.startswith("  constant_epochs:") for line in inside[: inside.index("")])
    counts = [line for line in after if line.strip().startswith("#")]
    assert len(set(counts)) == len(counts) and set(counts) < set(before)


@pytest.fixture
def checkout(tmp_path, params, monkeypatch):
    """``checkout(*arguments)`` runs the command in a checkout whose params.yaml is committed; -> what it prints or exits with."""
    (tmp_path / "dvc.yaml").touch()
    for command in (["init", "-q"], ["add", "params.yaml"], ["-c", "user.name=A", "-c", "user.email=a@b.org", "commit", "-qm", "x"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["preset", *arguments])
        preset.main()

    return command


def test_the_command_overwrites_only_what_git_can_bring_back(checkout, params, tmp_path, capsys):
    committed = params.read_text()
    checkout("ssl_fer")
    assert "params.yaml now says ssl_fer" in capsys.readouterr().out and "voxceleb" in params.read_text()
    mixed = r"error: params.yaml is not as git has it \(HEAD\).*`git stash push params.yaml`.*--force overwrites"
    with pytest.raises(SystemExit, match=mixed):  # another one on top would be neither
        checkout("ssl_fer_table")
    params.write_text(committed.replace("epochs: 8", "epochs: 9"))
    with pytest.raises(SystemExit, match=mixed):
        checkout("ssl_fer")
    assert "epochs: 9" in params.read_text()
    checkout("ssl_fer", "--force")
    assert load(params).schedule.epochs == 500
    with pytest.raises(SystemExit, match="error: name: expected one of ssl_fer, .*, got 'sslfer'"):
        checkout("sslfer")
    params.write_text(committed)
    shutil.rmtree(tmp_path / ".git")
    with pytest.raises(SystemExit, match=mixed):
        checkout("ssl_fer")
    assert params.read_text() == committed


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
    listed = subprocess.run([sys.executable, "-m", "lib.preset"], cwd=ROOT, capture_output=True, text=True)
    said = listed.stdout
    assert listed.returncode == 0 and all(name in said for name in preset.names()) and "run_maskclr" in said
