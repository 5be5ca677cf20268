"""Projection heads; used in pre-training only."""

from torch import nn


def projection(dim: int, hidden: int, out: int) -> nn.Sequential:
    """Linear - ReLU - Linear - BatchNorm: [B, dim] -> [B, out], the head of PCL and DAR-SFRL (2048 and 512 there)."""
    return nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, out), nn.BatchNorm1d(out))
