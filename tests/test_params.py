"""params.yaml: every mistake is one error that names the file, the key and the remedy."""

import copy
import hashlib

import pytest
import yaml

from lib.faces.demo_set import make_demo_set
from lib.params import LEAST_DEMO, Demo, Params, ParamsError, load, main
from lib.params_checks import LOOKED_AT, check_folders, check_named_files, check_network
from lib.workplace import find_root

GOOD = {
    "seed": 3,
    "demo": {"image_size": 24, "pretrain_identities": 4, "probe_identities": 6, "clips_per_identity": 1,
             "frames_per_clip": 2, "workers": 1},
    "prepare": {"dataset": "demo", "probe": "demo", "image_size": 24},
    "network": {"backbone": "resnet10t", "backbone_args": {"stem_width": 8}},
    "views": {"crop": 0.5},
    "schedule": {"batch_size": 8, "epochs": 2, "warmup_epochs": 1, "precision": "float32"},
    "methods": {
        "plain": {"method": "simclr", "surrogate": "restoring", "learning_rate": 0.001},
        "restoring": {"method": "dar_sfrl", "surrogate": "plain", "stages": 2, "legacy_pairs": False},
    },
    "continued": {},
    "controls": {"pixels": {"of": "plain", "kind": "raw_pixels"}},
    "probe": {"attacked": {"expression": 20}, "severities": [1, 3]},
}  # fmt: skip


@pytest.fixture
def write(tmp_path):
    """``write(key, value)``: the good file with one dotted key changed; ``value`` ... takes the key away."""

    def change(key=None, value=None):
        tree = copy.deepcopy(GOOD)
        if key:
            *parents, last = key.split(".")
            group = tree
            for name in parents:
                group = group[name]
            if value is ...:
                del group[last]
            else:
                group[last] = value
        path = tmp_path / "params.yaml"
        path.write_text(yaml.safe_dump(tree, sort_keys=False))
        return path

    return change


def message(path) -> str:
    with pytest.raises(ParamsError) as caught:
        load(path)
    text = str(caught.value)
    assert "params.yaml" in text and isinstance(caught.value, ValueError)
    return text


def test_the_file_of_the_repository_is_good():
    params = load()
    assert isinstance(params, Params) and params.methods and params == load(find_root() / "params.yaml")


