"""VoxCeleb1 and 2: frames of talking faces, clip by clip, in the two layouts that published code reads."""

import csv
import re
from pathlib import Path

import numpy as np
import pandas as pd

from lib.datasets.description import Description
from lib.datasets.errors import DatasetError, named
from lib.datasets.frame_list import find_clips, frame_number, list_frames, read_frame_list
from lib.datasets.image_files import ImageFiles, fit_landmarks, image_sizes
from lib.datasets.table import LANDMARKS, FaceTable

FPS = 25 / 6  # of the frames of VoxCeleb1 as SSL-FER reads them: every sixth of 25 a second
META = ("vox1_meta.csv", "vox2_meta.csv")
_LAYOUTS = {
    "faces": re.compile(r"faces/(?P<part>wav|test_wav)/id(?P<id>\d{5})/[^/]+/[^/]+"),
    "unzippedIntervalFaces": re.compile(r"unzippedIntervalFaces/data/(?P<name>[^/]+)/1\.6/[^/]+/[^/]+"),
}
_SPLIT_OF = {"wav": "pretrain", "test_wav": "probe_test", "dev": "pretrain", "test": "probe_test"}

ABOUT = Description(
    name="voxceleb",
    title="VoxCeleb1 / VoxCeleb2 face frames, clips of talking celebrities",
    source="VoxCeleb",
    licence="lists and metadata CC BY 4.0; the videos belong to their makers: frames for research only, not to be passed on",
    credit="A. Nagrani, J. S. Chung, W. Xie, A. Zisserman: VoxCeleb: Large-scale speaker verification in the wild, Computer"
           " Speech and Language 2020",
    where="https://www.robots.ox.ac.uk/~vgg/data/voxceleb (vox1_meta.csv, vox2_meta.csv; frames of VoxCeleb1:"
          " unzippedIntervalFaces of the CMBiometrics project, same site), unpack into data/voxceleb",
    tree="unzippedIntervalFaces/data/<Celeb_Name>/1.6/<youtube_id>/<clip>/*.jpg\n"
         "or faces/{wav,test_wav}/id<5 digits>/<youtube_id>/<clip>/*.jpg\n"
         "vox1_meta.csv, vox2_meta.csv     (optional: names <-> ids, dev <-> test)\n"
         "vox1_frames.txt                  (optional list of clips: idx,relative_path,start,end,n_frames)\n"
         "landmarks.npy                    (optional, made by yourself: float32 [frames,68,2], NaN where no face is found;\n"
         "                                 read with the option landmarks=landmarks.npy)",
    counts="at least one clip; VoxCeleb1 in full has 1,251 people (1,211 dev, 40 test)",
)


def open_set(root: Path, frame_list: str | Path | None = None, image_size: tuple[int, int] | None = None,
             min_frames: int = 1, fps: float = FPS, landmarks: str | Path | None = None) -> FaceTable:
    """Open the clips; no pixel is read yet, and the table's ``image_size`` is None without the option.

    Columns: ``identity`` (the five digits of id10270; without vox1_meta.csv the rank of the celebrity's name), ``clip``
    (position in the list or in natural order), ``frame`` (place in the clip by the files' numbers: where frames are missing
    their places stay free), ``time`` (seconds from the clip's first frame, gaps counted), ``split``: pretrain, and probe_test
    for the test people of the official verification split (folder test_wav, or Set = test in the metadata).

    Gaps in the frame numbers, clips of a single frame, clips left out, frames without landmarks and images of another kind than
    .jpg, which are not read, are in the table's notes, counted and named.

    Args:
        frame_list: list of clips in the published format, relative to ``root``; None takes all clips on disk.
        image_size: (H, W): every frame is fitted to it, the landmarks with it.
        min_frames: clips with fewer frames are left out and noted.
        fps: frames a second, for ``time``.
        landmarks: a .npy file, relative to ``root``: float32 [N,68,2], (x, y) in pixels of the frames as they are stored, one
            row a frame in the order of the table that opens with the same ``frame_list`` and ``min_frames`` (clips in its
            order, frames in time). A row with a NaN: no face was found. The release has none; a landmark detector of one's
            own makes them.
    Raises:
        DatasetError: no clips, a list that does not match the folders, folders of another layout, people whom the
            metadata does not know, landmarks of another form or number.
    """
    if min_frames < 1:
        raise ValueError(f"min_frames: expected at least 1, got {min_frames}")
    if not fps > 0:
        raise ValueError(f"fps: expected a positive number, got {fps}")
    others = []
    clips = _clips_on_disk(root, others) if frame_list is None else _clips_of_list(root, root / frame_list, others)
    identity, split = _people(root, list(clips))
    notes = [f"{named(others, 'images that are no *.jpg')} not read"] if others else []
    short = [clip for clip, frames in clips.items() if len(frames) < min_frames]
    if short:
        notes.append(f"{named(short, f'clips with fewer than {min_frames} frames')} left out")
    kept = [i for i, frames in enumerate(clips.values()) if len(frames) >= min_frames]
    paths = list(clips)
    if not kept:
        raise DatasetError(f"{root}: expected clips with at least {min_frames} frames, the longest has"
                           f" {max(map(len, clips.values()))}; lower min_frames")
    single = [paths[i] for i in kept if len(clips[paths[i]]) == 1]
    if single:
        notes.append(f"{named(single, 'clips with a single frame')}")
    counts = np.array([len(clips[paths[i]]) for i in kept])
    files = [f"{paths[i]}/{frame}" for i in kept for frame in clips[paths[i]]]
    points = None
    if landmarks is not None:
        points, found = _read_landmarks(root / landmarks, len(files))
        if not found.all():
            notes.append(named([files[i] for i in np.flatnonzero(~found)], "frames without landmarks"))
        if image_size is not None:
            points = fit_landmarks(points, image_sizes(root, files), image_size)
    place, time, said = _in_clip(root, [paths[i] for i in kept], [clips[paths[i]] for i in kept], counts, fps)
    rows = pd.DataFrame({
        "file": files, "identity": np.repeat(identity[kept], counts), "clip": np.repeat(kept, counts),
        "frame": place, "time": time, "split": np.repeat(split[kept], counts),
    })
    return FaceTable(name=ABOUT.name, source=ABOUT.source, licence=ABOUT.licence, credit=ABOUT.credit,
                     image_size=image_size, rows=rows, reader=ImageFiles(root, files, image_size), landmarks=points,
                     notes=notes + said)


