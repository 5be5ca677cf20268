import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from lib.degrade.separable import along_both, box_matrix, convolve, gaussian_matrix, half_path, mirror, operators, pad


@pytest.mark.parametrize("sigma", [0.1, 0.75, 3.0, 20.0])
@pytest.mark.parametrize("border", ["nearest", "reflect"])
@pytest.mark.parametrize("length", [8, 33])
def test_gaussian_matrix_is_scipys_filter(sigma, border, length):
    signal = np.random.default_rng(0).random(length)
    expected = ndimage.gaussian_filter1d(signal, sigma, mode=border, truncate=3.0)
    got = gaussian_matrix(length, sigma, truncate=3.0, border=border) @ torch.from_numpy(signal)
    assert np.allclose(got, expected, atol=1e-12)


@pytest.mark.parametrize(("length", "small"), [(64, 57), (64, 32), (48, 28), (33, 7), (10, 1), (8, 8)])
def test_box_matrix_is_pillows_box_resize(length, small):
    signal = np.random.default_rng(0).random(length).astype(np.float32)
    image = Image.fromarray(np.tile(signal, (length, 1)), mode="F")
    expected = np.asarray(image.resize((small, length), Image.BOX).resize((length, length), Image.BOX))[0]
    assert np.allclose(box_matrix(length, small) @ torch.from_numpy(signal).double(), expected, atol=1e-6)


def test_along_both_shared_or_one_matrix_an_image():
    images, rows, columns = torch.rand(3, 2, 5, 6), torch.rand(3, 4, 5), torch.rand(3, 7, 6)
    expected = torch.stack([r @ image @ c.T for image, r, c in zip(images, rows, columns, strict=True)])
    assert torch.allclose(along_both(images, rows, columns), expected, atol=1e-5)
    shared, repeated = (along_both(images, *(m[:1].expand(n, -1, -1) for m in (rows, columns))) for n in (1, 3))
    assert torch.allclose(shared, repeated, atol=1e-5)


@pytest.mark.parametrize(("border", "scipys"), [("replicate", "nearest"), ("reflect", "mirror")])
def test_convolve_is_scipys_correlation(border, scipys):
    images, kernels = torch.rand(3, 2, 9, 8, dtype=torch.float64), torch.rand(3, 5, 7, dtype=torch.float64)
    for stack in (kernels, kernels[:1]):
        got = convolve(images, stack, border)
        for number in range(3):
            kernel = stack[number % len(stack)].numpy()
            for channel in range(2):
                expected = ndimage.correlate(images[number, channel].numpy(), kernel, mode=scipys)
                assert np.allclose(got[number, channel], expected, atol=1e-12)


def test_mirror_and_pad_reach_beyond_the_image():
    signal = torch.rand(4)
    expected = np.pad(signal.numpy(), 9, mode="reflect")
    assert np.array_equal(signal[mirror(torch.arange(-9, 13), 4)].numpy(), expected)
    image = torch.rand(1, 1, 3, 4)
    expected = np.pad(image[0, 0].numpy(), ((5, 5), (9, 9)), "reflect")
    assert np.array_equal(pad(image, 5, 9, "reflect")[0, 0].numpy(), expected)


def test_half_path_is_a_cut_half_gaussian():
    path = half_path(10, 2.0)
    assert len(path) == 9 and path.sum().item() == pytest.approx(1)
    assert (path[3] / path[0]).item() == pytest.approx(np.exp(-9 / 8))
    assert len(half_path(10, 30.0)) == 21


def test_operators_are_made_once_for_a_device_and_serve_gradients():
    settings = ((8, 0.5), (8, 2.0))
    with torch.inference_mode():
        made = operators(gaussian_matrix, settings, torch.device("cpu"), torch.float32)
    assert torch.equal(made, torch.stack([gaussian_matrix(*one) for one in settings]).float())
    assert operators(gaussian_matrix, settings, torch.device("cpu"), torch.float32) is made
    x = torch.ones(2, 8, 8, requires_grad=True)
    (x * made).sum().backward()
    assert torch.equal(x.grad, made)