def test_a_good_file_gives_typed_values(write):
    params = load(write())
    assert params.seed == 3 and params.demo.probe_identities == 6 and params.network.backbone_args == {"stem_width": 8}
    assert params.schedule.warmup_epochs == 1.0 and type(params.schedule.warmup_epochs) is float
    assert params.methods["plain"].method == "simclr" and params.methods["plain"].config.learning_rate == 0.001
    assert params.methods["restoring"].config.stages == 2 and params.methods["restoring"].surrogate == "plain"
    assert params.schedule_of("plain") == params.schedule
    own = load(write("methods.plain.epochs", 7))
    assert own.schedule_of("plain").epochs == 7 and own.schedule_of("restoring") == own.schedule == params.schedule
    wide = load(write("methods.plain.batch_size", 4))
    assert wide.schedule_of("plain").batch_size == 4 and wide.schedule_of("plain").epochs == 2
    assert wide.schedule_of("restoring") == wide.schedule == params.schedule
    assert params.controls["pixels"].kind == "raw_pixels" and params.probe.severities == [1, 3]
    assert params.prepare.options == {} and load(write("prepare.options", {"demo": {}})).prepare.options == {"demo": {}}
    assert params.prepare.pretrain_set == "rendered" and params.prepare.probe_sets == ("rendered", "orl")
    own = load(write("prepare.dataset", "mine")).prepare
    assert own.pretrain_set == "mine" and own.probe_sets == ("rendered", "orl")
    tuned = load(write("probe.finetune", {"recipe": "demo", "epochs": 3})).probe.finetune
    assert (tuned.chosen.epochs, tuned.chosen.batch_size) == (3, 32) and params.probe.finetune.chosen.epochs == 20
    assert params.views.rotation == 10.0  # keys with a default may be left out


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        # unknown
        ("sede", 1, ["unknown key sede", "seed", "probe"]),
        ("demo.image_sise", 24, ["unknown key demo.image_sise", "image_size"]),
        ("probe.atacked", 24, ["unknown key probe.atacked", "attacked"]),
        ("methods.restoring.stage", 2, ["unknown key methods.restoring.stage", "stages"]),
        ("methods.plain.stages", 2, ["unknown key methods.plain.stages", "temperature"]),
        ("controls.pixels.off", "plain", ["unknown key controls.pixels.off", "kind"]),
        # missing
        ("seed", ..., ["missing key seed"]),
        ("demo", ..., ["missing key demo"]),
        ("demo.workers", ..., ["missing key demo.workers"]),
        ("methods.plain.method", ..., ["methods.plain", "'method'", "simclr", "dar_sfrl"]),
        ("methods.plain.surrogate", ..., ["missing key methods.plain.surrogate", "adversarial"]),
        ("controls.pixels.of", ..., ["missing key controls.pixels.of"]),
        # type
        ("seed", "one", ["seed: expected int, got 'one'"]),
        ("seed", True, ["seed: expected int, got True"]),
        ("seed", 1.5, ["seed: expected int, got 1.5"]),
        ("demo.workers", True, ["demo.workers: expected int, got True"]),
        ("views.crop", True, ["views.crop: expected float, got True"]),
        ("views.crop", "1e-3", ["views.crop: expected float, got '1e-3'", "write 1.0e-3, not 1e-3"]),
        ("methods.plain.learning_rate", "1e-3", ["methods.plain.learning_rate", "write 1.0e-3"]),
        ("methods.restoring.legacy_pairs", 1, ["methods.restoring.legacy_pairs: expected bool, got 1"]),
        ("prepare.dataset", 7, ["prepare.dataset: expected str, got 7"]),
        ("prepare.test_folds", [0], ["prepare.test_folds: expected some of the folds 1, 2, 3, each once, got [0]"]),
        ("prepare.test_folds", [2, 2], ["prepare.test_folds: expected some of the folds 1, 2, 3, each once, got [2, 2]"]),
        ("prepare.test_folds", 1, ["prepare.test_folds: expected a list, got 1"]),
        ("prepare.test_folds", [1], ["prepare.test_folds: the people of the demo set are dealt already, got [1]"]),
        ("prepare.options", {"classes": 7}, ["prepare.options: expected options by data set (demo, demo), got 'classes': 7"]),
        ("network.backbone_args", [1], ["network.backbone_args: expected dict, got [1]"]),
        ("probe.severities", 3, ["probe.severities: expected a list, got 3"]),
        ("probe.severities", [1, "two"], ["probe.severities[1]: expected int, got 'two'"]),
        ("demo", 5, ["demo: expected a group of keys, got 5"]),
        ("demo", None, ["demo: expected a group of keys, got None"]),
        ("methods", ["plain"], ["methods: expected a group of named entries"]),
        ("methods.plain", "simclr", ["methods.plain: expected a group", "'method'"]),
        # value
        ("views.crop", 1.5, ["views.crop: expected a share in (0, 1], got 1.5"]),
        ("views.crop", float("nan"), ["views.crop: expected a number, got NaN"]),
        ("seed", -1, ["seed: expected 0 to 4294967295, got -1"]),
        ("seed", 2**32, ["seed: expected 0 to 4294967295, got 4294967296"]),
        ("demo.image_size", 15, ["demo.image_size: expected at least 16, got 15"]),
        ("demo.pretrain_identities", 0, ["demo.pretrain_identities: expected at least 1, got 0"]),
        ("demo.probe_identities", 2, ["demo.probe_identities: expected at least 3, got 2"]),
        ("demo.clips_per_identity", -1, ["demo.clips_per_identity: expected at least 1, got -1"]),
        ("demo.frames_per_clip", 0, ["demo.frames_per_clip: expected at least 1, got 0"]),
        ("demo.workers", 0, ["demo.workers: expected at least 1, got 0"]),
        ("prepare.image_size", 4, ["prepare.image_size: expected at least 8 px, got 4"]),
        ("prepare.dataset", "", ["prepare.dataset: expected the name of a folder under data/, got ''"]),
        ("prepare.probe", "../mine", ["prepare.probe: expected the name of a folder under data/, got '../mine'"]),
        ("prepare.dataset", "orl", ["prepare.dataset: the demo has a set 'orl' of its own; give data/orl another name"]),
        ("prepare.options", {"demo": {"classes": 7}}, ["prepare.options.demo: the demo set has none, got classes"]),
        ("methods.plain.attack_alpha", 800.0, ["methods.plain.attack_alpha: expected 0 to 255, in 255ths", "got 800.0"]),
        ("methods.plain.learning_rate", 0.0, ["methods.plain.learning_rate: expected a positive number, got 0.0"]),
        ("probe.alpha", 800.0, ["probe.eps, alpha and sweep are in 255ths", "got 8, 800"]),
        ("schedule.epochs", 0, ["schedule.epochs: expected at least 1, got 0"]),
        ("methods.plain.epochs", 0, ["methods.plain.epochs: expected an integer >= 1", "got 0"]),
        ("network.backbone", "resnet10x", ["network.backbone: timm has no model 'resnet10x'", "resnet10t"]),
        ("methods.plain.epochs", True, ["methods.plain.epochs: expected an integer >= 1", "got True"]),
        ("methods.plain.epochs", None, ["methods.plain.epochs: expected an integer >= 1", "got None"]),
        ("methods.plain.batch_size", 1, ["methods.plain.batch_size: expected an integer >= 2 (or no such key", "got 1"]),
        ("schedule.batch_size", 7, ["schedule.batch_size: DAR-SFRL (restoring) pairs the images of a batch: expected an even number, got 7"]),
        ("methods.restoring.batch_size", 9, ["methods.restoring.batch_size: DAR-SFRL (restoring) pairs", "even number, got 9"]),
        ("methods.plain.batch_size", "64", ["methods.plain.batch_size: expected an integer >= 2", "got '64'"]),
        ("schedule.precision", "float16", ["schedule.precision", "'float32' or 'bfloat16'", "'float16'"]),
        ("probe.attacks", ["pdg"], ["probe.attacks", "pgd", "pdg"]),
        ("probe.tasks", ["expression", "age"], ["probe.tasks must be among expression", "got age"]),
        ("probe.tasks", ["verification", "expression_finetuned"], ["probe.tasks must hold expression where expression_fine"]),
        ("probe.finetune", {"recipe": "voxceleb"}, ["probe.finetune.recipe must be one of affectnet, fer2013, demo"]),
        ("probe.attacked.valence_arousal", 0, ["probe.attacked.valence_arousal must be at least 1, got 0"]),
        ("probe.pairs", 30, ["probe.pairs", "multiple of 20", "30"]),
        ("methods.restoring.identity", 2.0, ["methods.restoring.identity", "[0, 1]", "2.0"]),
        # names that do not exist
        ("methods.plain.method", "simclear", ["methods.plain.method: unknown 'simclear'", "simclr, dar_sfrl"]),
        ("methods.plain.surrogate", "other", ["methods.plain.surrogate: expected another method (restoring)", "'other'"]),
        ("methods.plain.surrogate", "plain", ["methods.plain.surrogate: expected another method (restoring)", "'plain'"]),
        ("controls.pixels.kind", "pixels", ["controls.pixels.kind: unknown 'pixels'", "raw_pixels"]),
        ("controls.pixels.of", "missing", ["controls.pixels.of: 'missing' is not under methods (plain, restoring)"]),
        ("controls.plain", {"of": "plain", "kind": "blur"}, ["controls.plain: a method has that name too"]),
    ],
)
def test_a_mistake_is_named(write, key, value, said):
    text = message(write(key, value))
    assert all(part in text for part in said), text
    assert "\n" not in text


