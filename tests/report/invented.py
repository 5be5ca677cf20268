"""Rows of an invented encoder of which a test says every number that matters to it."""

import pandas as pd

from lib.report.claims import compute_claims


def rows(method, drop, clean=80.0, half=1.0, task="expression", dataset="rendered", **more) -> list[dict]:
    """An encoder with chosen mean drops: {'corruption': 10, 'attack': 20}."""
    base = dict(method=method, seed=0, dataset=dataset, source=dataset, task=task, n=100, subjects=10)
    made = [("clean", "clean", 0, "accuracy", clean)]
    for family, points in drop.items():
        made += [
            (family, "mean", float("nan"), "accuracy", clean - points),
            (family, "mean", float("nan"), "drop", points),
        ]
    made += more.get("extra", [])
    return [
        base | dict(family=f, condition=c, severity=s, metric=m, value=v, ci_low=v - half, ci_high=v + half)
        for f, c, s, m, v in made
    ]


def claims_of(*encoders) -> dict:
    """The claims about these encoders, by key."""
    return {
        claim.key: claim for claim in compute_claims(pd.DataFrame([row for encoder in encoders for row in encoder]))
    }
