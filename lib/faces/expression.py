"""FACS action units: how each moves the face, how the seven expressions are built from them, valence and arousal.

Intensities run from 0 to 5 (FACS A..E = 1..5). The facial actions are the ARKit ones; ``ACTIONS`` is the documented map
from an action unit at intensity 5 to action weights, after the FACS descriptions (Ekman, Friesen and Hager 2002).
Weights above 1 exaggerate a little, so that an expression can be read at 48 pixels.
"""

import functools

import numpy as np

from lib.datasets.columns import EXPRESSIONS
from lib.faces.head_model import head_model

BP4D = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)  # the action units that are scored
UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 16, 17, 20, 22, 23, 24, 25, 26, 43)
MAXIMUM = 5.0
BOTH = ("browDown", "browOuterUp", "cheekSquint", "eyeBlink", "eyeSquint", "eyeWide", "mouthDimple", "mouthFrown",
        "mouthLowerDown", "mouthPress", "mouthSmile", "mouthStretch", "mouthUpperUp", "noseSneer")

ACTIONS: dict[int, dict[str, float]] = {
    1: {"browInnerUp": 1.6},  # inner brow raiser
    2: {"browOuterUp": 1.4},  # outer brow raiser
    4: {"browDown": 1.6},  # brow lowerer
    5: {"eyeWide": 1.5},  # upper lid raiser
    6: {"cheekSquint": 1.7, "eyeSquint": 0.6},  # cheek raiser
    7: {"eyeSquint": 1.3, "eyeBlink": 0.12},  # lid tightener
    9: {"noseSneer": 1.7},  # nose wrinkler
    10: {"mouthUpperUp": 1.2, "noseSneer": 0.4},  # upper lip raiser
    12: {"mouthSmile": 1.15},  # lip corner puller
    14: {"mouthDimple": 1.3, "mouthFrown": 0.25},  # dimpler
    15: {"mouthFrown": 1.6},  # lip corner depressor
    16: {"mouthLowerDown": 1.0},  # lower lip depressor
    17: {"mouthShrugLower": 1.4, "mouthShrugUpper": 0.5},  # chin raiser
    20: {"mouthStretch": 1.6, "mouthLowerDown": 0.3},  # lip stretcher
    22: {"mouthFunnel": 1.0},  # lip funneler
    23: {"mouthRollLower": 0.5, "mouthRollUpper": 0.45, "mouthPucker": 0.45, "mouthFrown": 0.2},  # lip tightener
    24: {"mouthRollLower": 0.65, "mouthRollUpper": 0.6, "mouthPress": 0.3, "mouthFrown": 0.45},  # lip pressor
    25: {"mouthLowerDown": 0.75, "mouthUpperUp": 0.6, "jawOpen": 0.08},  # lips part
    26: {"jawOpen": 0.75},  # jaw drop
    43: {"eyeBlink": 1.0},  # eye closure
}

# expression -> action unit -> intensity at the apex of a full expression (EMFACS prototypes and the problem's list)
PROTOTYPES: dict[str, dict[int, float]] = {
    "neutral": {},
    "happiness": {6: 3.6, 12: 4.4, 25: 2.8},
    "sadness": {1: 4.0, 4: 2.6, 15: 4.2, 17: 2.0},
    "surprise": {1: 4.2, 2: 4.4, 5: 4.0, 25: 1.5, 26: 4.0},
    "fear": {1: 4.2, 2: 2.6, 4: 3.0, 5: 4.6, 7: 1.6, 20: 4.2, 25: 2.6, 26: 1.2},
    "disgust": {4: 1.2, 7: 1.8, 9: 4.4, 10: 4.2, 17: 2.4},
    "anger": {4: 4.6, 5: 1.6, 7: 3.2, 17: 1.2, 23: 3.4, 24: 3.2},
}
OPTIONAL: dict[str, dict[int, float]] = {  # units that some people add
    "happiness": {10: 1.0, 14: 1.2, 26: 1.8, 7: 1.0, 1: 0.8, 2: 0.8}, "sadness": {7: 1.2, 14: 0.8, 43: 0.8, 6: 0.8},
    "surprise": {10: 0.5, 20: 0.6}, "fear": {16: 1.2, 10: 0.8}, "disgust": {6: 1.2, 15: 1.4, 25: 1.6, 16: 1.0},
    "anger": {10: 1.2, 9: 1.0, 14: 0.8, 15: 1.0}, "neutral": {}}
