"""Which frames are seen together: offsets as published, draws that keep to the clips, and clips that are too short."""

import numpy as np
import pandas as pd
import pytest
import torch

from lib.clips import ClipIndex, time_offsets
from lib.datasets import FaceTable


class Reader:
    has_masks = False

    def images(self, index):
        return np.broadcast_to(index.astype(np.uint8)[:, None, None, None], (len(index), 4, 4, 3)).copy()


def make_table(clips, identity=None, time=None, landmarks=False, shuffled=True):
    """``clips``: clip number -> its frame numbers. Rows in a shuffled order."""
    rows = pd.DataFrame([(number, frame) for number, frames in clips.items() for frame in frames], columns=["clip", "frame"])
    rows["identity"] = rows["clip"].map(identity) if identity else rows["clip"]
    if time:
        rows["time"] = rows["frame"] / time
    if shuffled:
        rows = rows.sample(frac=1, random_state=3).reset_index(drop=True)
    points = np.random.default_rng(0).normal(size=(len(rows), 68, 2)).astype(np.float32) if landmarks else None
    return FaceTable(name="set", source="drawn", licence="-", credit="-", image_size=(4, 4), rows=rows, reader=Reader(), landmarks=points)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(table, count=300, **settings):
    """(clip [n, k], frame [n, k]) of ``count`` epochs."""
    index = ClipIndex(table, **{"fps": 25 / 6, "interval": 1.0, "hard_interval": None} | settings)
    rows = torch.cat([index.draw(seeded(seed)) for seed in range(count)]).numpy()
    return table.column("clip")[rows], table.column("frame")[rows]


def test_the_published_offsets():
    offsets, weights = time_offsets(25 / 6, 1.0)
    assert offsets.tolist() == [2, 3, 4, 5, 6]
    assert weights == pytest.approx([1 / 3, 4 / 15, 1 / 5, 2 / 15, 1 / 15])
    assert time_offsets(25 / 6, 1.0, "increasing")[1] == pytest.approx([1 / 15, 2 / 15, 1 / 5, 4 / 15, 1 / 3])
    assert time_offsets(25 / 6, 1.0, "uniform")[1] == pytest.approx([0.2] * 5)
    assert time_offsets(30, 1.0)[0].tolist() == list(range(5, 35))


@pytest.mark.parametrize("released", [False, True])
def test_positives_are_at_the_published_offsets_with_their_weights(released):
    clip, frame = drawn(make_table({7: range(40), 2: range(40)}), 1500, released=released)
    assert (clip[:, 0] == clip[:, 1]).all()
    inner = (frame[:, 0] >= 6) & (frame[:, 0] < 34)  # all offsets fit on both sides
    step = (frame[:, 1] - frame[:, 0])[inner]
    share = np.array([(np.abs(step) == k).mean() for k in range(8)])
    assert share == pytest.approx([0, 0, 1 / 3, 4 / 15, 1 / 5, 2 / 15, 1 / 15, 0], abs=0.05)
    assert (step > 0).mean() == pytest.approx(0.5, abs=0.04)
    assert set(frame[:, 0]) == set(range(40))  # every frame serves as an anchor


def test_without_time_aug_the_positive_is_the_same_frame():
    _, frame = drawn(make_table({1: range(9)}), interval=None)
    assert (frame[:, 0] == frame[:, 1]).all() and len(set(frame[:, 0])) == 9


def test_hard_negatives_are_far_in_the_same_clip_and_uniform_over_what_is_far():
    clip, frame = drawn(make_table({5: range(30), 6: range(3)}), 4000, hard_interval=3.0)
    assert (clip == 5).all()
    anchor, positive, other, partner = frame.T
    assert (np.abs(other - anchor) >= 12).all()
    assert set(np.abs(partner - other)) == {2, 3, 4, 5, 6}
    assert (partner != positive).all() and (partner != anchor).all()
    at = anchor == 13  # far before: 0 and 1, far after: 25 to 29
    counts = np.bincount(other[at], minlength=30)
    assert set(np.flatnonzero(counts)) == {0, 1, 25, 26, 27, 28, 29}
    assert counts[counts > 0] / at.sum() == pytest.approx([1 / 7] * 7, abs=0.12)


def test_released_hard_negatives_choose_a_side_first_and_leave_out_two_frames():
    _, frame = drawn(make_table({5: range(30)}), 6000, hard_interval=3.0, released=True)
    at = frame[:, 0] == 14
    counts = np.bincount(frame[at, 2], minlength=30) / at.sum()
    assert set(np.flatnonzero(counts)) == {0, 1, 26, 27, 28}  # not 2, 12 frames before; not 29, the last
    assert counts[:2].sum() == pytest.approx(0.5, abs=0.12)


def test_in_a_short_clip_the_hard_negative_is_its_own_positive():
    settings = {"fps": 1.0, "interval": 1.0, "hard_interval": 2.0}
    _, frame = drawn(make_table({1: range(3)}), 30, **settings)
    assert {tuple(row) for row in frame.tolist()} == {(0, 1, 2, 2), (2, 1, 0, 0)}
    _, frame = drawn(make_table({1: range(4)}), 60, **settings, released=True)
    assert (frame[:, 3] == frame[:, 1]).any()


def test_a_hole_in_a_clip_is_no_frame():
    clips = {3: [0, 1, 2, 4, 9, 11], 4: range(20)}
    clip, frame = drawn(make_table(clips), 400, fps=1.0, interval=4.0)  # offsets 2 to 5
    for number, frames in clips.items():
        assert set(frame[clip == number].ravel()) <= set(frames)
    assert set(np.abs(frame[:, 1] - frame[:, 0])) == {2, 3, 4, 5}


