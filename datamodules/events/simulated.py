"""Point processes whose law is known: sequences are drawn from it exactly, and their likelihood is known."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from integrand.errors import UsageError
from integrand.series import Series

from ..series.base import SPLITS
from ..series.recording import Array, Recording
from .base import EventDataModule, Kinds, sequence

MOST_EVENTS = 100_000


class SimulatedEvents(EventDataModule):
    """Sequences of a point process, each watched from its beginning at time 0.

    The same sequences come for every seed of a run.

    Args:
        sequences: Sequences of the training split.
        val_sequences: Those of the validation split.
        test_sequences: Those of the test split.
        duration: How long each is watched.
        kinds: Kinds of event.
        data_seed: Seed of the sequences; leave it fixed to compare runs of different seeds.
        **kwargs: See `EventDataModule`.

    Raises:
        UsageError: A number is out of its domain.
    """

    def __init__(
        self,
        sequences: int = 256,
        val_sequences: int = 64,
        test_sequences: int = 256,
        duration: float = 20.0,
        kinds: int = 1,
        data_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.counts = dict(zip(SPLITS, (sequences, val_sequences, test_sequences), strict=True))
        if min(*self.counts.values(), kinds) < 1 or not 0 < duration < np.inf:
            raise UsageError(
                f"{self.counts} sequences of {kinds} kinds, duration={duration}",
                "give at least one of each, and a positive duration",
            )
        self.duration, self.number, self.data_seed = duration, kinds, data_seed

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> tuple[list[float], list[int]]:
        """Times of one sequence up to `duration`, and their kinds."""

    @abstractmethod
    def likelihood(self, times: Array, kinds: Kinds, end: float) -> float:
        """Logarithm of the likelihood of the events of a sequence watched from 0 to `end`."""

    @abstractmethod
    def rates(self, times: Array, kinds: Kinds, at: Array, past: npt.NDArray[np.bool_]) -> Array:
        """λ of each kind, shape (m, kinds).

        Args:
            times: Times of the events of a sequence.
            kinds: Their kinds.
            at: Times at which λ is asked for, shape (m,).
            past: Which events have come by then, shape (m, events).
        """

    @property
    def kinds(self) -> tuple[str, ...]:
        """Name of each kind."""
        return super().kinds if self.number == 1 else tuple(f"kind {i + 1}" for i in range(self.number))

    def sequences(self) -> dict[str, list[Recording]]:
        """See `EventDataModule.sequences`."""
        return {split: [self._drawn(split, i) for i in range(count)] for split, count in self.counts.items()}

    def _drawn(self, split: str, i: int) -> Recording:
        key = [SPLITS.index(split), i, self.data_seed, 19810116]
        times, kinds = self.draw(np.random.Generator(np.random.PCG64(key)))
        of = np.array(times), np.array(kinds, dtype=np.int64)
        return sequence(*of, self.number, (0.0, self.duration), name=f"{split} sequence {i + 1}")

    def log_likelihood(self, x: Series) -> Tensor:
        """Of each sequence, by the process that made it, shape (batch,), float64.

        Args:
            x: Sequences as a batch holds them.
        """
        found = []
        for times, mask, end in zip(x.times.cpu().numpy(), x.mask.cpu().numpy(), x.end.tolist(), strict=True):
            row, kind = np.nonzero(mask)
            found.append(self.likelihood(times[row], kind, end))
        return torch.tensor(found, dtype=torch.float64)

    def intensity(self, x: Series) -> Tensor:
        """λ of each kind as it arrives at each row and as it leaves, shape (batch, n, 2, kinds), float64.

        Args:
            x: Sequences as a batch holds them.
        """
        found = []
        for times, mask in zip(x.times.cpu().numpy(), x.mask.cpu().numpy(), strict=True):
            row, kind = np.nonzero(mask)
            # by row, not by time: an event counts from behind its own row on
            at = np.arange(len(times))[:, None]
            both = [self.rates(times[row], kind, times, past) for past in (row < at, row <= at)]
            found.append(np.stack(both, axis=1))
        return torch.from_numpy(np.stack(found))


def refuse_more(times: list[float]) -> None:
    """Raise where events do not come to an end.

    Raises:
        UsageError: There are too many.
    """
    if len(times) >= MOST_EVENTS:
        raise UsageError(f"a sequence of more than {MOST_EVENTS} events", "shorten data.duration")
