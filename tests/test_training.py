"""The training loop: history, exact resume, one checkpoint for one run, and what goes wrong."""

import csv
import errno
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from lib import training
from lib.degrade.occluders import MEAN_FACE
from lib.files import DiskFull
from lib.methods.aunce import Aunce
from lib.methods.byol import BYOL, BYOLConfig
from lib.methods.dar_sfrl import DarSfrl, DarSfrlConfig
from lib.methods.dar_sfrl_released import DarSfrlReleased
from lib.methods.moco import MoCo, MoCoConfig
from lib.methods.simclr import SimCLR, SimCLRConfig
from lib.methods.ssl_fer import SslFer, SslFerConfig
from lib.models.encoder import WEIGHTS, EncoderConfig
from lib.training import HISTORY, Schedule, TrainingError, fingerprint, seeded, train
from lib.views import Views

CPU = torch.device("cpu")
NETWORK = EncoderConfig(16, "resnet10t", {"channels": [8, 8, 16, 16], "stem_width": 8})
PLAIN = SimCLRConfig(head_hidden=16, head_dim=8)
RESTORING = DarSfrlConfig(stages=1, channels=2, hidden=2, head_hidden=16, head_dim=8, attack_steps=1, components=4)
RELEASED = replace(RESTORING, variant="released", sensitive_batch=2, sensitive_negatives=2)
KINDS = {"simclr": (SimCLR, PLAIN), "dar_sfrl": (DarSfrl, RESTORING), "released": (DarSfrlReleased, RELEASED)}
HEAD = {"head_hidden": 16, "head_dim": 8, "fps": 1.0}
CLIPS = HEAD | {"descriptor": "pixels", "hard_interval": 2.0}
CLIP_KINDS = {
    "ssl_fer": (SslFer, SslFerConfig(**CLIPS, cut_mix=True)),
    "ssl_fer_released": (SslFer, SslFerConfig(**CLIPS, variant="released")),
    "moco": (MoCo, MoCoConfig(**CLIPS, queue=40, time_aug=True, hard_neg=True, face_swap=True, mask_fn=True)),
    "byol": (BYOL, BYOLConfig(**HEAD, time_aug=True, face_swap=True)),
}
SCHEDULE = Schedule(batch_size=8, epochs=3, warmup_epochs=0.5, precision="float32")  # 3 epochs of 3 steps


class Killed(Exception):
    """Stands for the end of the process."""


class Pictures:
    """27 images of 16 px: three of them are left out of an epoch of 3 x 8."""

    def __len__(self):
        return 27

    columns = ("clip",)

    def column(self, name):
        return np.arange(27) // 3

    def pixels(self, index):
        return self.images(index).permute(0, 2, 3, 1)

    def images(self, index):
        return torch.randint(0, 256, (27, 3, 16, 16), generator=torch.Generator().manual_seed(9)).byte()[index]


class Clips:
    """27 clips of 5 frames of 16 px, of 9 people: three clips are left out of an epoch of 3 x 8."""

    name, columns, has_landmarks = "clips", ("clip", "frame", "identity", "landmarks"), True

    def __len__(self):
        return 135

    def column(self, name):
        return {"clip": np.arange(135) // 5, "frame": np.arange(135) % 5, "identity": np.arange(135) // 15}[name]

    def pixels(self, index):
        return torch.randint(0, 256, (135, 16, 16, 3), generator=torch.Generator().manual_seed(9)).byte()[index]

    def landmarks(self, index):
        moved = torch.randn(135, 68, 2, generator=torch.Generator().manual_seed(8)) * 0.3
        return (torch.tensor(MEAN_FACE) * 16 + moved)[index]


def make(kind="simclr", seed=1, config=None):
    build, default = (KINDS | CLIP_KINDS)[kind]
    torch.manual_seed(seed)
    return build(config or default, NETWORK, Views())


@pytest.fixture
def run(tmp_path):
    """``run(name, ...)`` trains into tmp_path/name; all runs share the folder of checkpoints."""

    def go(name, method=None, schedule=SCHEDULE, seed=1, data="d", table=None):
        method = make(seed=seed) if method is None else method
        checkpoints = tmp_path / "checkpoints"
        out = tmp_path / name
        return train(method, table or Pictures(), schedule, seed=seed, data=data, out=out, checkpoints=checkpoints, device=CPU, label=name)

    return go


def die_at(method, step):
    """The process ends within step ``step`` (from 0), after the weights moved and before they are saved."""
    plain = getattr(method, "after_step", None)

    def after_step(number):
        if number == step:
            raise Killed
        if plain:
            plain(number)

    method.after_step = after_step
    return method


def without_seconds(history):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history]


