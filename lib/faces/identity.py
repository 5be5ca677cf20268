"""Who a rendered person is: head shape, skin, eyes, brows, hair, beard, glasses, and the way they show emotions."""

import dataclasses

import numpy as np

from lib.faces.head_model import Shape

# linear RGB of skin from light to dark, after measured melanin ranges; interpolated by melanin in [0,1]
SKIN = np.array([[0.74, 0.49, 0.39], [0.64, 0.39, 0.28], [0.50, 0.28, 0.18], [0.32, 0.165, 0.095], [0.17, 0.082, 0.048],
                 [0.085, 0.042, 0.027]])
HAIR = {"black": (0.014, 0.011, 0.010), "dark_brown": (0.040, 0.022, 0.013), "brown": (0.100, 0.055, 0.028),
        "blonde": (0.46, 0.30, 0.13), "red": (0.26, 0.075, 0.022), "grey": (0.33, 0.32, 0.31),
        "white": (0.62, 0.61, 0.59)}
IRIS = {"brown": (0.070, 0.030, 0.012), "dark": (0.022, 0.012, 0.008), "hazel": (0.16, 0.10, 0.035),
        "green": (0.13, 0.20, 0.09), "blue": (0.12, 0.25, 0.42), "grey": (0.24, 0.28, 0.31)}
# how far each local axis may go (standard deviation); what is not listed takes USUAL
USUAL = 0.38
SPREAD = {"head-age": 0.0, "ear-shape": 0.25, "ear-wing": 0.3, "ear-flap": 0.3, "chin-prognathism": 0.16,
          "mouth-trans": 0.25, "nose-trans": 0.2, "eye-trans": 0.28, "eye-corner1": 0.3, "eye-corner2": 0.3,
          "mouth-angles": 0.12, "mouth-upperlip-ext": 0.15, "mouth-lowerlip-ext": 0.15,
          "mouth-upperlip-middle": 0.15, "mouth-lowerlip-middle": 0.15, "eye-push1": 0.2, "eye-push2": 0.2,
          "neck-double": 0.2, "forehead-nubian": 0.25, "head-angle": 0.3, "eyebrows-angle": 0.2,
          "mouth-dimples": 0.15, "nose-compression": 0.25, "head-scale-depth": 0.25, "head-back-scale-depth": 0.25,
          "eye-height1": 0.2, "eye-height2": 0.2, "eye-height3": 0.2, "nose-scale-depth": 0.25, "nose-volume": 0.28,
          "nose-point": 0.25, "nose-base": 0.25, "nose-scale-vert": 0.3, "nose-hump": 0.3,
          "mouth-upperlip-volume": 0.3, "mouth-lowerlip-volume": 0.3, "mouth-scale-depth": 0.2,
          "mouth-laugh-lines": 0.25, "head-fat": 0.3, "cheek-trans": 0.3}
# the middle of an axis where MakeHuman's neutral face looks sad, sleepy or heavy-nosed
CENTRE = {"mouth-angles": 0.22, "eye-height2": 0.18, "eye-height1": 0.1, "nose-scale-depth": -0.1}


@dataclasses.dataclass(frozen=True)
class Identity:
    """One person. Colours are linear RGB; lengths are decimetres; the other numbers run from 0 to about 1."""

    number: int
    shape: Shape
    male: bool
    melanin: float
    skin: np.ndarray
    flush: np.ndarray
    lip: np.ndarray
    blush: float
    freckles: float
    blotches: float
    gloss: float
    wrinkles: float
    texture: tuple[float, float]
    brow: np.ndarray
    brow_thick: float
    brow_length: float
    brow_height: float
    brow_arch: float
    brow_dense: float
    lashes: float
    iris: np.ndarray
    iris_size: float
    hair_name: str
    hair: np.ndarray
    hair_style: str
    hair_length: float
    hair_volume: float
    hair_lift: float
    recession: float
    beard_style: str
    beard: np.ndarray
    stubble: float
    glasses: bool
    frame: np.ndarray
    frame_shape: tuple[float, float, float, float]
    expressive: dict[str, np.ndarray]
    asymmetry: float


def _pick(rng: np.random.Generator, weights: dict):
    names = list(weights)
    share = np.array([weights[n] for n in names], float)
    return names[int(np.searchsorted(np.cumsum(share / share.sum()), rng.random()))]


def _head(rng: np.random.Generator, male: bool, age: float, ancestry: tuple[float, float, float]) -> Shape:
    from lib.faces.head_model import head_model

    local = {}
    for name in head_model().local_names:
        value = CENTRE.get(name, 0.0) + float(np.clip(rng.normal(), -2.2, 2.2)) * SPREAD.get(name, USUAL)
        if value:
            local[name] = value
    sex = float(np.clip((0.1 if male else 0.9) + 0.14 * rng.normal(), 0, 1))
    return Shape(sex, age, float(np.clip(0.5 * rng.normal(), -0.8, 0.9)), ancestry, local)


