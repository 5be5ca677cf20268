"""DAFR: degradation-aware face restoration in k unfolded stages, in image space.

A degraded face is y = x M + eps. Stage k takes one gradient step on 1/2 ||M x - y||^2, with two small residual blocks in
the place of M and its transpose, and one learned proximal step:

    t_k = x_{k-1} - alpha_k T_k(D_k(x_{k-1}) - y)          x_0 = y
    x_k = t_k + W_k CAB_k(Conv(t_k))
    n_k = y - x_k                                           the "noise image"

References:
    [1] DAR-SFRL, DAFR: 3 stages, 16 channels, hidden width 32, no inter-stage features, no clamp.
    [2] Mou, Wang, Zhang, Deep Generalized Unfolding Networks for Image Restoration, CVPR 2022: the parent design.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PReLU(nn.PReLU):
    """x where x > 0, else ``weight`` times x; one weight for all channels.

    Where the weight is not trained, as under an attack, its gradient is not asked for. torch's PReLU makes it all the same,
    number by number, before it is dropped, and on a CPU that is ten times the work: then it is a leaky ReLU, bit for bit.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.weight.requires_grad or self.weight.device.type != "cpu":  # elsewhere item() would wait for the device
            return super().forward(x)
        return F.leaky_relu(x, self.weight.to(x.dtype).item())


class ResidualBlock(nn.Module):
    """x + Conv(PReLU(Conv(x))) on images: stands for the unknown operator M or its transpose."""

    def __init__(self, hidden: int):
        super().__init__()
        self.widen = nn.Conv2d(3, hidden, 3, padding=1)
        self.act = PReLU()
        self.narrow = nn.Conv2d(hidden, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.narrow(self.act(self.widen(x)))


class ChannelAttentionBlock(nn.Module):
    """f + attention(r) * r with r = Conv(PReLU(Conv(f))); the attention squeezes to half the channels."""

    def __init__(self, channels: int):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.act = PReLU()
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.squeeze = nn.Conv2d(channels, channels // 2, 1)
        self.excite = nn.Conv2d(channels // 2, channels, 1)

    def forward(self, f: Tensor) -> Tensor:
        r = self.second(self.act(self.first(f)))
        attention = self.excite(self.squeeze(r.mean((2, 3), keepdim=True)).relu()).sigmoid()
        return f + attention * r


class Stage(nn.Module):
    """One unfolded iteration: a gradient step on the data term, then a proximal step."""

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        self.forward_operator = ResidualBlock(hidden)  # D_k, plays M
        self.transposed_operator = ResidualBlock(hidden)  # T_k, plays M^T
        self.alpha = nn.Parameter(torch.tensor(0.5))
        self.lift = nn.Conv2d(3, channels, 3, padding=1)
        self.attention = ChannelAttentionBlock(channels)
        self.project = nn.Conv2d(channels, 3, 1, bias=False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        t = x - self.alpha * self.transposed_operator(self.forward_operator(x) - y)
        return t + self.project(self.attention(self.lift(t)))


class DAFR(nn.Module):
    """The k-stage restorer [1]; every stage has its own weights. 26,838 parameters at the defaults.

    The published code shares one PReLU among the residual blocks and one in each attention block (26,831 parameters);
    here each has its own.

    Raises:
        ValueError: stages < 1, channels < 2 or odd, hidden < 1.
    """

    def __init__(self, stages: int = 3, channels: int = 16, hidden: int = 32):
        super().__init__()
        if stages < 1:
            raise ValueError(f"stages: expected at least 1, got {stages}")
        if channels < 2 or channels % 2:
            raise ValueError(f"channels: expected an even number >= 2 (the attention halves it), got {channels}")
        if hidden < 1:
            raise ValueError(f"hidden: expected at least 1, got {hidden}")
        self.stages = nn.ModuleList(Stage(channels, hidden) for _ in range(stages))

    def begin_as_identity(self) -> "DAFR":
        """Zero the last layer of every block, so that x_k = y before training; returns itself.

        Without it the fresh stages spoil the image, and the first hundred steps only undo that.
        """
        for stage in self.stages:
            for layer in (stage.forward_operator.narrow, stage.transposed_operator.narrow, stage.project):
                for parameter in layer.parameters():
                    nn.init.zeros_(parameter)
        return self

    def forward(self, y: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Images [B, 3, H, W] -> (restored x_1..x_k, noise n_1..n_k), each a list of [B, 3, H, W].

        The restored images are not clamped to [0, 1]: clamp for display only.

        Raises:
            ValueError: not a non-empty float [B, 3, H, W].
        """
        if y.dim() != 4 or y.shape[1] != 3 or not y.is_floating_point() or not y.numel():
            raise ValueError(f"y: expected non-empty float images [B, 3, H, W], got {y.dtype} {list(y.shape)}")
        restored = []
        x = y
        for stage in self.stages:
            x = stage(x, y)
            restored.append(x)
        return restored, [y - x for x in restored]
