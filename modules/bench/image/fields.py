"""Residual functions and vector fields f(t, h) on feature maps, shared by every image family."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..norm import FieldNorm, field_norm


class TimeConv2d(nn.Module):
    """3×3 convolution that sees t as one more, constant, input channel (Chen et al. 2018, their MNIST net).

    Args:
        in_channels: Channels of the state.
        out_channels: Channels of the result.
        kernel_size: Side of the kernel; padded so that the map keeps its size.
        time_dependent: Whether t is appended; without it this is a plain convolution.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int = 3, time_dependent: bool = True
    ) -> None:
        super().__init__()
        self.time_dependent = time_dependent
        self.conv = nn.Conv2d(
            in_channels + int(time_dependent), out_channels, kernel_size, padding=kernel_size // 2
        )

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """Convolve x, shape (batch, in_channels, height, width), at the scalar time t."""
        if self.time_dependent:
            x = torch.cat([x, t.to(x.dtype).expand(x.shape[0], 1, *x.shape[2:])], dim=1)
        result: Tensor = self.conv(x)
        return result


class PreActivationField(nn.Module):
    """f(t, h) = conv(ReLU(norm(conv(ReLU(norm(h)))))): the pre-activation residual function.

    He et al. 2016 (Identity mappings, fig. 1b) with group instead of batch norm. The same class is the
    residual function of the ResNet and the vector field of the ODE families, so that only the integrator
    differs between them.

    Args:
        channels: Channels of the state that f reads.
        out_channels: Channels of f; the same as `channels` where omitted.
        time_dependent: Whether f depends on t explicitly.
        norm: Which norm; with `none` the second convolution starts at zero, and f with it (Zhang et al. 2019,
            Fixup Initialization), because nothing else bounds f then.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int | None = None,
        time_dependent: bool = False,
        norm: FieldNorm = "group",
    ) -> None:
        super().__init__()
        out_channels = out_channels or channels
        self.norm1 = field_norm(norm, channels)
        self.conv1 = TimeConv2d(channels, out_channels, time_dependent=time_dependent)
        self.norm2 = field_norm(norm, out_channels)
        self.conv2 = TimeConv2d(out_channels, out_channels, time_dependent=time_dependent)
        if norm == "none":
            nn.init.zeros_(self.conv2.conv.weight)

    def forward(self, t: Tensor, h: Tensor) -> Tensor:
        """Evaluate f at the scalar time t and the state h of shape (batch, channels, height, width)."""
        h = self.conv1(t, torch.relu(self.norm1(h)))
        result: Tensor = self.conv2(t, torch.relu(self.norm2(h)))
        return result


class MomentumLift(nn.Module):
    """[h; m(0)] with m(0) computed from h by a 1×1–3×3–1×1 convolutional net, as in the authors' image runs.

    Args:
        channels: Channels of h.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(channels, channels, 1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 1),
        )

    def forward(self, h: Tensor) -> Tensor:
        """From (batch, channels, height, width) to (batch, 2 · channels, height, width)."""
        return torch.cat([h, self.net(h)], dim=1)
