import io

import numpy as np
import pytest
import torch
from PIL import Image

from lib.degrade.jpeg import cosine_basis, jpeg, jpeg_compression, quantisation_tables, triangle_matrix
from lib.degrade.levels import rows


def through_pillow(images, quality):
    decoded, tables = [], None
    for image in images:
        file = io.BytesIO()
        Image.fromarray((image * 255).round().byte().permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality)
        opened = Image.open(file)
        tables = opened.quantization
        decoded.append(torch.from_numpy(np.array(opened)).permute(2, 0, 1) / 255)
    return torch.stack(decoded), tables


def psnr(a, b):
    return -10 * torch.log10(((a - b) ** 2).mean((1, 2, 3)))


@pytest.mark.parametrize("quality", [7, 25, 50, 65, 90, 100])
@pytest.mark.parametrize("shape", [(48, 48), (64, 64), (37, 50), (9, 8)])
def test_agrees_with_pillow(make_images, quality, shape):
    images = make_images(6, *shape)
    got = jpeg(images, quantisation_tables(quality)[None])
    expected, tables = through_pillow(images, quality)
    assert (psnr(got, images) - psnr(expected, images)).abs().max() < 0.2
    # the median, for now and then one coefficient lies on the edge between two steps
    assert psnr(got, expected).median() > max(40, psnr(got, images).max() + 5)
    mine = quantisation_tables(quality).tolist()
    assert mine == [list(tables[0]), list(tables[1])]


def test_levels_and_mixed_qualities(images):
    for strength in (1, 5):
        expected, _ = through_pillow(images, round(rows("jpeg_compression", 32)[strength - 1][0]))
        got = jpeg_compression(images, torch.full((4,), strength), None)
        assert (psnr(got, images) - psnr(expected, images)).abs().max() < 0.2
    mixed = jpeg_compression(images, torch.tensor([1, 5, 2, 1]), None)
    assert torch.allclose(mixed[1], got[1], atol=1e-6)


def test_cosine_basis_is_orthonormal_and_flat_first():
    basis = cosine_basis()
    assert torch.allclose(basis @ basis.T, torch.eye(64, dtype=torch.float64))
    assert torch.allclose(basis[0], basis.new_full((64,), 1 / 8))


def test_triangle_matrix_keeps_flat_signals():
    assert torch.equal(triangle_matrix(7).sum(1), torch.ones(7, dtype=torch.float64))
    assert triangle_matrix(4)[1].tolist() == [0.75, 0.25] and triangle_matrix(4)[0].tolist() == [1, 0]
