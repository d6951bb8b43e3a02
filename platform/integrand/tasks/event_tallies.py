"""What an evaluation of intensities adds up for its figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from ..figures import Picture, intensity_figure, rescaling_figure
from ..outcome import Outcome
from ..series import Series
from .base import Tally

BINS = 200
"""Equally likely ones under the unit exponential, in which rescaled gaps are counted."""


def rescaled_gaps(x: Series, intensity: Tensor, rest: float = 0.0) -> tuple[Tensor, float]:
    """∫ Σ λ dt from event to event, by the trapezoidal rule, of sequences that stand one behind the other.

    Where λ is right these are independent and Exp(1) (time rescaling: Brown et al. 2002). One behind the
    other, since gaps cut off at the ends of sequences are those that would have been long.

    Args:
        x: Sequences; the first row of each says from when on one looked.
        intensity: λ as it arrives at each row and as it leaves, shape (batch, n, 2, kinds).
        rest: What has passed behind the last event before.

    Returns:
        The gaps, shape (events,), float64, and what has passed behind the last event.
    """
    rate = intensity.detach().double().sum(-1)
    watched = x.times[:, 1:] <= x.end[:, None]
    gone = 0.5 * (rate[:, :-1, 1] + rate[:, 1:, 0]) * x.times.diff(dim=1) * watched
    total = rest + gone.flatten().cumsum(0)
    at = total[x.mask[:, 1:].any(-1).flatten()].cpu()
    behind = float(total[-1] - at[-1]) if len(at) else float(total[-1]) if len(total) else rest
    return at.diff(prepend=at.new_zeros(1)), behind


class Intensities(Tally):
    """λ through the first sequence, and the rescaled gaps of all.

    Args:
        names: Name of each kind of event.
        truth: Gives λ of the process that made a batch, of the learned one's shape; None where it is unknown.
    """

    def __init__(self, names: Sequence[str], truth: Callable[[Series], Tensor | None]) -> None:
        self.names, self.truth = names, truth
        self.first: tuple[Series, Tensor, Tensor | None] | None = None
        self.counts = torch.zeros(BINS, dtype=torch.float64)
        self._rest = 0.0

    def see(self, outcome: Outcome) -> None:
        """Take up one batch."""
        x, said = outcome.inputs, outcome.intensity
        if said is None or not isinstance(x, Series):
            return
        if self.first is None:
            one = x[:1]
            self.first = one, said[0].detach().double().cpu(), self.truth(one)
        gaps, self._rest = rescaled_gaps(x, said, self._rest)
        places = (-torch.expm1(-gaps) * BINS).long().clamp(max=BINS - 1)
        self.counts += torch.bincount(places, minlength=BINS).double()

    def merge(self, total: Callable[[Tensor], Tensor]) -> None:
        """Take in what the other processes have seen."""
        self.counts = total(self.counts)

    def draw(self, stage: str) -> Iterable[Picture]:
        """Both figures; of gaps where there are some."""
        if self.first is None:
            return
        x, said, true = self.first
        shown = (x.times[0] <= x.end[0]).cpu()
        came = x.mask[0].cpu()[shown].clone()
        came[0] = False  # it is given
        yield intensity_figure(
            x.times[0].cpu()[shown].numpy(),
            came.numpy(),
            said[shown].numpy(),
            None if true is None else true[0].cpu()[shown].numpy(),
            self.names,
            stage,
        )
        if self.counts.sum() > 0:
            share = self.counts.cumsum(0) / self.counts.sum()
            edges = torch.arange(1, BINS + 1, dtype=torch.float64) / BINS
            inner = (share > 0) & (share < 1) & (edges < 1)
            if inner.any():
                observed, expected = (-torch.log1p(-part[inner]) for part in (edges, share))
                distance = float((share - edges).abs().max())
                yield rescaling_figure(observed.numpy(), expected.numpy(), distance, stage)
