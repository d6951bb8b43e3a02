"""GRU that is told the time between observations and what is missing: the baseline of irregular series."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from integrand.errors import UsageError
from integrand.series import Series
from integrand.spec import Spec

from .asked_times import with_times
from .base import Said, SeriesFamily
from .observations import rows, told, told_size
from .units import time_unit


class GRUGaps(SeriesFamily):
    """A GRU whose input is values, mask and gap; between observations its state stands still.

    Forecasts go on with inputs of which nothing is observed, at the times asked for.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Length of the hidden state.
        layers: Number of GRUs on top of each other.
        unit: Unit of time of the gaps; the median gap of the data where not given.
        **kwargs: See `SeriesFamily`.

    Raises:
        UsageError: A size or the unit is not positive.
    """

    family = "gru-gaps"
    title = "GRU with time gaps"
    group = "series"
    equation = "h_i = GRU([x_i; m_i; t_i − t_{i−1}], h_{i−1})"
    reference = "Che et al. 2018, Recurrent Neural Networks for Multivariate Time Series with Missing Values"

    def __init__(
        self, spec: Spec, channels: int = 32, layers: int = 1, unit: float | None = None, **kwargs: Any
    ) -> None:
        super().__init__(spec, channels, **kwargs)
        if layers < 1:
            raise UsageError(f"layers={layers}", "give 1 or more")
        self.unit = time_unit(self.spec.step, unit)
        self.gru = nn.GRU(told_size(self.spec), channels, layers, batch_first=True)

    def read(self, x: Series) -> Said:
        """The state at the last observation."""
        return rows(self.states(x), x.lengths[:, None] - 1)[:, 0], []

    def forecast(self, x: Series, times: Tensor) -> Said:
        """The head of the state at each time."""
        whole, place = with_times(x, times)
        return self.head(rows(self.states(whole), place)), []

    def states(self, x: Series) -> Tensor:
        """States after every observation, shape (batch, n, width)."""
        states: Tensor = self.gru(told(x, self.unit))[0]
        return states
