import dataclasses
import re

import numpy as np
import pandas as pd
import pytest
import torch

import lib.evaluation
from lib.bootstrap import interval, subject_draws, subject_sums
from lib.evaluation import evaluate, tasks_of
from lib.items import items_of
from lib.probe_params import Attacked, Finetune, ProbeParams
from lib.probes.au_linear import fit_folds
from lib.probes.finetuned import FINETUNED
from lib.probes.neighbours import BY_NEIGHBOURS
from lib.results import write_results
from lib.strong_attacks import Strong
from lib.tally import Measured, tally

SMALL = ProbeParams(
    images=70,
    au_epochs=60,
    pairs=40,
    attacked=Attacked(21, 21, 21),
    corruptions=["gaussian_noise", "contrast"],
    severities=[1, 4],
    attacks=["pgd", "mifgsm", "upgd"],
    steps=4,
    sweep=[2, 64],
    resamples=300,
    batch_size=32,
)


class Quiet:
    def __init__(self, total, label, start=0):
        self.total, self.start, self.done, self.names = total, start, start, []

    def step(self, n, note):
        self.done += n
        self.names.append(note)


@pytest.fixture
def run(synthetic_faces, pixel_encoder, tmp_path):
    def run(params=SMALL, work=tmp_path / "work", encoder=None, tables=None, progress=Quiet, **more):
        tables = tables or [synthetic_faces(), synthetic_faces(labelled=False)]
        return evaluate(
            encoder or pixel_encoder(40),
            tables,
            params,
            method="linear",
            seed=7,
            device="cpu",
            work=work,
            progress=progress,
            **more,
        )

    return run


@pytest.fixture(scope="module")
def results(synthetic_faces, pixel_encoder, tmp_path_factory):
    return evaluate(
        pixel_encoder(40),
        [synthetic_faces(), synthetic_faces(labelled=False)],
        SMALL,
        method="linear",
        seed=7,
        device="cpu",
        work=tmp_path_factory.mktemp("work"),
        seen=["contrast"],
        progress=Quiet,
    )


def pick(results, **where):
    for name, value in where.items():
        results = results[results[name] == value]
    return results


def value(results, **where):
    found = pick(results, **where)
    assert len(found) == 1, found
    return found["value"].item()


def test_every_task_meets_every_condition(results):
    tasks = {(r.dataset, r.task) for r in results.itertuples()}
    assert tasks == {
        ("rendered", "expression"),
        ("rendered", "action_units"),
        ("rendered", "verification"),
        ("orl", "verification"),
    }
    for dataset, task in tasks:
        part = pick(results, dataset=dataset, task=task)
        main = "f1" if task == "action_units" else "accuracy"
        # cells, types, mean x 3 and worst, means of the levels
        assert len(pick(part, family="corruption", metric=main)) == 2 * 2 + 2 + 4 + 2
        assert pick(part, family="attack", metric=main)["condition"].tolist() == [
            "pgd",
            "mifgsm",
            "upgd",
            "mean",
            "worst",
        ]
        assert pick(part, family="sweep", metric=main)["severity"].tolist() == [2, 64, 0, 8]
        assert pick(part, family="clean", metric="drop").empty
        assert (part["ci_low"] <= part["value"] + 1e-4).all() and (part["value"] <= part["ci_high"] + 1e-4).all()
        assert set(pick(part, family="attack")["n"]) == {21}
        for r in pick(part, metric="drop").itertuples():
            start = value(part, family="clean", metric=main)
            if r.family in ("attack", "sweep"):
                start = value(part, family="sweep", severity=0, metric=main)
            same = part[(part.family == r.family) & (part.condition == r.condition) & (part.metric == main)]
            same = same[same.severity.isna() if np.isnan(r.severity) else same.severity == r.severity]
            assert r.value == pytest.approx(start - same["value"].item(), abs=3e-4)
    assert set(results["method"]) == {"linear"} and set(results["seed"]) == {7}


def test_drop_is_zero_where_nothing_changes(results):
    none = results[
        (results.family == "sweep") & (results.severity == 0) & results.metric.isin(["drop", "relative_drop"])
    ]
    assert len(none) == 8 and (none[["value", "ci_low", "ci_high"]] == 0).all().all()


