import json
import re
from html import unescape

import pandas as pd
import pytest

from lib.report.answer import answer
from lib.report.build import FACES, PANELS, build_report, report_tables
from lib.report.claim import read_claims
from lib.report.claims import DEFINITIONS
from lib.report.draw import draw_all
from lib.report.figures import embedding, headline, style
from lib.report.html import duration, flatten, reasons
from lib.report.readme import blocks
from lib.report.seeds import summaries
from lib.report.summary import Scores
from lib.report.table_formats import csv_text, markdown
from lib.report.tables import all_tables
from lib.results import read_results, write_results


@pytest.fixture(scope="module")
def small(make):
    """A run of three encoders on two tasks: enough for every table and figure, and quick to draw."""
    encoders = {"simclr": (0, 7.0, 0.05), "dar_sfrl": (1, 2.4, 0.78), "untrained": (-28, 5.0, 0.2)}
    results = make["results"](blocks=(("expression", "rendered"), ("action_units", "rendered")), encoders=encoders)
    types = ("gaussian_noise", "motion_blur", "fog")
    results = results[
        (results["family"] != "corruption")
        | results["condition"].isin([*types, "mean", "mean_seen", "mean_unseen", "worst"])
    ]
    histories = {name: make["history"](steps=30) for name in ("simclr", "dar_sfrl")}
    panels = make["panels"](encoders=("simclr", "dar_sfrl"))
    panels["corruptions"] = {"names": types, "images": panels["corruptions"]["images"][:3]}
    panels["embeddings"]["features"] = {k: v[:35] for k, v in panels["embeddings"]["features"].items()}
    panels["embeddings"] |= {k: panels["embeddings"][k][:35] for k in ("expression", "identity")}
    return results, histories, panels, make["run"]()


@pytest.fixture(scope="module")
def built(small, tmp_path_factory):
    out = tmp_path_factory.mktemp("reports")
    (out / "tables").mkdir()
    (out / "tables" / "stale.md").write_text("of an earlier run")
    write_results(small[0], out / "results.csv")
    build_report(*small, out)
    return out


def test_everything_is_written(built):
    figures = {path.stem for path in (built / "figures").iterdir()}
    assert figures == {
        "headline",
        "corruption_gallery",
        "attack_gallery",
        "strong_attack_gallery",
        "restoration",
        "moving",
        "face_swap",
        "drop_by_severity",
        "drop_by_corruption_expression_rendered",
        "drop_per_attack",
        "eps_sweep",
        "masking_checks",
        "action_units_rendered",
        "embedding_map",
        "training_curves",
    }
    for name in figures:
        assert (built / "figures" / f"{name}.svg").exists() and (built / "figures" / f"{name}.png").exists()
    assert {path.suffix for path in (built / "tables").iterdir()} == {".md", ".tex", ".csv"}
    assert not (built / "tables" / "stale.md").exists()
    assert not [path for path in built.rglob("*") if path.name.endswith(".part")]
    assert json.loads((built / "run.json").read_text())["attack_eps"] == 8


def test_tables_from_the_written_results_are_the_same(built, small):
    for table in report_tables(read_results(built / "results.csv"), small[3]["seen_corruptions"], 8.0):
        assert (built / "tables" / f"{table.name}.md").read_text() == markdown(table)
        assert (built / "tables" / f"{table.name}.csv").read_text() == csv_text(table)


def test_page_loads_nothing_from_outside(built):
    page = (built / "report.html").read_text()
    for url in re.findall(r"(?:src|srcset|poster|data|xlink:href)\s*=\s*[\"']([^\"']+)", page):
        assert url.startswith("data:"), url[:80]
    assert not re.search(r"<link|@import|url\(|<iframe|<object|<script\s+src|fetch\(|XMLHttpRequest", page)
    links = {url for url in re.findall(r"<a href=\"([^\"#][^\"]*)\"", page)}
    assert links and all((built / url).exists() for url in links)


