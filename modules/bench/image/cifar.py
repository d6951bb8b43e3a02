"""The CIFAR nets of the residual family: three stages at 32×32, 16×16 and 8×8 pixels (He et al. 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from integrand.errors import UsageError
from integrand.spec import Spec

from ..base import DynamicsMaker, Stage
from ..dynamics import Dynamics
from ..net import BenchNet
from ..norm import group_norm
from ..stages import Evaluate, StagedDynamics, Transition
from .fields import MomentumLift, PreActivationField
from .shared import ImageBench

Norm = Literal["batch", "group"]


def make_norm(kind: Norm, channels: int) -> nn.Module:
    """Batch norm as published, or the shared bench's group norm."""
    return nn.BatchNorm2d(channels) if kind == "batch" else group_norm(channels)


class ResidualFunction(nn.Module):
    """f(x) = conv(ReLU(norm(conv(ReLU(norm(x)))))) with 3×3 convolutions without bias (He et al. 2016).

    Args:
        channels: Channels of x.
        out_channels: Channels of f(x); the same as `channels` where omitted.
        stride: Stride of the first convolution.
        norm: Which norm.
    """

    def __init__(
        self, channels: int, out_channels: int | None = None, stride: int = 1, norm: Norm = "batch"
    ) -> None:
        super().__init__()
        out_channels = out_channels or channels
        self.norm1 = make_norm(norm, channels)
        self.conv1 = nn.Conv2d(channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.norm2 = make_norm(norm, out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """Evaluate at the state x of shape (batch, channels, height, width); t is not used."""
        x = self.conv1(torch.relu(self.norm1(x)))
        result: Tensor = self.conv2(torch.relu(self.norm2(x)))
        return result


def pad_channels(x: Tensor, out_channels: int) -> Tensor:
    """Zero channels on both sides, so that the map has `out_channels` of them."""
    more = out_channels - x.shape[1]
    return F.pad(x, (0, 0, 0, 0, more // 2, more - more // 2))


class ResidualTransition(Transition):
    """A residual block of stride 2: every second pixel and zero channels, option A of He et al., plus f.

    Args:
        channels: Channels before.
        out_channels: Channels after.
        norm: Norm of f.
    """

    def __init__(self, channels: int, out_channels: int, norm: Norm) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.field = ResidualFunction(channels, out_channels, stride=2, norm=norm)

    def residuals(self) -> list[nn.Module]:
        """The residual function."""
        return [self.field]

    def forward(self, h: Tensor, evaluate: Evaluate) -> Tensor:
        """One block; see `Transition.forward`."""
        return pad_channels(h[:, :, ::2, ::2], self.out_channels) + evaluate(self.field, h)


class CIFARStages(ImageBench):
    """Three stages of doubling width, no bias before a norm, and a residual block of stride 2 between them.

    The net of He et al. 2016 (Deep Residual Learning, section 4.2) in the pre-activation order of their
    Identity Mappings: with `blocks: n` a ResNet has 6n + 2 layers, and as many parameters as published.

    Args:
        widths: Channels of the stages, the first equal to model.channels; by default it doubles twice.
        norm: `batch` as published; `group` for families that a solver integrates.

    Raises:
        UsageError: A width is not positive, or the norm is unknown.
    """

    transitions = True
    extra: Sequence[int] = (0, -1, -1)
    """The transition is itself the first block of stages 2 and 3."""

    def __init__(self, widths: list[int] | None = None, norm: Norm = "batch") -> None:
        if widths is not None and (len(widths) != len(self.extra) or min(widths) < 1):
            raise UsageError(f"widths={widths} does not give {len(self.extra)} stages", "give three numbers")
        if norm not in ("batch", "group"):
            raise UsageError(f"unknown norm {norm!r}", "set model.layout.norm to batch or group")
        self.widths = widths
        self.norm = norm

    def field(
        self, channels: int, out_channels: int | None = None, time_dependent: bool = False
    ) -> nn.Module:
        """The residual function of the stages; the shared bench's where it has to see t."""
        if time_dependent:
            self._refuse_batch_norm()
            return PreActivationField(channels, out_channels, time_dependent)
        return ResidualFunction(channels, out_channels, norm=self.norm)

    def transition(self, channels: int, out_channels: int) -> Transition:
        """What leads from one stage to the next."""
        return ResidualTransition(channels, out_channels, self.norm)

    def entrance(self, in_channels: int, channels: int) -> tuple[nn.Module, Transition | None]:
        """Stem, and what leads from it to the first stage."""
        return nn.Conv2d(in_channels, channels, 3, padding=1, bias=False), None

    def exit(self, channels: int, outputs: int) -> nn.Module:
        """Head on the end of the last stage."""
        return nn.Sequential(
            make_norm(self.norm, channels),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(channels, outputs),
        )

    def assemble(self, spec: Spec, channels: int, make: DynamicsMaker, outputs: int) -> BenchNet:
        """Three stages; see `Bench.assemble`."""
        widths = self.widths or [channels, 2 * channels, 4 * channels]
        if widths[0] != channels:
            raise UsageError(
                f"the first stage has {widths[0]} channels, but channels={channels}",
                f"set model.channels to {widths[0]}",
            )
        in_channels, height, width = spec.input_shape
        if min(height, width) < 4:
            raise UsageError(f"images of {height}×{width} cannot be halved twice", "use the shared layout")
        stages: list[Dynamics] = []
        transitions: list[Transition] = []
        for i, (here, extra) in enumerate(zip(widths, self.extra, strict=True)):
            if i:
                transitions.append(self.transition(stages[-1].out_channels, here))
            stages.append(make(Stage(here, self.field, MomentumLift, axes=2, extra=extra)))
        if any(stage.repeats for stage in stages):
            self._refuse_batch_norm()
        stem, entry = self.entrance(in_channels, channels)
        dynamics = StagedDynamics(stages, transitions, entry)
        net = BenchNet(stem, dynamics, self.exit(dynamics.out_channels, outputs))
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                # He et al. 2015, Delving Deep into Rectifiers, eq. 14
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        return net

    def _refuse_batch_norm(self) -> None:
        if self.norm == "batch":
            raise UsageError(
                "batch statistics would be updated once per evaluation, of which one pass makes several",
                "set model.layout.norm to group",
            )
