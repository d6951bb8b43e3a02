"""The datamodule that every set of series shares."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from integrand.errors import SpecError, UsageError
from integrand.spec import Classes, SeriesSpec, Targets

from ..card import DataCard
from ..in_memory import InMemoryDataModule
from .padded import SeriesSet, padded
from .recording import Recording

SPLITS = ("train", "val", "test")


class SeriesDataModule(InMemoryDataModule):
    """Series with classes or targets, or alone where their distribution is asked for.

    A batch is `(x, y)`: x an `integrand.series.Series`, y int64 (B,) or float32 (B, targets); or `(x,)`.
    Channels are scaled by what the spec says: a batch holds (raw − shift) / scale.

    Args:
        batch_size: Series per training batch and process.
        eval_batch_size: Series per batch in validation, test and prediction.
        drop: Share of the observations of each series that is left out, from 0 to below 1.
        drop_seed: Seed that chooses them; leave it fixed to compare runs of different seeds.
        seed: Seed of the order; by default the run's own seed.

    Raises:
        UsageError: A size or share is out of its domain.
    """

    card: ClassVar[DataCard]

    def __init__(
        self,
        batch_size: int = 32,
        eval_batch_size: int = 256,
        drop: float = 0.0,
        drop_seed: int = 0,
        seed: int | None = None,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, seed)
        if not 0 <= drop < 1:
            raise UsageError(f"drop={drop} leaves no observations", "give a share from 0 to below 1")
        self.drop, self.drop_seed = drop, drop_seed
        self._counts: dict[str, int] = {}

    @abstractmethod
    def recordings(self) -> Mapping[str, Sequence[Recording]]:
        """The series of `train`, `val` and `test`, in raw units.

        Raises:
            IntegrandError: They cannot be read.
        """

    @property
    def wanted_splits(self) -> tuple[str, ...]:
        """The splits that have to be there."""
        return SPLITS

    @property
    def published(self) -> SeriesSpec:
        """What the data set publishes before options change it."""
        spec = self.card.spec
        assert isinstance(spec, SeriesSpec)
        return spec

    @property
    def spec(self) -> SeriesSpec:
        """What a model takes from the data."""
        spec = self.published
        return replace(spec, irregular=spec.irregular or self.drop > 0)

    @property
    def sizes(self) -> dict[str, int]:
        """Number of samples by split."""
        self.setup()
        return {f"n_{split}": len(self._splits.get(split, ())) for split in SPLITS}

    def make_splits(self) -> dict[str, SeriesSet]:
        """See `InMemoryDataModule.make_splits`."""
        digest = hashlib.sha256()
        splits: dict[str, SeriesSet] = {}
        given = self.recordings()
        for split in self.wanted_splits:
            if not given.get(split):
                raise SpecError(
                    f"{self.spec.name} has no {split} series", "give more series, or other shares"
                )
            splits[split] = self.make_split(
                split, [self._ready(split, i, r) for i, r in enumerate(given[split])]
            )
            for r in given[split]:
                for part in (r.times, r.values, r.static, np.asarray(r.answer, dtype=np.float64)):
                    digest.update(np.ascontiguousarray(part, dtype=np.float64).tobytes())
        digest.update(f"{self.drop}:{self.drop_seed}".encode())
        self.digest = digest.hexdigest()
        return splits

    def make_split(self, split: str, recordings: Sequence[Recording]) -> SeriesSet:
        """The samples of one split, from checked, thinned and scaled recordings."""
        return SeriesSet(padded(recordings), self._answers(recordings))

    def _ready(self, split: str, number: int, recording: Recording) -> Recording:
        """Checked, thinned and scaled."""
        spec = self.spec
        recording.check(spec.channels, spec.static)
        if self.drop > 0:
            key = [SPLITS.index(split), number, self.drop_seed, 20181015]
            recording = recording.thinned(self.drop, np.random.Generator(np.random.PCG64(key)))
        scales = np.array(spec.scales or [1.0] * spec.channels)
        shifts = np.array(spec.shifts or [0.0] * spec.channels)
        rates = None if recording.rates is None else recording.rates / scales
        return replace(recording, values=(recording.values - shifts) / scales, rates=rates)

    def _answers(self, recordings: Sequence[Recording]) -> Tensor | None:
        question = self.spec.question
        if not isinstance(question, Classes | Targets):
            return None
        if any(r.answer is None for r in recordings):
            raise SpecError(f"{self.spec.name}: a series has no answer", "leave it out")
        answers = np.stack([np.asarray(r.answer) for r in recordings])
        if isinstance(question, Classes):
            if answers.ndim != 1 or answers.min() < 0 or answers.max() >= question.number:
                raise SpecError(
                    f"{self.spec.name}: classes {answers.min()} to {answers.max()} of {question.number}",
                    "number them from 0",
                )
            return torch.from_numpy(answers.astype(np.int64))
        shifts = np.array(question.shifts or [0.0] * question.size)
        scales = np.array(question.scales or [1.0] * question.size)
        return torch.from_numpy(((answers - shifts) / scales).astype(np.float32))

    def denormalise(self, x: Tensor) -> Tensor:
        """Values (…, channels) in the units of the raw channels, from those of a batch."""
        spec = self.spec
        if not spec.scales and not spec.shifts:
            return x
        scales = x.new_tensor(spec.scales or [1.0] * spec.channels)
        return x * scales + x.new_tensor(spec.shifts or [0.0] * spec.channels)

    def energy(self, values: Tensor) -> Tensor | None:
        """What the law conserves, shape (…), of raw values (…, channels); None where there is nothing."""
        return None