def test_attacks_hurt_more_the_more_they_may(results):
    for _, part in results.groupby(["dataset", "task"]):
        main = "f1" if part["task"].iloc[0] == "action_units" else "accuracy"
        sweep = pick(part, family="sweep", metric=main).set_index("severity")["value"]
        assert sweep[64] <= sweep[8] + 1e-9 <= sweep[2] + 1e-9 <= sweep[0] + 1e-9
        assert sweep[64] < 5 and sweep[0] > 60


def test_upgd_is_mifgsm_and_summaries_are_those_of_the_cells(results):
    part = pick(results, dataset="rendered", task="expression", metric="accuracy")
    attacks = pick(part, family="attack").set_index("condition")["value"]
    assert attacks["upgd"] == attacks["mifgsm"]
    assert attacks["mean"] == pytest.approx(attacks[["pgd", "mifgsm", "upgd"]].mean(), abs=1e-4)
    assert attacks["worst"] == attacks[["pgd", "mifgsm", "upgd"]].min()
    cells = pick(part, family="corruption")
    levels = cells[(cells.severity > 0) & (cells.condition == "mean")]
    single = cells[(cells.severity > 0) & (cells.condition != "mean")]
    summary = cells[cells.severity.isna()].set_index("condition")["value"]
    for level in levels.itertuples():
        assert level.value == pytest.approx(pick(single, severity=level.severity)["value"].mean(), abs=1e-4)
    assert summary["contrast"] == pytest.approx(pick(single, condition="contrast")["value"].mean(), abs=1e-4)
    assert summary["mean_seen"] == summary["contrast"] and summary["mean_unseen"] == summary["gaussian_noise"]
    assert summary["worst"] == single["value"].min()
    assert summary["mean"] == pytest.approx(single["value"].mean(), abs=1e-4)


def test_two_runs_give_the_same_bytes(run, tmp_path, results):
    again = run(seen=["contrast"])
    assert write_results(again, tmp_path / "a").read_bytes() == write_results(results, tmp_path / "b").read_bytes()


def test_a_killed_run_goes_on_and_ends_the_same(run, tmp_path, results):
    class Killed(Quiet):
        def step(self, n, note):
            super().step(n, note)
            if len(self.names) == 9:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(progress=Killed)
    (folder,) = (tmp_path / "work").iterdir()
    finished = {p: p.stat().st_mtime_ns for p in folder.iterdir()}
    assert all(p.suffix == ".npz" for p in finished)
    meters = []
    again = run(seen=["contrast"], progress=lambda *a, **k: meters.append(Quiet(*a, **k)) or meters[-1])
    # what was finished counts as done from the start, so that the time left is that of the rest
    assert 0 < meters[0].start < meters[0].total == meters[0].done
    assert len(meters[0].names) == len(list(folder.iterdir())) - len(finished)
    assert 9 <= len(finished) < len(list(folder.iterdir()))  # those that were at work when it was killed are finished too
    assert all(p.stat().st_mtime_ns == t for p, t in finished.items())
    pd.testing.assert_frame_equal(again, results)


def test_only_conditions_that_are_new_are_run(run, tmp_path, monkeypatch):
    run()
    monkeypatch.setattr(lib.conditions, "attack", None)  # any attack would fail now
    fewer = run(dataclasses.replace(SMALL, attacks=["pgd"], severities=[4], resamples=10))
    assert pick(fewer, family="attack", metric="drop")["condition"].tolist() == ["pgd", "mean", "worst"] * 4
    assert len(list((tmp_path / "work").iterdir())) == 1


def test_other_encoders_data_and_parameters_never_share_a_folder(run, tmp_path, synthetic_faces, pixel_encoder):
    base = dataclasses.replace(SMALL, attacks=[], sweep=[], corruptions=["contrast"], severities=[1])
    encoder = pixel_encoder(40)
    with torch.no_grad():
        encoder[1].weight[0, 0] += 1e-3
    changed = synthetic_faces(labelled=False)
    changed._reader.pixels[:, 0, 0, 0] ^= 1
    for n, more in enumerate(
        [
            {},
            {"encoder": encoder},
            {"params": dataclasses.replace(base, l2=0.02)},
            {"params": dataclasses.replace(base, images=69)},
            {"tables": [synthetic_faces(), changed]},
        ]
    ):
        run(**{"params": base, **more})
        assert len(list((tmp_path / "work").iterdir())) == n + 1


