"""Items and views of the methods on clips: what is drawn, what is refused, what each strategy changes."""

import numpy as np
import pandas as pd
import pytest
import torch

from lib.datasets import FaceTable
from lib.degrade.occluders import MEAN_FACE
from lib.loading import ClipBatch
from lib.methods.clip_pairs import ClipPairs, ClipSettings, NegativeSettings, released_views
from lib.views import Views, random_view

STILL = Views(crop=1.0, rotation=0, colour=0.0, grey=0)
PLAIN = {"fps": 1.0, "part_mask": 0.0}


class Nothing:
    has_masks = False


def table(clips=6, frames=5, landmarks=True, short=0):
    lengths = [2] * short + [frames] * (clips - short)
    rows = pd.DataFrame([(c, f, c // 2) for c, n in enumerate(lengths) for f in range(n)], columns=["clip", "frame", "identity"])
    points = np.zeros((len(rows), 68, 2), np.float32) if landmarks else None
    about = {"name": "set", "source": "drawn", "licence": "-", "credit": "-"}
    return FaceTable(**about, image_size=(16, 16), rows=rows, reader=Nothing(), landmarks=points)


def draw(epoch):
    return torch.Generator().manual_seed(epoch)


def batch(count, frames, side=16, seed=0):
    """Every frame a grey of its own, landmarks of the mean face."""
    g = torch.Generator().manual_seed(seed)
    level = torch.rand(count, frames, 1, 1, 1, generator=g) * 0.8 + 0.1
    landmarks = (torch.tensor(MEAN_FACE) * side).expand(count, frames, -1, -1)
    return ClipBatch(level.expand(-1, -1, 3, side, side), landmarks, torch.arange(count))


@pytest.mark.parametrize(("hard_neg", "face_swap", "columns"), [(False, False, 2), (True, False, 4), (False, True, 3), (True, True, 5)])
def test_an_item_is_what_the_strategies_need(hard_neg, face_swap, columns):
    faces = table()
    pairs = ClipPairs(NegativeSettings(time_aug=True, hard_neg=hard_neg, face_swap=face_swap, hard_interval=3.0, **PLAIN), STILL)
    rows = pairs.items(faces, 0, draw)
    clip, identity = faces.column("clip")[rows], faces.column("identity")[rows]
    assert rows.shape == (6, columns) and sorted(clip[:, 0]) == list(range(6))
    own = columns - face_swap
    assert (clip[:, :own] == clip[:, :1]).all()
    if face_swap:
        assert (identity[:, -1] != identity[:, 0]).all()
    assert not torch.equal(rows, pairs.items(faces, 1, draw)) and torch.equal(rows, pairs.items(faces, 0, draw))


def test_short_clips_are_named_once(capsys):
    pairs, faces = ClipPairs(NegativeSettings(hard_neg=True, hard_interval=3.0, **PLAIN), STILL), table(short=2)
    for epoch in range(3):
        assert len(pairs.items(faces, epoch, draw)) == 4
    assert capsys.readouterr().out == "set: 2 of 6 clips are too short and left out: number (frames) 0 (2), 1 (2)\n"


def test_clips_that_a_released_draw_does_not_fit_are_counted_once(capsys):
    faces = table(clips=60, frames=5)
    for variant in ("released", "corrected"):
        settings = NegativeSettings(time_aug=True, variant=variant, **PLAIN | {"fps": 3.0})
        pairs = ClipPairs(settings, STILL)  # offsets of 1 to 3 frames: of the middle frame's not all fit
        kept = [len(pairs.items(faces, epoch, draw)) for epoch in range(2)]
        said = capsys.readouterr().out
        if variant == "released":
            assert kept[0] == kept[1] < 60
            assert said == f"set: {60 - kept[0]} of 60 clips are left out of this run: what was drawn does not fit\n"
        else:
            assert kept == [60, 60] and said == ""


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"part_mask": 0.5}, "^part_mask: 'set' has no landmarks, and part_mask need them; .*part_mask: 0"),
        ({"face_swap": True}, "^face_swap: 'set' has no landmarks, and face_swap need them"),
        ({"mask_fn": True, "face_swap": True}, "^face_swap: 'set' has no landmarks, and face_swap, mask_fn need them"),
    ],
)
def test_what_needs_landmarks_says_so(settings, message):
    with pytest.raises(ValueError, match=message):
        ClipPairs(NegativeSettings(**PLAIN | settings), STILL).items(table(landmarks=False), 0, draw)
    assert len(ClipPairs(NegativeSettings(**PLAIN), STILL).items(table(landmarks=False), 0, draw)) == 6


