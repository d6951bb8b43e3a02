"""The datamodule of every system that is generated from its equation."""

from __future__ import annotations

import hashlib
import inspect
import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from integrand.errors import DataError, UsageError
from integrand.spec import Forecast, SeriesSpec

from ..finite import LARGEST, is_usable
from ..series.forecasts import ForecastDataModule
from ..series.recording import Recording
from .cache import kept
from .generate import Array, Sampling, disturbed, integrate, see

FINE = 10
"""Fine times for each observation, among which random sampling chooses."""
_SEEDS = {"train": 0, "val": 1, "test": 2}
_PURPOSES = ("start", "view")


class SystemDataModule(ForecastDataModule):
    """Trajectories of x' = f(t, x), seen with or without noise, at regular or random times.

    The same trajectories come for every seed of a run. Validation and test last `eval_duration`, and are
    seen without noise: their first `duration` is inside the span of training, the rest is extrapolation.

    Args:
        trajectories: Trajectories of the training split.
        val_trajectories: Those of the validation split.
        test_trajectories: Those of the test split.
        duration: Length of a training trajectory in units of t; the system's own where None.
        points: Observations of a training trajectory.
        eval_duration: Length of a trajectory of evaluation; twice that of training where None.
        noise: Standard deviation of Gaussian noise on training observations, in raw units.
        sampling: `regular`, or `random`: times uniform on the span, other ones for each trajectory.
        missing: Share of the training values that are not seen, from 0 to below 1.
        data_seed: Seed of starts, times and noise; leave it fixed to compare runs of different seeds.
        **kwargs: See `ForecastDataModule`.

    Raises:
        UsageError: A number is out of its domain.
    """

    names: ClassVar[tuple[str, ...]]
    """Name of each channel."""
    span: ClassVar[float] = 10.0
    """Length of a training trajectory unless told otherwise."""

    def __init__(
        self,
        trajectories: int = 50,
        val_trajectories: int = 10,
        test_trajectories: int = 20,
        duration: float | None = None,
        points: int = 101,
        eval_duration: float | None = None,
        noise: float = 0.0,
        sampling: Sampling = "regular",
        missing: float = 0.0,
        data_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.counts = {"train": trajectories, "val": val_trajectories, "test": test_trajectories}
        self.duration = self.span if duration is None else duration
        self.eval_duration = 2 * self.duration if eval_duration is None else eval_duration
        self.points, self.noise, self.missing = points, noise, missing
        self.sampling, self.data_seed = sampling, data_seed
        self._check_numbers()

    def _check_numbers(self) -> None:
        for split, value in self.counts.items():
            if value < 1:
                raise UsageError(f"{value} {split} trajectories", "give at least 1")
        if not (0 < self.duration < np.inf and 0 < self.eval_duration < np.inf) or self.points < 2:
            raise UsageError(
                f"duration={self.duration}, eval_duration={self.eval_duration}, points={self.points}",
                "give positive durations and 2 points or more",
            )
        if not (0 <= self.noise < np.inf and 0 <= self.missing < 1):
            raise UsageError(
                f"noise={self.noise}, missing={self.missing}", "give 0 or more, and a share below 1"
            )
        if self.sampling not in ("regular", "random"):
            raise UsageError(f"unknown sampling {self.sampling!r}", "set data.sampling to regular or random")
        if self.missing > 0 and self.context < 2:
            raise UsageError(
                f"missing={self.missing} with one observation given",
                "set data.context to 2 or more: a model then has to find the state itself",
            )

    # ------------------------------------------------------------------ what a system supplies

    @abstractmethod
    def rhs(self, t: float, x: Array) -> Array:
        """dx/dt, shape (n, d), at the states x of that shape."""

    @abstractmethod
    def start(self, rng: np.random.Generator, n: int) -> Array:
        """States at t = 0, shape (n, d)."""

    def starts(self, split: str, rng: np.random.Generator) -> Array:
        """States at t = 0 of a split; all splits draw from one law unless a subclass says otherwise."""
        return self.start(rng, self.counts[split])

    def settings(self) -> dict[str, Any]:
        """The numbers of the equation by name, which tell one system from another of its kind."""
        return {}

    # ------------------------------------------------------------------ what follows

    @property
    def published(self) -> SeriesSpec:
        """What the options make of the system's card."""
        spec = super().published
        step = self.duration / (self.points - 1)
        irregular = self.sampling == "random"
        return replace(spec, irregular=irregular, missing=self.missing > 0, step=step)

    @property
    def spec(self) -> SeriesSpec:
        """What a model takes from the data."""
        spec = super().spec
        assert isinstance(spec.question, Forecast)
        return replace(spec, question=replace(spec.question, lyapunov=self.lyapunov()))

    def lyapunov(self) -> float:
        """Largest Lyapunov exponent per unit of t, 0 where it is not positive."""
        return 0.0

    def recordings(self) -> Mapping[str, Sequence[Recording]]:
        """See `SeriesDataModule.recordings`."""
        for name, value in self.settings().items():
            if isinstance(value, float) and not np.isfinite(value):
                raise UsageError(f"{name}={value} makes no equation", f"set data.{name} to a finite number")
        return {split: self._observed(split) for split in self.counts}

    def _observed(self, split: str) -> list[Recording]:
        times, states, rates = self._states(split)
        rng = self._rng(split, "view")
        training = split == "train"
        points = self.points_of(split)
        recordings: list[Recording] = []
        for x, v in zip(states, rates, strict=True):
            at = see(times, self.sampling, points, rng)
            noise, missing = (self.noise, self.missing) if training else (0.0, 0.0)
            values = disturbed(x[at], noise, missing, rng)
            name = f"{split} trajectory {len(recordings) + 1}"
            recordings.append(Recording(times[at], values, rates=v[at], name=name))
        return recordings

    def _states(self, split: str) -> tuple[Array, Array, Array]:
        """Fine times, states and rates."""
        duration = self.duration if split == "train" else self.eval_duration
        fine = 1 if self.sampling == "regular" else FINE
        times = np.linspace(0.0, duration, (self.points_of(split) - 1) * fine + 1)

        def make() -> dict[str, Array]:
            states = self.solve(self.starts(split, self._rng(split, "start")), times)
            self._check_states(split, states, times)
            rates = [self.rhs(t, states[:, i]) for i, t in enumerate(times)]
            return {"states": states, "rates": np.stack(rates, axis=1)}

        made = kept(self.card.name, self._key(split), make)
        return times, made["states"], made["rates"]

    def _check_states(self, split: str, states: Array, times: Array) -> None:
        good = np.asarray(is_usable(states).all(axis=2))
        if not good.all():
            number = int(np.argmin(good.all(axis=1)))
            raise DataError(
                f"{self.card.name}: {split} trajectory {number + 1} holds NaN, or values beyond "
                f"±{LARGEST:.1g}, from t = {times[np.argmin(good[number])]:g} on",
                "shorten data.duration and data.eval_duration, or mend the equation",
            )

    def solve(self, starts: Array, times: Array) -> Array:
        """States at `times`, shape (n, m, d), from those at the first."""
        return integrate(self.rhs, starts, times)

    def points_of(self, split: str) -> int:
        """Observations of a trajectory of a split."""
        if split == "train":
            return self.points
        return max(2, round((self.points - 1) * self.eval_duration / self.duration) + 1)

    def _key(self, split: str) -> str:
        """Changes with everything that the states depend on."""
        sources = [inspect.getsource(cls) for cls in type(self).__mro__ if cls.__module__.startswith(_HERE)]
        facts = [split, self.counts[split], self.duration, self.eval_duration, self.points, self.sampling]
        said = json.dumps([sources, facts, self.data_seed, self.settings(), inspect.getsource(integrate)])
        return hashlib.sha256(said.encode()).hexdigest()

    def _rng(self, split: str, purpose: str) -> np.random.Generator:
        key = [_SEEDS[split], _PURPOSES.index(purpose), self.data_seed, 19630305]
        return np.random.Generator(np.random.PCG64(key))

    def energy(self, values: Tensor) -> Tensor | None:
        """What the law conserves, shape (…), of raw values (…, channels); None where there is nothing."""
        states = values.detach().cpu().numpy().astype(np.float64)
        found = self.conserved(states)
        return None if found is None else torch.from_numpy(found).to(values)

    def conserved(self, x: Array) -> Array | None:
        """The same of states (…, d) in numpy."""
        return None


_HERE = __package__ or "integrand.datamodules.trajectories"
