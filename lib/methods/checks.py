"""Ranges of a method's settings; each error begins with the setting's name, so that params.yaml's can name the whole key."""

import math

LARGEST_STEP = 255  # of an attack's eps and alpha, which are in 255ths of the pixels' range


def check_positive(settings, *names: str) -> None:
    """``ValueError`` unless these settings are positive, finite numbers."""
    for name in names:
        if not 0 < getattr(settings, name) < math.inf:
            raise ValueError(f"{name}: expected a positive number, got {getattr(settings, name)}")


def check_not_negative(settings, *names: str) -> None:
    """``ValueError`` unless these settings are finite numbers >= 0."""
    for name in names:
        if not 0 <= getattr(settings, name) < math.inf:
            raise ValueError(f"{name}: expected a number >= 0, got {getattr(settings, name)}")


def check_counts(settings, *names: str) -> None:
    """``ValueError`` unless these settings are at least 1."""
    for name in names:
        if getattr(settings, name) < 1:
            raise ValueError(f"{name}: expected at least 1, got {getattr(settings, name)}")


def check_attack(settings) -> None:
    """``ValueError`` unless ``attack_steps`` is 0 (none) or more, and ``attack_eps`` and ``attack_alpha`` are possible."""
    if settings.attack_steps < 0:
        raise ValueError(f"attack_steps: expected 0 (none) or more, got {settings.attack_steps}")
    for name in ("attack_eps", "attack_alpha"):
        if not 0 <= getattr(settings, name) <= LARGEST_STEP:
            raise ValueError(f"{name}: expected 0 to {LARGEST_STEP}, in 255ths of the pixels' range, got {getattr(settings, name)}")
