"""A ball that falls and bounces."""

from __future__ import annotations

from typing import Any

import numpy as np

from integrand.errors import UsageError

from .base import SystemDataModule
from .cards import BOUNCING_BALL
from .generate import Array


class BouncingBall(SystemDataModule):
    """h' = v, v' = −g, and v → −restitution · v at h = 0: smooth between events, in closed form.

    After a fall of height h the ball rises to restitution² · h. Starts are heights uniform in [½, 2] at rest.

    Args:
        restitution: Share of the speed that a bounce keeps, above 0 and at most 1.
        gravity: g, positive.
        **kwargs: See `SystemDataModule`.

    Raises:
        UsageError: A number is out of its domain.
    """

    card = BOUNCING_BALL
    names = ("height", "speed")
    span = 3.0

    def __init__(self, restitution: float = 0.9, gravity: float = 9.81, **kwargs: Any) -> None:
        if not (0 < restitution <= 1 and gravity > 0):
            raise UsageError(
                f"restitution={restitution}, gravity={gravity}", "give a share up to 1 and a positive number"
            )
        self.restitution, self.gravity = restitution, gravity
        super().__init__(**kwargs)

    def rhs(self, t: float, x: Array) -> Array:
        """See `SystemDataModule.rhs`; the bounces are not in it."""
        return np.stack([x[..., 1], np.full_like(x[..., 1], -self.gravity)], axis=-1)

    def start(self, rng: np.random.Generator, n: int) -> Array:
        """See `SystemDataModule.start`."""
        return np.stack([rng.uniform(0.5, 2.0, n), np.zeros(n)], axis=-1)

    def settings(self) -> dict[str, Any]:
        """See `SystemDataModule.settings`."""
        return {"restitution": self.restitution, "gravity": self.gravity}

    def solve(self, starts: Array, times: Array) -> Array:
        """Parabola after parabola."""
        return np.stack([self._flight(h, v, times) for h, v in starts])

    def _flight(self, h: float, v: float, times: Array) -> Array:
        g, begin = self.gravity, float(times[0])
        seen = np.empty((len(times), 2))
        while True:
            land = begin + (v + np.sqrt(v**2 + 2 * g * h)) / g
            s = times - begin
            flying = s >= 0
            seen[flying, 0] = (h + v * s - g * s**2 / 2)[flying]
            seen[flying, 1] = (v - g * s)[flying]
            # a ball that loses speed bounces infinitely often in a finite time; then it rests
            if land >= times[-1] or land - begin < 1e-6:
                seen[times > land] = 0.0
                return seen
            h, v, begin = 0.0, self.restitution * (g * (land - begin) - v), land
