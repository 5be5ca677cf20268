"""Frames of video clips on disk, in the order of time, and the list file that names the clips.

The published format (SSL-FER, dataset/vox1_frames.txt) has no header and five comma-separated fields a clip,
``idx,relative_path,start,end,n_frames``: the clip's folder relative to the root, and the positions of its first and last
frame, both included, among its frames in the order of their numbers (start = 0, end = n_frames - 1 for a whole clip).
"""

import csv
import os
import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from lib.datasets.errors import DatasetError, named
from lib.datasets.image_files import SUFFIXES
from lib.datasets.natural import natural
from lib.files import write_aside
from lib.progress import Progress

FIELDS = ("idx", "path", "start", "end", "n_frames")
SUFFIX = ".jpg"
_LAST_NUMBER = re.compile(r"(\d+)\D*$")


def frame_number(name: str) -> int:
    """The number of a frame's file: 0000125.jpg -> 125, frame_7.jpg -> 7; -1 when its name has none."""
    stem = name[:-len(SUFFIX)]
    if stem.isdecimal():  # the usual case, and several times as fast
        return int(stem)
    match = _LAST_NUMBER.search(stem)
    return int(match[1]) if match else -1


def in_time(names: Iterable[str]) -> list[str]:
    """The frames among these file names in the order of their numbers, whatever order the file system told them in."""
    return sorted((name for name in names if name.endswith(SUFFIX) and not name.startswith(".")),
                  key=lambda name: (frame_number(name), name))


def other_images(names: Iterable[str]) -> list[str]:
    """The images among these file names that are not read as frames: 7.png, 7.JPG."""
    return sorted(name for name in names if not name.startswith(".") and not name.endswith(SUFFIX)
                  and os.path.splitext(name)[1].lower() in SUFFIXES)


def find_clips(root: Path, below: str, others: list[str] | None = None) -> dict[str, list[str]]:
    """All folders under ``root``/``below`` that hold frames: path relative to ``root`` -> its frames in time.

    Clips are in natural order of their paths. Each folder is listed once, links to folders are followed. A line
    of progress comes now and then. ``others`` is given the images that are no frames, as paths relative to ``root``.
    """
    clips, seen, progress = {}, set(), Progress(None, f"looking for clips under {root / below}, folders")
    for folder, folders, files in os.walk(root / below, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()  # a link that leads back
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=natural)
        frames, clip = in_time(files), os.path.relpath(folder, root).replace(os.sep, "/")
        if frames:
            clips[clip] = frames
        if others is not None:
            others += [f"{clip}/{name}" for name in other_images(files)]
        progress.step()
    return clips


def list_frames(root: Path, paths: Iterable[str], others: list[str] | None = None) -> dict[str, list[str]]:
    """Frames in time of the clips ``paths`` (relative to ``root``); a folder that is missing has none. ``others`` as above."""
    paths = list(paths)
    progress, clips = Progress(len(paths), f"listing {root}, clips"), {}
    for path in paths:
        try:
            files = os.listdir(root / path)
            clips[path] = in_time(files)
            if others is not None:
                others += [f"{path}/{name}" for name in other_images(files)]
        except (FileNotFoundError, NotADirectoryError):
            clips[path] = []
        progress.step()
    return clips


def read_frame_list(path: str | Path) -> pd.DataFrame:
    """A list file -> columns idx, path, start, end, n_frames, in the order of its lines.

    Raises:
        DatasetError: lines without five fields, cells that are no numbers, a range outside the clip, a clip twice; all
            of them counted, the first five of a kind named by line.
    """
    path = Path(path)
    if not path.is_file():
        raise DatasetError(f"{path}: expected a list of clips ({','.join(FIELDS)}), it is missing; write one with"
                           " lib.datasets.frame_list.write_frame_list(root, path)")
    rows, malformed, outside = [], [], []
    with open(path, newline="", encoding="utf-8-sig") as file:
        for number, line in enumerate(csv.reader(file), 1):
            cells = [cell.strip() for cell in line]
            if not any(cells):
                continue
            if len(cells) != len(FIELDS) or not cells[1] or not all(cells[i].isdecimal() for i in (0, 2, 3, 4)):
                malformed.append(f"line {number}: {','.join(line)!r}")
                continue
            start, end, count = map(int, cells[2:])
            if not start <= end < count:
                outside.append(f"line {number}: {start}..{end} of {count}")
            rows.append((int(cells[0]), cells[1].replace("\\", "/").strip("/"), start, end, count))
    table = pd.DataFrame(rows, columns=FIELDS)
    repeated = table["path"][table["path"].duplicated()].tolist()
    problems = [named(items, what) for items, what in
                ((malformed, f"lines that are not {','.join(FIELDS)}"), (outside, "ranges outside the clip"),
                 (repeated, "clips that stand in several lines")) if items]
    if problems or not rows:
        raise DatasetError(f"{path}: expected five fields a line, {','.join(FIELDS)}, got"
                           f" {'; '.join(problems) or 'no line'}; write the list again with"
                           " lib.datasets.frame_list.write_frame_list(root, path)")
    return table


def write_frame_list(root: str | Path, path: str | Path, below: str = ".", min_frames: int = 1) -> pd.DataFrame:
    """Find the clips under ``root``/``below`` and write their list in the published format.

    >>> write_frame_list("data/voxceleb", "data/voxceleb/vox1_frames.txt", below="faces")

    Args:
        min_frames: shorter clips are not listed; one line is printed that counts and names them, one images of another kind.
    Returns:
        What was written, as ``read_frame_list`` would return it.
    Raises:
        DatasetError: no clip is long enough.
    """
    root = Path(root)
    if min_frames < 1:
        raise ValueError(f"min_frames: expected at least 1, got {min_frames}")
    others = []
    clips = {("" if clip == "." else clip): len(frames) for clip, frames in find_clips(root, below, others).items()}
    short = [clip for clip, count in clips.items() if count < min_frames]
    rows = [(i, clip, 0, count - 1, count) for i, (clip, count) in
            enumerate((clip, count) for clip, count in clips.items() if count >= min_frames)]
    if not rows:
        raise DatasetError(f"{root / below}: expected folders with at least {min_frames} frames (*{SUFFIX}), found"
                           f" {len(short)} shorter ones" + (f": {named(short, 'clips')}" if short else ""))
    with write_aside(path) as aside, open(aside, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    if short:
        print(f"{path}: {named(short, f'clips with fewer than {min_frames} frames')} not listed")
    if others:
        print(f"{path}: {named(others, f'images that are no *{SUFFIX}')} not counted")
    return pd.DataFrame(rows, columns=FIELDS)