def files(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file()) if folder.exists() else []


@pytest.mark.parametrize(
    ("kind", "terms"),
    [
        ("simclr", {"contrast"}),
        ("dar_sfrl", {"restore", "leave", "robust_contrast", "sensitive_contrast", "orthogonal"}),
        ("released", {"restore", "orthogonal", "mirror", "robust_contrast", "sensitive_contrast"}),
    ],
)
def test_the_history_has_a_row_an_epoch_and_every_term(run, tmp_path, kind, terms):
    history = run("a", make(kind))
    with open(tmp_path / "a" / HISTORY, newline="") as file:
        written = list(csv.DictReader(file))
    assert set(written[0]) == {"epoch", "step", "seconds", "lr", "loss", "embedding_std", "effective_rank"} | terms
    assert [(row["epoch"], row["step"]) for row in written] == [("1", "3"), ("2", "6"), ("3", "9")]
    for row, text in zip(history, written, strict=True):
        assert {name: float(value) for name, value in text.items()} == pytest.approx(row, rel=1e-5)
        assert all(math.isfinite(value) for value in row.values())
    assert [row["seconds"] for row in history] == sorted(row["seconds"] for row in history)
    assert files(tmp_path / "a") == sorted([HISTORY, WEIGHTS])


def test_the_history_holds_means_over_the_steps_of_an_epoch(run):
    method, losses, rates = make(), [], []
    plain = method.loss

    def loss(views):
        terms = plain(views)
        losses.append(terms["loss"].item())
        return terms

    method.loss = loss
    optimizer = method.optimizer()
    method.optimizer = lambda: optimizer
    method.after_step = lambda step: rates.append(optimizer.param_groups[0]["lr"])
    history = run("a", method)
    assert [row["loss"] for row in history] == pytest.approx([sum(losses[i : i + 3]) / 3 for i in (0, 3, 6)])
    assert rates == pytest.approx([PLAIN.learning_rate * SCHEDULE.rate(step, 3) for step in range(9)])
    assert [row["lr"] for row in history] == pytest.approx([rates[2], rates[5], rates[8]])


def test_a_steps_losses_are_read_when_the_next_one_is_queued(run, monkeypatch):
    """A GPU has work then; at the end of an epoch, where the weights are saved, there is nothing to queue."""
    method, seen = make(), []
    plain_send = training.under_way

    def under_way(terms, embedding):
        read, step = plain_send(terms, embedding), sum(x.startswith("queued") for x in seen)
        return lambda: seen.append(f"read {step}") or read()

    method.after_step = lambda step: seen.append(f"queued {step}")
    monkeypatch.setattr("lib.training.under_way", under_way)
    run("a", method)
    assert seen[:9] == [
        "queued 0", "queued 1", "read 0", "queued 2", "read 1", "read 2", "queued 3", "queued 4", "read 3",
    ]  # fmt: skip