def test_page_says_what_was_found_and_run(built):
    page = (built / "report.html").read_text()
    for claim in read_claims(built / "claims.json"):
        assert claim.text.replace("'", "&#39;").replace('"', "&#34;") in page
    box = re.search(r'<div class="answer">(.*?)</div>', page, re.DOTALL)[1]
    said = answer(read_results(built / "results.csv"))
    assert said.verdict.startswith("Yes, better than SimCLR") and re.findall(r'<p class="verdict">(.*?)</p>', box) == [said.verdict]
    assert [unescape(point) for point in re.findall(r"<li>(.*?)</li>", box)] == list(said.points)
    assert len(re.findall(r"<ul>.*?</ul>", box, re.DOTALL)) == 1 and said.lead in box
    assert "Every encoder was trained once, with seed 0. Intervals are over people" in box
    for term, meaning in DEFINITIONS:
        assert f"<em>{term}</em>: {meaning}" in unescape(page)
    assert "schedule.batch_size" in page and "2 CPU cores" in page and "3 min 10 s" in page
    assert "What this is not" in page and "rendered faces" in page.lower()


def test_drawn_again_the_files_have_the_same_bytes(built, small, tmp_path):
    results, _, panels, _ = small
    data = panels["embeddings"]
    figures = {
        "headline": headline.headline(Scores(results), [("expression", "rendered")]),
        "embedding_map": embedding.embedding_map(data["features"], data["expression"], data["identity"]),
    }
    for name, figure in figures.items():
        for path in style.save(figure, tmp_path / name):
            assert path.read_bytes() == (built / "figures" / path.name).read_bytes(), path.name


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda p, r, h: p.pop("restoration"), "panels: missing 'restoration', .* or why it is missing in 'left_out'"),
        (lambda p, r, h: p.pop("left_out"), "panels: missing left_out"),
        (lambda p, r, h: p.update(source="ORL"), "no corruptions, attacks, strong_attacks, .*, face_swap .*photographs are never"),
        (lambda p, r, h: p.update(attacks={}), r"panels\['attacks'\]: expected the keys"),
        (lambda p, r, h: r.pop("machine"), "run: expected the keys .* missing machine"),
        (lambda p, r, h: h.pop("simclr"), "missing simclr"),
    ],
)
def test_missing_parts_are_named_and_nothing_is_written(small, tmp_path, change, message):
    results, histories, panels, run = small[0], dict(small[1]), dict(small[2]), dict(small[3])
    change(panels, run, histories)
    with pytest.raises(ValueError, match=message):
        build_report(results, histories, panels, run, tmp_path)
    assert not list(tmp_path.iterdir())


WHY = "panels show rendered faces only; this run used mine"


def figures_of(out) -> set[str]:
    return {path.stem for path in (out / "figures").glob("*.svg")}


def test_photographs_leave_out_every_picture_of_a_face_and_the_page_says_why(small, tmp_path):
    results, histories, panels, run = small
    results = results[(results["task"] == "expression") & results["family"].isin(["clean", "attack"])]
    results = results.assign(dataset="mine", source="mine")
    write_results(results, tmp_path / "results.csv")
    panels = {"source": "mine", "embeddings": panels["embeddings"], "left_out": dict.fromkeys(FACES, WHY)}
    run = run | {"left_out": ["mine: verification left out: too few people"]}
    page = build_report(results, histories, panels, run, tmp_path).read_text()
    assert "class=\"picture\"" not in page
    kept_out = "The gallery of corruptions, the gallery of attacks, the gallery of stronger attacks, what DAFR restores, where faces move"
    assert f"{kept_out} and the gallery of swapped faces: {WHY}." in page
    assert "mine: verification left out: too few people" in page
    assert "faces (mine)" in page and "The faces of this run (mine) are not" in page
    assert "Rendered faces stand in" not in page
    assert figures_of(tmp_path) == {"headline", "drop_per_attack", "embedding_map", "training_curves"}
    assert json.loads((tmp_path / "claims.json").read_text())["claims"]


