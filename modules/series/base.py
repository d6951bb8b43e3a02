"""What every family that reads a series shares: its head, its step, and what it declares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torchmetrics import Metric

from integrand.errors import SpecError, UsageError
from integrand.outcome import Outcome
from integrand.quantities import Direction
from integrand.series import Query, Series
from integrand.solvers import SolveStats
from integrand.spec import Forecast, SeriesSpec, Spec

from ..bench.net import check_series
from ..family import FamilyModule
from ..schedules import Interval

Said = tuple[Tensor, list[SolveStats]]
"""What the network said, and the accounts of the solves made for it."""


class SeriesFamily(FamilyModule):
    """A network that reads a series: it sums it up for a class or targets, or forecasts from it.

    Subclasses implement `read`, `forecast` or both, and say with `answers` which questions that makes.

    Args:
        spec: What the data set publishes; the command line fills it in.
        width: Length of the state that the head reads.
        optimizer: Makes the optimiser from the parameters; default Adam with lr 1e-3.
        lr_scheduler: Makes the learning-rate schedule from the optimiser.
        lr_scheduler_interval: Whether it takes a step each `epoch` or each `step`; by default what it is made
            for: each step with OneCycleLR and CyclicLR, else each epoch.
        metrics: Metrics beside those of the task, of torchmetrics or of your own, called as
            `update(said, target)`.
        metric_directions: Whether `larger`, `smaller` or `neither` is better, by the metric's name, where its
            class does not say so by `higher_is_better`.

    Raises:
        UsageError: The data set asks what this family does not answer.
    """

    takes: ClassVar[tuple[type[Spec], ...]] = (SeriesSpec,)
    spec: SeriesSpec
    solver: Any = None
    """What integrates it, for those that a solver integrates."""
    learns_rates: ClassVar[bool] = False
    """Whether it can be trained on derivatives in place of values."""

    def __init__(
        self,
        spec: Spec,
        width: int,
        optimizer: OptimizerCallable = lambda params: torch.optim.Adam(params, lr=1e-3),
        lr_scheduler: LRSchedulerCallable | None = None,
        lr_scheduler_interval: Interval | None = None,
        metrics: Sequence[Metric] | None = None,
        metric_directions: dict[str, Direction] | None = None,
    ) -> None:
        super().__init__(spec, optimizer, lr_scheduler, lr_scheduler_interval, metrics, metric_directions)
        self.head = self.make_head(width)

    def make_head(self, width: int) -> nn.Module:
        """What maps a state of `width` numbers to what the task wants said; linear by default."""
        return nn.Linear(width, self.task.outputs)

    # ------------------------------------------------------------------ what a family supplies

    def read(self, x: Series) -> Said:
        """The state that sums up each series, shape (batch, width), and the accounts of its solves."""
        raise self.task.unanswered()

    def forecast(self, x: Series, times: Tensor) -> Said:
        """Values at other times than those of the observations, and the accounts of the solves.

        Args:
            x: What may be known.
            times: Shape (batch, n), float64, never decreasing; none is before the first observation.

        Returns:
            Values, shape (batch, n, channels).
        """
        raise self.task.unanswered()

    def residuals(self) -> list[nn.Module]:
        """The fields or maps every call of which is one evaluation; those named `field` by default."""
        return [m for name, m in self.named_modules() if name.rpartition(".")[2] == "field"]

    # ------------------------------------------------------------------ steps

    def forward(self, x: Series, times: Tensor | None = None) -> Tensor:
        """Outputs of shape (batch, outputs), or values (batch, n, channels) at `times` of a forecast."""
        return self.evaluate(x, times)[0]

    def evaluate(self, x: Series, times: Tensor | None = None) -> Said:
        """What `forward` returns, and the accounts of the solves."""
        x, _ = self.taken(x)
        if isinstance(self.spec.question, Forecast):
            if times is None:
                raise SpecError(f"{self.spec.name} asks for a forecast", "give the times to forecast")
            return self.forecast(x, times)
        state, solves = self.read(x)
        return self.head(state), solves

    def draws(self, x: Series, count: int, times: Tensor | None = None) -> Said:
        """What evaluation says, or `drawn` where that is random; see `FamilyModule.draws`."""
        if self.components is None:
            x, _ = self.taken(x)
            if isinstance(self.spec.question, Forecast) and times is None:
                raise SpecError(f"{self.spec.name} asks for a forecast", "give the times to forecast")
            return self.drawn(x, count, times)
        said, solves = self.evaluate(x, times)
        return said.unsqueeze(0), solves

    def drawn(self, x: Series, count: int, times: Tensor | None) -> Said:
        """Draws of a family without a fixed number of them; of forecasts with the noise of observations.

        Args:
            x: What may be known, checked.
            count: How many.
            times: Times to forecast, where the question is one.
        """
        raise self.task.unanswered()

    def step(self, batch: Any, stage: str) -> Outcome:
        """The task's loss of a batch, in training with `penalty` as further terms."""
        outcome = self.respond(batch)
        said = outcome.prediction
        assert said is not None
        assert outcome.target is not None
        terms = {"loss": self.task.loss(said, outcome.target)}
        if stage == "train":
            terms |= self.penalty()
        outcome.terms, outcome.prediction = terms, said.detach()
        return outcome

    def taken(self, batch: Any) -> tuple[Series, Any]:
        """The series of a batch, checked and in the network's precision, and what is asked of them.

        Raises:
            UsageError: It holds derivatives to learn, which this family cannot.
        """
        x, asked = (*batch, None)[:2] if isinstance(batch, list | tuple) else (batch, None)
        if isinstance(asked, Query) and asked.rates is not None and not self.learns_rates:
            raise UsageError(
                f"{type(self).__name__} learns values, not derivatives", "leave data.learn at values"
            )
        check_series(x, self.spec)
        return x.map_values(next(self.parameters()).dtype), asked

    def respond(self, batch: Any) -> Outcome:
        """See `FamilyModule.respond`; the prediction keeps its graph. A batch may be series alone."""
        x, asked = self.taken(batch)
        query = asked if isinstance(asked, Query) else None
        said, solves = self.evaluate(x, None if query is None else query.times)
        target = asked if query is None else query.truth
        times = None if query is None else query.times
        return Outcome({}, len(x), {}, said, target, solves, x, times)

    def describe_solver(self) -> tuple[str, str]:
        """Solver and gradient mode in a few words."""
        solver = self.solver
        return (solver.describe(), getattr(solver, "gradient", "backprop")) if solver else ("", "")
