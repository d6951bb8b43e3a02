"""When does an event of which kind come?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from torch import Tensor
from torchmetrics import Metric

from ..errors import UsageError
from ..metrics.events import ConstantRates, PerEvent
from ..outcome import Outcome
from ..series import Series
from ..spec import Events, SeriesSpec, Spec
from .base import Tally, Task
from .event_tallies import Intensities


class PointProcess(Task):
    """The law of sequences of events, by the likelihood of those that came and of the silence between them.

    A family says the log-likelihood of each sequence, shape (batch,), times in units of the data. Beside it
    stand what the best constant rates reach, known afterwards, and the process that made the data, where the
    data set knows it.
    """

    name = "point_process"
    title = "when which kind of event comes"
    models = "distribution"
    monitor = "val/nll"
    spec: SeriesSpec

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self._law: Callable[[Series], Tensor | None] | None = None
        self._true: Callable[[Series], Tensor | None] | None = None

    @classmethod
    def asks(cls, spec: Spec) -> bool:
        """Series whose observations are events."""
        return isinstance(spec, SeriesSpec) and isinstance(spec.question, Events)

    def measures(self) -> Mapping[str, Metric]:
        """Nats per event."""
        return {
            "nll": PerEvent(),
            "poisson_nll": ConstantRates(self.spec.input_shape[1]),
            "true_nll": PerEvent(),
        }

    def attach(self, data: Any, field: Any) -> None:
        """See `Task.attach`: a simulation knows likelihood and intensity of what it drew."""
        self._law = getattr(data, "log_likelihood", None)
        self._true = getattr(data, "intensity", None)

    def tallies(self) -> Sequence[Tally]:
        """Intensities of a sequence, and all gaps by them."""
        return (Intensities(self.spec.channel_names, self._truth),)

    def _truth(self, x: Series) -> Tensor | None:
        return None if self._true is None else self._true(x)

    def observe(self, stage: str, outcome: Outcome) -> Mapping[str, Metric]:
        """See `Task.observe`."""
        x, said = outcome.inputs, outcome.prediction
        if said is None or not isinstance(x, Series):
            return {}
        counts = came(x).sum(1)
        events = counts.sum(1)
        seen = {"nll": (said, events)}
        if stage != "train":
            seen["poisson_nll"] = (counts, x.end - x.times[:, 0])
            true = self._law(x) if self._law is not None else None
            if true is not None:
                seen["true_nll"] = (true, events)
        found = {name: cast(Metric, self.metrics[f"{stage}_{name}"]) for name in seen}
        for name, metric in found.items():
            metric.update(*seen[name])
        return found

    def unanswered(self) -> UsageError:
        """See `Task.unanswered`."""
        return UsageError(
            "a law of events predicts nothing for a single sequence", "integrand test scores it"
        )

    def __getstate__(self) -> dict[str, Any]:
        # a copy or a pickle of a model shall not take the data with it
        return {**self.__dict__, "_law": None, "_true": None}


def came(x: Series) -> Tensor:
    """Which events count, shape (batch, n − 1, kinds): all behind the first row, whose time is given."""
    return x.mask[:, 1:]
