"""What every set of events shares: sequences as series whose observations are the events."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from integrand.spec import Events, SeriesSpec

from ..series.base import SeriesDataModule
from ..series.recording import Array, Recording

Kinds = npt.NDArray[np.int64]


class EventDataModule(SeriesDataModule):
    """Sequences of events; a model is asked when which kind comes.

    A batch is `(x,)`: an `integrand.series.Series` with a channel for each kind, which an event observes with
    the value 1. The first row says from when and the last until when events were looked for; they observe
    nothing unless an event came then.

    Args:
        batch_size: Sequences per training batch and process.
        eval_batch_size: Sequences per batch in validation and test.
        seed: Seed of the order; by default the run's own seed.
    """

    def __init__(self, batch_size: int = 32, eval_batch_size: int = 256, seed: int | None = None) -> None:
        super().__init__(batch_size, eval_batch_size, seed=seed)

    @abstractmethod
    def sequences(self) -> Mapping[str, Sequence[Recording]]:
        """The sequences of each split."""

    @cached_property
    def _sequences(self) -> Mapping[str, Sequence[Recording]]:
        return self.sequences()

    def recordings(self) -> Mapping[str, Sequence[Recording]]:
        """See `SeriesDataModule.recordings`."""
        return self._sequences

    @property
    def kinds(self) -> tuple[str, ...]:
        """Name of each kind."""
        return self.published.channel_names

    @property
    def spec(self) -> SeriesSpec:
        """What a model takes from the data: gaps are those of training."""
        train = self._sequences["train"]
        kinds = self.kinds
        events = sum(int((~np.isnan(r.values)).any(axis=1).sum()) for r in train)
        return replace(
            self.published,
            question=Events(),
            channels=len(kinds),
            names=kinds,
            length=max(len(r) for part in self._sequences.values() for r in part),
            irregular=True,
            missing=len(kinds) > 1,
            step=sum(float(r.times[-1] - r.times[0]) for r in train) / max(1, events),
        )


def sequence(times: Array, kinds: Kinds, number: int, span: tuple[float, float], **known: Any) -> Recording:
    """A sequence as a recording, with a row without an event at either end.

    Args:
        times: Of the events, increasing, inside the span.
        kinds: Kind of each, from 0.
        number: How many kinds there are.
        span: From when and until when events were looked for.
        **known: See `Recording`.
    """
    values = np.full((len(times) + 2, number), np.nan)
    values[1 + np.arange(len(times)), kinds] = 1.0
    return Recording(np.concatenate([span[:1], times, span[1:]]), values, **known)
