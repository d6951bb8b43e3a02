"""A disc and the ring around it (Dupont et al. 2019)."""

from __future__ import annotations

import numpy as np

from .base import Rows
from .cards import CONCENTRIC_ANNULI
from .toy import ToyDataModule


class ConcentricAnnuli(ToyDataModule):
    """Class 0 is the disc of radius ½, class 1 the ring from 1 to 3/2, uniform in area.

    A flow of the plane keeps the disc enclosed by the ring, so that no linear layer after it can separate
    them; one more dimension lets it (Dupont et al. 2019, Augmented Neural ODEs, proposition 2 with g(x)).
    Two thirds of the points lie in the ring, as in the authors' experiments.
    """

    card = CONCENTRIC_ANNULI

    @staticmethod
    def draw(rng: np.random.Generator, n: int) -> Rows:
        """See `ToyDataModule.draw`."""
        label = (rng.random(n) < 2 / 3).astype(np.int64)
        low, high = np.where(label, 1.0, 0.0), np.where(label, 1.5, 0.5)
        radius = np.sqrt(low**2 + (high**2 - low**2) * rng.random(n))
        angle = 2 * np.pi * rng.random(n)
        return radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1), label
