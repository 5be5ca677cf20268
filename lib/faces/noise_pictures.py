"""Small repeating noise pictures that the shader looks up: blotches, strands, grain and spots."""

import functools

import numpy as np

from lib.faces.raster import TILE


def _filtered(rng: np.random.Generator, falloff_x: float, falloff_y: float, power: float) -> np.ndarray:
    """Periodic noise with a smooth spectrum, stretched to [0,1] by ranks so that its histogram is flat."""
    fx = np.fft.fftfreq(TILE)[None, :] * TILE
    fy = np.fft.fftfreq(TILE)[:, None] * TILE
    radius = np.sqrt((fx / falloff_x) ** 2 + (fy / falloff_y) ** 2)
    spectrum = np.fft.fft2(rng.normal(size=(TILE, TILE))) / (1 + radius**power)
    spectrum[0, 0] = 0
    picture = np.fft.ifft2(spectrum).real
    ranks = np.empty(picture.size)
    ranks[np.argsort(picture.ravel(), kind="stable")] = np.linspace(0, 1, picture.size)
    return ranks.reshape(picture.shape)


@functools.cache
def noise_pictures() -> np.ndarray:
    """float32 [4,TILE,TILE] in [0,1]: 0 blotches of all sizes, 1 strands (along v), 2 fine grain, 3 spots."""
    rng = np.random.default_rng(20)
    return np.stack([_filtered(rng, 4, 4, 2.0), _filtered(rng, 48, 3, 3.0), _filtered(rng, 40, 40, 2.0),
                     _filtered(rng, 14, 14, 4.0)]).astype(np.float32)
