import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lib.degrade.draws import uniform
from lib.degrade.square import HALVINGS, square_search

EPS = 8 / 255


@pytest.fixture
def setting(make_images):
    images = make_images(20, 16)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(768, 2))
    labels = model(images).argmax(1)
    return model, images, labels


def test_each_loss_rises_within_the_budget(setting):
    model, images, labels = setting
    seen = []

    def judge(x, rows):
        seen.append(F.cross_entropy(model(x), labels[rows], reduction="none").detach())
        return seen[-1].clone(), torch.zeros(len(x), dtype=torch.bool)

    best = square_search(judge, images, EPS, 150, torch.arange(20))
    assert len(seen) == 150 and torch.equal(best, square_search(judge, images, EPS, 150, torch.arange(20)))
    assert (best - images).abs().max() <= EPS + 1e-6 and best.min() >= 0 and best.max() <= 1
    final = F.cross_entropy(model(best), labels, reduction="none")
    assert torch.allclose(final, torch.stack(seen[:150]).amax(0)) and (final > seen[0]).float().mean() > 0.9


def test_broken_images_drop_out_and_keep_what_broke_them(setting):
    model, images, labels = setting
    sizes = []

    def judge(x, rows):
        sizes.append(len(rows))
        z = model(x)
        margin = z.gather(1, 1 - labels[rows, None]) - z.gather(1, labels[rows, None])
        return margin[:, 0], margin[:, 0] >= 0

    best = square_search(judge, images, 0.1, 200, torch.arange(20), stop=True)
    broken = model(best).argmax(1) != labels
    assert broken.sum() > 5 and sizes[0] == 20 and sizes[-1] <= 20 - broken.sum() + 1
    alone = square_search(judge, images, 0.1, 200, torch.arange(20))
    assert torch.equal(model(alone).argmax(1) != labels, broken)  # the search of an image is its own


def test_an_image_is_searched_alike_alone(setting):
    model, images, labels = setting

    def judge_of(here):
        return lambda x, rows: (F.cross_entropy(model(x), labels[here][rows], reduction="none"), rows < 0)

    whole = square_search(judge_of(torch.arange(20)), images, EPS, 60, torch.arange(20))
    part = square_search(judge_of(torch.arange(7, 9)), images[7:9], EPS, 60, torch.arange(7, 9))
    assert torch.equal(whole[7:9], part)


def test_proposes_the_squares_of_the_published_search(setting):
    """Algorithm 2 of the paper for one image, pixel by pixel, with its schedule in queries of 10,000."""
    model, images, labels = setting
    image, label, seed, queries, share = images[3], labels[3:4], torch.tensor([3]), 400, 0.8
    loss_of = lambda x: F.cross_entropy(model(x[None]), label).item()  # noqa: E731
    best = image.clone()
    for channel in range(3):
        for column in range(16):
            sign = -EPS if uniform(seed, 0, 3, 1, 16)[0, channel, 0, column] < 0.5 else EPS
            best[channel, :, column] = (image[channel, :, column] + sign).clamp(0, 1)
    expected, loss = [best], loss_of(best)
    for query in range(1, queries):
        scaled = int(query / queries * 10000)
        p = share
        for start, divisor in ((10, 2), (50, 4), (200, 8), (500, 16), (1000, 32), (2000, 64), (4000, 128), (6000, 256), (8000, 512)):
            if scaled > start:
                p = share / divisor
        side = min(max(int(round((p * 256) ** 0.5)), 1), 16)
        draw, signs = uniform(seed, 2 * query, 2)[0], uniform(seed, 2 * query + 1, 3, 1, 1)[0].flatten()
        top, left = (int(d * (16 - side + 1)) for d in draw)
        tried = best.clone()
        for channel in range(3):
            sign = -EPS if signs[channel] < 0.5 else EPS
            for row in range(top, top + side):
                for column in range(left, left + side):
                    tried[channel, row, column] = (image[channel, row, column] + sign).clamp(0, 1)
        expected.append(tried)
        if loss_of(tried) > loss:
            best, loss = tried, loss_of(tried)
    seen = []

    def judge(x, rows):
        seen.append(x[0].clone())
        return F.cross_entropy(model(x), label, reduction="none").detach(), torch.zeros(1, dtype=torch.bool)

    got = square_search(judge, image[None], EPS, queries, seed, share)
    assert torch.equal(torch.stack(seen), torch.stack(expected)) and torch.equal(got[0], best)


