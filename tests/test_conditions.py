import ast
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import lib.conditions
from lib.conditions import CORRUPTION_CODE, attack_jobs, check_jobs, corruption_jobs, generator_for, to_numpy, with_one_sample
from lib.degrade.recipes import RECIPES
from lib.evaluation import tasks_of
from lib.probe_params import ProbeParams

PARAMS = ProbeParams(images=50, pairs=20, batch_size=16)


class Watched(nn.Module):
    """Passes features on and keeps what it saw since ``seen`` was cleared."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.seen = inner, []

    def forward(self, images):
        self.seen.append(images.detach())
        return self.inner(images)


def test_every_encoder_sees_the_same_corrupted_images_and_each_once(synthetic_faces, pixel_encoder):
    seen = []
    for encoder in (Watched(pixel_encoder(8)), Watched(pixel_encoder(30))):
        tasks = tasks_of(encoder, synthetic_faces(), PARAMS, "cpu")
        jobs = list(corruption_jobs(tasks, ["gaussian_noise"], [3], 16, "cpu"))
        encoder.seen.clear()
        scores = jobs[0].run()
        seen.append(torch.cat(encoder.seen))
        assert [len(s) for s in scores] == [50, 50, 20] and jobs[0].cost == len(seen[-1]) == 50
        assert [cell.task for cell in jobs[0].cells] == tasks and jobs[0].name == "rendered-gaussian_noise-3"
    assert torch.equal(*seen)


def test_scores_of_corrupted_images_are_those_of_the_whole_model(synthetic_faces, pixel_encoder):
    encoder = Watched(pixel_encoder(8))
    tasks = tasks_of(encoder, synthetic_faces(), PARAMS, "cpu")
    encoder.seen.clear()
    scores = next(corruption_jobs(tasks, ["contrast"], [5], 16, "cpu")).run()
    rows = torch.unique(torch.cat([t.rows for t in tasks]))
    images = torch.cat(encoder.seen)
    for task, found in zip(tasks, scores):
        own = images[torch.searchsorted(rows, task.rows)]
        whole = task.scores_fn(torch.arange(len(task)))(own).detach().numpy()
        assert found == pytest.approx(whole, abs=1e-4)


def test_memory_holds_one_batch_of_corrupted_images(synthetic_faces, pixel_encoder, tmp_path):
    encoder = Watched(pixel_encoder(8))
    tasks = tasks_of(encoder, synthetic_faces(), PARAMS, "cpu")
    for shared in (None, tmp_path):
        encoder.seen.clear()
        scores = next(corruption_jobs(tasks, ["fog"], [2], 16, "cpu", shared)).run()
        assert [len(images) for images in encoder.seen] == [16, 16, 16, 2]
        assert all(np.isfinite(s).all() for s in scores)
    (path,) = tmp_path.rglob("fog-2.npy")
    assert np.load(path).shape == (50, *tasks[0].table.images([0]).shape[1:])


def test_shared_corrupted_images_are_made_once_and_change_nothing(
    synthetic_faces, pixel_encoder, tmp_path, monkeypatch
):
    tasks = tasks_of(pixel_encoder(8), synthetic_faces(), PARAMS, "cpu")
    without = next(corruption_jobs(tasks, ["impulse_noise"], [2], 16, "cpu")).run()
    first = next(corruption_jobs(tasks, ["impulse_noise"], [2], 16, "cpu", tmp_path)).run()
    monkeypatch.setattr("lib.conditions.corrupt", None)  # making them again would fail
    again = next(corruption_jobs(tasks, ["impulse_noise"], [2], 16, "cpu", tmp_path)).run()
    for a, b, c in zip(without, first, again):
        assert (a == b).all() and (b == c).all()
    other = tasks_of(pixel_encoder(8), synthetic_faces(noise=5.0), PARAMS, "cpu")
    with pytest.raises(TypeError):  # other images are not taken for these
        next(corruption_jobs(other, ["impulse_noise"], [2], 16, "cpu", tmp_path)).run()


def test_checks_measure_what_they_say(synthetic_faces, pixel_encoder):
    table, encoder = synthetic_faces(), Watched(pixel_encoder(40))
    task = tasks_of(encoder, table, PARAMS, "cpu")[0]
    twin = tasks_of(pixel_encoder(40), table, PARAMS, "cpu")[0]
    jobs = check_jobs(
        task, {"twin": twin}, eps=8, alpha=2, steps=[5, 1, 2], queries=40, items=21, batch_size=8, device="cpu"
    )
    found = {}
    for job in jobs:
        encoder.seen.clear()
        scores = job.run()
        assert encoder.seen[-1].shape[0] == 5  # 8 + 8 + 5
        for cell, values in zip(job.cells, scores, strict=True):
            found[cell.condition, cell.severity] = task.losses(torch.tensor(values), torch.arange(21)).mean()
    assert list(found) == [
        ("pgd", 1),
        ("pgd", 2),
        ("pgd", 5),
        ("white_box", 0),
        *(("restarts", count) for count in range(1, 6)),
        ("gradient_free", 0),
        ("noise", 0),
        ("transfer_twin", 0),
    ]
    by_starts = [found["restarts", count] for count in range(1, 6)]  # of two steps each
    assert by_starts == sorted(by_starts) and by_starts[0] < by_starts[-1] and found["pgd", 2] < by_starts[-1]
    assert found["pgd", 1] < found["pgd", 2] < found["pgd", 5] == found["white_box", 0]
    assert found["noise", 0] < found["gradient_free", 0] < found["white_box", 0]
    assert found["transfer_twin", 0] == pytest.approx(found["white_box", 0].item(), rel=1e-5)  # made on equal weights
    with pytest.raises(ValueError, match="surrogates: task expression of 'x' must have the same test items"):
        other = tasks_of(encoder, table, ProbeParams(images=40, pairs=20), "cpu")[0]
        list(check_jobs(task, {"x": other}, 8, 2, [1], 5, 5, 8, "cpu"))[-1].run()


@pytest.mark.parametrize("draws", [False, True])
def test_eotpgd_takes_a_second_gradient_of_a_model_that_draws_only(synthetic_faces, pixel_encoder, monkeypatch, draws):
    """On any other it is what it is with two: the recipe of the same seeds, followed to the end."""

    class Drawing(Watched):
        def forward(self, images):
            return super().forward(images) * (1 + 0.5 * torch.rand(len(images), 1) if draws else 1)

    encoder = Drawing(pixel_encoder(8))
    task = tasks_of(encoder, synthetic_faces(), PARAMS, "cpu")[0]
    found = []
    for as_it_is in (False, True):
        if as_it_is:
            monkeypatch.setattr("lib.conditions.with_one_sample", lambda name, model, images: name)
        (job,) = attack_jobs(task, ["eotpgd"], eps=8, alpha=2, steps=4, sweep=[], items=10, batch_size=16, device="cpu")
        encoder.seen.clear()
        found.append((job.run()[0], len(encoder.seen)))
    (scores, taken), (wanted, all_of_them) = found
    assert all_of_them == 2 * 4 + 1 and taken == (2 + 2 * 4 + 1 if draws else 2 + 4 + 1)
    assert draws or np.array_equal(scores, wanted)


def test_other_attacks_than_eotpgd_are_not_asked_whether_the_model_draws():
    for name in set(RECIPES) - {"eotpgd"}:
        assert with_one_sample(name, None, None) == name


def test_a_sweep_scales_the_step_with_eps_and_attacks_the_first_items(synthetic_faces, pixel_encoder):
    encoder = Watched(pixel_encoder(8))
    task = tasks_of(encoder, synthetic_faces(), PARAMS, "cpu")[0]
    attack, sweep = attack_jobs(
        task, ["bim"], eps=8, alpha=2, steps=4, sweep=[32], items=10, batch_size=16, device="cpu"
    )
    clean = task.images[:10].float() / 255
    for job, eps in ((attack, 8), (sweep, 32)):
        encoder.seen.clear()
        assert len(job.run()[0]) == 10
        change = ((encoder.seen[-1] - clean).abs() * 255).amax()
        assert change == pytest.approx(eps, abs=1e-3)  # 4 steps of a quarter of eps reach its border
    assert attack.cost == 2 * 4 * 10


def test_draws_depend_on_their_purpose_alone():
    draw = [torch.rand(3, generator=generator_for("cpu", *key)) for key in (("a", 1), ("a", 1), ("a", 2), ("b", 1))]
    assert torch.equal(draw[0], draw[1]) and not torch.equal(draw[0], draw[2]) and not torch.equal(draw[0], draw[3])


def test_scores_that_are_not_finite_are_an_error():
    with pytest.raises(ValueError, match="not finite"):
        to_numpy(torch.tensor([1, float("nan")]))


def test_the_key_of_kept_images_is_of_all_code_that_makes_them():
    """Every file of lib/degrade that corruptions.py imports, and what these import in turn, but for the checks."""
    root, found, wanted = Path(lib.conditions.__file__).parent, set(), ["degrade/corruptions.py"]
    while wanted:
        name = wanted.pop()
        if name in found or name == "degrade/checks.py":
            continue
        found.add(name)
        for node in ast.walk(ast.parse((root / name).read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "lib.degrade":
                wanted += [f"degrade/{alias.name}.py" for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lib.degrade."):
                wanted.append(node.module.removeprefix("lib.").replace(".", "/") + ".py")
    assert found | {"conditions.py", "kept.py"} == set(CORRUPTION_CODE)  # seeds and keys are digests of kept.py


def test_kept_images_of_other_code_or_faces_are_removed(synthetic_faces, pixel_encoder, tmp_path):
    for noise in (6.0, 5.0):
        tasks = tasks_of(pixel_encoder(8), synthetic_faces(noise=noise), PARAMS, "cpu")
        next(corruption_jobs(tasks, ["contrast"], [2], 16, "cpu", tmp_path)).run()
        assert len(list((tmp_path / "rendered").iterdir())) == 1
