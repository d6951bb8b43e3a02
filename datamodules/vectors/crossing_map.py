"""The map that sends −1 to 1 and 1 to −1 (Dupont et al. 2019)."""

from __future__ import annotations

import numpy as np

from .base import Rows
from .cards import CROSSING_MAP
from .toy import ToyDataModule


class CrossingMap(ToyDataModule):
    """x ∈ {−1, 1} with the target −x, in equal parts.

    In one dimension the flow of an ODE keeps the order of its starting points, so that both ends meet at 0 at
    best and the mean squared error cannot fall below 1; with one more dimension the trajectories can pass
    each other (Dupont et al. 2019, Augmented Neural ODEs, section 3.1). A read-out with a weight would solve
    the task without any dynamics: take the layout `VectorState` with `linear_head: false`.
    """

    card = CROSSING_MAP

    @staticmethod
    def draw(rng: np.random.Generator, n: int) -> Rows:
        """See `ToyDataModule.draw`; the points alternate."""
        x = np.where(np.arange(n) % 2, 1.0, -1.0)[:, None]
        return x, -x