def test_checks_are_rows_of_their_own(run, pixel_encoder):
    params = dataclasses.replace(SMALL, corruptions=[], attacks=[], sweep=[], checked=15, check_steps=[1, 3], queries=5)
    found = run(params, checks=True, surrogates={"untrained": pixel_encoder(8)})
    checks = pick(found, family="check", task="expression")
    assert pick(checks, metric="loss")[["condition", "severity"]].values.tolist() == [["pgd", 1], ["pgd", 3]]
    accuracy = pick(checks, metric="accuracy")
    restarts = pick(accuracy, condition="restarts")
    assert restarts["severity"].tolist() == [1, 2, 3, 4, 5]
    assert accuracy.loc[accuracy["condition"] != "restarts", "condition"].tolist() == [
        "white_box",
        "gradient_free",
        "noise",
        "transfer_untrained",
    ]
    assert set(checks["n"]) == {15} and (checks["ci_high"] >= checks["value"]).all()
    assert pick(run(params), family="check").empty


def test_progress_ends_at_its_total(run):
    meters = []
    run(
        dataclasses.replace(SMALL, attacks=["pgd", "fgsm"], sweep=[]),
        progress=lambda total, label, start: meters.append(Quiet(total, label, start)) or meters[0],
    )
    assert meters[0].done == meters[0].total
    assert len(set(meters[0].names)) == len(meters[0].names) == 2 * 4 + 2 * 4


def test_encoder_is_left_as_it_was(run, pixel_encoder):
    encoder = pixel_encoder(40).train()
    run(dataclasses.replace(SMALL, sweep=[], corruptions=[]), encoder=encoder)
    assert encoder.training and all(p.requires_grad and p.grad is None for p in encoder.parameters())


def test_paired_interval_of_a_drop_is_narrower_than_an_unpaired_one(synthetic_faces, pixel_encoder):
    task = tasks_of(pixel_encoder(40), synthetic_faces(), SMALL, "cpu")[0]
    rng = np.random.default_rng(0)
    truth = np.eye(7)[task.labels.numpy()]
    skill = rng.random(40)[task.subjects][:, None]  # some persons are hard, clean or not
    clean = np.where(skill > 0.4, truth, 1 - truth)
    attacked = np.where((skill > 0.4) & (rng.random((70, 1)) > 0.1), truth, 1 - truth)
    rows = tally(task, clean, [Measured("attack", "pgd", 0, attacked)], method="m", seed=0, resamples=2000)
    drop = next(r for r in rows if (r.condition, r.metric) == ("pgd", "drop"))
    people, person = np.unique(task.subjects, return_inverse=True)
    accuracy = []
    for seed, scores in enumerate((clean, attacked)):
        sums = subject_draws(20, 2000, seed) @ subject_sums(task.count(scores, np.arange(70)), person, 20)
        accuracy.append(task.metrics["accuracy"](sums))
    value, low, high = interval(accuracy[0] - accuracy[1])
    assert drop.value == pytest.approx(value)
    assert drop.ci_high - drop.ci_low < 0.6 * (high - low)


@pytest.mark.parametrize(
    "people, drop, tasks, notes",
    [
        (20, (), {"expression", "action_units", "verification"}, []),
        (20, ("au_", "fold"), {"expression", "verification"}, ["action units left out: there are no columns au_1"]),
        (20, ("fold",), {"expression", "verification"}, ["action units left out: there is no column 'fold'"]),
        (20, ("expression",), {"action_units", "verification"}, ["expression left out: there is no column 'expres"]),
        (3, ("au_",), {"expression"}, ["no columns au_1", "verification left out: .* need at least 20 people.* got 3"]),
        (20, ("au_4",), {"expression", "action_units", "verification"}, ["action units: AU 4: no such column"]),
    ],
)
def test_what_the_columns_do_not_allow_is_left_out_with_a_word(own_faces, run, capsys, people, drop, tasks, notes):
    table = own_faces(people, drop)
    items, said = items_of(table, SMALL)
    assert set(items) == tasks and len(said) == len(notes)
    for sentence, wanted in zip(said, notes):
        assert sentence.startswith("rendered: ") and re.search(wanted, sentence)
    params = dataclasses.replace(SMALL, corruptions=["contrast"], severities=[1], attacks=["pgd"], steps=1, sweep=[])
    results = run(params, tables=[table])
    assert set(results["task"]) == tasks
    assert capsys.readouterr().out.splitlines() == said


