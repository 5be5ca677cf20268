"""From a backbone's token map to one unit vector per action unit: AUNCE's network behind the backbone.

References:
    [1] AUNCE (`model/graph_au_pre.py`): the first stage of ME-GraphAU without its cosine classifier.
    [2] Luo et al., Learning Multi-dimensional Edge Feature-based AU Relation Graph (ME-GraphAU), IJCAI 2022.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def token_map(features: Tensor | list[Tensor], channels_last: bool = False, prefix: int = 0, layer: int = -1) -> Tensor:
    """What a timm backbone gives before pooling -> tokens [B, L, C].

    Args:
        features: [B, C, H, W], [B, H, W, C] if ``channels_last`` (Swin), [B, prefix + L, C] (ViT), or a list of maps of
            several layers, of which ``layer`` is taken.
        prefix: class and register tokens in front; they are left out.

    Raises:
        ValueError: there is no such layer.
    """
    if isinstance(features, (list, tuple)):
        if not -len(features) <= layer < len(features):
            count = len(features)
            raise ValueError(f"layer: expected one of the backbone's {count} maps, {-count} to {count - 1}, got {layer}")
        features = features[layer]
    if features.dim() == 3:
        return features[:, prefix:]
    return features.flatten(1, 2) if channels_last else features.flatten(2).mT


class TokenBlock(nn.Module):
    """Linear, batch norm over the channels, ReLU: tokens [B, L, C] -> [B, L, out] [1]."""

    def __init__(self, dim: int, out: int):
        super().__init__()
        self.linear, self.norm = nn.Linear(dim, out), nn.BatchNorm1d(out)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.linear(tokens)
        return F.relu(self.norm(x.flatten(0, 1))).view(x.shape)


def nearest_neighbours(nodes: Tensor, count: int) -> Tensor:
    """Adjacency [B, K, K] of nodes [B, K, D]: row i has 1 / count at its ``count`` largest products x_i . x_j.

    A node is among its own candidates [1]. The choice carries no gradient. Every row has the same degree, so dividing by
    it once is the symmetric normalisation of [2].
    """
    with torch.no_grad():
        chosen = (nodes @ nodes.mT).topk(count, dim=2).indices
        return torch.zeros_like(nodes[:, :, :1]).expand(-1, -1, nodes.shape[1]).scatter(2, chosen, 1 / count)


class AuGraph(nn.Module):
    """Tokens [B, L, C] -> one unit vector per AU, [B, D, K] [1].

    A block shared by all AUs, one block per AU averaged over the tokens, then one graph layer over the K nodes:
    x <- ReLU(x + BN_K(A V(x) + U(x))), A from :func:`nearest_neighbours`. A node that ReLU leaves without any positive
    entry is the zero vector.

    Args:
        dim: C of the tokens. units: K, the number of AUs.
        width: D, the length of an AU's vector; None is C, as published.
        neighbours: of a node in the graph, itself among them; published 4.
    """

    def __init__(self, dim: int, units: int, width: int | None = None, neighbours: int = 4):
        super().__init__()
        width = dim if width is None else width
        for name, value in (("units", units), ("width", width), ("neighbours", neighbours)):
            if value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")
        self.units, self.width, self.neighbours = units, width, min(neighbours, units)
        self.shared = TokenBlock(dim, dim)
        self.own = TokenBlock(dim, units * width)  # the K blocks side by side: one product instead of K
        self.message, self.keep = nn.Linear(width, width), nn.Linear(width, width)  # V and U
        self.norm = nn.BatchNorm1d(units)

    def nodes(self, tokens: Tensor) -> Tensor:
        """One vector per AU before the graph, [B, K, D]."""
        return self.own(self.shared(tokens)).mean(1).view(-1, self.units, self.width)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.nodes(tokens)
        adjacency = nearest_neighbours(x, self.neighbours)
        x = F.relu(x + self.norm(adjacency @ self.message(x) + self.keep(x)))
        return F.normalize(x, dim=2).mT
