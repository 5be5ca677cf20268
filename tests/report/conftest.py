"""Invented results with the true schema: made up numbers, but of a shape that a run can have."""

import numpy as np
import pandas as pd
import pytest

BLOCKS = (
    ("expression", "rendered"),
    ("verification", "orl"),
    ("verification", "rendered"),
    ("action_units", "rendered"),
)
SEEN = (
    "gaussian_noise",
    "impulse_noise",
    "gaussian_blur",
    "motion_blur",
    "pixelate",
    "contrast",
    "low_light",
    "occlusion",
)
UNSEEN = (
    "shot_noise",
    "defocus_blur",
    "glass_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "elastic_transform",
    "jpeg_compression",
    "speckle_noise",
    "saturate",
)
ATTACKS = ("pgd", "upgd", "bim", "mifgsm", "eotpgd", "difgsm", "nifgsm", "sinifgsm")
AUS = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)
CLEAN = {"expression": 78.0, "verification": 88.0, "action_units": 55.0}
# encoder -> (clean offset, loss per severity step under corruption, share of the score kept under attack)
ENCODERS = {
    "simclr": (0, 7.0, 0.05),
    "simclr_adversarial": (-1, 4.5, 0.62),
    "dar_sfrl_released": (-12, 5.5, 0.1),
    "dar_sfrl": (1, 2.4, 0.78),
    "raw_pixels": (-20, 6.0, 0.12),
    "untrained": (-28, 5.0, 0.2),
    "blur": (-2, 5.0, 0.07),
    "identity_restorer": (0, 3.4, 0.7),
}


def make_results(seeds=(0,), blocks=BLOCKS, encoders=None, rng_seed=0) -> pd.DataFrame:
    """Tidy results of every encoder, task and condition; the same call gives the same numbers."""
    rng = np.random.default_rng(rng_seed)
    rows = []
    for method, (offset, slope, kept) in (encoders or ENCODERS).items():
        for seed in seeds:
            for task, dataset in blocks:
                metric = "f1" if task == "action_units" else "accuracy"
                n, subjects = {"expression": (700, 40), "verification": (1200, 40), "action_units": (900, 60)}[task]
                clean = CLEAN[task] + offset + rng.normal(0, 1)
                floor = 50.0 if task == "verification" else 0.0

                def add(family, condition, severity, value, drop=True, name=metric):
                    half = rng.uniform(1.5, 3.5)
                    base = dict(
                        method=method,
                        seed=seed,
                        dataset=dataset,
                        source=dataset,
                        task=task,
                        family=family,
                        condition=condition,
                        severity=severity,
                        n=n,
                        subjects=subjects,
                    )
                    kinds = [(name, value)]
                    if drop:
                        kinds += [("drop", clean - value), ("relative_drop", 100 * (clean - value) / clean)]
                    for kind, x in kinds:
                        rows.append(base | dict(metric=kind, value=x, ci_low=x - half, ci_high=x + half * 0.9))

                def au_rows(family, condition, factor):
                    for k, au in enumerate(AUS):
                        add(
                            family,
                            condition,
                            0,
                            float(np.clip((clean - 15 + 2.5 * k) * factor, 0, 100)),
                            False,
                            f"f1_au_{au}",
                        )

                add("clean", "clean", 0, clean, drop=False)
                if task == "action_units":
                    au_rows("clean", "clean", 1.0)
                by_type = {}
                for i, corruption in enumerate(SEEN + UNSEEN):
                    weight = 0.6 + 0.09 * ((i * 5) % 12)
                    for severity in range(1, 6):
                        value = max(
                            clean - slope * weight * severity * clean / 78 + rng.normal(0, 0.6),
                            floor + rng.uniform(0, 2),
                        )
                        add("corruption", corruption, severity, value)
                        by_type[corruption, severity] = value
                for name, types in (("mean", SEEN + UNSEEN), ("mean_seen", SEEN), ("mean_unseen", UNSEEN)):
                    add("corruption", name, np.nan, np.mean([v for (c, _), v in by_type.items() if c in types]))
                for corruption in SEEN + UNSEEN:
                    add(
                        "corruption",
                        corruption,
                        np.nan,
                        np.mean([v for (c, _), v in by_type.items() if c == corruption]),
                    )
                add("corruption", "worst", np.nan, min(by_type.values()))
                for severity in range(1, 6):
                    add("corruption", "mean", severity, np.mean([v for (_, s), v in by_type.items() if s == severity]))
                attacked = {}
                for attack in ATTACKS:
                    attacked[attack] = max(clean * (kept + rng.normal(0, 0.01)), 0)
                    add("attack", attack, 0, attacked[attack])
                    if task == "action_units":
                        au_rows("attack", attack, kept)
                if task == "action_units":
                    au_rows("attack", "mean", kept)
                add("attack", "mean", np.nan, np.mean(list(attacked.values())))
                add("attack", "worst", np.nan, min(attacked.values()))
                for eps in (0, 2, 8, 16, 64):
                    add("sweep", "pgd", eps, clean * kept ** (eps / 8) if eps < 64 else 0.0)
                if method in ("simclr", "dar_sfrl"):
                    for steps in (1, 2, 5, 10, 20, 50):
                        add("check", "pgd", steps, 1.5 + (3 - 2 * kept) * np.log1p(steps), False, "loss")
                    for starts in range(1, 6):
                        add("check", "restarts", starts, clean * (kept + 0.02 - 0.01 * starts), False)
                    for name, easier in (
                        ("white_box", 0),
                        ("gradient_free", 0.1),
                        ("noise", 0.2),
                        ("transfer_raw_pixels", 0.15),
                    ):
                        add("check", name, 0, clean * (kept + easier), False)
    return pd.DataFrame(rows)


