"""Video blocks: nothing changes at a fine step, blocks of 8 at a coarse one, macroblocks move whole."""

import torch

from lib.degrade import video


def test_a_fine_step_loses_chroma_detail_alone(images):
    grey = images.mean(1, keepdim=True).expand(-1, 3, -1, -1) * 255
    step = torch.full((4, 4, 4), 0.01)
    luma = grey[:, :1] - 128
    assert (video._coded(luma, step) - luma).abs().max() < 4.1  # the mean of a block is kept to a step of 8 / 8


def test_a_coarse_step_leaves_blocks_of_one_value(images):
    luma = images[:, :1] * 255 - 128
    blocks = video._coded(luma, torch.full((4, 4, 4), 1e4))
    means = torch.nn.functional.avg_pool2d(luma, 8)
    assert (blocks - means.repeat_interleave(8, 2).repeat_interleave(8, 3)).abs().max() < 0.51


def test_macroblocks_move_whole(images):
    shift = torch.zeros(2, 4, 2, 2, dtype=torch.long)
    shift[0, 0, 0, 1], shift[1, 0, 0, 1] = 3, -2  # the upper right macroblock shows what lies 3 lower and 2 to the left
    got = video._moved(images, shift)
    assert torch.equal(got[1:], images[1:]) and torch.equal(got[0, :, 16:], images[0, :, 16:])
    assert torch.equal(got[0, :, :16, 16:], images[0, :, 3:19, 14:30])


def test_more_is_lost_with_each_severity_and_sizes_need_no_factor_of_16(make_images, seeded):
    images = make_images(6, 50, 37)
    errors = []
    for strength in range(1, 6):
        got = video.video_compression(images, torch.full((6,), strength), seeded())
        assert got.shape == images.shape
        errors.append((got - images).square().mean().item())
    assert errors == sorted(errors)
