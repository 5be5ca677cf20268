import pytest
import torch
from torch import nn

from lib.conditions import attack_jobs, corruption_jobs, generator_for, to_numpy
from lib.evaluation import ProbeParams, tasks_of

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
        assert jobs[0].name == "rendered-expression+action_units+verification-corruption-gaussian_noise-3"
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


def test_a_sweep_scales_the_step_with_eps_and_attacks_the_first_items(synthetic_faces, pixel_encoder):
    encoder = Watched(pixel_encoder(8))
    task = tasks_of(encoder, synthetic_faces(), PARAMS, "cpu")[0]
    attack, sweep = attack_jobs(task, ["bim"], eps=8, alpha=2, steps=4, sweep=[32], items=10, batch_size=16, device="cpu")
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