def make_history(steps=120, seed=0) -> pd.DataFrame:
    """A training history with three loss terms and the collapse meter."""
    rng = np.random.default_rng(seed)
    t = np.arange(1, steps + 1)
    terms = {
        "restoration": 0.05 + 0.3 * np.exp(-t / 20),
        "contrastive": 1.2 + 3.5 * np.exp(-t / 30),
        "orthogonal": 0.1 + 0.4 * np.exp(-t / 15),
    }
    frame = pd.DataFrame({"epoch": t // 12, "step": t, "seconds": 0.7 * t, "lr": 1e-3 * np.cos(np.pi * t / steps / 2)})
    for name, values in terms.items():
        frame[name] = values * (1 + 0.04 * rng.normal(size=steps))
    frame.insert(4, "loss", frame[list(terms)].sum(axis=1))
    frame["embedding_std"] = 0.9 - 0.5 * np.exp(-t / 15)
    frame["effective_rank"] = 60 - 50 * np.exp(-t / 40)
    return frame


def make_faces(count, size=48, seed=0) -> np.ndarray:
    """Smooth blobs that stand for faces: float [count,3,size,size] in [0,1]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] / size - 0.5
    faces = []
    for _ in range(count):
        skin = np.array([0.85, 0.65, 0.55]) * rng.uniform(0.5, 1.1)
        oval = 1 / (1 + np.exp(40 * ((x / 0.33) ** 2 + (y / 0.42) ** 2 - 1) / 3))
        eyes = sum(np.exp(-((x - side) ** 2 + (y + 0.08) ** 2) / 0.002) for side in (-0.13, 0.13))
        mouth = np.exp(-((x / 0.12) ** 2 + ((y - 0.2 - rng.uniform(-1, 1) * x**2) / 0.025) ** 2))
        back = rng.uniform(0.2, 0.8, 3)
        image = back[:, None, None] * (1 - oval) + skin[:, None, None] * oval * (1 - 0.7 * eyes) * (1 - 0.5 * mouth)
        faces.append(np.clip(image + 0.02 * rng.normal(size=image.shape), 0, 1))
    return np.stack(faces).astype(np.float32)


def make_panels(encoders=tuple(ENCODERS), seed=0) -> dict:
    """Image arrays and features as ``build_report`` takes them."""
    rng = np.random.default_rng(seed)
    faces = make_faces(12, seed=seed)

    def noisy(image, amount):
        return np.clip(image + amount * rng.normal(size=image.shape), 0, 1)

    corrupted = np.stack([np.stack([noisy(faces[i], 0.05 * s) for s in range(6)]) for i in np.arange(20) % 12])
    delta = 8 / 255 * np.sign(rng.normal(size=(8, 3, *faces.shape[1:])))
    degraded = noisy(faces[:5], 0.15)
    restored = np.stack([degraded + (faces[:5] - degraded) * share for share in (0.4, 0.7, 0.85)], axis=1)
    people, expressions = np.repeat(np.arange(20), 7), np.tile(np.arange(7), 20)
    centres = rng.normal(size=(27, 16))
    attacked = {
        "encoder": "dar_sfrl",
        "task": "expression",
        "clean": faces[:3],
        "images": np.clip(faces[:3] + delta, 0, 1),
        "eps": 8 / 255,
    }
    return {
        "source": "rendered",
        "left_out": {},
        "corruptions": {"names": SEEN + UNSEEN, "images": corrupted},
        "attacks": attacked | {"names": ATTACKS},
        "strong_attacks": attacked | {"names": ("apgd", "apgd_t", "fab_t", "square", "ssp", "m_blur", "dodging", "impersonation")},
        "restoration": {
            "encoder": "dar_sfrl",
            "labels": ("gaussian noise, 3", "fog, 4", "contrast, 3", "PGD, 8/255", "clean"),
            "seen": 0.5 * degraded,
            "degraded": degraded,
            "restored": restored,
            "clean": faces[:5],
        },
        "moving": {"encoder": "dar_sfrl", "images": faces[:4], "pixels": faces[0].mean(0) > 0.5},
        "face_swap": {"head": faces[:3], "expression": faces[1:4], "swapped": faces[:3][::-1]},
        "embeddings": {
            "expression": expressions,
            "identity": people,
            "features": {
                name: centres[expressions] + centres[7 + people] + rng.normal(size=(140, 16)) for name in encoders
            },
        },
    }


def make_run() -> dict:
    """What was run, as notebook 04 hands it over."""
    return {
        "params": {
            "seed": 0,
            "demo": {"pretrain_identities": 20, "clips_per_identity": 3, "frames_per_clip": 50},
            "prepare": {"dataset": "demo", "image_size": 24},
            "network": {"backbone": "resnet10t"},
            "schedule": {"epochs": 8, "batch_size": 192},
            "methods": {"simclr": {"method": "simclr"}, "dar_sfrl": {"epochs": 5}},
        },
        "versions": {"python": "3.11", "torch": "2.14"},
        "machine": "2 CPU cores, no GPU",
        "stages": [("demo", 62.0), ("pretrain dar_sfrl", 190.0), ("probe dar_sfrl", 31.0)],
        "seen_corruptions": SEEN,
        "attack_eps": 8.0,
        "left_out": [],
    }


@pytest.fixture(scope="session")
def results():
    return make_results()


@pytest.fixture(scope="session")
def panels():
    return make_panels()


@pytest.fixture(scope="session")
def histories():
    return {
        name: make_history(seed=i)
        for i, name in enumerate(("simclr", "simclr_adversarial", "dar_sfrl_released", "dar_sfrl"))
    }


@pytest.fixture(scope="session")
def run():
    return make_run()


@pytest.fixture(scope="session")
def make():
    """The generators, for tests that need other numbers."""
    return {
        "results": make_results,
        "history": make_history,
        "faces": make_faces,
        "panels": make_panels,
        "run": make_run,
    }
