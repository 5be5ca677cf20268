"""The published subject-exclusive folds of BP4D and DISFA, as ME-GraphAU, AUNCE and most others use them.

Reference:
    README and lists of AUNCE and ME-GraphAU: three parts by subject. Fold 1 trains on parts 1 and 2 and tests part 3, fold 2
    tests part 2, fold 3 tests part 1. The folds are numbered 0, 1, 2 here, and a subject's fold is the one that tests it.
"""

BP4D_PARTS = (
    ("F001", "M007", "F018", "F008", "F002", "M004", "F010", "F009", "M012", "M001", "F016", "M014", "F023", "M008"),
    ("M011", "F003", "M010", "M002", "F005", "F022", "M018", "M017", "F013", "M016", "F020", "F011", "M013", "M005"),
    ("F007", "F015", "F006", "F019", "M006", "M009", "F012", "M003", "F004", "F021", "F017", "M015", "F014"),
)
DISFA_PARTS = (
    ("SN002", "SN010", "SN001", "SN026", "SN027", "SN032", "SN030", "SN009", "SN016"),
    ("SN013", "SN018", "SN011", "SN028", "SN012", "SN006", "SN031", "SN021", "SN024"),
    ("SN003", "SN029", "SN023", "SN025", "SN008", "SN005", "SN007", "SN017", "SN004"),
)
# Frames that each fold tests, in the order of the folds.
BP4D_TEST_FRAMES = (46034, 50182, 50631)
DISFA_TEST_FRAMES = (43605, 43605, 43604)


def subject_folds(parts: tuple[tuple[str, ...], ...]) -> dict[str, int]:
    """Subject -> the fold, from 0, that tests it: the last part is tested by the first fold."""
    return {subject: len(parts) - 1 - number for number, part in enumerate(parts) for subject in part}