def test_an_option_that_the_reader_does_not_have_is_named_with_those_that_it_has(write):
    def prepare(dataset, options):
        return write("prepare", {"dataset": dataset, "probe": "demo", "image_size": 24, "options": {dataset: options}})

    assert load(prepare("affectnet", {"classes": 7})).prepare.options == {"affectnet": {"classes": 7}}
    assert load(prepare("mine", {"image_size": [40, 40]})).prepare.dataset == "mine"
    said = message(prepare("affectnet", {"clases": 7}))
    assert "prepare.options.affectnet.clases: the data set 'affectnet' has no such option; it has image_size, classes, annotations" in said
    assert "prepare.options.mine.classes: the data set 'folder' has no such option; it has image_size" in message(prepare("mine", {"classes": 7}))


def test_the_renderer_refuses_what_params_yaml_may_not_say(tmp_path):
    """Both have the least numbers: the renderer's module is too heavy to be loaded for them."""
    good = LEAST_DEMO | {"seed": 0}
    for name, least in LEAST_DEMO.items():
        with pytest.raises(ValueError, match=f"{name}: expected at least {least}, got {least - 1}"):
            make_demo_set(tmp_path, **good | {name: least - 1})
    assert Demo(**LEAST_DEMO).workers == 1 and list(tmp_path.iterdir()) == []


