"""One recorded series, as arrays; and what is refused in one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from integrand.errors import SpecError

from ..finite import LARGEST, is_usable

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Recording:
    """The observations of one series.

    Args:
        times: Times, increasing, shape (n,).
        values: What was observed, NaN where nothing was, shape (n, channels).
        static: What is known of the series as a whole, shape (s,).
        answer: The class, or the targets, shape (targets,); None where neither is asked for.
        rates: dx/dt at the observations, shape (n, channels), where it is known.
        name: What it is called in errors and predictions.
    """

    times: Array
    values: Array
    static: Array = field(default_factory=lambda: np.zeros(0))
    answer: int | Array | None = None
    rates: Array | None = None
    name: str = ""

    def __len__(self) -> int:
        return len(self.times)

    def check(self, channels: int, static: int) -> None:
        """Refuse what no model can read.

        Raises:
            SpecError: There are no observations, times that do not increase or are not finite, values that
                are infinite, or other shapes than the spec says.
        """
        name = self.name or "a series"
        if len(self) < 1:
            raise SpecError(f"{name} has no observation", "leave it out")
        if self.values.shape != (len(self), channels) or self.static.shape != (static,):
            raise SpecError(
                f"{name} has {self.values.shape} values and {len(self.static)} static numbers for "
                f"{len(self)} times, {channels} channels and {static} static numbers",
                "mend the data module's spec",
            )
        if not np.isfinite(self.times).all() or not (np.diff(self.times) > 0).all():
            at = int(np.argmin(np.diff(self.times, prepend=-np.inf) > 0))
            raise SpecError(
                f"{name}: time {self.times[at]:g} of observation {at + 1} does not come after the one before",
                "sort the observations, and merge those of one time",
            )
        wrong = ~(is_usable(self.values) | np.isnan(self.values)).all(axis=1)
        if wrong.any():
            raise SpecError(
                f"{name} holds infinite values, or some beyond ±{LARGEST:.1g}, "
                f"at observation {int(np.argmax(wrong)) + 1}",
                "leave them out, or mark them as missing by NaN",
            )
        if not is_usable(self.static).all():
            raise SpecError(f"{name} holds static numbers that are not finite", "fill them in")

    def __getitem__(self, observations: slice | npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> Recording:
        """The recording with some of its observations."""
        return replace(
            self,
            times=self.times[observations],
            values=self.values[observations],
            rates=None if self.rates is None else self.rates[observations],
        )

    def thinned(self, rate: float, rng: np.random.Generator) -> Recording:
        """The recording without a share of its observations; one at least stays.

        Args:
            rate: Share of those that are left out, from 0 to below 1.
            rng: Chooses them.
        """
        return self[np.sort(rng.permutation(len(self))[: left(len(self), rate)])]


def left(n: int, rate: float) -> int:
    """How many of n observations stay when a share of them is left out."""
    return max(1, round((1 - rate) * n))
