"""Planets by the ephemeris DE421 (Folkner, Williams and Boggs 2009)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from integrand.errors import UsageError
from integrand.spec import SeriesSpec
from integrand.suggest import did_you_mean

from ..formats.de421 import BODIES
from .chebyshev import Motion, motion
from .forecasts import ForecastDataModule
from .record_cards import PLANETS
from .recording import Recording
from .stored import prepare, stored

KM = 149597870.6996262  # in an astronomical unit, the constant AU of DE421
YEAR = 365.25  # days
EPOCH = 2415020.5  # Julian date of 1 January 1900
SCALES = {
    "mercury": 0.3952, "venus": 0.7233, "earthmoon": 1.0001, "mars": 1.5303, "jupiter": 5.2096,
    "saturn": 9.5673, "uranus": 19.24, "neptune": 30.08, "pluto": 38.0,
}  # fmt: skip
"""Usual distance from the Sun in astronomical units; that of velocities follows from Kepler's third law."""


class Planets(ForecastDataModule):
    """Positions and velocities of planets around the Sun, in astronomical units and years.

    The training years come first, then those of validation, then those of the test: by default ten times as
    many as trained on. Velocities and accelerations are known, so that `learn: derivatives` works.

    Args:
        data_dir: Folder that is searched first (docs/data.md).
        bodies: Planets, of mercury, venus, earthmoon (the centre of mass of both), mars, jupiter, saturn,
            uranus, neptune, pluto; by default the inner four.
        start: Year in which training begins, from 1900.
        train_years: Length of the training part.
        val_years: Length of the validation part.
        test_years: Length of the test part.
        step_days: Days between observations.
        horizon: Observations asked for in training.
        stride: Observations from one training window to the next.
        verify: Check the content against its published digest.
        **kwargs: See `ForecastDataModule`.

    Raises:
        UsageError: A number is out of its domain, a body is unknown, or the years leave 1900 to 2050.
    """

    card = PLANETS

    def __init__(
        self,
        data_dir: str | None = None,
        bodies: Sequence[str] = ("mercury", "venus", "earthmoon", "mars"),
        start: float = 1900.0,
        train_years: float = 5.0,
        val_years: float = 5.0,
        test_years: float = 50.0,
        step_days: float = 10.0,
        horizon: int = 10,
        stride: int = 1,
        verify: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(horizon=horizon, stride=stride, **kwargs)
        for body in bodies:
            if body not in SCALES:
                raise UsageError(f"unknown planet {body!r}{did_you_mean(body, SCALES)}", ", ".join(SCALES))
        years = train_years, val_years, test_years
        if min(*years, step_days) <= 0 or start < 1900 or start + sum(years) > 2050 or not bodies:
            raise UsageError(
                f"{sum(years):g} years from {start:g} in steps of {step_days:g} days",
                "stay between 1900 and 2050, with one planet or more and positive lengths",
            )
        self.data_dir, self.verify = data_dir, verify
        self.bodies, self.start, self.years, self.step_days = tuple(bodies), start, years, step_days

    @property
    def published(self) -> SeriesSpec:
        """See `SeriesDataModule.published`."""
        scales = [s for b in self.bodies for s in (SCALES[b],) * 3 + (2 * np.pi / np.sqrt(SCALES[b]),) * 3]
        return replace(
            super().published,
            channels=6 * len(self.bodies),
            names=tuple(f"{b} {axis}" for b in self.bodies for axis in ("x", "y", "z", "vx", "vy", "vz")),
            scales=tuple(float(s) for s in scales),
            step=self.step_days / YEAR,
        )

    def prepare_data(self) -> None:
        """Make sure the data is on this machine; Lightning calls it in one process per machine.

        Raises:
            DataError: It is nowhere and may not or cannot be downloaded; the remedy names every way.
        """
        prepare(self.card, self.data_dir)

    def recordings(self) -> dict[str, list[Recording]]:
        """See `SeriesDataModule.recordings`."""
        arrays = stored(self.card, self.data_dir, self.verify)
        assert set(BODIES) <= arrays.keys()
        ends = self.start - 1900 + np.cumsum((0.0, *self.years))
        parts: dict[str, list[Recording]] = {}
        for split, begin, end in zip(("train", "val", "test"), ends[:-1], ends[1:], strict=True):
            dates = EPOCH + np.arange(begin * YEAR, end * YEAR, self.step_days)
            sun = motion(arrays["sun"], dates)
            moved = [_around(motion(arrays[body], dates), sun) for body in self.bodies]
            parts[split] = [
                Recording(
                    (dates - EPOCH) / YEAR,
                    np.concatenate([x for m in moved for x in (m.position, m.velocity)], axis=1),
                    rates=np.concatenate([x for m in moved for x in (m.velocity, m.acceleration)], axis=1),
                    name=f"{split} years",
                )
            ]
        return parts


def _around(planet: Motion, sun: Motion) -> Motion:
    """From km and days around the centre of mass to astronomical units and years around the Sun."""
    return Motion(*((p - s) / KM * YEAR**k for k, (p, s) in enumerate(zip(planet, sun, strict=True))))
