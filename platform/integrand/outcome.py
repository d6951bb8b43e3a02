"""What one batch gave: the loss, what the network said and what was true, and what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from .series import Series
from .solvers import SolveStats


@dataclass
class Outcome:
    """The outcome of one step on one batch; Lightning hands it to every callback.

    Args:
        terms: Terms of the loss by name, 0-d tensors; the optimiser minimises their sum. The first is the
            loss that is logged as `<stage>/loss` and compared between families; the others are regularisers.
        size: Samples in the batch.
        scores: What is recorded beside the loss and minimised by nobody, 0-d tensors by name.
        prediction: What the network said, shape (batch, …), detached; None where it says nothing about a
            single sample.
        target: What was true, shape (batch, …); None where there is nothing to compare with. Of a series NaN
            where nothing was observed.
        solves: The accounts of the solves made; their backward parts fill themselves in.
        inputs: What the network was asked about, shape (batch, …), or a batch of series.
        times: The times of prediction and target, shape (batch, n), where they are of series.
        draws: Draws from the predictive distribution, shape (draws, batch, …), where there is one.
        intensity: λ of each kind of event in units of the data's time, as it arrives at each row of `inputs`
            and as it leaves, shape (batch, n, 2, kinds), detached; None where nobody asks.
    """

    terms: dict[str, Tensor]
    size: int
    scores: dict[str, Tensor] = field(default_factory=dict)
    prediction: Tensor | None = None
    target: Tensor | None = None
    solves: Sequence[SolveStats] = ()
    inputs: Tensor | Series | None = None
    times: Tensor | None = None
    draws: Tensor | None = None
    intensity: Tensor | None = None

    @property
    def loss(self) -> Tensor:
        """The sum of the terms, a 0-d tensor."""
        first, *others = self.terms.values()
        for term in others:
            first = first + term
        return first