@pytest.mark.parametrize(
    "keep, gone",
    [
        (lambda r: r["task"] == "expression", {"action_units_rendered"}),
        (lambda r: r["task"] == "action_units", {"drop_by_corruption_expression_rendered"}),
        (lambda r: r["family"] != "attack", {"drop_per_attack"}),
        (lambda r: r["family"] != "corruption", {"drop_by_severity", "drop_by_corruption_expression_rendered"}),
        (lambda r: ~r["family"].isin(["sweep", "check"]), {"eps_sweep", "masking_checks"}),
        (lambda r: r["family"] == "clean", {"drop_per_attack", "drop_by_severity", "eps_sweep", "masking_checks"}),
        (lambda r: r["method"] == "untrained", {"action_units_rendered", "masking_checks"}),
        (lambda r: ~r["metric"].str.startswith("f1_au_"), {"action_units_rendered"}),
    ],
)
def test_what_was_not_measured_is_not_drawn(small, tmp_path, keep, gone):
    """Every other figure is there, and none is empty."""
    results, _, _, run = small
    results = results[keep(results)]
    panels = {"source": "rendered", "left_out": dict.fromkeys(PANELS, "not wanted")}
    drawn = draw_all(Scores(results), {}, panels, run["seen_corruptions"], 8.0)
    assert gone.isdisjoint(entry.name for entry in drawn) and drawn[0].name == "headline"
    for entry in drawn:
        for axes in entry.figure.axes:
            assert axes.has_data() or not axes.axison, entry.name
        assert not re.search(r"(^|\s)\.|: \.|\?", entry.caption), entry.caption
    for table in all_tables(results, run["seen_corruptions"]):
        assert table.columns and table.rows and any(cell.score for cell in table.cells.values())
        assert markdown(table) and csv_text(table)
    assert answer(results).verdict
    write_results(results, tmp_path / "results.csv")
    (tmp_path / "run.json").write_text(json.dumps(run))
    assert "nan" not in blocks(tmp_path)["results"]


def test_the_verdict_over_seeds_comes_first_where_the_run_is_one_of_them(small, tmp_path):
    results, histories, panels, run = small
    results = results[results["family"].isin(["clean", "corruption", "attack"])]
    write_results(results, tmp_path / "results.csv")
    several = summaries(pd.concat([results, results.assign(seed=4)]), list(results["method"].unique()))
    page = unescape(build_report(results, histories, panels, run, tmp_path, several).read_text())
    assert '<p class="verdict">Better than SimCLR, over 2 seeds (yes on seeds 0 and 4).</p>' in page
    assert f"<p>This run, seed 0: {answer(results).verdict}</p>" in page and "trained once" not in page


def test_of_several_seeds_it_is_not_said_that_there_was_one(small, tmp_path):
    results, histories, panels, run = small
    results = results[(results["task"] == "expression") & results["family"].isin(["clean", "corruption"])]
    results = pd.concat([results, results.assign(seed=1)], ignore_index=True)
    write_results(results, tmp_path / "results.csv")
    assert "trained once" not in build_report(results, histories, panels, run, tmp_path).read_text()


def test_reasons_are_put_together():
    said = reasons({"embeddings": "no labels", "restoration": "b", "attacks": "b"})
    assert said == ["The map of the features: no labels.", "The gallery of attacks and what DAFR restores: b."]
    assert all(reasons({panel: "why"})[0].endswith(": why.") for panel in PANELS)  # each has a title


def test_duration_and_flatten():
    assert [duration(s) for s in (41, 185, 3720)] == ["41 s", "3 min 05 s", "1 h 02 min"]
    assert list(flatten({"a": {"b": 1, "c": [1, 2]}, "d": {}})) == [("a.b", "1"), ("a.c", "1, 2"), ("d", "{}")]


def test_metrics_are_a_few_numbers_of_every_encoder(built, small):
    results = small[0]
    found = json.loads((built / "metrics.json").read_text())
    cells = found["expression_rendered"]["dar_sfrl"]
    assert set(cells) == {"clean", "drop_corruptions", "drop_attacks"}
    row = results[
        (results.method == "dar_sfrl") & (results.dataset == "rendered") & (results.task == "expression")
        & (results.family == "attack") & (results.condition == "mean") & (results.metric == "drop")
    ]  # fmt: skip
    row = row[row.severity.isna()]
    assert cells["drop_attacks"] == pytest.approx(row.value.mean(), abs=0.051)
