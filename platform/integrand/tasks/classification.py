"""Which class is it?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy

from ..figures import Picture, confusion_figure
from ..outcome import Outcome
from ..spec import Classes, Spec
from .base import Tally, Task


class Confusion(Tally):
    """How often each class was taken for each other one.

    Args:
        classes: Number of classes.
        names: Their names in label order, or none.
    """

    def __init__(self, classes: int, names: Sequence[str] = ()) -> None:
        self.names = tuple(names)
        self.classes = classes
        self.counts: Tensor | None = None

    def see(self, outcome: Outcome) -> None:
        """Count one batch."""
        if outcome.prediction is None or outcome.target is None:
            return
        pairs = outcome.target * self.classes + outcome.prediction.argmax(dim=1)
        counts = torch.bincount(pairs, minlength=self.classes**2).reshape(self.classes, self.classes)
        self.counts = counts if self.counts is None else self.counts + counts

    def merge(self, total: Callable[[Tensor], Tensor]) -> None:
        """See `Tally.merge`."""
        if self.counts is not None:
            self.counts = total(self.counts)

    def draw(self, stage: str) -> Iterable[Picture]:
        """The confusion matrix."""
        if self.counts is not None:
            yield confusion_figure(self.counts.cpu().numpy(), self.names, stage)


class Classification(Task):
    """One of several classes for each input, by cross-entropy."""

    name = "classification"
    title = "which class an input belongs to"
    monitor = "val/acc"

    @classmethod
    def asks(cls, spec: Spec) -> bool:
        """Data sets with classes."""
        return isinstance(spec.question, Classes)

    def measures(self) -> Mapping[str, Metric]:
        """Accuracy over all samples alike, whatever their class."""
        return {"acc": MulticlassAccuracy(self.outputs, average="micro")}

    def example(self) -> tuple[Tensor, Tensor]:
        """Each class once, and taken for itself."""
        return 4.0 * torch.eye(self.outputs), torch.arange(self.outputs)

    def loss(self, said: Tensor, target: Tensor) -> Tensor:
        """Mean cross-entropy of the logits, in nats."""
        return F.cross_entropy(said, target)

    def answer(self, said: Tensor) -> Tensor:
        """Probabilities of the classes."""
        return torch.softmax(said, dim=-1)

    def pool(self, draws: Tensor) -> Tensor:
        """The logarithms of the mean probabilities, which are logits of these."""
        return torch.logsumexp(torch.log_softmax(draws, dim=-1), dim=0) - math.log(len(draws))

    def columns(self) -> Sequence[str]:
        """The predicted class, its name, the true class, and the probability of every class."""
        return ["predicted", "name", "true", *(f"p({name})" for name in self._class_names)]

    def rows(self, outcome: Outcome) -> Iterable[tuple[int, Sequence[Any]]]:
        """See `Task.rows`; the true class is empty where it is not known."""
        assert outcome.prediction is not None
        truth = [""] * outcome.size if outcome.target is None else outcome.target.tolist()
        for i, (row, true) in enumerate(zip(outcome.prediction.tolist(), truth, strict=True)):
            best = max(range(len(row)), key=row.__getitem__)
            yield i, [best, self._class_names[best], true, *(f"{p:.6g}" for p in row)]

    def tallies(self) -> Sequence[Tally]:
        """The confusion matrix."""
        return [Confusion(self.outputs, self.spec.class_names)]

    @property
    def _class_names(self) -> Sequence[str]:
        return self.spec.class_names or [str(i) for i in range(self.outputs)]
