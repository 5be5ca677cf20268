"""The published folds: their sizes, and that no person is in two."""

from lib.datasets.au_folds import BP4D_PARTS, BP4D_TEST_FRAMES, DISFA_PARTS, DISFA_TEST_FRAMES, subject_folds


def test_three_disjoint_parts_of_all_subjects():
    for parts, sizes, total in ((BP4D_PARTS, (14, 14, 13), 41), (DISFA_PARTS, (9, 9, 9), 27)):
        assert tuple(map(len, parts)) == sizes and len(set().union(*parts)) == total
    women = {subject for part in BP4D_PARTS for subject in part if subject.startswith("F")}
    assert women == {f"F{n:03d}" for n in range(1, 24)}
    assert {s for part in BP4D_PARTS for s in part} - women == {f"M{n:03d}" for n in range(1, 19)}
    gone = (14, 15, 19, 20, 22)  # numbers that DISFA does not have
    assert {s for part in DISFA_PARTS for s in part} == {f"SN{n:03d}" for n in range(1, 33) if n not in gone}


def test_the_first_fold_tests_the_last_part():
    folds = subject_folds(BP4D_PARTS)
    assert (folds["F007"], folds["M011"], folds["F001"]) == (0, 1, 2)
    assert [sum(f == fold for f in folds.values()) for fold in range(3)] == [13, 14, 14]


def test_frames_of_train_and_test():
    total = sum(BP4D_TEST_FRAMES)
    assert total == 146847 and [total - n for n in BP4D_TEST_FRAMES] == [100813, 96665, 96216]
    total = sum(DISFA_TEST_FRAMES)
    assert total == 27 * 4845 - 1 and [total - n for n in DISFA_TEST_FRAMES] == [87209, 87209, 87210]
    # SN010, which has one frame less, is in part 1
    assert 9 * 4845 - 1 == DISFA_TEST_FRAMES[subject_folds(DISFA_PARTS)["SN010"]]
