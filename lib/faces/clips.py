"""Smooth clips: action units rise to an apex and fall part of the way, while pose and gaze drift."""

import dataclasses

import numpy as np

from lib.faces.expression import MAXIMUM, UNITS, apex
from lib.faces.identity import Identity

SECONDS = 2.0
FREE = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 16, 17, 20, 23, 24, 25, 26)  # units that vary on their own in free clips


@dataclasses.dataclass(frozen=True)
class Clip:
    """F frames. units: [F,units] intensities 0..5. pose: [F,3] yaw, pitch, roll in degrees. gaze: [F,2] right and up,
    degrees. time: [F] seconds. intensity: [F] 0..1. expression: a name, or None for a free clip. apex: apex frame."""

    units: np.ndarray
    pose: np.ndarray
    gaze: np.ndarray
    time: np.ndarray
    intensity: np.ndarray
    expression: str | None
    apex: int


def ease(t: np.ndarray) -> np.ndarray:
    """Smooth 0 to 1 with zero speed and acceleration at both ends (minimum jerk)."""
    t = np.clip(t, 0, 1)
    return t**3 * (10 - 15 * t + 6 * t * t)


def course(time: np.ndarray, onset: float, top: float, hold: float, offset: float, rest: float) -> np.ndarray:
    """0 before ``onset``, 1 from ``top`` for ``hold`` seconds, then down to ``rest`` within ``offset`` seconds."""
    rise = ease((time - onset) / (top - onset))
    fall = ease((time - top - hold) / offset)
    return rise * (1 - (1 - rest) * fall)


def _pose(rng: np.random.Generator, time: np.ndarray) -> np.ndarray:
    start = np.clip(rng.normal(size=3) * [12, 6, 4], [-45, -20, -15], [45, 20, 15])
    drift = rng.normal(size=3) * [5, 3, 2]
    sway = rng.normal(size=3) * [2.0, 1.5, 1.0]
    phase = rng.uniform(0, 2 * np.pi, size=3)
    t = time[:, None] / SECONDS
    return np.clip(start + drift * ease(t) + sway * np.sin(2 * np.pi * t * 0.8 + phase), [-45, -20, -15], [45, 20, 15])


def make_clip(person: Identity, expression: str | None, rng: np.random.Generator, frames: int) -> Clip:
    """One clip: neutral, apex, partial offset for an expression; several independent bursts where it is None.

    Raises:
        ValueError: fewer than one frame.
    """
    if frames < 1:
        raise ValueError(f"frames: expected at least 1, got {frames}")
    if frames == 1:
        time = np.array([0.55 * SECONDS])
    else:
        time = np.linspace(0.0, SECONDS, frames)
    pose = _pose(rng, time)
    look = rng.normal(size=2) * [9, 5]
    gaze = np.clip(-0.35 * pose[:, :2] * [1, 1] + look + rng.normal(size=2) * [4, 2] * ease(time / SECONDS)[:, None],
                   [-28, -16], [28, 16])
    units = np.zeros((frames, len(UNITS)))
    intensity = np.zeros(frames)
    if expression is None:
        chosen = rng.permutation(FREE)[: int(rng.integers(2, 6))]
        for unit in chosen:
            top = rng.uniform(0.3, 0.9) * SECONDS
            level = rng.uniform(1.0, MAXIMUM)
            burst = course(time, top - rng.uniform(0.4, 0.8), top, rng.uniform(0.1, 0.6), rng.uniform(0.4, 0.9),
                           rng.uniform(0.0, 0.7))
            units[:, UNITS.index(unit)] = level * burst
        intensity = units.max(1) / MAXIMUM
    else:
        strength = float(rng.uniform(0.75, 1.0)) if expression != "neutral" else 0.0
        top, hold = 0.45 * SECONDS, 0.2 * SECONDS
        shape = course(time, 0.08 * SECONDS, top, hold, 0.4 * SECONDS, rng.uniform(0.3, 0.7))
        target = apex(expression, rng, person.expressive["gain"], person.expressive["extra"], max(strength, 1e-9))
        lag = 1 + 0.15 * rng.normal(size=len(UNITS))
        units = np.clip(target * shape[:, None] ** np.clip(lag, 0.7, 1.4), 0, MAXIMUM)
        if expression == "neutral":
            units = np.clip(target * np.ones((frames, 1)), 0, MAXIMUM)
        intensity = strength * shape
    blink = rng.uniform(-0.3, 1.6) * SECONDS
    if expression is None or expression == "neutral":
        units[:, UNITS.index(43)] = np.maximum(units[:, UNITS.index(43)],
                                               MAXIMUM * np.exp(-(((time - blink) / 0.11) ** 2)))
    middle = 0.55 * SECONDS
    return Clip(units, pose, gaze, time, intensity, expression, int(np.argmin(np.abs(time - middle))))
