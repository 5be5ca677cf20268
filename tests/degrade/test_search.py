import torch

from lib.degrade.search import likeliest


def test_the_first_target_that_broke_an_image_is_taken():
    broken = torch.tensor([[False, True, False, False], [True, True, False, False], [True, False, False, True]])
    found, row = likeliest(broken.flatten(), 3)
    assert found.tolist() == [True, True, False, True]
    assert [row[i].item() for i in (0, 1, 3)] == [1 * 4 + 0, 0 * 4 + 1, 2 * 4 + 3]