# Russell's circumplex: (valence, arousal) at the apex, reached in proportion to the intensity
CIRCUMPLEX = {"neutral": (0.0, 0.0), "happiness": (0.85, 0.45), "sadness": (-0.70, -0.40), "surprise": (0.15, 0.80),
              "fear": (-0.65, 0.75), "disgust": (-0.65, 0.30), "anger": (-0.60, 0.70)}
# what each unit adds to valence and arousal in free clips (sum, then clipped to [-1,1])
UNIT_AFFECT = {1: (-0.05, 0.08), 2: (0.05, 0.12), 4: (-0.25, 0.10), 5: (0.0, 0.30), 6: (0.25, 0.08), 7: (-0.08, 0.10),
               9: (-0.30, 0.12), 10: (-0.18, 0.08), 12: (0.55, 0.20), 14: (0.0, 0.0), 15: (-0.35, -0.12),
               17: (-0.15, 0.0),
               20: (-0.20, 0.20), 23: (-0.15, 0.10), 24: (-0.12, 0.08), 26: (0.05, 0.20)}


@functools.cache
def unit_matrix() -> np.ndarray:
    """float32 [units, 52]: action weights of each unit in ``UNITS`` at intensity 5."""
    names = head_model().action_names
    out = np.zeros((len(UNITS), len(names)), np.float32)
    for row, unit in enumerate(UNITS):
        for action, weight in ACTIONS[unit].items():
            for name in (f"{action}Left", f"{action}Right") if action in BOTH else (action,):
                out[row, names.index(name)] = weight
    return out


def action_weights(intensities: np.ndarray, asymmetry: float = 0.0) -> np.ndarray:
    """Facial action weights float32 [F,52] of unit intensities [F,units].

    ``asymmetry`` in [-1,1] strengthens the left side and weakens the right one by that share.

    Raises:
        ValueError: the wrong number of units, or an intensity outside 0..5.
    """
    intensities = np.asarray(intensities, np.float32)
    if intensities.ndim != 2 or intensities.shape[1] != len(UNITS):
        raise ValueError(f"intensities: expected [F,{len(UNITS)}], got {list(intensities.shape)}")
    if not ((intensities >= 0) & (intensities <= MAXIMUM)).all():
        raise ValueError(f"intensities: expected 0..5, got {intensities.min():g}..{intensities.max():g}")
    out = np.zeros((len(intensities), len(head_model().action_names)), np.float32)
    for row in range(len(UNITS)):  # a fixed order of sums, so that the bytes do not depend on the batch
        out += intensities[:, row, None] / np.float32(MAXIMUM) * unit_matrix()[row]
    side = np.array([1 + asymmetry * (n.endswith("Left") - n.endswith("Right")) for n in head_model().action_names])
    return np.minimum(out * side.astype(np.float32), np.float32(1.7))


def apex(expression: str, rng: np.random.Generator, gain: np.ndarray, extra: np.ndarray,
         intensity: float) -> np.ndarray:
    """Unit intensities [units] at the apex of an expression as one person shows it once.

    Args:
        gain, extra: the person's habits, standard normal, cycled over the units. intensity: 0..1.
    """
    if expression not in EXPRESSIONS:
        raise ValueError(f"expression: expected one of {EXPRESSIONS}, got {expression!r}")
    out = np.zeros(len(UNITS))
    for unit, level in PROTOTYPES[expression].items():
        habit = 1 + 0.10 * gain[unit % len(gain)] + 0.08 * rng.normal()
        out[UNITS.index(unit)] = level * intensity * habit
    for unit, level in OPTIONAL[expression].items():
        if extra[unit % len(extra)] + 0.5 * rng.normal() > 0.6:
            out[UNITS.index(unit)] += level * intensity * rng.uniform(0.5, 1.2)
    for unit in (1, 2, 4, 6, 7, 12, 14, 15, 17):  # a resting face is never quite still
        if rng.random() < 0.12:
            out[UNITS.index(unit)] += rng.uniform(0.2, 0.8)
    return np.clip(out, 0, MAXIMUM)


def affect(expression: str | None, intensity: float, units: np.ndarray) -> tuple[float, float]:
    """Valence and arousal: the circumplex point times intensity, or the sum over units where there is no expression."""
    if expression is not None:
        valence, arousal = CIRCUMPLEX[expression]
        return valence * intensity, arousal * intensity
    share = units / MAXIMUM
    total = sum(np.array(UNIT_AFFECT[u]) * share[UNITS.index(u)] for u in UNIT_AFFECT)
    return float(np.clip(total[0], -1, 1)), float(np.clip(total[1], -1, 1))
