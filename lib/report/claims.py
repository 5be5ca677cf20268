"""What the package says about its results, computed: which statements are checked, on which tasks and data sets."""

import pandas as pd

from lib.report.claim import Claim
from lib.report.drop_claims import DEFINITIONS as OF_DROPS, drop_claims
from lib.report.strength_claims import DEFINITIONS as OF_STRENGTH, strength_claims
from lib.report.summary import FEWEST, Scores

BLOCKS = (("expression", "rendered"), ("verification", "orl"))
DEFINITIONS = (*OF_DROPS, *OF_STRENGTH)  # (words of the statements, what they mean)


def compute_claims(results: pd.DataFrame) -> list[Claim]:
    """Every claim that the measured encoders, conditions and people allow, in a fixed order."""
    scores, claims = Scores(results), []
    for block in compared_blocks(scores):
        claims += drop_claims(scores, *block) + strength_claims(scores, *block)
    return claims


def main_blocks(scores: Scores) -> list[tuple[str, str]]:
    """The (task, data set) pairs that the report is about first of all: ``BLOCKS``; on other data the first two."""
    present = scores.blocks()
    return [block for block in BLOCKS if block in present] or present[:2]


def compared_blocks(scores: Scores) -> list[tuple[str, str]]:
    """Those of the main ones with people enough to compare encoders."""
    return [block for block in main_blocks(scores) if scores.people(*block) >= FEWEST]
