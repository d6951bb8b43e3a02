"""Families that say observations themselves, so that a forecast needs no head."""

from __future__ import annotations

from torch import nn

from integrand.spec import Events, Forecast

from .base import SeriesFamily


class ObservingFamily(SeriesFamily):
    """A model of the observations; classes and targets are read off its state by a head beside it."""

    def make_head(self, width: int) -> nn.Module:
        """None where the observations are what is asked for."""
        own = isinstance(self.spec.question, Forecast | Events)
        return nn.Identity() if own else super().make_head(width)
