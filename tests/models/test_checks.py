"""What an encoder refuses, in words that a user can act on; and where it does not look, for that would cost time."""

import copy
import pickle

import pytest
import torch

from lib.degrade.attacks import ATTACKS, attack
from lib.models.checks import check_images, check_values
from lib.models.encoder import Encoder, EncoderConfig
from tests.pretend_device import WAITS, pretend_device

TINY = EncoderConfig(16, "resnet10t", {"channels": [8, 8, 8, 8], "stem_width": 8})
GOOD = torch.rand(2, 3, 20, 18, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def encoder():
    return Encoder(TINY).eval()


@pytest.mark.parametrize("images, said", [
    (GOOD.numpy(), r"images: expected a torch tensor, float RGB in \[0, 1\], .* got ndarray; .* torch.from_numpy\(array\)"),
    (None, "images: expected a torch tensor, .* got NoneType"),
    ((GOOD * 255).byte(), r"images: expected float RGB .* got torch.uint8 \[2, 3, 20, 18\]; 8-bit pixels: images.float\(\) / 255"),
    (GOOD[0], r"expected float RGB .* got torch.float32 \[3, 20, 18\]; images\[None\] makes a batch of one"),
    (GOOD.permute(0, 2, 3, 1), r"got torch.float32 \[2, 20, 18, 3\]; images.permute\(0, 3, 1, 2\) puts"),
    (GOOD[:, :1], r"expected float RGB .* got torch.float32 \[2, 1, 20, 18\]$"),
    (GOOD[:0], "images: expected at least one image"),
    (GOOD[..., :4, :4], r"images: expected at least 8 px a side, got 4 x 4 \(H x W\): .* take the picture in its own size"),
    (torch.rand(1, 3, 10, 41), r"sides of at most 1 : 4, got 10 x 41 px .* squeezed into a square; crop the face first"),
    (GOOD * 255, "values in .0, 1., got 0.* to 25.*: 0 to 255. Divide by 255"),
    (GOOD * 2 - 1, "values in .0, 1., got -0.99.* to 0.99.*: normalised already. The encoder does that itself"),
    (GOOD * 1.01 + 0.2, r"values in .0, 1., got 0.2.* to 1.2\d*$"),
    (torch.where(GOOD > 0.9, torch.nan, GOOD), "images: expected values in .0, 1., got NaN"),
    (torch.where(GOOD > 0.9, torch.inf, GOOD), "images: expected values in .0, 1., got infinity"),
    (GOOD.double(), r"images: expected torch.float32 like the encoder's weights, got torch.float64; images.to\(torch.float32\) is"),
    (GOOD.half(), r"images: expected torch.float32 like the encoder's weights, got torch.float16; images.to\(torch.float32\) is"),
    (GOOD.bfloat16(), r"images: expected torch.float32 like the encoder's weights, got torch.bfloat16; images.to\(torch.float32\) is"),
])  # fmt: skip
def test_what_is_no_batch_of_faces_is_refused_each_time(encoder, images, said):
    for _ in range(2):
        with pytest.raises(ValueError, match=said):
            encoder(images)
    encoder(GOOD)
    for call in (encoder, encoder.prepare, encoder.restored):
        with pytest.raises(ValueError, match=said):
            call(images)


def test_what_is_on_the_border_is_taken(encoder):
    for images in (
        torch.rand(1, 3, 8, 32), torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 9, 8), GOOD * (1 + 5e-4), GOOD - 9e-4, GOOD.bfloat16().float(),
    ):  # fmt: skip
        check_images(images)
        check_values(images)
        assert encoder(images).isfinite().all()
    with pytest.raises(ValueError):
        check_values(GOOD.clamp(min=0.01) - 0.0115)
    assert Encoder(TINY).double().eval()(GOOD.double()).dtype == torch.float64
    assert Encoder(EncoderConfig(16, "pixels")).eval()(GOOD.double()).shape == (2, 3 * 16 * 16)


def test_a_method_in_training_may_go_beyond_and_so_may_an_attack(encoder):
    noisy = GOOD + 3
    assert encoder.train()(noisy).shape == (2, encoder.dim)
    ahead = noisy.clone().requires_grad_()
    encoder.eval()(ahead).sum().backward()
    assert ahead.grad.abs().sum() > 0
    for name in ATTACKS:  # two of them look ahead of where they are, out of [0, 1] on white faces
        attack(name, encoder, torch.ones(1, 3, 16, 16), torch.zeros(1, dtype=torch.long), torch.nn.functional.cross_entropy,
               8 / 255, 2 / 255, 2)  # fmt: skip


def test_a_gpu_is_waited_for_once_and_only_after_images_that_passed():
    with pretend_device() as device:
        encoder, images = Encoder(TINY).eval().to(device), GOOD.to(device)
        for _ in range(2):
            with pytest.raises(ValueError, match="0 to 255"):
                encoder(images * 255)
        WAITS.clear()
        encoder(images)
        assert WAITS == ["tolist"]
        for _ in range(3):
            encoder(images)
        assert WAITS == ["tolist"]


def test_nothing_of_it_is_in_the_weights_and_a_cpu_looks_at_what_copies_are_given(encoder):
    keys = set(encoder.state_dict())
    encoder(GOOD)
    assert set(encoder.state_dict()) == keys == set(Encoder(TINY).state_dict())
    for other in (copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder))):
        assert torch.equal(other(GOOD), encoder(GOOD))
        with pytest.raises(ValueError, match="0 to 255"):
            other(GOOD * 255)


def test_a_compiled_encoder_has_no_break_for_it(encoder):
    """The default backend makes C++, which takes long; what it is given is the same."""
    compiled = torch.compile(encoder, fullgraph=True, backend="eager")
    assert torch.allclose(compiled(GOOD), encoder(GOOD), atol=1e-6)
    with pytest.raises(Exception, match="at least 8 px a side"):
        compiled(GOOD[..., :4, :4])