def test_neighbouring_clips_are_not_mixed_up():
    clip, _ = drawn(make_table({i: range(14) for i in range(5)}), 200, hard_interval=2.0)
    assert (clip == clip[:, :1]).all()


def test_short_clips_are_named_and_counted():
    table = make_table({i: range(2 if i < 12 else 9) for i in range(20)})
    index = ClipIndex(table, fps=25 / 6, interval=1.0, hard_interval=None)
    assert index.left_out == {i: 2 for i in range(12)}
    first = ", ".join(f"{i} (2)" for i in range(10))
    assert index.notice() == f"12 of 20 clips are too short and left out: number (frames) {first}, ..."
    assert set(table.column("clip")[index.draw(seeded())[:, 0].numpy()]) == set(range(12, 20))
    assert ClipIndex(make_table({1: range(9)}), fps=25 / 6, interval=1.0, hard_interval=None).notice() is None
    rows = table.rows.assign(file=[f"faces/id{clip}/vid/{frame}.jpg" for clip, frame in zip(table.column("clip"), table.column("frame"))])
    notice = ClipIndex(table.with_rows(rows), fps=25 / 6, interval=1.0, hard_interval=None).notice()
    assert notice.startswith("12 of 20 clips are too short and left out: folder (frames) faces/id0/vid (2), faces/id1/vid (2), ")
    assert notice.endswith("faces/id9/vid (2), ...")


def test_draws_depend_on_the_generator_alone():
    index = ClipIndex(make_table({i: range(30) for i in range(6)}), fps=25 / 6, interval=1.0, hard_interval=3.0)
    one, same, other = (index.draw(seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert one.dtype == torch.long and one.shape == (6, 4)


@pytest.mark.parametrize("released", [False, True])
def test_donors_are_of_others_and_uniform_over_clips(released):
    people = {0: 8, 1: 8, 2: 5, 3: 9, 4: 5}
    table = make_table({0: range(20), 1: range(2), 2: range(3), 3: range(9), 4: range(2)}, identity=people)
    index = ClipIndex(table, fps=1.0, interval=None, hard_interval=None, released=released)
    rows = torch.from_numpy(np.flatnonzero(table.column("clip") == 0)[:1]).repeat(6000)
    donors = table.column("clip")[index.donors(rows, table.column("identity"), seeded()).numpy()]
    expected = [0.2] * 5 if released else [0, 0, 1 / 3, 1 / 3, 1 / 3]
    assert np.bincount(donors, minlength=5) / 6000 == pytest.approx(expected, abs=0.03)


def test_every_clip_gets_a_donor_of_another_identity():
    people = {i: (i * 7) % 4 for i in range(12)}
    table = make_table({i: range(3) for i in range(12)}, identity=people)
    index = ClipIndex(table, fps=1.0, interval=None, hard_interval=None)
    identity = table.column("identity")
    for seed in range(20):
        rows = index.draw(seeded(seed))[:, 0]
        donors = index.donors(rows, identity, seeded(seed))
        assert (identity[rows.numpy()] != identity[donors.numpy()]).all()


@pytest.mark.parametrize(
    ("clips", "settings", "message"),
    [
        ({1: [0, 1]}, {}, r"an interval of 1 s \(2 frames or more\) at 4.16667 frames a second; the longest has 2 frames"),
        ({1: range(9)}, {"hard_interval": 3.0}, r"and a hard_interval of 3 s \(12 frames\)"),
        ({1: range(13)}, {"hard_interval": 3.0, "released": True}, r"\(12 frames and one more, as released\).* longest has 13"),
        ({1: range(9)}, {"hard_interval": 0.1}, r"^hard_interval: expected at least a frame, 1/fps = 0.24 s, got 0.1"),
        ({1: range(9)}, {"hard_interval": 1.0}, r"^hard_interval: expected more than TimeAug's largest offset \(6 frames, 1.44 s\)"),
        ({1: range(9)}, {"interval": 0.2}, r"^interval: expected at least a frame, 1/fps = 0.24 s, got 0.2"),
        ({1: range(9)}, {"weighting": "falling"}, r"^weighting: expected one of uniform, increasing, decreasing, got 'falling'"),
        ({1: [0, 1, 1]}, {}, r"^clip: 'set' has frame 1 of clip 1 twice"),
    ],
)  # fmt: skip
def test_what_is_refused(clips, settings, message):
    with pytest.raises(ValueError, match=message):
        ClipIndex(make_table(clips), **{"fps": 25 / 6, "interval": 1.0, "hard_interval": None} | settings)


def test_times_that_contradict_fps_are_refused():
    table = make_table({1: range(30)}, time=25.0)
    with pytest.raises(ValueError, match=r"^fps: the clips of 'set' have 25 frames a second \(column 'time'\), got 4.167"):
        ClipIndex(table, fps=25 / 6, interval=1.0, hard_interval=None)
    ClipIndex(table, fps=25.0, interval=0.2, hard_interval=None)


def test_only_one_identity_has_no_donor():
    table = make_table({1: range(3), 2: range(3)}, identity={1: 4, 2: 4})
    index = ClipIndex(table, fps=1.0, interval=None, hard_interval=None)
    with pytest.raises(ValueError, match="^identity: a donor is of another identity, but all clips are of 4"):
        index.donors(index.draw(seeded())[:, 0], table.column("identity"), seeded())