def test_a_data_set_that_is_not_there_is_named_with_where_to_get_it(write, tmp_path):
    data = tmp_path / "data"

    def said(dataset, probe="demo"):
        prepare = load(write("prepare", {"dataset": dataset, "probe": probe, "image_size": 24})).prepare
        with pytest.raises(ParamsError) as caught:
            check_folders(prepare, data)
        return str(caught.value)

    check_folders(load(write()).prepare, data)  # the demo is made
    first = said("mine")
    assert first.startswith("params.yaml: prepare.dataset: expected the data set in data/mine, there is nothing\nfolder: any folder of")
    (data / "mine").mkdir(parents=True)
    (data / "mine" / ".DS_Store").touch()
    assert "prepare.dataset and prepare.probe: expected the data set in data/mine, there is an empty folder\n" in said("mine", "mine")
    (data / "mine" / "anna").mkdir()
    check_folders(load(write("prepare.dataset", "mine")).prepare, data)
    (data / "rafdb").touch()
    both = said("min", "rafdb")
    assert "prepare.dataset: expected the data set in data/min, there is nothing (did you mean 'mine'?)\nfolder: " in both
    assert "\nparams.yaml: prepare.probe: expected the data set in data/rafdb, there is a file\nrafdb: " in both
    assert both.count("where to get it") == 2 and "EmoLabel" in both
    assert "data/Demo, there is nothing (did you mean 'demo'?)" in said("Demo")
    assert "data/afectnet, there is nothing (did you mean 'affectnet'?)" in said("afectnet")


@pytest.mark.parametrize("key, value, said", [
    ("network.backbone_args", {"chanels": [8, 8, 8, 8]}, "with backbone_args {'chanels': .*} for images of 24 px .*unexpected.*'chanels'"),
    ("network.backbone_args", {"stem_width": "wide"}, "timm's resnet10t cannot be built with backbone_args {'stem_width': 'wide'}"),
    ("network.backbone", "vit_tiny_patch16_224", "timm's vit_tiny_patch16_224 cannot be built .* for images of 24 px .prepare.image_size"),
])  # fmt: skip
def test_a_network_that_cannot_be_built_is_named_before_anything_is_rendered(write, key, value, said):
    check_network(load(write()))
    tree = yaml.safe_load(write(key, value).read_text())
    if key == "network.backbone":
        tree["network"]["backbone_args"] = {}
    path = write()
    path.write_text(yaml.safe_dump(tree))
    with pytest.raises(ParamsError, match=said):
        check_network(load(path))


