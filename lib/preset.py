"""Published settings in one command: params.yaml as a paper had it.

    python -m lib.preset                     lists them
    python -m lib.preset ssl_fer && dvc repro
    git checkout params.yaml                 back to the demo

A preset is a file of lib/presets: the keys of params.yaml that differ from the demo's. Those under ``methods`` and
``controls`` replace the demo's entries, all others are put in one by one; comments stay.
"""

import sys
from pathlib import Path

from ruamel.yaml import YAML

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
        if group in WHOLE or not isinstance(values, dict):
            tree[group] = values
        else:
            tree[group].update(values)
    with write_aside(path) as aside:
        with open(aside, "w", encoding="utf-8") as file:
            yaml.dump(tree, file)
        load(aside)


def main() -> None:
    if len(sys.argv) != 2:
        print("\n\n".join(f"{name}\n{about(name)}" for name in names()))
        return
    path = find_root() / "params.yaml"
    try:
        apply(sys.argv[1], path)
    except ValueError as error:
        sys.exit(str(error))
    print(f"{path.name} now says {sys.argv[1]}: {about(sys.argv[1])}\nNext: dvc repro (back to the demo: git checkout params.yaml)")


if __name__ == "__main__":
    main()
