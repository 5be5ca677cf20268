"""What reports/benchmarks.md says of the demo on a GPU is what its committed results say."""

import json
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
NAMES = {"simclr": "SimCLR", "dar_sfrl": "DAR-SFRL (corrected)"}
SHOWN = [("clean", "clean", "accuracy"), ("corruption", "mean", "drop"), ("attack", "mean", "drop")]


@pytest.mark.parametrize("epochs", [8, 64])
@pytest.mark.parametrize("method", NAMES)
def test_the_table_of_gpu_runs(method, epochs):
    folder = ROOT / f"reports/gpu/epochs_{epochs}" / method
    record, results = json.loads((folder / "run.json").read_text()), pd.read_csv(folder / "results.csv")
    assert record["epochs"] == epochs and set(results.method) == {method}
    summed = results[results.severity.fillna(0).eq(0)].set_index(["dataset", "task", "family", "condition", "metric"]).value
    cells = [NAMES[method], str(epochs), *(f"{record['seconds'][part]:.0f} s" for part in ("pretrain", "probe"))]
    cells += [f"{summed[task + row]:.1f}" for task in (("rendered", "expression"), ("orl", "verification")) for row in SHOWN]
    text = (ROOT / "reports/benchmarks.md").read_text(encoding="utf-8")
    assert f"| {' | '.join(cells)} |" in text


def test_the_speeds_on_a_gpu():
    text = (ROOT / "reports/benchmarks.md").read_text(encoding="utf-8")
    speeds = pd.read_csv(ROOT / "reports/corruption_speed_cuda.csv")
    mean = speeds.ours.iloc[:15].prod() ** (1 / 15)
    assert f"{mean:,.0f} images/s" in text and speeds.corruption.iloc[14] == "jpeg_compression"
    attacks = pd.read_csv(ROOT / "reports/attack_speed_cuda.csv")
    equal = attacks[attacks["compared at"] == "equal steps"]["times faster"]
    assert f"{equal.min():.2f} to {equal.max():.2f}, mean {equal.prod() ** (1 / len(equal)):.2f}" in text
