"""Which values does a series take at other times?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torchmetrics import MeanAbsoluteError, MeanSquaredError, Metric
from torchmetrics.regression import ContinuousRankedProbabilityScore

from ..metrics.forecasts import Coverage, NormalisedError, ValidTime
from ..outcome import Outcome
from ..series import Series
from ..spec import Forecast, SeriesSpec, Spec
from .base import Tally, Task, VectorField
from .forecast_tallies import Forecasts, Horizons


class Forecasting(Task):
    """Values at the times asked for, by the mean squared error over what was observed there.

    Loss and metrics are in the units of a batch, in which every channel counts alike where the data set
    scales them; predictions are in the units of the raw channels.
    """

    name = "forecasting"
    title = "which values a series takes at other times"
    monitor = "val/mse"
    spec: SeriesSpec

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        assert isinstance(spec, SeriesSpec)
        ones, zeros = [1.0] * spec.channels, [0.0] * spec.channels
        # not in checkpoints: they come with the data set
        self.register_buffer("scales", torch.tensor(spec.scales or ones), persistent=False)
        self.register_buffer("shifts", torch.tensor(spec.shifts or zeros), persistent=False)
        self._energy: Callable[[Tensor], Tensor | None] | None = None
        self._field: VectorField | None = None
        self._seen: dict[str, Metric] = {}

    @property
    def question(self) -> Forecast:
        """What is asked."""
        question = self.spec.question
        assert isinstance(question, Forecast)
        return question

    @classmethod
    def asks(cls, spec: Spec) -> bool:
        """Series with times to forecast."""
        return isinstance(spec, SeriesSpec) and isinstance(spec.question, Forecast)

    @property
    def outputs(self) -> int:
        """One number for each channel, at each time."""
        return self.spec.channels

    def measures(self) -> Mapping[str, Metric]:
        """Errors over all observed values; of evaluation alone how long a forecast holds, and its energy."""
        lyapunov = self.question.lyapunov
        return {
            "mse": MeanSquaredError(),
            "mae": MeanAbsoluteError(),
            "nrmse": NormalisedError(self.spec.channels),
            "valid_time": ValidTime(self.spec.channels, lyapunov),
            "energy_error": MeanSquaredError(),
            "crps": ContinuousRankedProbabilityScore(),
            "coverage_90": Coverage(0.9),
        }

    def attach(self, data: Any, field: VectorField | None) -> None:
        """See `Task.attach`: a data set may know what the law conserves."""
        self._energy, self._field = getattr(data, "energy", None), field

    def observe(self, stage: str, outcome: Outcome) -> Mapping[str, Metric]:
        """See `Task.observe`; training is scored by its errors alone."""
        said, true = outcome.prediction, outcome.target
        if said is None or true is None:
            return {}
        self._seen = {}
        known = ~true.isnan()
        for name in ("mse", "mae", *self._own):
            self._see(stage, name, said[known], true[known])
        if stage == "train" or outcome.times is None or not isinstance(outcome.inputs, Series):
            return self._seen
        self._see(stage, "nrmse", said, true)
        self._see(stage, "valid_time", said, true, outcome.times - outcome.inputs.end[:, None])
        self._see_energy(stage, said, true)
        if outcome.draws is not None and len(outcome.draws) > 1:
            self._see(stage, "crps", outcome.draws[:, known].t(), true[known])
            self._see(stage, "coverage_90", outcome.draws, true)
        return self._seen

    def example(self) -> tuple[Tensor, Tensor]:
        """A few different numbers: what was observed of all channels, one after the other."""
        target = torch.linspace(1.0, 2.0, 8)
        return target.flip(0), target

    def _see(self, stage: str, name: str, *given: Tensor) -> None:
        metric = cast(Metric, self.metrics[f"{stage}_{name}"])
        self._update(name, metric, *given)
        self._seen[name] = metric

    def _see_energy(self, stage: str, said: Tensor, true: Tensor) -> None:
        """Squared difference of the energies of forecast and truth, in raw units."""
        if self._energy is None:
            return
        mine, truly = self._energy(self.answer(said)), self._energy(self.answer(true))
        if mine is not None and truly is not None:
            known = truly.isfinite()
            self._see(stage, "energy_error", mine[known], truly[known])

    def __getstate__(self) -> dict[str, Any]:
        # a copy or a pickle of a model shall not take the data with it
        return {**self.__dict__, "_energy": None, "_field": None, "_seen": {}}

    def loss(self, said: Tensor, target: Tensor) -> Tensor:
        """Mean squared error over what was observed; 0 where nothing was.

        Args:
            said: Shape (batch, n, channels).
            target: Likewise, NaN where nothing was observed.
        """
        known = ~target.isnan()
        error = torch.where(known, said - target.nan_to_num(), 0.0)
        return error.square().sum() / known.sum().clamp(min=1)

    def answer(self, said: Tensor) -> Tensor:
        """Values in the units of the raw channels."""
        scales, shifts = self.get_buffer("scales").to(said), self.get_buffer("shifts").to(said)
        return said * scales + shifts

    def columns(self) -> Sequence[str]:
        """The time, and every channel, predicted and true."""
        names = self.spec.channel_names
        return ["time", *names, *(f"true({name})" for name in names)]

    def rows(self, outcome: Outcome) -> Iterable[tuple[int, Sequence[Any]]]:
        """See `Task.rows`: one row for each time asked for; what was not observed is empty."""
        assert outcome.prediction is not None
        assert outcome.times is not None
        target = outcome.target
        truth = torch.full_like(outcome.prediction, torch.nan) if target is None else self.answer(target)
        for i, times in enumerate(outcome.times.tolist()):
            for time, said, true in zip(
                times, outcome.prediction[i].tolist(), truth[i].tolist(), strict=True
            ):
                yield i, [f"{time:.9g}", *map(_spelled, said), *map(_spelled, true)]

    def tallies(self) -> Sequence[Tally]:
        """Some forecasts against the truth, and the error by horizon."""
        return [Forecasts(self.answer, self.spec.channel_names, self._raw_field, self._energy), Horizons()]

    @property
    def _raw_field(self) -> VectorField | None:
        """The learned field in the units of the raw channels."""
        field = self._field
        if field is None:
            return None
        scales, shifts = self.get_buffer("scales"), self.get_buffer("shifts")
        return lambda x: field((x - shifts.to(x)) / scales.to(x)) * scales.to(x)


def _spelled(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"