def test_a_table_with_nothing_to_probe_stands_aside(own_faces, run):
    params = dataclasses.replace(SMALL, corruptions=["contrast"], severities=[1], attacks=[], sweep=[])
    nothing = own_faces(3, ("au_", "expression"))
    assert set(run(params, tables=[nothing, own_faces()])["task"]) == {"expression", "action_units", "verification"}
    with pytest.raises(ValueError, match="nothing that can be probed. rendered: expression left out: .* at least 20"):
        run(params, tables=[nothing])


def test_action_units_without_known_labels_have_no_rows(own_faces, run):
    table = own_faces()
    table.rows.loc[table.rows["split"] == "probe_test", "au_7"] = np.nan
    params = dataclasses.replace(SMALL, corruptions=[], attacks=["pgd"], steps=1, sweep=[])
    results = pick(run(params, tables=[table]), task="action_units")
    named = {name for name in results["metric"] if re.fullmatch(r"f1_au_\d+", name)}
    assert len(named) == 11 and "f1_au_7" not in named
    clean = pick(results, family="clean")
    assert value(clean, metric="f1") == pytest.approx(clean[clean.metric.isin(named)]["value"].mean(), abs=1e-3)


TUNED = dataclasses.replace(
    SMALL, tasks=["expression", "valence_arousal", *FINETUNED], sweep=[64], severities=[4], attacks=["pgd"],
    finetune=Finetune("demo", 24),
)  # fmt: skip


def test_fine_tuned_tasks_meet_the_same_grid(run, trainable_encoder, synthetic_faces, capsys):
    strong = Strong(["apgd", "autoattack"], 8, 3, 4)
    tasks = [*TUNED.tasks, *BY_NEIGHBOURS]
    params = dataclasses.replace(TUNED, tasks=tasks, checked=10, check_steps=[1, 3], queries=4, strong=strong)
    others = {"other": trainable_encoder(64)}
    found = run(params, encoder=trainable_encoder(128), tables=[synthetic_faces()], checks=True, surrogates=others)
    for task, main in (("expression", "accuracy"), ("valence_arousal", "ccc")):
        for name in (task, f"{task}_finetuned"):
            part = pick(found, task=name)
            assert {"clean", "corruption", "attack", "sweep", "check", "strong"} == set(part["family"])
            clean = value(part, family="clean", metric=main)
            assert clean > 50 and value(part, family="sweep", metric=main, severity=64) < clean - 20
            assert not pick(part, family="check", condition="transfer_other").empty
            assert pick(part, family="strong", condition="autoattack").empty == (task != "expression")
            assert set(pick(part, family="clean")["n"]) == {70}
            assert set(pick(part, family="attack")["n"]) == {21 if task == "expression" else 60}
        tuned = pick(found, task=f"{task}_finetuned", family="clean")
        assert {f"last_{main}", f"best_on_test_{main}"} <= set(tuned["metric"])
        nearest, linear = pick(found, task=f"{task}_knn"), pick(found, task=task, family="clean")
        assert {"clean", "corruption", "attack", "sweep"} == set(nearest["family"])  # no gradient, so no checks
        assert value(nearest, family="clean", metric=main) == value(linear, metric=f"knn_{main}")
        assert set(pick(nearest, family="attack")["n"]) == set(pick(found, task=task, family="attack")["n"])
        assert f"knn_{main}" in set(linear["metric"]) and f"knn_{main}" not in set(tuned["metric"])
    lines = capsys.readouterr().out
    assert "expression_finetuned" in lines  # a meter of its own


