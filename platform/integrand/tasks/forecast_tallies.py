"""What an evaluation of forecasts adds up for its figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..figures import Picture, energy_figure, forecast_figure, horizon_figure, phase_figure
from ..outcome import Outcome
from ..series import Series
from .base import Tally, VectorField

MOST_SERIES = 4
"""Series of a figure."""


class Forecasts(Tally):
    """The first forecasts of an evaluation beside what came true, in the units of the raw channels.

    Args:
        answer: Takes values to those units.
        names: Name of each channel.
        field: The learned dx/dt in those units, None where there is none.
        energy: What the law conserves, of values in those units, None where nothing is known.
    """

    def __init__(
        self,
        answer: Callable[[Tensor], Tensor],
        names: Sequence[str],
        field: VectorField | None = None,
        energy: Callable[[Tensor], Tensor | None] | None = None,
    ) -> None:
        self.answer, self.names, self.field, self.energy = answer, names, field, energy
        self.shown: list[dict[str, Any]] = []

    def see(self, outcome: Outcome) -> None:
        """Keep the first series."""
        said, true, x = outcome.prediction, outcome.target, outcome.inputs
        if said is None or true is None or outcome.times is None or not isinstance(x, Series):
            return
        for i in range(min(outcome.size, MOST_SERIES - len(self.shown))):
            n = int(x.lengths[i])
            given = x.values[i, :n].masked_fill(~x.mask[i, :n], torch.nan)
            self.shown.append(
                {
                    "times": outcome.times[i].cpu().numpy(),
                    "said": self._raw(said[i]),
                    "true": self._raw(true[i]),
                    "draws": None if outcome.draws is None else self._raw(outcome.draws[:, i]),
                    "given_times": x.times[i, :n].cpu().numpy(),
                    "given": self._raw(given),
                }
            )

    def _raw(self, values: Tensor) -> Any:
        return self.answer(values.detach()).float().cpu().numpy()

    def merge(self, total: Callable[[Tensor], Tensor]) -> None:
        """Nothing: the first process's share is drawn."""

    def draw(self, stage: str) -> Iterable[Picture]:
        """True against predicted over time, and in the plane of the first two channels."""
        if not self.shown or not self.shown[0]["times"].size:
            return
        yield forecast_figure(self.shown, self.names, stage)
        if len(self.names) > 1:
            yield phase_figure(self.shown, self.names, stage, self._arrows())
        energies = [[self._energy(one[part]) for part in ("said", "true")] for one in self.shown]
        if all(e is not None for pair in energies for e in pair):
            yield energy_figure([one["times"] for one in self.shown], energies, stage)

    def _arrows(self) -> Callable[[Any], Any] | None:
        """The field in numpy, where the plane of the first two channels is all there is."""
        field = self.field
        if field is None or len(self.names) != 2:
            return None
        return lambda x: field(torch.from_numpy(x).float()).detach().float().cpu().numpy()

    def _energy(self, values: Any) -> Any:
        found = None if self.energy is None else self.energy(torch.from_numpy(values).double())
        return None if found is None else found.numpy()


class Horizons(Tally):
    """Squared errors by the place of a time in the order of those asked for."""

    def __init__(self) -> None:
        # squared error, time since the last observation, count
        self.sums = torch.zeros(3, 0, dtype=torch.float64)

    def see(self, outcome: Outcome) -> None:
        """Add up one batch."""
        said, true, x = outcome.prediction, outcome.target, outcome.inputs
        if said is None or true is None or outcome.times is None or not isinstance(x, Series):
            return
        known = ~true.isnan()
        error = torch.where(known, said - true.nan_to_num(), 0.0).double().square().sum((0, 2))
        since = ((outcome.times - x.end[:, None])[..., None] * known).sum((0, 2))
        new = torch.stack([error, since.double(), known.sum((0, 2)).double()]).cpu()
        self.sums = _wide(self.sums, new.shape[1]) + _wide(new, self.sums.shape[1])

    def merge(self, total: Callable[[Tensor], Tensor]) -> None:
        """See `Tally.merge`; processes may have seen other numbers of times."""
        # their sum is no less than the largest, which is all that is wanted
        self.sums = total(_wide(self.sums, int(total(torch.tensor(float(self.sums.shape[1]))))))

    def draw(self, stage: str) -> Iterable[Picture]:
        """Root mean squared error against the time since the last observation."""
        error, since, count = self.sums[:, self.sums[2] > 0].numpy()
        if len(count) > 1:
            yield horizon_figure(since / count, (error / count) ** 0.5, stage)


def _wide(sums: Tensor, n: int) -> Tensor:
    return torch.nn.functional.pad(sums, (0, max(0, n - sums.shape[1])))
