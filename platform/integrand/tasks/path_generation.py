"""Which further paths are there?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torchmetrics import Metric

from ..metrics.paths import ClassifierTest, MarginalError, SignatureMMD
from ..outcome import Outcome
from ..spec import Density, SeriesSpec, Spec
from .base import Tally, Task
from .path_tallies import Paths


class PathGeneration(Task):
    """The distribution of paths, by samples that are compared with data in evaluation.

    A family says as many paths as a batch holds, at the times of `Task.times`: predictions and targets of
    shape (batch, length, channels), NaN where nothing was observed.
    """

    name = "path_generation"
    title = "which further paths there are"
    models = "distribution"
    monitor = "val/signature_mmd"
    spec: SeriesSpec

    def __init__(self, spec: Spec) -> None:
        assert isinstance(spec, SeriesSpec)
        self.length, self.channels = spec.length, spec.channels
        self.times = spec.step * torch.arange(spec.length, dtype=torch.float64)
        super().__init__(spec)

    @classmethod
    def asks(cls, spec: Spec) -> bool:
        """Series whose distribution is asked for."""
        return isinstance(spec, SeriesSpec) and isinstance(spec.question, Density)

    def measures(self) -> Mapping[str, Metric]:
        """Moments at each time, and distances of whole paths."""
        return {
            "mean_error": MarginalError("mean", self.length, self.channels),
            "std_error": MarginalError("std", self.length, self.channels),
            "signature_mmd": SignatureMMD(self.times),
            "c2st": ClassifierTest(self.times),
        }

    def observe(self, stage: str, outcome: Outcome) -> Mapping[str, Metric]:
        """See `Task.observe`; of training there are no samples to score."""
        return {} if stage == "train" or outcome.prediction is None else super().observe(stage, outcome)

    def tallies(self) -> Sequence[Tally]:
        """Paths and their moments."""
        return (Paths(self.times, self.spec.channel_names),)