def test_a_killed_fine_tuned_evaluation_ends_the_same(run, trainable_encoder, synthetic_faces, tmp_path):
    class Killed(Quiet):
        def step(self, n, note):
            super().step(n, note)
            if len(self.names) == 5:
                raise KeyboardInterrupt

    table = synthetic_faces()
    params = dataclasses.replace(TUNED, finetune=Finetune("demo", 3))
    start = {"params": params, "encoder": trainable_encoder(32), "tables": [table]}
    whole = run(**start, work=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(**start, progress=Killed)
    weights = {p: p.stat().st_mtime_ns for p in (tmp_path / "work").glob("*.pt")}
    assert len(weights) == 2
    again = run(**start)
    assert all(p.stat().st_mtime_ns == t for p, t in weights.items())  # trained once
    pd.testing.assert_frame_equal(again, whole)
    other = run(**(start | {"params": dataclasses.replace(params, finetune=Finetune("demo", 2))}))
    assert len(list((tmp_path / "work").glob("*.pt"))) == 4 and not other.equals(whole)


def test_all_tasks_of_a_table_share_their_corrupted_images(run, synthetic_faces, trainable_encoder, tmp_path):
    table = synthetic_faces()
    table.rows.loc[table.rows["identity"] == 25, "valence"] = np.nan
    params = dataclasses.replace(
        SMALL, tasks=["expression", "valence_arousal", *FINETUNED], images=60, attacks=[], sweep=[], severities=[1],
        corruptions=["gaussian_noise"], finetune=Finetune("demo", 1),
    )  # fmt: skip
    run(params, encoder=trainable_encoder(16), tables=[table], shared=tmp_path / "shared")
    assert len(list((tmp_path / "shared").rglob("*.npy"))) == 1


def test_heads_of_a_surrogate_that_was_probed_itself_are_not_fitted_again(run, synthetic_faces, pixel_encoder, tmp_path, monkeypatch):
    def fit(*args):
        fitted.append(1)
        return fit_folds(*args)

    fitted, table = [], synthetic_faces()
    monkeypatch.setattr("lib.probes.kept_heads.fit_folds", fit)
    params = dataclasses.replace(
        SMALL, tasks=["action_units"], images=60, au_epochs=3, attacks=["pgd"], sweep=[], severities=[1], corruptions=["contrast"],
        check_steps=[1, 2], queries=2, strong=Strong(attacks=[]),
    )  # fmt: skip
    first, second = pixel_encoder(20), pixel_encoder(8)
    given = {"params": params, "tables": [table], "checks": True}
    alone = [
        run(encoder=one, surrogates={"other": other}, work=tmp_path / f"alone{n}", **given)
        for n, (one, other) in enumerate([(first, second), (second, first)])
    ]
    assert len(fitted) == 4
    together = [
        run(encoder=one, surrogates={"other": other}, work=tmp_path / f"together{n}", shared=tmp_path / "shared", **given)
        for n, (one, other) in enumerate([(first, second), (second, first)])
    ]
    assert len(fitted) == 4 + 2 and len(list((tmp_path / "shared/heads").iterdir())) == 2
    for found, wanted in zip(together, alone):
        pd.testing.assert_frame_equal(found, wanted, check_exact=True)


def test_a_fine_tuned_task_sees_the_images_of_its_linear_probe(synthetic_faces, trainable_encoder):
    table, device = synthetic_faces(), "cpu"
    params = dataclasses.replace(SMALL, tasks=["expression", "valence_arousal", "expression_finetuned"], images=60)
    table.rows.loc[table.rows["identity"] == 25, "valence"] = np.nan  # so that the two linear probes have other images
    tasks = tasks_of(trainable_encoder(16), table, params, device)
    rows = torch.cat([task.rows for task in tasks])
    assert len(torch.unique(rows)) > 60
    images = []

    class Watched(torch.nn.Module):
        def forward(self, pixels):
            images.append(pixels)
            return pixels.flatten(1)[:, :16]

    for group, encoder in ((tasks, Watched()), ([dataclasses.replace(tasks[0], name="expression_finetuned")], Watched())):
        group = [dataclasses.replace(task, encoder=encoder, head=lambda f, i: f) for task in group]
        (job,) = lib.conditions.corruption_jobs(group, ["gaussian_noise"], [3], 500, device, rows=rows)
        job.run()
    assert torch.equal(*images)
    two = [dataclasses.replace(tasks[0], encoder=Watched()), tasks[1]]
    with pytest.raises(ValueError, match="tasks: expected those of one table and one encoder, got expression, valence_arousal"):
        next(lib.conditions.corruption_jobs(two, ["fog"], [1], 8, device))


def test_details_stand_beside_clean_and_means_only(results):
    part = pick(results, task="expression")
    details = part[part["metric"].str.startswith("confused_")]
    assert set(zip(details["family"], details["condition"])) == {("clean", "clean"), ("corruption", "mean"), ("attack", "mean")}
    assert details["severity"].isin([0]).sum() == details["severity"].notna().sum() == 42 and len(details) == 3 * 42
    for family, condition in (("clean", "clean"), ("attack", "mean")):
        rows = pick(part, family=family, condition=condition)
        shares = rows[rows["metric"].str.startswith("confused_fear_as_")]["value"].sum()
        assert shares + value(rows, metric="recall_fear") == pytest.approx(100, abs=0.01)
    recall = part[part["metric"].str.startswith("recall_")]
    assert set(recall["condition"]) >= {"clean", "pgd", "worst", "contrast"} and "sweep" not in set(recall["family"])
    clean = pick(part, family="clean")
    assert {"knn_accuracy", "knn_macro_f1", "knn_recall_anger"} <= set(clean["metric"])


def test_the_interval_of_a_mean_is_that_of_the_mean(synthetic_faces, pixel_encoder):
    """Two corruptions that fail on different images: their mean varies less than either."""
    task = tasks_of(pixel_encoder(40), synthetic_faces(), SMALL, "cpu")[0]
    truth = np.eye(7)[task.labels.numpy()]
    first = np.random.default_rng(0).random((70, 1)) < 0.5
    scores = [np.where(first, truth, 1 - truth), np.where(first, 1 - truth, truth)]
    measured = [Measured("corruption", name, 2, s) for name, s in zip(("fog", "snow"), scores)]
    rows = tally(task, truth, measured, method="m", seed=0, resamples=500)
    found = {(r.condition, str(r.severity), r.metric): r for r in rows}
    for severity in ("2", "nan"):
        mean = found["mean", severity, "accuracy"]
        assert (mean.value, mean.ci_low, mean.ci_high) == pytest.approx((50, 50, 50))
    assert ("mean", "2", "macro_f1") not in found and ("mean", "2", "drop") in found
    assert found["fog", "2", "accuracy"].ci_high - found["fog", "2", "accuracy"].ci_low > 10


def test_mixed_numbers_of_items_are_an_error(synthetic_faces, pixel_encoder):
    task = tasks_of(pixel_encoder(40), synthetic_faces(), SMALL, "cpu")[0]
    scores = np.zeros((70, 7))
    with pytest.raises(ValueError, match=r"family attack must have one number of items, got \[5, 9\]"):
        tally(
            task,
            scores,
            [Measured("attack", c, 0, scores[:n]) for c, n in (("pgd", 5), ("bim", 9))],
            method="m",
            seed=0,
            resamples=10,
        )


def test_where_no_checked_image_shows_a_unit_there_is_neither_score_nor_drop(synthetic_faces, pixel_encoder, tmp_path):
    table = synthetic_faces()
    params = ProbeParams(
        tasks=["action_units"], images=1000, au_epochs=2, corruptions=["contrast"], severities=[3], attacks=["pgd"], steps=1, sweep=[],
        checked=1, check_steps=[1], queries=1, resamples=20, strong=Strong(attacks=[]),
    )  # fmt: skip
    rows = table.rows.copy()
    checked = items_of(table, params)[0]["action_units"][:1]
    rows.loc[checked, [name for name in rows if name.startswith("au_")]] = 0.0
    found = evaluate(pixel_encoder(20), [table.with_rows(rows)], params, method="mine", seed=0, device="cpu", work=tmp_path, checks=True)
    assert not found.loc[found["family"] == "check", "metric"].isin(["f1", "drop"]).any()
    assert {"f1", "drop"} <= set(found.loc[found["family"] == "corruption", "metric"])