def make_identity(number: int, seed: int) -> Identity:
    """The person ``number`` of the world ``seed``; always the same one.

    Raises:
        ValueError: a negative number or seed.
    """
    if number < 0 or seed < 0:
        raise ValueError(f"number, seed: expected integers >= 0, got {number} and {seed}")
    rng = np.random.default_rng([seed, 1, number])
    male = bool(rng.random() < 0.5)
    age = float(rng.beta(0.8, 1.4))
    shares = rng.dirichlet([0.35, 0.35, 0.45])
    ancestry = tuple(float(s) for s in shares)
    shape = _head(rng, male, age, ancestry)

    melanin = float(np.clip(shares @ [0.80, 0.32, 0.14] + 0.11 * rng.normal(), 0.0, 1.0))
    at = melanin * (len(SKIN) - 1)
    skin = np.array([np.interp(at, np.arange(len(SKIN)), SKIN[:, c]) for c in range(3)])
    skin = skin * np.exp(0.06 * rng.normal(size=3) * [0.5, 0.8, 1.0])
    fair = 1 - melanin
    flush = np.array([1.0, 0.62 + 0.2 * melanin, 0.62 + 0.2 * melanin])
    lipstick = (not male) and rng.random() < 0.45
    lip = skin * [0.88, 0.50, 0.52]
    if lipstick:
        paint = np.array(((0.42, 0.03, 0.05), (0.48, 0.12, 0.14), (0.28, 0.04, 0.08))[int(rng.integers(3))])
        lip = 0.35 * lip + 0.65 * paint * (1 - 0.35 * melanin)

    fair_hair = float(shares[2]) * fair
    hair_name = _pick(rng, {"black": 0.25 + 1.6 * melanin + shares[1], "dark_brown": 0.5, "brown": 1.3 * fair_hair,
                            "blonde": 1.1 * fair_hair, "red": 0.4 * fair_hair})
    if rng.random() < np.clip((age - 0.35) * 1.6, 0, 0.9):
        hair_name = "white" if age > 0.75 and rng.random() < 0.5 else "grey"
    hair = np.array(HAIR[hair_name]) * np.exp(0.18 * rng.normal() + 0.05 * rng.normal(size=3))
    dark_hair = np.array(HAIR[hair_name if hair_name not in ("grey", "white") else "dark_brown"])
    brow = 0.5 * hair * min(1.0, 0.16 / hair.max()) + 0.5 * dark_hair * min(1.0, 0.10 / dark_hair.max())
    if male:
        style = _pick(rng, {"bald": 0.06 + 0.22 * age, "wreath": 0.05 + 0.3 * age, "buzz": 0.22, "short": 0.5,
                            "volume": 0.3, "fringe": 0.2, "curly": 0.10 + 0.2 * shares[0], "bob": 0.05})
        beard_style = _pick(rng, {"none": 0.45, "stubble": 0.2, "moustache": 0.10, "goatee": 0.11, "full": 0.16})
    else:
        style = _pick(rng, {"buzz": 0.03, "short": 0.1, "volume": 0.16, "fringe": 0.1, "curly": 0.12 + 0.2 * shares[0],
                            "bob": 0.35, "long": 0.5})
        beard_style = "none"
    beard = 0.8 * hair if hair_name != "blonde" else hair * [0.7, 0.55, 0.45]
    frames = ((0.012, 0.012, 0.014), (0.07, 0.035, 0.018), (0.30, 0.30, 0.31), (0.35, 0.25, 0.10), (0.10, 0.02, 0.02),
              (0.02, 0.03, 0.08))
    return Identity(
        number=number, shape=shape, male=male, melanin=melanin, skin=skin, flush=flush, lip=lip,
        blush=float(np.clip(0.35 + 0.3 * rng.normal(), 0, 1)) * (0.4 + 0.6 * fair),
        freckles=float(rng.random()) if rng.random() < 0.16 * fair + (0.35 if hair_name == "red" else 0) else 0.0,
        blotches=float(rng.uniform(0.2, 0.8)), gloss=float(rng.uniform(0.05, 0.15)) * (1 + 0.5 * melanin),
        wrinkles=float(np.clip(age * 1.2 - 0.25, 0, 0.9)), texture=(float(rng.random()), float(rng.random())),
        brow=brow, brow_thick=float(np.clip((0.050 if male else 0.036) + 0.010 * rng.normal(), 0.022, 0.075)),
        brow_length=float(rng.uniform(0.40, 0.48)), brow_height=float(0.022 * rng.normal()) + (0.0 if male else 0.015),
        brow_arch=float(np.clip((0.030 if male else 0.055) + 0.018 * rng.normal(), 0.0, 0.085)),
        brow_dense=float(rng.uniform(0.65, 0.98)),
        lashes=float(rng.uniform(0.45, 0.8) if male else rng.uniform(0.65, 0.95)),
        iris=np.array(IRIS[_pick(rng, {"brown": 0.6 + melanin, "dark": 0.2 + 1.5 * melanin + 0.6 * shares[1],
                                       "hazel": 0.5 * fair_hair, "green": 0.4 * fair_hair, "blue": 1.1 * fair_hair,
                                       "grey": 0.4 * fair_hair})]) * float(np.exp(0.2 * rng.normal())),
        iris_size=float(rng.uniform(0.43, 0.50)), hair_name=hair_name, hair=hair, hair_style=style,
        hair_length=float(rng.random()), hair_volume=float(rng.random()), hair_lift=float(0.05 * rng.normal()),
        recession=float(np.clip(rng.normal() * 0.35 + (0.35 if male else -0.1) + 0.5 * age, 0, 1)),
        beard_style=beard_style, beard=beard, stubble={"none": float(rng.uniform(0, 0.3)) if male else 0.0,
                                                       "stubble": float(rng.uniform(0.5, 1.0))}.get(beard_style, 0.45),
        glasses=bool(rng.random() < 0.24), frame=np.array(frames[int(rng.integers(len(frames)))]),
        frame_shape=(float(rng.uniform(0.215, 0.27)), float(rng.uniform(0.14, 0.21)), float(rng.uniform(0, 1)),
                     float(rng.uniform(0.010, 0.022))),
        expressive={name: rng.normal(size=12) for name in ("gain", "extra")}, asymmetry=float(0.10 * rng.normal()))
