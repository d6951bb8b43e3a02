"""The benches for series: the state is what was observed, or what an encoder makes of it."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from integrand.errors import UsageError
from integrand.series import Series
from integrand.spec import Forecast, SeriesSpec, Spec

from .base import Bench, DynamicsMaker, Stage, with_equal_ends
from .dynamics import Dynamics
from .net import BenchNet, LastObservation
from .vector import ACTIVATIONS, Activation, FirstComponents, VectorField, VectorMomentum


class SeriesEncoder(nn.Module):
    """A GRU over values, mask and gaps, whose last state becomes the hidden state by a linear layer.

    What a series knows as a whole is read beside every observation.

    Args:
        spec: What the data set publishes.
        channels: Channels of the hidden state.
        hidden: Width of the GRU.
    """

    def __init__(self, spec: SeriesSpec, channels: int, hidden: int) -> None:
        super().__init__()
        self.step = spec.step
        self.gru = nn.GRU(2 * spec.channels + 1 + spec.static, hidden, batch_first=True)
        self.out = nn.Linear(hidden, channels)

    def forward(self, x: Series) -> Tensor:
        """Shape (batch, channels)."""
        n = x.values.shape[1]
        parts = [x.values, x.mask.to(x.values.dtype), x.gaps[..., None] / self.step]
        states, _ = self.gru(torch.cat([*parts, x.static[:, None].expand(-1, n, -1)], dim=-1))
        last: Tensor = self.out(states[torch.arange(len(x), device=states.device), x.lengths - 1])
        return last


class SeriesBench(Bench):
    """Base of the benches for series.

    Args:
        hidden: Width of the hidden layers of fields, of the encoder, and of the net that makes the initial
            momentum.
        activation: σ of the fields.
        orthogonal: Whether the weights of fields start orthogonal.

    Raises:
        UsageError: hidden is below 1, or there is no such activation.
    """

    takes = SeriesSpec

    def __init__(self, hidden: int = 64, activation: Activation = "tanh", orthogonal: bool = False) -> None:
        if hidden < 1:
            raise UsageError(f"hidden must be at least 1, got {hidden}", "set model.layout.hidden")
        if activation not in ACTIVATIONS:
            raise UsageError(f"unknown activation {activation!r}", f"choose from {', '.join(ACTIVATIONS)}")
        self.hidden, self.activation, self.orthogonal = hidden, activation, orthogonal

    def assemble(self, spec: Spec, channels: int, make: DynamicsMaker, outputs: int) -> BenchNet:
        """One stage; see `Bench.assemble`."""
        assert isinstance(spec, SeriesSpec)
        timed = not (isinstance(spec.question, Forecast) and spec.autonomous)
        dynamics = make(
            Stage(channels, self.field, lambda n: VectorMomentum(n, self.hidden), axes=0, timed=timed)
        )
        if isinstance(spec.question, Forecast):
            check_reach(spec, dynamics)
            _measure_steps(spec, dynamics)
        return with_equal_ends(
            dynamics,
            lambda: self.stem(spec, channels),
            lambda: self.head(dynamics.out_channels, outputs),
        )

    @abstractmethod
    def stem(self, spec: SeriesSpec, channels: int) -> nn.Module:
        """Makes the hidden state (batch, channels) of a `Series`."""

    @abstractmethod
    def head(self, channels: int, outputs: int) -> nn.Module:
        """Reads the outputs off a state (…, channels)."""

    def field(
        self, channels: int, out_channels: int | None = None, time_dependent: bool = False
    ) -> nn.Module:
        """The field of vectors."""
        return VectorField(
            channels, out_channels, time_dependent, self.hidden, self.activation, self.orthogonal
        )


class EncodedSeries(SeriesBench):
    """An encoder makes the hidden state, a linear head reads it: for classes, targets, and hidden states."""

    def stem(self, spec: SeriesSpec, channels: int) -> nn.Module:
        """See `SeriesBench.stem`."""
        return SeriesEncoder(spec, channels, self.hidden)

    def head(self, channels: int, outputs: int) -> nn.Module:
        """See `SeriesBench.head`."""
        return nn.Linear(channels, outputs)


class SeriesState(SeriesBench):
    """No encoder and no head: the equation moves the observation itself, and its field is that of the system.

    Where a family appends channels, forecasts are the first ones.
    """

    def width(self, spec: Spec, channels: int | None) -> int:
        """Those of the observation."""
        assert isinstance(spec, SeriesSpec)
        if channels not in (None, spec.channels):
            raise UsageError(
                f"channels={channels}, but the state is the observation, which has {spec.channels}",
                "leave model.channels out, or set model.layout to EncodedSeries",
            )
        return spec.channels

    def check(self, spec: Spec) -> None:
        """Refuse series whose state is not observed whole."""
        super().check(spec)
        assert isinstance(spec, SeriesSpec)
        if not observes_state(spec):
            raise UsageError(
                f"{spec.name} does not give the state as one whole observation",
                "set model.layout to EncodedSeries",
            )

    def stem(self, spec: SeriesSpec, channels: int) -> nn.Module:
        """See `SeriesBench.stem`."""
        return LastObservation()

    def head(self, channels: int, outputs: int) -> nn.Module:
        """See `SeriesBench.head`."""
        return FirstComponents(outputs)


def observes_state(spec: SeriesSpec) -> bool:
    """Whether one whole observation is given and a forecast asked for: it is then taken for the state."""
    question = spec.question
    return isinstance(question, Forecast) and question.context == 1 and not spec.missing


def shared_series(spec: SeriesSpec) -> SeriesBench:
    """The bench that all families share on such series."""
    return SeriesState() if observes_state(spec) else EncodedSeries()


def _measure_steps(spec: SeriesSpec, dynamics: Dynamics) -> None:
    """Let a map's residual functions be rates: its steps are those of sampling, and short."""
    if dynamics.reaches == "steps":
        for residual in dynamics.residuals():
            if isinstance(residual, VectorField):
                residual.scale = spec.step


def check_reach(spec: SeriesSpec, dynamics: Dynamics) -> None:
    """Refuse times to which the dynamics do not go.

    Raises:
        UsageError: Times differ between series, or are not evenly spaced, or lie among those given.
    """
    question = spec.question
    assert isinstance(question, Forecast)
    if question.within:
        raise UsageError(
            f"{spec.name} asks for values among those given, and dynamics go on from the last one",
            "choose a family that looks back, such as LatentODE",
        )
    if spec.irregular and dynamics.reaches != "own":
        kind = "is a map of one step of sampling" if dynamics.reaches == "steps" else "has times in common"
        raise UsageError(
            f"{type(dynamics).__name__} {kind}, but the series of {spec.name} have times of their own",
            "choose a family with an equation that a solver integrates, such as NeuralODE",
        )
