"""Neural flow: between observations a learned solution map in place of a solver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from integrand.errors import UsageError
from integrand.series import Series
from integrand.spec import Spec

from .base import Said, SeriesFamily
from .flows import CouplingFlow, GRUFlow, ResNetFlow, SolutionMap, Stacked
from .observations import rows, seen, told, told_size, unread
from .recurrence import GAPS_PER_UNIT
from .units import time_unit

Flow = Literal["coupling", "gru", "resnet"]
_LAYERS: dict[str, Callable[[int, int, int], SolutionMap]] = {
    "coupling": lambda width, hidden, i: CouplingFlow(width, hidden, i % 2 == 0),
    "gru": lambda width, hidden, i: GRUFlow(width, hidden),
    "resnet": lambda width, hidden, i: ResNetFlow(width, hidden),
}


class NeuralFlow(SeriesFamily):
    """An ODE-RNN whose state moves by a solution map F(t, h), one evaluation whatever the gap.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Length of the hidden state.
        hidden: Width of hidden layers.
        flow: Kind of the solution map: `coupling`, `gru` or `resnet`.
        layers: Number of layers of the map.
        one_step: Weight of the forecasts of observations that are given, in training on forecasts.
        unit: Unit of time; five median gaps of the data where not given.
        **kwargs: See `SeriesFamily`.

    Raises:
        UsageError: An option is out of its domain.
    """

    family = "neural-flow"
    title = "Neural flow"
    group = "series"
    equation = "h'_i = F(t_i − t_{i−1}, h_{i−1}), F(0, h) = h, F(t, ·) invertible, h_i = GRU(x_i, h'_i)"
    reference = "Biloš et al. 2021, Neural Flows: Efficient Alternative to Neural ODEs, eqs. 3–5"

    def __init__(
        self,
        spec: Spec,
        channels: int = 32,
        hidden: int = 32,
        flow: Flow = "coupling",
        layers: int = 2,
        one_step: float = 1.0,
        unit: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(spec, channels, **kwargs)
        if flow not in _LAYERS or layers < 1 or channels < 2:
            raise UsageError(
                f"flow={flow}, layers={layers}, channels={channels}",
                f"flow is one of {', '.join(_LAYERS)}, layers 1 or more, channels 2 or more",
            )
        self.unit = time_unit(GAPS_PER_UNIT * self.spec.step, unit)
        self.flow = Stacked([_LAYERS[flow](channels, hidden, i) for i in range(layers)])
        self.cell = nn.GRUCell(told_size(self.spec, gaps=False), channels)
        self.one_step = one_step
        self._penalty: dict[str, Tensor] = {}

    def states(self, x: Series) -> tuple[Tensor, Tensor]:
        """States before and behind every observation, each (batch, n, channels)."""
        inputs, jumps = told(x).unbind(1), seen(x)[..., None].unbind(1)
        gaps = (x.gaps / self.unit)[..., None].unbind(1)
        h = x.values.new_zeros(len(x), self.cell.hidden_size)
        before, after = list[Tensor](), list[Tensor]()
        with parametrize.cached():
            for told_now, jump, gap in zip(inputs, jumps, gaps, strict=True):
                h = self.flow(gap, h) if before else h
                before.append(h)
                h = torch.where(jump, self.cell(told_now, h), h)
                after.append(h)
        return torch.stack(before, 1), torch.stack(after, 1)

    def read(self, x: Series) -> Said:
        """The state behind the last observation."""
        return self.states(x)[1][:, -1], []

    def forecast(self, x: Series, times: Tensor) -> Said:
        """The head of the state that the last observation before each time flows to."""
        before, after = self.states(x)
        place = torch.searchsorted(x.times, times.contiguous(), right=True) - 1
        place = torch.minimum(place.clamp(min=0), x.lengths[:, None] - 1)
        gap = (times - x.times.gather(1, place)).to(after.dtype) / self.unit
        if self.training:
            self._penalty = {"one_step": self.one_step * self.task.loss(self.head(before), unread(x))}
        return self.head(self.flow(gap[..., None], rows(after, place))), []

    def penalty(self) -> dict[str, Tensor]:
        """The loss of one-step forecasts of what is given; see `FamilyModule.penalty`."""
        kept, self._penalty = self._penalty, {}
        return kept
