"""The columns that a face table may have, their meaning and range: one place that labels are checked against."""

import re
from dataclasses import dataclass

EXPRESSIONS = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger")
CONTEMPT = len(EXPRESSIONS)  # the eighth class of AffectNet and FER+, which the other sets do not have
ALL_EXPRESSIONS = (*EXPRESSIONS, "contempt")
SPLITS = ("pretrain", "probe_train", "probe_test")  # over these the people of a set without splits are dealt
VALIDATION = "probe_val"  # the official validation part of a set that has one: neither fitted nor reported on
KNOWN_SPLITS = (*SPLITS, VALIDATION)
NO_LABEL = -1  # of an integer column; a float column says NaN
AU_PRESENT_FROM = 2  # FACS intensity from which BP4D-style protocols call an action unit present


@dataclass(frozen=True)
class Column:
    """``kind`` is 'int', 'float', 'bit' (0/1) or 'split'; ``low``..``high``, the range of a number that is there, is in ``meaning`` too."""

    kind: str
    low: float
    high: float
    meaning: str
    may_be_empty: bool = True


_COLUMNS = {
    "identity": Column("int", 0, 2**53, "number of the person, 0 or more", may_be_empty=False),
    "clip": Column("int", 0, 2**53, "number of the clip, 0 or more, unique in the set"),
    "frame": Column("int", 0, 2**53, "position in the clip, or among the person's photographs, 0 or more"),
    "time": Column("float", 0, float("inf"), "seconds from the start of the clip, 0 or more"),
    "split": Column("split", 0, 0, f"one of {', '.join(KNOWN_SPLITS)}", may_be_empty=False),
    "fold": Column("int", NO_LABEL, 2,
                   "subject-exclusive fold for action units: 0, 1, 2 for what test_folds and all results call fold 1, 2, 3;"
                   " -1 for people in none"),
    "expression": Column("int", NO_LABEL, CONTEMPT,
                         ", ".join(f"{i} {name}" for i, name in enumerate(ALL_EXPRESSIONS)) + ", -1 unlabelled"),
    "intensity": Column("float", 0, 1, "strength of the expression, 0 to 1"),
    "valence": Column("float", -1, 1, "-1 unpleasant to 1 pleasant"),
    "arousal": Column("float", -1, 1, "-1 calm to 1 excited"),
    "yaw": Column("float", -180, 180, "-180 to 180 degrees"),
    "pitch": Column("float", -180, 180, "-180 to 180 degrees"),
    "roll": Column("float", -180, 180, "-180 to 180 degrees"),
}
_PATTERNS = (
    (re.compile(r"au_[1-9]\d*"), Column("float", 0, 5, "FACS intensity of the action unit, 0 to 5; 9 or -1: not coded")),
    (re.compile(r"attr_\w+"), Column("bit", 0, 1, "attribute, 0 or 1")),
)


def column(name: str) -> Column | None:
    """What the column ``name`` may hold; None when a face table knows no such column of numbers."""
    if name in _COLUMNS:
        return _COLUMNS[name]
    return next((kind for pattern, kind in _PATTERNS if pattern.fullmatch(name)), None)


def known_columns() -> str:
    """All names for an error message."""
    return ", ".join((*_COLUMNS, "au_<number>", "attr_<name>", "landmarks"))