def whole_images(judge, images, eps, queries, seeds, share, stop):
    """One image after the other, every proposal a whole new image."""
    results = []
    for row, (image, seed) in enumerate(zip(images, seeds.view(-1, 1), strict=True)):
        height, width = image.shape[1:]
        sign = lambda draw: torch.where(draw < 0.5, -eps, eps).to(image.dtype)  # noqa: E731
        best = (image + sign(uniform(seed, 0, 3, 1, width, dtype=image.dtype)[0])).clamp(0, 1)
        loss, broken = (part.clone() for part in judge(best[None], torch.tensor([row])))
        for query in range(1, queries):
            if stop and broken:
                break
            area = share / 2 ** sum(query / queries > start for start in HALVINGS) * height * width
            side = min(max(round(area**0.5), 1), height, width)
            top, left, _ = uniform(seed, 2 * query, 3, dtype=image.dtype)[0]
            top, left = int(top * (height - side + 1)), int(left * (width - side + 1))
            tried = (image + sign(uniform(seed, 2 * query + 1, 3, 1, 1, dtype=image.dtype)[0])).clamp(0, 1)
            outside = torch.ones(height, width, dtype=torch.bool)
            outside[top : top + side, left : left + side] = False
            tried = torch.where(outside, best, tried)
            found, broken = (part.clone() for part in judge(tried[None], torch.tensor([row])))
            if found > loss or stop and broken:
                best, loss = tried, found
        results.append(best)
    return torch.stack(results)


@pytest.mark.parametrize("stop", [False, True])
@pytest.mark.parametrize("side", [(16, 16), (9, 14)])
def test_writing_squares_in_place_changes_no_result(make_images, side, stop):
    images = make_images(12, *side).double()
    images[:4] = images[:4].round()  # where every proposal is cut off at 0 or 1
    weight = torch.randn(3 * side[0] * side[1], 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    wrong = (images.flatten(1) @ weight).argmin(1)
    level = (images.flatten(1) @ weight).amin(1) + torch.linspace(0.5, 30, 12, dtype=torch.float64)  # near and far

    def judge(x, rows):
        scores = (x.flatten(1) @ weight).gather(1, wrong[rows, None])[:, 0] - level[rows]
        return scores, scores > 0

    expected = whole_images(judge, images, 0.05, 100, torch.arange(12), 0.8, stop)
    got = square_search(judge, images, 0.05, 100, torch.arange(12), 0.8, stop)
    assert torch.allclose(got, expected, atol=1e-12)
    for scattered in (images.contiguous(memory_format=torch.channels_last), images.mT.contiguous().mT):
        assert torch.allclose(square_search(judge, scattered, 0.05, 100, torch.arange(12), 0.8, stop), expected, atol=1e-12)
    broken = judge(got, torch.arange(12))[1]
    assert not stop or 0 < broken.sum() < 12


def test_a_loss_that_is_a_part_of_the_images_is_not_changed_with_them(make_images):
    images = make_images(6, 4)
    plain = square_search(lambda x, rows: (x[:, 0, 1, 2].clone(), rows < 0), images, 0.1, 400, torch.arange(6), 0.8)
    view = square_search(lambda x, rows: (x[:, 0, 1, 2], rows < 0), images, 0.1, 400, torch.arange(6), 0.8)
    assert torch.equal(plain, view) and torch.equal(plain[:, 0, 1, 2], (images[:, 0, 1, 2] + 0.1).clamp(max=1))