def read_meta(path: str | Path) -> pd.DataFrame:
    """vox1_meta.csv (tabs) or vox2_meta.csv (commas) -> index id ('id10001'), columns name ('' in VoxCeleb2), set.

    Raises:
        DatasetError: not such a table.
    """
    path = Path(path)
    text = path.read_text(encoding="utf-8-sig")
    header = text.partition("\n")[0]
    cells = [[cell.strip() for cell in line] for line in
             csv.reader(text.splitlines(), delimiter="\t" if "\t" in header and "," not in header else ",")
             if any(cell.strip() for cell in line)]
    columns = {name: i for i, name in enumerate(cells[0])} if cells else {}
    key = next((name for name in ("VoxCeleb1 ID", "VoxCeleb2 ID") if name in columns), None)
    wrong = [f"line {i}" for i, line in enumerate(cells[1:], 2) if key is None or "Set" not in columns
             or len(line) <= max(columns[key], columns["Set"]) or not re.fullmatch(r"id\d{5}", line[columns[key]])
             or line[columns["Set"]] not in ("dev", "test")]
    if key is None or "Set" not in columns or wrong or len(cells) < 2:
        raise DatasetError(f"{path}: expected VoxCeleb's metadata (columns 'VoxCeleb1 ID' or 'VoxCeleb2 ID', and 'Set' = dev"
                           f" or test), got {', '.join(columns) or 'an empty file'}"
                           + (f"; {named(wrong, 'wrong lines')}" if columns and wrong else "")
                           + f"; download it again\n{ABOUT.text()}")
    name = columns.get("VGGFace1 ID")
    return pd.DataFrame({"name": [line[name] if name is not None else "" for line in cells[1:]],
                         "set": [line[columns["Set"]] for line in cells[1:]]},
                        index=[line[columns[key]] for line in cells[1:]])


