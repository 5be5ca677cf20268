import dataclasses

import numpy as np
import pandas as pd
import pytest

from lib.results import RESULT_COLUMNS, Result, family_groups, read_results, results_frame, write_results


def row(**changes):
    base = Result(
        "simclr", 1, "orl", "ORL", "verification", "corruption", "fog", 3, "accuracy", 81.23456789, 200, 40, 75, 86.5
    )
    return dataclasses.replace(base, **changes)


def test_a_file_comes_back_as_it_was_written(tmp_path):
    frame = results_frame(
        [row(), row(severity=np.nan, condition="mean"), row(severity=0.5, family="sweep", condition="pgd")]
    )
    path = write_results(frame, tmp_path / "a.csv")
    again = read_results(path)
    pd.testing.assert_frame_equal(frame, again)
    assert list(again.columns) == list(RESULT_COLUMNS)
    assert (
        path.read_text().splitlines()[1]
        == "simclr,1,orl,ORL,verification,corruption,fog,3,accuracy,81.2346,200,40,75.0000,86.5000"
    )
    assert path.read_text().splitlines()[2].split(",")[7] == ""
    assert write_results(again, tmp_path / "b.csv").read_bytes() == path.read_bytes()


def test_files_are_sorted_by_encoder_and_keep_the_order_of_conditions(tmp_path):
    rows = [row(method=m, seed=s, condition=c) for m in "ba" for s in (10, 2) for c in ("snow", "fog")]
    again = read_results(write_results(results_frame(rows), tmp_path / "x.csv"))
    assert again["method"].tolist() == list("aaaabbbb") and again["seed"].tolist() == [2, 2, 10, 10] * 2
    assert again["condition"].tolist() == ["snow", "fog"] * 4


def test_several_files_are_joined(tmp_path):
    paths = [write_results(results_frame([row(method=m)]), tmp_path / f"{m}.csv") for m in "ab"]
    assert read_results(*paths)["method"].tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="each number must be there once, got two of method a"):
        read_results(paths[0], paths[0])


def test_noise_far_below_the_last_digit_does_not_change_the_file(tmp_path):
    one, two = (write_results(results_frame([row(value=v, ci_low=-v)]), tmp_path / f"{v}.csv") for v in (1e-9, -1e-9))
    assert one.read_bytes() == two.read_bytes() and b"-0.0" not in one.read_bytes()


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: t.replace("subjects", "people"), "missing: subjects"),
        (lambda t: t.replace("81.2346", "much"), "column value must hold"),
        (lambda t: t.replace("81.2346", "nan"), "value must be finite, got method simclr, seed 1"),
        (lambda t: t.replace("corruption", "weather"), "family must be one of clean, corruption, .* got weather"),
        (lambda t: t.replace(",200,", ",many,"), "column n must hold"),
        (lambda t: "", "not a readable CSV file"),
    ],
)
def test_a_broken_file_is_one_clear_error(tmp_path, change, message):
    path = write_results(results_frame([row()]), tmp_path / "results.csv")
    path.write_text(change(path.read_text()))
    with pytest.raises(ValueError, match=f"results.csv: .*{message}"):
        read_results(path)


def test_a_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(ValueError, match="no such results file: run the probe stage"):
        read_results(tmp_path / "none.csv")
    with pytest.raises(ValueError, match="at least one results file"):
        read_results()


def test_summaries_split_seen_from_unseen():
    names = ["fog", "fog", "snow", "jpeg"]
    assert family_groups(names) == {"mean": [0, 1, 2, 3]}
    assert family_groups(names, ["fog", "jpeg"]) == {"mean": [0, 1, 2, 3], "mean_seen": [0, 1, 3], "mean_unseen": [2]}
    assert family_groups(names, []) == {"mean": [0, 1, 2, 3], "mean_unseen": [0, 1, 2, 3]}
