"""reports/README.md explains all that stands in reports/, and says of nothing that it stands where it does not."""

import subprocess
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lib.report import dictionary
from lib.report.dictionary import ALWAYS, CLEAN, DROPS, FILES, LOSS, METRICS, OFTEN, SUMMED, conditions_of, metric_of, page
from lib.results import FAMILIES, RESULT_COLUMNS, read_results

ROOT = Path(__file__).parents[2]
REPORTS = ROOT / "reports"
OF_THIS_SCHEMA = ("results.csv", "ssl_fer/results.csv", "gpu/epochs_8/dar_sfrl/results.csv")


def stands(where: str, rows: pd.DataFrame) -> pd.Series:
    """Which rows of results are where a metric may have rows, in the words of the page."""
    family, condition, severity = rows["family"], rows["condition"], rows["severity"]
    loss = (family == "check") & (condition == "pgd")
    return {
        ALWAYS: ~loss,
        DROPS: (family != "clean") & ~loss,
        OFTEN: family.isin(["clean", "attack"]) | ((family == "corruption") & severity.isna()),
        SUMMED: (family == "clean") | (family.isin(["corruption", "attack"]) & (condition == "mean") & severity.isna()),
        CLEAN: family == "clean",
        LOSS: loss,
    }[where]


@pytest.fixture(scope="module")
def committed(tmp_path_factory) -> pd.DataFrame:
    """The committed results, not those of the working tree: running the pipeline makes others without harm."""
    frames = []
    for number, name in enumerate(OF_THIS_SCHEMA):
        shown = subprocess.run(["git", "show", f"HEAD:reports/{name}"], cwd=ROOT, capture_output=True)
        if shown.returncode:
            pytest.skip("no committed results")
        path = tmp_path_factory.mktemp("committed") / f"{number}.csv"
        path.write_bytes(shown.stdout)
        frames.append(read_results(path))
    frame = pd.concat(frames, ignore_index=True)
    explained = {name: metric_of(name) for name in frame["metric"].unique()}
    return frame.assign(entry=frame["metric"].map({name: entry.pattern for name, entry in explained.items() if entry}))


def test_the_committed_page_is_that_of_the_code():
    assert (REPORTS / "README.md").read_text() == page(), "write it again: python -m lib.report.dictionary > reports/README.md"


def test_every_column_and_family_is_explained():
    assert tuple(dictionary.COLUMNS) == RESULT_COLUMNS == tuple(pd.read_csv(REPORTS / "results.csv", nrows=1).columns)
    assert tuple(dictionary.MEANINGS) == FAMILIES
    assert all(f"| `{name}` |" in page() for name in (*RESULT_COLUMNS, *FAMILIES))


def test_every_condition_is_explained_and_stands_in_its_family(committed):
    found = committed["condition"].str.replace(r"^transfer_.*", "transfer_<encoder>", regex=True)
    for family, names in found.groupby(committed["family"]):
        assert set(names) <= conditions_of(family), family
        if family != "corruption":  # whose types have a page of their own
            assert all(f"`{name}`" in page() for name in conditions_of(family))


def test_every_metric_is_explained_and_stands_where_the_page_says(committed):
    unknown = committed.loc[committed["entry"].isna(), "metric"].unique()
    assert not len(unknown), f"explain in lib/report/dictionary.py: {sorted(unknown)}"
    for (metric, task), rows in committed.groupby(["metric", "task"]):
        where = SUMMED if (metric, task) == ("accuracy", "action_units") else metric_of(metric).where
        assert stands(where, rows).all(), (metric, task)


def test_a_metric_stands_wherever_the_page_says(committed):
    """Of the rows where it may stand there is at least one of each kind, so no place is named that never holds it."""
    for entry in METRICS:
        rows = committed[committed["entry"] == entry.pattern]
        assert len(rows), entry.pattern
        assert entry.where in (CLEAN, LOSS) or set(rows["family"]) > ({"clean"} if entry.where != DROPS else set())


def test_units_are_those_of_the_numbers(committed):
    for entry in METRICS:
        rows = committed[committed["entry"] == entry.pattern]
        if entry.unit == "percent" and entry.pattern != "relative_drop":
            low = -100 if entry.pattern.startswith("ccc") else 0
            assert rows["value"].between(low, 100).all(), entry.pattern
        if entry.unit == "images":
            clean = rows[rows["family"] == "clean"]
            assert np.array_equal(clean["value"], clean["value"].round()) and (clean["value"] <= clean["n"]).all(), entry.pattern
        if entry.unit == "points":
            assert rows["value"].between(-100, 100).all()


@pytest.mark.parametrize(
    "name", ["f2", "f1_au_", "f1_au_x", "recall_joy", "knn_", "knn_f2", "confused_fear", "f1_fold_0", "accuracy_", "tar_at_far_0x1"]
)
def test_what_is_not_explained_is_found_out(name):
    assert metric_of(name) is None


def test_a_name_is_explained_once():
    patterns = [entry.pattern for entry in METRICS]
    assert len(set(patterns)) == len(patterns)
    assert metric_of("knn_recall_fear").pattern == "knn_<metric>" and metric_of("f1_au_12_fold_3").pattern == "f1_au_<n>_fold_<k>"


def test_every_committed_file_is_listed_once_and_every_entry_is_there():
    listed = subprocess.run(["git", "ls-files", "reports"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode or not listed.stdout:
        pytest.skip("not a checkout")
    files = [name.removeprefix("reports/") for name in listed.stdout.split()]
    used = Counter(pattern for name in files for pattern, *_ in FILES if fnmatch(name, pattern) and ("/" in pattern or "/" not in name))
    once = {name: sum(fnmatch(name, pattern) and ("/" in pattern or "/" not in name) for pattern, *_ in FILES) for name in files}
    assert {name for name, count in once.items() if count != 1} == set(), "list them in lib/report/dictionary.py"
    assert set(used) == {pattern for pattern, *_ in FILES}


def test_the_commands_exist():
    for _, _, command in FILES:
        for module in command.replace("`", " ").replace(",", " ").split():
            if module.startswith(("tests.benchmarks.", "lib.")):
                assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module
            elif module.startswith("bench_"):
                assert (ROOT / f"tests/benchmarks/{module}.py").is_file(), module