def test_a_warm_up_longer_than_a_method_s_own_epochs_is_named_before_anything_runs(write):
    text = yaml.safe_load(write("schedule.warmup_epochs", 2).read_text())
    text["methods"]["plain"]["epochs"] = 1
    path = write()
    path.write_text(yaml.safe_dump(text))
    assert "methods.plain.epochs: warmup_epochs: expected 0..epochs (1), got 2" in message(path)


UNITS = {"method": "aunce", "surrogate": "plain"}


def test_a_method_may_begin_with_published_weights_or_a_file(write):
    for init in ("scratch", "imagenet", "data/encoders/mine@01234567"):
        assert load(write("methods.units", UNITS | {"init": init})).methods["units"].config.init == init
    assert load(write("methods.units", UNITS)).methods["units"].config.init == "scratch"
    for init in ("plain", ""):
        said = message(write("methods.units", UNITS | {"init": init}))
        assert "methods.units.init: expected scratch, imagenet" in said
    said = message(write("methods.units", UNITS | {"init": "plain"}))
    assert "'plain'; what begins with the encoder of another entry stands under 'continued'" in said


def test_what_begins_with_the_encoder_of_another_entry_stands_under_continued(write):
    params = load(write("continued", {"units": UNITS | {"init": "plain", "epochs": 3}}))
    assert list(params.methods) == ["plain", "restoring", "units"] and params.methods["units"].config.init == "plain"
    assert params.schedule_of("units").epochs == 3
    assert load(write("continued", {"a": UNITS | {"init": "b"}, "b": UNITS | {"init": "plain"}})).methods["a"].config.init == "b"
    expected = "continued.units.init: expected another entry (plain, restoring) without a circle, got"
    for group, said in [
        ({"units": UNITS}, f"{expected} 'scratch'"),
        ({"units": UNITS | {"init": "plane"}}, f"{expected} 'plane'"),
        ({"units": UNITS | {"init": "units"}}, f"{expected} 'units'"),
        ({"a": UNITS | {"init": "b"}, "b": UNITS | {"init": "a"}}, "without a circle, got 'a'"),
        ({"plain": UNITS | {"init": "restoring"}}, "continued.plain: a method has that name too"),
        ({"units": {"method": "simclr", "surrogate": "plain"}}, "continued.units.method: simclr has no init"),
        ({"units": UNITS | {"init": "plain", "surrogate": "units"}}, "units.surrogate: expected another method (plain, restoring)"),
        (["units"], "continued: expected a group of named entries"),
    ]:
        assert said in message(write("continued", group))