def test_a_part_is_covered_in_its_share_of_each_view(monkeypatch):
    monkeypatch.setattr("lib.methods.clip_pairs.random_view", lambda images, *_: images)
    pairs = ClipPairs(ClipSettings(part_mask=0.7), STILL)
    given = batch(1500, 2)
    stripes = torch.rand(16, 1, generator=draw(3)) * 0.1
    given = ClipBatch(given.images * 0.8 + stripes, given.landmarks, given.clip)
    made = pairs(given, draw(0))
    for view, frame in ((made.first, 0), (made.second, 1)):
        covered = ((view - given.images[:, frame]).abs() > 1e-3).flatten(1).any(1)
        assert covered.float().mean().item() == pytest.approx(0.7, abs=0.05)
    assert torch.equal(made.frames, torch.cat([given.images[:, 0], given.images[:, 1]]))


def test_cut_mix_changes_positives_alone():
    pairs = ClipPairs(ClipSettings(cut_mix=True, **PLAIN), STILL)
    given = batch(200, 2)
    made = pairs(given, draw(0))
    flat = lambda x: (x - x.mean((2, 3), keepdim=True)).abs().amax((1, 2, 3)) < 1e-5  # noqa: E731
    assert flat(made.first).all()
    assert (~flat(made.second)).float().mean().item() == pytest.approx(0.8, abs=0.1)


def test_released_colours_change_in_all_first_and_in_most_second_views():
    images = torch.tensor([0.7, 0.4, 0.3]).view(1, 3, 1, 1).expand(2000, -1, 8, 8)
    views = released_views(images, draw(0))
    same = ((views - images).abs() < 1e-4).flatten(1).all(1)
    assert same[:1000].sum() == 0
    assert same[1000:].float().mean().item() == pytest.approx(0.2 * 0.8, abs=0.04)  # of which one in five is grey
    grey = (views - views.mean(1, keepdim=True)).abs().flatten(1).amax(1) < 1e-5
    assert grey.float().mean().item() == pytest.approx(0.2, abs=0.04)


def test_released_face_swap_trains_on_bgr():
    red = torch.tensor([0.9, 0.1, 0.1]).view(1, 1, 3, 1, 1).expand(400, 3, -1, 8, 8)
    landmarks = (torch.tensor(MEAN_FACE) * 8).expand(400, 3, -1, -1)
    for face_swap in (True, False):
        settings = ClipSettings(variant="released", face_swap=face_swap, part_mask=0.0)
        made = ClipPairs(settings, STILL)(ClipBatch(red, landmarks, torch.arange(400)), draw(0))
        colour = made.first.mean((0, 2, 3))  # hues turn both ways alike
        assert (colour[2] > colour[0] + 0.2) if face_swap else (colour[0] > colour[2] + 0.2)


def test_on_a_cpu_views_are_those_of_single_precision():
    faces = batch(4, 2, side=32)
    textured = faces.images * torch.rand(4, 2, 3, 32, 32, generator=draw(1))
    views, frames = Views(hue=0.1), torch.cat([textured[:, 0], textured[:, 1]])
    made = ClipPairs(ClipSettings(**PLAIN), views)(ClipBatch(textured, faces.landmarks, faces.clip), draw(0))
    assert torch.equal(torch.cat([made.first, made.second]), random_view(frames, views, draw(0)))


def test_half_precision_changes_no_pixel():
    settings = {"time_aug": True, "hard_neg": True, "face_swap": True, "cut_mix": True, "part_mask": 0.8}
    faces = batch(5, 5, side=32)
    textured = ClipBatch(faces.images * torch.rand(5, 5, 3, 32, 32, generator=draw(1)), faces.landmarks, faces.clip)
    for variant in ("corrected", "released"):
        pairs = ClipPairs(NegativeSettings(**PLAIN | settings, hard_interval=9.0, variant=variant), Views(hue=0.1, blur=0.5))
        exact = pairs(textured, draw(0))
        with torch.autocast("cpu", torch.bfloat16):
            cast = pairs(textured, draw(0))
        assert torch.equal(cast.first, exact.first) and torch.equal(cast.second, exact.second)
