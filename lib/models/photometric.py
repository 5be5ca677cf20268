"""The part of M that has a closed form: one gain and one offset a colour channel.

Low light, over-exposure, haze, loss of contrast and a colour cast act on a face, to first order, as F' = g F + b with
g and b of each channel. Given what mean and contrast faces have, the moments of F' determine g and b, and the degradation
is undone exactly. Small convolutions see too little of the image to do the same, so DAFR gets the image after this step.
"""

import torch
from torch import Tensor

MEAN, STD = 0.45, 0.2  # about those of face images; which face it was is not in them
LEAST_STD = 0.01  # a channel flatter than this carries no face; its noise is not blown up further


def undo_gain_and_offset(images: Tensor) -> Tensor:
    """Images [B, 3, H, W] of any gain and offset -> the same with mean 0.45 and standard deviation 0.2 in each channel.

    The mean colour is lost with the cast: it is not known which of the two it was. Invariant: f(g x + b) = f(x) for a
    g > 0 and a b of each channel, wherever the contrast is above the floor. Differentiable.
    """
    std, mean = torch.std_mean(images, (2, 3), correction=0, keepdim=True)
    return (images - mean) * (STD / std.clamp(min=LEAST_STD)) + MEAN
