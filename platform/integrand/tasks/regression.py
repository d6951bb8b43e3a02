"""Which numbers belong to it?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MeanAbsoluteError, MeanSquaredError, Metric

from ..figures import Picture, regression_figure
from ..outcome import Outcome
from ..spec import Spec, Targets
from .base import Tally, Task

MOST_POINTS = 2000
"""Points of a figure: more hide each other."""


class Pairs(Tally):
    """Predicted against true values, in the units of the targets.

    Args:
        task: Knows the units.
    """

    def __init__(self, task: Regression) -> None:
        self.task = task
        self.pairs: list[tuple[Tensor, Tensor]] = []
        self.seen = 0

    def see(self, outcome: Outcome) -> None:
        """Keep one batch as long as there is room."""
        if outcome.prediction is None or outcome.target is None or self.seen >= MOST_POINTS:
            return
        self.pairs.append(self.task.compared(outcome.prediction.cpu(), outcome.target.cpu()))
        self.seen += len(outcome.target)

    def merge(self, total: Callable[[Tensor], Tensor]) -> None:
        """Nothing: the first process's share is drawn."""

    def draw(self, stage: str) -> Iterable[Picture]:
        """One panel for each target."""
        if self.pairs:
            said, true = (
                torch.cat(part)[:MOST_POINTS].float().numpy() for part in zip(*self.pairs, strict=True)
            )
            yield regression_figure(said, true, self.task.names, stage)


class Regression(Task):
    """One or several numbers for each input, by the mean squared error.

    The loss is in the units of a batch, which a data set usually scales to unit deviation; the metrics are in
    the units of the raw targets.
    """

    name = "regression"
    title = "which numbers belong to an input"

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        question = spec.question
        assert isinstance(question, Targets)
        self.names = question.names
        ones, zeros = [1.0] * question.size, [0.0] * question.size
        # not in checkpoints: they come with the data set
        self.register_buffer("scales", torch.tensor(question.scales or ones), persistent=False)
        self.register_buffer("shifts", torch.tensor(question.shifts or zeros), persistent=False)

    @classmethod
    def asks(cls, spec: Spec) -> bool:
        """Data sets with targets."""
        return isinstance(spec.question, Targets)

    def measures(self) -> Mapping[str, Metric]:
        """Root mean squared and mean absolute error over all targets, in their own units."""
        return {"rmse": MeanSquaredError(squared=False), "mae": MeanAbsoluteError()}

    def example(self) -> tuple[Tensor, Tensor]:
        """A few different numbers."""
        target = torch.linspace(1.0, 2.0, 8 * self.outputs).view(8, -1)
        return target.flip(0), target

    def loss(self, said: Tensor, target: Tensor) -> Tensor:
        """Mean squared error, in units of a batch."""
        return F.mse_loss(said, target)

    def compared(self, said: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Both in the units of the raw targets."""
        return self.answer(said), self.answer(target)

    def answer(self, said: Tensor) -> Tensor:
        """The targets in their own units."""
        scales, shifts = self.get_buffer("scales").to(said), self.get_buffer("shifts").to(said)
        return said * scales + shifts

    def columns(self) -> Sequence[str]:
        """Every target, predicted and true."""
        return [*self.names, *(f"true({name})" for name in self.names)]

    def rows(self, outcome: Outcome) -> Iterable[tuple[int, Sequence[Any]]]:
        """See `Task.rows`; true values are empty where they are not known."""
        assert outcome.prediction is not None
        truth = None if outcome.target is None else self.answer(outcome.target).tolist()
        for i, row in enumerate(outcome.prediction.tolist()):
            true = [""] * len(row) if truth is None else [f"{v:.6g}" for v in truth[i]]
            yield i, [*(f"{v:.6g}" for v in row), *true]

    def tallies(self) -> Sequence[Tally]:
        """Predicted against true values."""
        return [Pairs(self)]
