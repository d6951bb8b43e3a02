"""Series of which later, or other, observations are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from integrand.errors import UsageError
from integrand.series import Query
from integrand.spec import Forecast, SeriesSpec

from .base import SPLITS, SeriesDataModule
from .padded import SeriesSet, padded
from .recording import Recording

Learn = Literal["values", "derivatives"]


class ForecastDataModule(SeriesDataModule):
    """Windows of recordings: `context` observations are given, the `horizon` after them are asked for.

    A batch is `(x, query)`: an `integrand.series.Series` and an `integrand.series.Query`. Where the law is
    the same at all times the last observation given lies at time 0, and the first one in interpolation.

    Args:
        context: Observations given.
        horizon: Observations asked for in training.
        stride: Observations from one training window to the next; by default windows touch.
        eval_horizon: Observations asked for in validation and test; by default all to the recording's end.
        eval_stride: Observations from one window of evaluation to the next; by default each recording gives
            one, from its beginning.
        within: Whether those asked for lie among those given (interpolation): `context` observations of each
            window of context + horizon are drawn, with the first one, the others are asked for.
        learn: What training is on: `values` at the times asked for, or `derivatives` at one observation given
            (Greydanus et al. 2019, eq. 4); evaluation is always on values.
        batch_size: Windows per training batch and process.
        eval_batch_size: Windows per batch in validation, test and prediction.
        drop: Share of the observations of each recording that is left out, from 0 to below 1.
        drop_seed: Seed that chooses them; leave it fixed to compare runs of different seeds.
        seed: Seed of the order; by default the run's own seed.

    Raises:
        UsageError: A number is out of its domain, or derivatives are asked for with a longer context.
    """

    def __init__(
        self,
        context: int = 1,
        horizon: int = 10,
        stride: int | None = None,
        eval_horizon: int | None = None,
        eval_stride: int | None = None,
        within: bool = False,
        learn: Learn = "values",
        batch_size: int = 32,
        eval_batch_size: int = 256,
        drop: float = 0.0,
        drop_seed: int = 0,
        seed: int | None = None,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, drop, drop_seed, seed)
        given = {"context": context, "horizon": horizon, "stride": stride, "eval_horizon": eval_horizon}
        for name, value in {**given, "eval_stride": eval_stride}.items():
            if value is not None and value < 1:
                raise UsageError(f"{name}={value} makes no window", "give at least 1")
        if learn not in ("values", "derivatives"):
            raise UsageError(f"unknown learn {learn!r}", "set data.learn to values or derivatives")
        if within and context < 2:
            raise UsageError("one observation has nothing within", "set data.context to 2 or more")
        if learn == "derivatives" and context > 1:
            raise UsageError(
                f"derivatives belong to one observation, not to {context}", "set data.context to 1"
            )
        self.context, self.horizon, self.within, self.learn = context, horizon, within, learn
        self.stride = horizon if stride is None else stride
        self.eval_horizon, self.eval_stride = eval_horizon, eval_stride

    @property
    def spec(self) -> SeriesSpec:
        """What a model takes from the data."""
        spec = super().spec
        question = spec.question if isinstance(spec.question, Forecast) else Forecast()
        asked = replace(question, context=self.context, horizon=self.horizon, within=self.within)
        irregular = spec.irregular or self.within
        return replace(spec, question=asked, length=self.context, irregular=irregular)

    def make_split(self, split: str, recordings: Sequence[Recording]) -> SeriesSet:
        """See `SeriesDataModule.make_split`."""
        if split == "train" and self.learn == "derivatives":
            return self._rates(recordings)
        horizon = self.horizon if split == "train" else self.eval_horizon
        stride = self.stride if split == "train" else self.eval_stride
        self._check_reach(split, recordings, horizon)
        windows = [w for r in recordings for w in self._windows(r, horizon, stride)]
        parts = [self._parts(split, i, w) for i, w in enumerate(windows)]
        asked = padded([window[~given] for window, given in parts])
        query = Query(asked.times, asked.values, asked.mask)
        return SeriesSet(padded([w[given] for w, given in parts]), query=query, asked=asked.lengths)

    def _check_reach(self, split: str, recordings: Sequence[Recording], horizon: int | None) -> None:
        """One window at least has to hold all that is asked for."""
        longest = max(recordings, key=len)
        n, rest = len(longest), len(longest) - self.context
        said = f"{self.spec.name}: the longest {split} series, {longest.name!r}, has {n} observations"
        dropped = ", or lower data.drop" if self.drop else ""
        if rest < 1:
            raise UsageError(
                f"{said}: nothing is left to ask for after {self.context} given",
                f"set data.context to {max(1, n // 2)} or less{dropped}",
            )
        if horizon is not None and horizon > rest:
            option = "horizon" if split == "train" else "eval_horizon"
            raise UsageError(
                f"{said}: {self.context} given leave {rest} to ask for, not {horizon}",
                f"set data.{option} to {rest} or less{dropped}",
            )

    def _parts(self, split: str, number: int, window: Recording) -> tuple[Recording, npt.NDArray[np.bool_]]:
        """A window, and which of its observations are given."""
        given = np.arange(len(window)) < self.context
        if self.within:
            key = [SPLITS.index(split), number, self.drop_seed, 20190708]
            rng = np.random.Generator(np.random.PCG64(key))
            given[1:] = rng.permutation(given[1:])
        return window, given

    def _windows(self, r: Recording, horizon: int | None, stride: int | None) -> list[Recording]:
        """All windows of a recording; the last may ask for fewer observations."""
        found = []
        for start in range(0, len(r) - self.context, stride or len(r)):
            end = len(r) if horizon is None else start + self.context + horizon
            found.append(self._placed(r[start:end], 0 if self.within else self.context - 1))
        return found

    def _placed(self, window: Recording, origin: int) -> Recording:
        """With time 0 at one of its observations, where only gaps matter."""
        if not self.spec.autonomous:
            return window
        return replace(window, times=window.times - window.times[origin])

    def _rates(self, recordings: Sequence[Recording]) -> SeriesSet:
        """Single observations with dx/dt."""
        if any(r.rates is None for r in recordings):
            raise UsageError(f"{self.spec.name} knows no derivatives", "set data.learn to values")
        single = [self._placed(r[i : i + 1], 0) for r in recordings for i in range(len(r))]
        x = padded(single)
        rates = torch.from_numpy(np.concatenate([r.rates for r in single]).astype(np.float32))
        query = Query(x.times[:, :0], x.values[:, :0], x.mask[:, :0], rates)
        return SeriesSet(x, query=query)
