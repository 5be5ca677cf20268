"""Projection heads; used in pre-training only."""

from torch import nn


def projection(dim: int, hidden: int, out: int) -> nn.Sequential:
    """Linear - ReLU - Linear - BatchNorm: [B, dim] -> [B, out], the head of PCL and DAR-SFRL (2048 and 512 there)."""
    return nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, out), nn.BatchNorm1d(out))


def mlp(dim: int, hidden: int, out: int) -> nn.Sequential:
    """Linear - ReLU - Linear: [B, dim] -> [B, out], the head of SimCLR, MoCo v2 and SSL-FER."""
    return nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, out))


def normalised_mlp(dim: int, hidden: int, out: int) -> nn.Sequential:
    """Linear - BatchNorm - ReLU - Linear: [B, dim] -> [B, out], BYOL's projector and predictor (4096 and 256 there)."""
    return nn.Sequential(nn.Linear(dim, hidden), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True), nn.Linear(hidden, out))
