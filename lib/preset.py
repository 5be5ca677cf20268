"""Settings in one command: params.yaml as a paper had it, or a tiny run to see that everything works.

    python -m lib.preset                     lists them
    python -m lib.preset tiny && dvc repro
    python -m lib.preset ssl_fer && dvc repro
    git checkout HEAD -- params.yaml data.dvc dvc.lock reports       back to the demo, then dvc repro
    python -m lib.preset ssl_fer --force     overwrites what was changed in params.yaml by hand

A preset is a file of lib/presets: the keys of params.yaml that differ from the demo's. Those under ``methods`` and
``controls`` replace the demo's entries, all others are put in one by one. Comments stay, but those behind a value that goes.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import CommentMark
from ruamel.yaml.tokens import CommentToken

from lib.files import write_aside
from lib.params import load
from lib.workplace import find_root

FOLDER = Path(__file__).with_name("presets")
WHOLE = ("methods", "controls")  # entries are replaced, not added to


def names() -> list[str]:
    """All presets."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def about(name: str) -> str:
    """The comment on top of a preset."""
    lines = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    return "\n".join(line.removeprefix("#").strip() for line in lines if line.startswith("#"))


def apply(name: str, path: Path) -> None:
    """Write the preset ``name`` into the params.yaml at ``path``; checked first, so that a bad one changes nothing.

    Raises:
        ValueError: unknown name. ParamsError: the outcome is no valid params.yaml.
    """
    if name not in names():
        raise ValueError(f"name: expected one of {', '.join(names())}, got {name!r}")
    yaml = YAML()
    yaml.width, yaml.preserve_quotes = 130, True
    tree = yaml.load(path.read_text(encoding="utf-8"))
    for group, values in yaml.load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8")).items():
        place = _last(tree, group)  # the lines below the group, with the next one's comment, belong below the last of the new keys
        below = _below(*place)
        _comment(*place, _behind(*place), "")
        if group in WHOLE or not isinstance(values, dict):
            tree[group] = values
        else:
            for key, value in values.items():
                behind = _behind(values, key)
                rest = _below(tree[group], key)
                tree[group][key] = value
                _comment(tree[group], key, behind, rest)
        place = _last(tree, group)
        _comment(*place, _behind(*place), below)
    with write_aside(path) as aside:
        with open(aside, "w", encoding="utf-8") as file:
            yaml.dump(tree, file)
        load(aside)


# ruamel.yaml keeps the comment behind a value, and all lines from there to the next key, as one text at the value's key.


def _last(group: CommentedMap, key: str) -> tuple[CommentedMap, str]:
    """Where the lines below ``group[key]`` are kept: at its last key, or its last key's last."""
    value = group[key]
    nested = isinstance(value, CommentedMap) and value and not value.fa.flow_style()
    return _last(value, list(value)[-1]) if nested else (group, key)


def _text(group: CommentedMap, key: str) -> str:
    kept = group.ca.items.get(key)
    return kept[2].value if kept and kept[2] else ""


def _behind(group: CommentedMap, key: str) -> str:
    return _text(group, key).partition("\n")[0].strip()


def _below(group: CommentedMap, key: str) -> str:
    return _text(group, key).partition("\n")[2]


def _comment(group: CommentedMap, key: str, behind: str, below: str) -> None:
    group.ca.items.pop(key, None)
    if behind or below:
        group.ca.items[key] = [None, None, CommentToken(f"{behind and f' {behind}'}\n{below}", CommentMark(0)), None]


def is_committed(path: Path) -> bool:
    """Whether git has the file just as it is, so that ``git checkout`` brings it back."""
    try:
        shown = subprocess.run(["git", "show", f"HEAD:./{path.name}"], cwd=path.parent, capture_output=True)
    except FileNotFoundError:  # no git
        return False
    return shown.returncode == 0 and shown.stdout.decode().splitlines() == path.read_text(encoding="utf-8").splitlines()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lib.preset", description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="?", help="a preset; without, all are listed")
    parser.add_argument("--force", action="store_true", help="overwrite changes of params.yaml that git does not have")
    asked = parser.parse_args()
    if asked.name is None:
        print("\n\n".join(f"{name}\n{about(name)}" for name in names()))
        return
    path = find_root() / "params.yaml"
    if asked.name in names() and not asked.force and not is_committed(path):
        sys.exit(
            f"error: {path.name} is not as git has it (HEAD), so what was changed in it would be lost, or be mixed with the preset."
            f" Put it away (`git stash push {path.name}`), commit it or take it back (`git checkout HEAD -- {path.name}`); --force"
            " overwrites it as it is"
        )
    try:
        apply(asked.name, path)
    except ValueError as error:
        sys.exit(f"error: {error}")
    back = f"git checkout HEAD -- {path.name} data.dvc dvc.lock reports"
    print(f"{path.name} now says {asked.name}: {about(asked.name)}\nNext: dvc repro (back: {back})")


if __name__ == "__main__":
    main()
