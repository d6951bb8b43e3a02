"""The contract of every task: what is asked of a model, and how its answers are scored and shown."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, cast

from torch import Tensor, nn
from torchmetrics import Metric

from ..errors import UsageError
from ..figures import Picture
from ..outcome import Outcome
from ..quantities import Direction
from ..spec import Spec
from . import own_metrics

Models = Literal["outputs", "distribution"]
"""What a family is a model of: of outputs given an input, or of the distribution of the inputs."""

VectorField = Callable[[Tensor], Tensor]
"""dx/dt, shape (n, channels), of observations of that shape."""

STAGES = ("train", "val", "test")
"""Where outcomes come from, and what their metrics are named after."""


class Tally(ABC):
    """What one evaluation adds up over its batches, for a figure at its end."""

    @abstractmethod
    def see(self, outcome: Outcome) -> None:
        """Take up one batch."""

    @abstractmethod
    def merge(self, total: Callable[[Tensor], Tensor]) -> None:
        """Take in what the other processes have seen.

        Args:
            total: Sums a tensor over all processes; every process calls it as often.
        """

    @abstractmethod
    def draw(self, stage: str) -> Iterable[Picture]:
        """The figures; none where nothing was seen."""


class Task(nn.Module, ABC):
    """One kind of question, with everything that depends on it and not on the family or the input.

    Args:
        spec: What the data set publishes.
    """

    name: ClassVar[str] = ""
    """The field's word for it, such as `classification`; empty on abstract bases."""
    title: ClassVar[str] = ""
    """What it asks, in a few words."""
    models: ClassVar[Models] = "outputs"
    """What a family has to be a model of."""
    monitor: ClassVar[str] = "val/loss"
    """The headline quantity, which chooses the best checkpoint; its direction is declared with quantities."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.spec = spec
        # nn.ModuleDict refuses the key "train", which is a method of nn.Module
        self.metrics = nn.ModuleDict(
            {f"{stage}_{name}": metric for stage in STAGES for name, metric in self.measures().items()}
        )
        self._own: tuple[str, ...] = ()

    @classmethod
    @abstractmethod
    def asks(cls, spec: Spec) -> bool:
        """Whether the data set can ask this of a model of the right kind."""

    @property
    def outputs(self) -> int:
        """Numbers that a network has to say about one input."""
        return self.spec.question.size

    def measures(self) -> Mapping[str, Metric]:
        """Fresh metrics by the name under which they are recorded, `<stage>/<name>`."""
        return {}

    def add_metrics(self, metrics: Sequence[Metric], directions: Mapping[str, Direction]) -> None:
        """Record metrics of one's own too; see `own_metrics.named`.

        Raises:
            UsageError: A metric has no direction or no free name, or does not take what is said and true.
        """
        own = own_metrics.named(metrics, directions, [*self._names, "loss"])
        example = self.example() if own else None
        for name, metric in own.items():
            if example is not None:
                own_metrics.try_out(name, metric, *example)
            self.metrics.update({f"{stage}_{name}": metric.clone() for stage in STAGES})
        self._own = tuple(own)

    def example(self) -> tuple[Tensor, Tensor] | None:
        """What `compared` may return, to try metrics out with; None where nothing is known before."""
        return None

    def attach(self, data: Any, field: VectorField | None) -> None:
        """Take what figures and scores want to know beyond the spec; nothing by default.

        Args:
            data: The trainer's data module, None where there is none.
            field: The learned rate of change of what is observed, None where the model has none.
        """

    def loss(self, said: Tensor, target: Tensor) -> Tensor:
        """The loss of a batch, a 0-d tensor.

        Args:
            said: What the network said, shape (batch, outputs).
            target: What is true, shape (batch, …).
        """
        raise self.unanswered()

    def observe(self, stage: str, outcome: Outcome) -> Mapping[str, Metric]:
        """Take up one batch.

        Returns:
            The metrics of the stage by name.
        """
        mine = {name: cast(Metric, self.metrics[f"{stage}_{name}"]) for name in self._names}
        if outcome.prediction is not None and outcome.target is not None:
            for name, metric in mine.items():
                self._update(name, metric, *self.compared(outcome.prediction, outcome.target))
        return mine

    def _update(self, name: str, metric: Metric, *given: Tensor) -> None:
        """Take up one batch; one's own metric may not fit it."""
        if name in self._own:
            own_metrics.update(name, metric, *given)
        else:
            metric.update(*given)

    def compared(self, said: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """What the metrics compare: prediction and truth, as they stand unless a task says otherwise."""
        return said, target

    def pool(self, draws: Tensor) -> Tensor:
        """What equally likely draws say together: the mean, unless a task says otherwise.

        Args:
            draws: What the network said in each, shape (draws, batch, outputs).

        Returns:
            Shape (batch, outputs), in the place of what a network says.
        """
        return draws.mean(dim=0)

    def answer(self, said: Tensor) -> Tensor:
        """The prediction as users want it, shape (batch, outputs), from what the network said."""
        raise self.unanswered()

    def columns(self) -> Sequence[str]:
        """Names of the columns of a table of predictions, the index left out."""
        raise self.unanswered()

    def rows(self, outcome: Outcome) -> Iterable[tuple[int, Sequence[Any]]]:
        """The rows of that table for one batch, each with the number of its sample in the batch.

        Args:
            outcome: Its prediction is as `answer` gives it; what is true may be unknown.
        """
        raise self.unanswered()

    def tallies(self) -> Sequence[Tally]:
        """What a fresh evaluation adds up for its figures."""
        return ()

    @property
    def _names(self) -> list[str]:
        prefix = f"{STAGES[0]}_"
        return [key.removeprefix(prefix) for key in self.metrics if key.startswith(prefix)]

    def unanswered(self) -> UsageError:
        """The error of a task that predicts nothing for a single input."""
        return UsageError(
            f"{self.name} predicts nothing for a single input", "integrand test scores its samples"
        )
