"""Likelihoods of sequences of events, as torchmetrics."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


class PerEvent(Metric):
    """Negative log-likelihood per event, over all sequences together; NaN where no event came."""

    higher_is_better = False
    total: Tensor
    events: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("total", "events"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, log_likelihood: Tensor, events: Tensor) -> None:
        """Take up sequences: what each is worth, and its number of events, both (n,)."""
        self.total -= log_likelihood.detach().double().sum().to(self.total)
        self.events += events.sum().to(self.events)

    def compute(self) -> Tensor:
        """A 0-d tensor."""
        return (self.total / self.events).float()


class ConstantRates(Metric):
    """The same of the Poisson process whose rates are those of the data: the best one that there is.

    Σ over kinds of n log(n/T) − n, for n events in the time T of all sequences.

    Args:
        kinds: Kinds of event.
    """

    higher_is_better = False
    counts: Tensor
    time: Tensor

    def __init__(self, kinds: int) -> None:
        super().__init__()
        self.add_state("counts", torch.zeros(kinds, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("time", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, counts: Tensor, time: Tensor) -> None:
        """Take up sequences: events of each kind (n, kinds), and how long each was watched (n,)."""
        self.counts += counts.sum(0).to(self.counts)
        self.time += time.sum().to(self.time)

    def compute(self) -> Tensor:
        """A 0-d tensor."""
        likely = torch.special.xlogy(self.counts, self.counts / self.time) - self.counts
        rate: Tensor = -likely.sum() / self.counts.sum()
        return rate.float()
