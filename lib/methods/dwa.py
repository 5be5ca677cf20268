"""Dynamic weight average of two loss terms (DAR-SFRL and PCL, after Liu, Johns, Davison, CVPR 2019, eq. 7)."""

import torch
from torch import Tensor, nn


class DynamicWeightAverage(nn.Module):
    """Weights w_i = n softmax(r_i / T), r_i = L_i(t-1) / L_i(t-2): a term whose mean fell more slowly weighs more.

    The first two epochs have weight one. The past losses are a buffer, so a resumed run goes on with them.
    """

    def __init__(self, names: tuple[str, ...], temperature: float = 2.0):
        super().__init__()
        self.names, self.temperature = names, temperature
        self.register_buffer("past", torch.full((2, len(names)), float("nan")))  # epochs t-2 and t-1

    def record(self, means: dict[str, float]) -> None:
        """Take in the mean terms of the epoch that ended."""
        latest = torch.tensor([means[name] for name in self.names], device=self.past.device)
        self.past.copy_(torch.stack([self.past[1], latest]))

    def weights(self) -> dict[str, Tensor]:
        """The weight of every term for this epoch; they sum to their number."""
        ratio = self.past[1] / self.past[0]
        weights = len(self.names) * torch.softmax(ratio / self.temperature, 0)
        return dict(zip(self.names, torch.where(self.past.isnan().any(), 1.0, weights)))  # no branch: it would wait for a GPU