def test_an_encoder_that_is_named_must_be_there_and_be_the_one_that_is_meant(write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clips = {"method": "ssl_fer", "surrogate": "plain"}

    def said(method, **settings):
        with pytest.raises(ParamsError) as caught:
            check_named_files(load(write("methods.units", method | settings)))
        return str(caught.value)

    file = tmp_path / "mine" / "encoder.safetensors"
    assert said(UNITS, init="mine@01234567") == (
        f"params.yaml: methods.units.init: no encoder at mine/encoder.safetensors ({file}); train it first, or name something else"
    )
    file.parent.mkdir()
    file.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    check_named_files(load(write("methods.units", UNITS | {"init": f"mine@{digest[:8]}"})))
    expected = "expected an encoder with the beginning of its SHA-256, PATH@DIGEST, got 'mine@01234567'; if the file as it is now"
    assert said(UNITS, init="mine@01234567").startswith(f"params.yaml: methods.units.init: {expected}")
    assert said(clips, mask_fn=True, descriptor="mine@01234567").startswith(f"params.yaml: methods.units.descriptor: {expected}")
    for unused in ({"mask_fn": False, "descriptor": "mine@01234567"}, {"mask_fn": True, "descriptor": "pixels"}, {"mask_fn": True}):
        check_named_files(load(write("methods.units", clips | unused)))


@pytest.mark.parametrize(
    "name", ["", "a b", "a.b", "a/b", "a@b", "$a", "-a", "ä", "a\n", "1", "1e5", "1_0", "nan", "None", "True", 7, True, None]
)
def test_a_name_of_an_entry_that_the_pipeline_cannot_take_is_refused(write, name):
    entries = {"methods": UNITS, "continued": UNITS | {"init": "plain"}, "controls": {"of": "plain", "kind": "blur"}}
    for group, entry in entries.items():
        text = message(write(group, {name: entry, **GOOD[group]}))
        assert text.startswith(f"params.yaml: {group}.{name}: expected a name of A-Z, a-z, 0-9, _ and -, that neither")
        assert text.endswith(f", got {name!r}")


def test_names_of_entries_that_the_pipeline_takes(write):
    for name in ("a", "A-b_c", "_a", "9a", "simclr_300", "none", "true_one", "1-2", "inf_"):
        assert name in load(write("methods", GOOD["methods"] | {name: UNITS})).methods


def test_the_command_says_what_is_wrong_or_that_nothing_is(write, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").touch()
    write()
    main()
    assert capsys.readouterr().out == f"{LOOKED_AT}\n" and "(what lies in them is read by the stage prepare; the demo" in LOOKED_AT
    write("prepare.probe", "mine")
    with pytest.raises(SystemExit, match="^error: params.yaml: prepare.probe: expected the data set in data/mine, there is nothing"):
        main()
    text = yaml.safe_load(write("prepare.probe", "mine").read_text())
    text["network"]["backbone_args"] = {"chanels": 8}
    text["methods"]["units"] = UNITS | {"init": "mine/e.safetensors@01234567"}
    text["methods"]["clips"] = {"method": "moco", "surrogate": "plain", "mask_fn": True, "descriptor": "work/nowhere@01234567"}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(text, sort_keys=False))
    with pytest.raises(SystemExit) as caught:  # all at once
        main()
    said = [line.removeprefix("error: ") for line in str(caught.value).splitlines() if "params.yaml: " in line]
    begun = ["prepare.probe: expected the", "network: timm's", "methods.units.init: no encoder at mine/e", "methods.clips.descriptor: no"]
    assert [line[len("params.yaml: ") :][: len(part)] for line, part in zip(said, begun, strict=True)] == begun
    write("continued", {"units": UNITS | {"init": "plane"}})
    with pytest.raises(SystemExit, match="^error: params.yaml: continued.units.init: expected another entry .*'plane'"):
        main()


def test_two_equal_keys_are_an_error_not_the_last_one(write):
    path = write()
    path.write_text(path.read_text().replace("seed: 3\n", "seed: 3\nseed: 4\n"))
    assert "'seed' stands twice" in message(path)
    path = write()
    path.write_text(path.read_text().replace("  image_size: 24\n", "  image_size: 24\n  image_size: 32\n", 1))
    assert "'image_size' stands twice" in message(path)


def test_broken_yaml_names_the_line(write):
    path = write()
    path.write_text("seed: [1\nviews: {crop 0.5\n")
    text = message(path)
    assert text.startswith("params.yaml: not valid YAML") and "line 2" in text


def test_an_empty_file_says_what_belongs_there(write):
    path = write()
    path.write_text("")
    assert "the file: expected a group of keys, got None" in message(path)


def test_a_missing_file_says_how_to_get_it_back(tmp_path):
    assert "no such file" in message(tmp_path / "params.yaml") and "git checkout" in message(tmp_path / "params.yaml")
