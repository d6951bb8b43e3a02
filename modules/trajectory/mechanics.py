"""What the equations of mechanics share: gradients of an energy, halves of a state, angles."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from integrand.errors import UsageError
from integrand.spec import Forecast, SeriesSpec

from ..bench import BenchFamily

FieldMaker = Callable[[int, int, bool | None], nn.Module]
"""`Stage.field`: from channels, channels of the value, and whether the time enters."""


def gradient(energy: Callable[[Tensor], Tensor], y: Tensor) -> Tensor:
    """∂energy/∂y for every sample; carries a graph where gradients are on, and is there where they are off.

    Args:
        energy: From (batch, d) to one number for each sample, shape (batch, 1); samples do not act on each
            other.
        y: Shape (batch, d).
    """
    slope: Tensor = torch.func.grad(lambda x: energy(x).sum())(y)
    return slope


def degrees_of_freedom(channels: int, what: str) -> int:
    """Half of the channels: coordinates first, then their momenta or velocities.

    Args:
        channels: Channels of the state.
        what: What the second half holds, for the message.

    Raises:
        UsageError: The number is odd.
    """
    if channels < 2 or channels % 2:
        raise UsageError(
            f"a state of {channels} channels does not hold coordinates and as many {what}",
            f"give the data the columns q₁, q₂, … and behind them their {what}, or take NeuralODE",
        )
    return channels // 2


class OnCircles(nn.Module):
    """A function of a state some of whose channels are angles: it sees their cosine and sine instead.

    So f(q + 2π) = f(q), which a network on the bare angle has to learn turn by turn.

    Args:
        make: Makes the function, as `Stage.field` does.
        channels: Channels of the state.
        out_channels: Length of the value.
        angles: Numbers of the channels that are angles in radians, from 0.
        time_dependent: Whether t enters; None where the law may change with it.

    Raises:
        UsageError: There is no such channel.
    """

    def __init__(
        self,
        make: FieldMaker,
        channels: int,
        out_channels: int,
        angles: Sequence[int] = (),
        time_dependent: bool | None = False,
    ) -> None:
        super().__init__()
        if any(not 0 <= i < channels for i in angles) or len(set(angles)) < len(angles):
            raise UsageError(
                f"angles={list(angles)} are no {channels} coordinates",
                f"set model.angles to numbers from 0 to {channels - 1}, each once",
            )
        self.angles = list(angles)
        self.others = [i for i in range(channels) if i not in self.angles]
        self.f = make(channels + len(self.angles), out_channels, time_dependent)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """From (batch, channels) to (batch, out_channels)."""
        if self.angles:
            turned = y[:, self.angles]
            y = torch.cat([turned.cos(), turned.sin(), y[:, self.others]], dim=1)
        value: Tensor = self.f(t, y)
        return value


class Energy(OnCircles):
    """One number for each state, shape (batch, 1), of which only slopes matter: its last layer has no bias.

    Args:
        make: Makes the function, as `Stage.field` does.
        channels: Channels of the state.
        angles: Numbers of the channels that are angles in radians, from 0.
        time_dependent: Whether t enters; None where the law may change with it.
    """

    def __init__(
        self,
        make: FieldMaker,
        channels: int,
        angles: Sequence[int] = (),
        time_dependent: bool | None = False,
    ) -> None:
        super().__init__(make, channels, 1, angles, time_dependent)
        *_, last = (layer for layer in self.f.modules() if isinstance(layer, nn.Linear))
        last.register_parameter("bias", None)


class EnergyFamily(BenchFamily):
    """Base of the families whose equation is made of gradients of an energy of the observed state."""

    group = "trajectory"
    takes = (SeriesSpec,)
    answers = (Forecast,)
    uses_solver = True
    needs_grad_at_eval = True
