"""The order of file names as people count: 2 before 10."""

import re


def natural(name: str) -> list:
    """Sort key that puts 2.jpg before 10.jpg; the name itself breaks ties between 1.jpg and 01.jpg."""
    parts = re.split(r"([0-9]+)", name)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts] + [(2, 0, name)]