def test_an_epoch_sees_no_image_twice_and_epochs_differ_in_order(run, monkeypatch):
    seen = []
    plain = Pictures.images
    monkeypatch.setattr(Pictures, "images", lambda self, index: (seen.append(index.tolist()), plain(self, index))[1])
    run("a")
    epochs = [sum(seen[i : i + 3], []) for i in (0, 3, 6)]
    assert all(len(set(epoch)) == len(epoch) == 24 for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize(("step", "goes_on_at"), [(5, 3), (6, 6), (8, 6)])
def test_a_killed_run_ends_with_the_same_bytes(run, tmp_path, capsys, kind, step, goes_on_at):
    unbroken = run("a", make(kind))
    with pytest.raises(Killed):
        run("b", die_at(make(kind), step))
    assert files(tmp_path / "b") == []
    resumed = run("b", make(kind))
    assert f"goes on at step {goes_on_at} of 9" in capsys.readouterr().out
    assert (tmp_path / "a" / WEIGHTS).read_bytes() == (tmp_path / "b" / WEIGHTS).read_bytes()
    assert without_seconds(resumed) == without_seconds(unbroken)


@pytest.mark.parametrize("step", [1, 4, 7])
def test_a_run_killed_within_an_epoch_ends_with_the_same_bytes(run, tmp_path, capsys, monkeypatch, step):
    unbroken = run("a", make("dar_sfrl"))
    monkeypatch.setattr(training, "CHECKPOINT_EVERY_S", -1.0)  # a checkpoint after every step
    with pytest.raises(Killed):
        run("b", die_at(make("dar_sfrl"), step))
    resumed = run("b", make("dar_sfrl"))
    assert f"goes on at step {step} of 9" in capsys.readouterr().out
    assert (tmp_path / "a" / WEIGHTS).read_bytes() == (tmp_path / "b" / WEIGHTS).read_bytes()
    assert without_seconds(resumed) == without_seconds(unbroken)


@pytest.mark.parametrize("kind", list(CLIP_KINDS))
@pytest.mark.parametrize("step", [4, 5])
def test_a_killed_run_on_clips_ends_with_the_same_bytes(run, tmp_path, monkeypatch, kind, step):
    unbroken = run("a", make(kind), table=Clips())
    monkeypatch.setattr(training, "CHECKPOINT_EVERY_S", -1.0)
    with pytest.raises(Killed):
        run("b", die_at(make(kind), step), table=Clips())
    resumed = run("b", make(kind), table=Clips())
    assert (tmp_path / "a" / WEIGHTS).read_bytes() == (tmp_path / "b" / WEIGHTS).read_bytes()
    assert without_seconds(resumed) == without_seconds(unbroken)


@pytest.mark.parametrize("kind", ["ssl_fer", "ssl_fer_released"])
def test_an_epoch_sees_no_clip_twice_and_pairs_are_drawn_anew_unless_released(run, monkeypatch, kind):
    seen, plain = [], Clips.pixels
    monkeypatch.setattr(Clips, "pixels", lambda self, index: (seen.append(index.view(8, 5)), plain(self, index))[1])
    run("a", make(kind), table=Clips())
    epochs = [torch.cat(seen[i : i + 3]) for i in (0, 3, 6)]
    assert all(len(set((epoch[:, 0] // 5).tolist())) == 24 for epoch in epochs)
    assert epochs[0][:, 0].tolist() != epochs[1][:, 0].tolist()
    pairs = [{tuple(row) for row in epoch.tolist()} for epoch in epochs]
    same = len(pairs[0] & pairs[1])
    assert same > 15 if kind == "ssl_fer_released" else same < 5


def test_a_method_is_told_how_many_steps_there_are_also_when_it_goes_on(run):
    method = make("byol")
    with pytest.raises(Killed):
        run("a", die_at(method, 5), table=Clips())
    assert method.steps == 9
    method = make("byol")
    run("a", method, table=Clips())
    assert method.steps == 9


def test_a_batch_of_more_clips_than_there_are_is_refused(run, tmp_path):
    with pytest.raises(ValueError, match="batch_size: 28 is more than the 27 pre-training clips; lower it"):
        run("a", make("byol"), replace(SCHEDULE, batch_size=28), table=Clips())


def test_a_frozen_network_is_a_part_of_the_fingerprint():
    one, other = (make("ssl_fer", config=SslFerConfig(**CLIPS | {"descriptor": "resnet10t", "descriptor_pretrained": False})) for _ in "ab")
    assert fingerprint(one, SCHEDULE, 1, "d") == fingerprint(other, SCHEDULE, 1, "d")
    other.descriptor.network.conv1[0].weight.data[0, 0, 0, 0] += 1
    assert fingerprint(one, SCHEDULE, 1, "d") != fingerprint(other, SCHEDULE, 1, "d")


def test_a_run_killed_twice_and_once_at_the_very_end(run, tmp_path, monkeypatch):
    unbroken = run("a")
    for step in (4, 7):
        with pytest.raises(Killed):
            run("b", die_at(make(), step))

    def killed(*_):
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(training, "save_encoder", killed)
        run("b")
    assert without_seconds(run("b")) == without_seconds(unbroken)
    assert (tmp_path / "a" / WEIGHTS).read_bytes() == (tmp_path / "b" / WEIGHTS).read_bytes()


def test_seconds_go_on_where_they_were(run):
    with pytest.raises(Killed):
        run("b", die_at(make(), 6))
    seconds = [row["seconds"] for row in run("b")]
    assert seconds == sorted(seconds) and seconds[0] > 0


def test_the_folder_of_checkpoints_is_gone_when_all_went_well(run, tmp_path):
    with pytest.raises(Killed):
        run("a", die_at(make(), 4))
    assert files(tmp_path / "checkpoints") == ["last.pt"]
    (run_folder,) = (tmp_path / "checkpoints").iterdir()
    (run_folder / ".last.pt.x.part").mkdir()  # as a process leaves it that was killed while it saved
    (run_folder / ".last.pt.x.part" / "last.pt").touch()
    run("a")
    assert list((tmp_path / "checkpoints").iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 2},
        {"data": "e"},
        {"schedule": replace(SCHEDULE, epochs=4)},
        {"schedule": replace(SCHEDULE, warmup_epochs=1.0)},
        {"schedule": replace(SCHEDULE, constant_epochs=1.0)},
        {"method": lambda: make(config=replace(PLAIN, learning_rate=2e-3))},
        {"method": lambda: SimCLR(PLAIN, NETWORK, Views(crop=0.7))},
        {"method": lambda: SimCLR(PLAIN, replace(NETWORK, backbone_args={"channels": [8, 8, 8, 8], "stem_width": 8}), Views())},
        {"method": lambda: make("dar_sfrl")},
    ],
)
def test_another_run_does_not_take_the_checkpoint(run, tmp_path, capsys, change):
    with pytest.raises(Killed):
        run("a", die_at(make(), 4))
    change = {name: value() if callable(value) else value for name, value in change.items()}
    run("b", **change)
    assert "goes on" not in capsys.readouterr().out
    assert files(tmp_path / "checkpoints") == ["last.pt"]  # the killed run's is still there


def test_the_fingerprint_is_of_parameters_data_and_code(tmp_path, monkeypatch):
    method = make()

    def now():
        return fingerprint(method, SCHEDULE, 1, "d")

    assert now() == fingerprint(make(seed=7), SCHEDULE, 1, "d")  # the weights follow from the seed
    lib = tmp_path / "lib"
    for name in training.CODE:
        file = lib / name if name.endswith(".py") else lib / name / "part.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("a = 1\n")
    monkeypatch.setattr(training, "__file__", str(lib / "training.py"))
    before = now()
    for name in training.CODE:
        file = lib / name if name.endswith(".py") else lib / name / "part.py"
        file.write_text("a = 2\n")
        assert now() != before, name
        file.write_text("a = 1\n")
    assert now() == before


def test_one_seed_one_result(run, tmp_path):
    same = [run(name) for name in ("a", "b")]
    other = run("c", seed=2)
    assert without_seconds(same[0]) == without_seconds(same[1]) != without_seconds(other)
    weights = [(tmp_path / name / WEIGHTS).read_bytes() for name in "abc"]
    assert weights[0] == weights[1] != weights[2]


def test_bfloat16_trains_float32_weights(run):
    # 32 px: where the last maps have one pixel, torch's bfloat16 gradient of a tiny convolution reads stale memory
    torch.manual_seed(1)
    method = SimCLR(PLAIN, replace(NETWORK, image_size=32), Views())
    history = run("a", method, replace(SCHEDULE, precision="bfloat16"))
    assert all(math.isfinite(value) for value in history[-1].values())
    assert {p.dtype for p in method.parameters()} == {torch.float32}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("step", [4, 5], ids=["within an epoch", "at its end"])
def test_a_loss_that_is_not_finite_is_named_with_its_step(run, tmp_path, value, step):
    method = make("dar_sfrl")
    plain, calls = method.loss, []

    def loss(views):
        terms = plain(views)
        broken = value if len(calls) == step else 1.0  # the weights are not finite either then, nor what views make of them
        calls.append(1)
        return terms | {"orthogonal": terms["orthogonal"] * broken, "loss": terms["loss"] * broken}

    method.loss = loss
    with pytest.raises(TrainingError, match=rf"^bad: the term 'orthogonal' is {value} in step {step}; lower .*learning_rate"):
        run("bad", method)
    assert files(tmp_path / "bad") == [] and files(tmp_path / "checkpoints") == ["last.pt"]


@pytest.mark.parametrize("kind", ["simclr", *CLIP_KINDS])
def test_no_image_to_learn_from_is_not_a_matter_of_the_batch(tmp_path, kind):
    class Nobody(Pictures):
        def __len__(self):
            return 0

    with pytest.raises(ValueError, match="table: there is no image to learn from: none of the set is of the split 'pretrain'"):
        train(make(kind), Nobody(), SCHEDULE, seed=1, data="d", out=tmp_path / "out", checkpoints=tmp_path, device=CPU, label="none")
    assert files(tmp_path) == []


def test_a_step_that_fails_is_the_error_also_where_the_losses_before_it_cannot_be_read(run, monkeypatch):
    """As on a GPU, where what failed leaves nothing that can be read."""
    method, plain = make(), training.under_way

    def under_way(terms, embedding):
        read = plain(terms, embedding)

        def unless_failed():
            if method.failed:
                raise RuntimeError("the device is gone")
            return read()

        return unless_failed

    def after_step(step):
        if step == 4:
            method.failed = True
            raise ValueError("what failed first")

    method.failed, method.after_step = False, after_step
    monkeypatch.setattr("lib.training.under_way", under_way)
    with pytest.raises(ValueError, match="what failed first"):
        run("a", method)


def test_a_batch_larger_than_the_data_is_refused(run, tmp_path):
    with pytest.raises(ValueError, match="batch_size: 28 is more than the 27 pre-training images; lower it"):
        run("a", schedule=replace(SCHEDULE, batch_size=28))
    assert files(tmp_path) == []


@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b"not a checkpoint", lambda b: b[:1000]])
def test_a_checkpoint_that_cannot_be_read_is_named(run, tmp_path, damage):
    with pytest.raises(Killed):
        run("a", die_at(make(), 4))
    (state,) = (tmp_path / "checkpoints").rglob("last.pt")
    state.write_bytes(damage(state.read_bytes()))
    with pytest.raises(TrainingError, match=f"^{state}: the checkpoint is cut short or broken; delete it to start anew$"):
        run("a")
    state.unlink()
    assert len(run("a")) == 3


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_at_a_checkpoint_leaves_nothing(run, tmp_path, monkeypatch):
    monkeypatch.setattr(training.torch, "save", full)
    with pytest.raises(DiskFull, match=r"the disk is full.*last\.pt: free some space"):
        run("a")
    assert files(tmp_path) == []


def test_a_full_disk_at_the_end_leaves_the_checkpoint_and_no_encoder(run, tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(DiskFull, match=WEIGHTS):
        patch.setattr("safetensors.torch.save_file", full)
        run("a")
    assert WEIGHTS not in files(tmp_path / "a") and files(tmp_path / "checkpoints") == ["last.pt"]
    run("a")
    assert WEIGHTS in files(tmp_path / "a")


def test_the_rate_rises_linearly_and_falls_as_a_cosine():
    schedule = Schedule(2, 10, 2.0, "float32")
    assert [schedule.rate(step, 5) for step in range(10)] == pytest.approx([0.1 * k for k in range(1, 11)])
    for step in range(10, 50):
        assert schedule.rate(step, 5) == pytest.approx(0.5 * (1 + math.cos(math.pi * (step - 10) / 40)))
    assert schedule.rate(10, 5) == 1 and schedule.rate(50, 5) == pytest.approx(0)
    assert Schedule(2, 1, 0.0, "float32").rate(0, 1) == 1
    for steps in (1, 3, 5, 7):  # half an epoch ends within a step: never above the rate that was asked for
        assert max(Schedule(2, 4, 0.5, "float32").rate(step, steps) for step in range(4 * steps)) <= 1
    assert Schedule(2, 1, 1.0, "float32").rate(3, 4) == 1  # all of it is warm-up


def test_the_rate_stays_at_its_height_before_it_falls():
    schedule = Schedule(2, 10, 1.0, "float32", constant_epochs=2.0)
    assert [schedule.rate(step, 5) for step in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1])
    assert all(schedule.rate(step, 5) == 1 for step in range(5, 16))
    for step in range(16, 51):
        assert schedule.rate(step, 5) == pytest.approx(0.5 * (1 + math.cos(math.pi * (step - 15) / 35)))
    whole = Schedule(2, 3, 1.0, "float32", constant_epochs=2.0)
    assert [whole.rate(step, 2) for step in range(2, 6)] == [1] * 4  # it never falls


@pytest.mark.parametrize(
    ("name", "value"),
    [("batch_size", 1), ("epochs", 0), ("warmup_epochs", -1.0), ("warmup_epochs", 3.5), ("precision", "float16"),
     ("constant_epochs", -1.0), ("constant_epochs", 2.75), ("constant_epochs", math.nan)],
)  # fmt: skip
def test_an_odd_schedule_is_refused(name, value):
    with pytest.raises(ValueError, match=f"^{name}: .*{value}"):
        replace(SCHEDULE, **{name: value})


def test_seeded_differs_by_purpose_number_and_seed():
    draws = {
        tuple(torch.rand(2, generator=seeded(*key, CPU)).tolist())
        for key in [(1, "step", 0), (1, "step", 1), (2, "step", 0), (1, "order", 0)]
    }
    assert len(draws) == 4
    assert torch.rand(1, generator=seeded(1, "step", 0, CPU)) == torch.rand(1, generator=seeded(1, "step", 0, CPU))


def test_a_method_that_lacks_a_part_of_the_protocol_is_told_before_it_trains(run):
    method = make()
    method.optimizer = None
    with pytest.raises(ValueError, match="SimCLR: expected the methods views, loss, optimizer, encoder, missing optimizer"):
        run("a", method)


@pytest.mark.parametrize("kept", [{"loss"}, {"embedding"}, set()])
def test_a_loss_that_gives_something_else_is_told_in_the_first_step(run, tmp_path, kept):
    method, steps = make(), []
    loss, method.loss = method.loss, lambda views: {name: term for name, term in loss(views).items() if name in kept}
    method.after_step = steps.append
    with pytest.raises(ValueError, match=r"^SimCLR\.loss: expected a dict with 'loss' \(a scalar\) and 'embedding' \[B, D\]"):
        run("a", method)
    assert steps == [] and files(tmp_path) == []


def test_one_embedding_a_batch_is_enough(run):
    """The released DAR-SFRL has three steps a batch, one with an embedding."""
    method = make("released")
    given, loss = [], method.loss
    method.loss = lambda views: given.append(loss(views)) or dict(given[-1])
    history = run("a", method)
    assert [("embedding" in terms) for terms in given[:3]] == [False, True, False] and all("embedding_std" in row for row in history)


def test_images_without_clips_train_to_components_alone(run, monkeypatch):
    monkeypatch.setattr(Pictures, "columns", ())
    method = make("dar_sfrl")
    run("a", method)
    assert method.encoder().config.readout["moving"] == 0 and method.encoder().dim == RESTORING.components
