"""A statement about the results that was checked: what it says, its numbers, and whether it holds."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from lib.files import write_aside
from lib.report import names

OURS, PLAIN, ADVERSARIAL = "dar_sfrl", "simclr", "simclr_adversarial"


@dataclass(frozen=True)
class Claim:
    """``text`` says what was found, in words that follow the numbers; ``holds`` whether that is what was hoped for."""

    key: str
    topic: str
    title: str
    text: str
    holds: bool
    numbers: dict


def claim_about(task: str, dataset: str, what: str, title: str, text: str, holds: bool, **numbers) -> Claim:
    """A claim whose key ends in ``what``; a number may be a cell (value, low, high) of :class:`lib.report.summary.Scores`."""
    listed = {name: _rounded(number) if isinstance(number, tuple) else number for name, number in numbers.items()}
    return Claim(f"{task}_{dataset}_{what}", names.task_label(task, dataset), title, text, holds, listed)


def write_claims(claims: list[Claim], path: str | Path) -> Path:
    """claims.json: {'claims': [an object with the fields of ``Claim``, ...]}."""
    with write_aside(path) as aside:
        listed = {"claims": [asdict(claim) for claim in claims]}
        aside.write_text(json.dumps(listed, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return Path(path)


def read_claims(path: str | Path) -> list[Claim]:
    """The claims that ``write_claims`` wrote."""
    return [Claim(**entry) for entry in json.loads(Path(path).read_text(encoding="utf-8"))["claims"]]


def _rounded(cell: tuple) -> dict:
    return dict(zip(("value", "ci_low", "ci_high"), (round(float(x), 4) for x in cell)))