def _read_landmarks(path: Path, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks float32 [count,68,2], wholly NaN where a number is missing, and which rows [count] have all of them."""
    expected = f"{path}: expected float32 [{count},{LANDMARKS},2], the landmarks of every frame, NaN where no face was found"
    remedy = ("make them anew by a landmark detector of your own, in the order of the table that opens with the same frame_list"
              " and min_frames and without landmarks")
    try:
        points = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DatasetError(f"{expected}, cannot read it ({error}); {remedy}") from error
    if not isinstance(points, np.ndarray):
        raise DatasetError(f"{expected}, got an archive of several arrays; {remedy}")
    if points.dtype != np.float32 or points.shape != (count, LANDMARKS, 2):
        raise DatasetError(f"{expected}, got {points.dtype} {list(points.shape)}; {remedy}")
    found = np.isfinite(points).all((1, 2))
    if not found.any():
        raise DatasetError(f"{expected}, got no face at all; {remedy}")
    points[~found] = np.nan
    return points, found


def _clips_on_disk(root: Path, others: list[str]) -> dict[str, list[str]]:
    there = [name for name in _LAYOUTS if (root / name).is_dir()]
    if not there:
        raise DatasetError(f"{root}: expected a folder {' or '.join(_LAYOUTS)}, there is none\n{ABOUT.text()}")
    if len(there) > 1:
        raise DatasetError(f"{root}: {' and '.join(there)} are both there and may hold the same frames; give the clips to read"
                           " with frame_list=, or move one of the two")
    clips = find_clips(root, there[0], others)
    if not clips:
        there_are = f", but {named(others, 'other images')}" if others else ""
        raise DatasetError(f"{root / there[0]}: expected clips, found no *.jpg in any folder{there_are}\n{ABOUT.text()}")
    return clips


def _clips_of_list(root: Path, path: Path, others: list[str]) -> dict[str, list[str]]:
    listed = read_frame_list(path)
    found = list_frames(root, listed["path"], others)
    missing = [clip for clip, frames in found.items() if not frames]
    other = [f"{clip} (list {count}, folder {len(found[clip])})" for clip, count in zip(listed["path"], listed["n_frames"])
             if found[clip] and len(found[clip]) != count]
    problems = [named(items, what) for items, what in
                ((missing, "clips without a frame in the folder"), (other, "clips whose number of frames differs")) if items]
    if problems:
        raise DatasetError(f"{path}: the list does not match {root}: {'; '.join(problems)}. Copy the frames again, or write"
                           " the list anew with lib.datasets.frame_list.write_frame_list")
    return {clip: found[clip][start:end + 1] for clip, start, end in zip(listed["path"], listed["start"], listed["end"])}


def _people(root: Path, clips: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Identity int64 [C] and split [C] of the clips, from their paths and the metadata beside them."""
    found = [root / name for name in META if (root / name).is_file()]
    meta = pd.concat([read_meta(path) for path in found]) if found else None
    number_of = {} if meta is None else {name: i for i, name in zip(meta.index, meta["name"]) if name}
    names, ids, parts, odd = [], [], [], []
    for clip in clips:
        match = next((match for layout in _LAYOUTS.values() if (match := layout.fullmatch(clip))), None)
        if match is None:
            odd.append(clip)
            continue
        place = match.groupdict()
        names.append(place.get("name"))
        ids.append(f"id{place['id']}" if "id" in place else number_of.get(place["name"]))
        parts.append(place.get("part"))
    if odd:
        raise DatasetError(f"{root}: {named(odd, 'clips that lie in neither of the official layouts')}\n{ABOUT.text()}")
    if meta is not None:
        unknown = sorted({name or number for name, number in zip(names, ids) if number not in meta.index})
        if unknown:
            raise DatasetError(f"{root}: {named(unknown, 'people who are not in the metadata')}"
                               f" ({', '.join(path.name for path in found)}); put the metadata of these frames beside them")
    elif any(ids) and any(names):
        raise DatasetError(f"{root}: the list names people both by id and by name; put {META[0]} beside it, which tells who"
                           f" is who\n{ABOUT.text()}")
    if any(names) and meta is None:
        rank = {name: i for i, name in enumerate(sorted(set(names)))}
        identity = np.array([rank[name] for name in names], np.int64)
    else:
        identity = np.array([int(number[2:]) for number in ids], np.int64)
    where = parts if meta is None else [part or meta.at[number, "set"] for part, number in zip(parts, ids)]
    return identity, np.array([_SPLIT_OF.get(part, "pretrain") for part in where], object)


def _in_clip(root: Path, paths: list[str], frames: list[list[str]], counts: np.ndarray,
             fps: float) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Place [N] in the clip and seconds [N] from its first frame by the files' numbers, and notes about gaps in them.

    Numbers may go up by 1, or by 6 where every sixth frame was kept: the usual step is the commonest one of all clips. A frame that
    is missing keeps its place free, so that who looks for the frame two places on does not get one much later. In a clip whose
    numbers fit no such step the places are simply 0, 1, 2, ...
    """
    number = np.fromiter((frame_number(name) for clip in frames for name in clip), np.int64, counts.sum())
    clip = np.repeat(np.arange(len(counts)), counts)
    nameless = np.unique(clip[number < 0])
    inside = clip[1:] == clip[:-1]
    steps = np.diff(number)
    repeated = np.unique(clip[1:][inside & (steps == 0)])
    for where, what in ((nameless, "clips with frames without a number"), (repeated, "clips with two frames of one number")):
        if len(where):
            raise DatasetError(f"{root}: {named([paths[i] for i in where], what)}; rename the frames, or extract them again")
    usual = int(np.bincount(np.minimum(steps[inside], 1000)).argmax()) if inside.any() else 1
    notes, gap = [], inside & (steps != usual)
    if gap.any():
        lost = np.maximum(np.rint(steps[gap] / usual) - 1, 0).astype(int).sum()
        where = [paths[i] for i in np.unique(clip[1:][gap])]
        notes.append(f"{named(where, 'clips with gaps in their frame numbers')} ({lost:,} frames missing, usual step {usual})")
    first = np.repeat(number[np.cumsum(counts) - counts], counts)
    steps_on = (number - first) / usual
    place = np.rint(steps_on).astype(np.int64)
    odd = np.unique(clip[1:][inside & (np.diff(place) <= 0)])
    if len(odd):
        notes.append(f"{named([paths[i] for i in odd], 'clips whose frame numbers fit no regular step')}, taken as they follow each other")
        follows = np.arange(len(place)) - np.repeat(np.cumsum(counts) - counts, counts)
        place = np.where(np.isin(clip, odd), follows, place)
    return place, (steps_on / fps).astype(np.float32), notes
