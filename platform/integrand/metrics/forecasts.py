"""How good forecasts of series are, as torchmetrics; what was not observed is NaN in the truth."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class NormalisedError(Metric):
    """Root mean squared error of each channel over the deviation of its true values, averaged over channels.

    0 is perfect, 1 what the mean of the truth would score. Channels that never change are left out.

    Args:
        channels: Number of channels.
    """

    higher_is_better = False
    sums: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        # count, error², truth, truth²
        zeros = torch.zeros(4, channels, dtype=torch.float64)
        self.add_state("sums", zeros, dist_reduce_fx="sum")

    def update(self, said: Tensor, true: Tensor) -> None:
        """Take up forecasts and truth, each of shape (…, channels)."""
        said, true = said.reshape(-1, said.shape[-1]).double(), true.reshape(-1, true.shape[-1]).double()
        known = ~true.isnan()
        true = true.nan_to_num()
        parts = (torch.ones_like(true), (said - true) ** 2, true, true**2)
        self.sums += torch.stack([(part * known).sum(0) for part in parts]).to(self.sums)

    def compute(self) -> Tensor:
        """A 0-d tensor; NaN where nothing varies."""
        count, error, mean, square = self.sums.unbind()
        count = count.clamp(min=1)
        variance = square / count - (mean / count) ** 2
        # rounding of the difference, relative to the squares that cancel
        varies = variance > 1e-12 * (square / count)
        return (error / count / variance).sqrt()[varies].mean().float()


class ValidTime(Metric):
    """Time until a forecast leaves the truth: its error over the truth's deviation first exceeds a threshold.

    The mean over series. The deviation is that of each channel over all values that were evaluated; a
    forecast that never leaves counts as long as it was followed. In units of the Lyapunov time where the
    exponent is known (Vlachas et al. 2020, with their threshold ½).

    Args:
        channels: Number of channels.
        lyapunov: Largest Lyapunov exponent per unit of time; 0 leaves times as they are.
        threshold: Of the root mean over channels of the squared normalised error.
    """

    higher_is_better = True
    errors: list[Tensor]
    horizons: list[Tensor]
    lengths: list[Tensor]
    sums: Tensor

    def __init__(self, channels: int, lyapunov: float = 0.0, threshold: float = 0.5) -> None:
        super().__init__()
        self.unit, self.threshold = lyapunov or 1.0, threshold
        self.add_state("errors", [], dist_reduce_fx="cat")
        self.add_state("horizons", [], dist_reduce_fx="cat")
        self.add_state("lengths", [], dist_reduce_fx="cat")  # processes are joined end to end
        self.add_state("sums", torch.zeros(3, channels, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, said: Tensor, true: Tensor, horizon: Tensor) -> None:
        """Take up forecasts.

        Args:
            said: Shape (batch, n, channels).
            true: Likewise, NaN where nothing was observed.
            horizon: Time since the last observation given, shape (batch, n).
        """
        known = ~true.isnan()
        values = true.nan_to_num().double()
        self.sums += torch.stack(
            [(p * known).sum((0, 1)) for p in (torch.ones_like(values), values, values**2)]
        ).to(self.sums)
        error = torch.where(known, (said - true).double(), torch.nan)
        self.errors.append(error.flatten(0, 1))
        self.horizons.append(horizon.flatten().double())
        self.lengths.append(torch.full((len(said),), said.shape[1], device=said.device))

    def compute(self) -> Tensor:
        """A 0-d tensor."""
        if not len(self.lengths):
            return torch.tensor(torch.nan)
        count, mean, square = self.sums.unbind()
        count = count.clamp(min=1)
        deviation = (square / count - (mean / count) ** 2).clamp(min=0).sqrt()
        lengths = dim_zero_cat(self.lengths).tolist()
        errors = torch.split(dim_zero_cat(self.errors) / deviation, lengths)
        horizons = torch.split(dim_zero_cat(self.horizons), lengths)
        valid = [self._valid(e, h) for e, h in zip(errors, horizons, strict=True)]
        return (torch.stack(valid).mean() * self.unit).float()

    def _valid(self, error: Tensor, horizon: Tensor) -> Tensor:
        """Of one series; the normalised error has shape (n, channels)."""
        seen = error.isfinite()
        observed = seen.any(dim=-1)
        size = ((error.nan_to_num() ** 2 * seen).sum(-1) / seen.sum(-1).clamp(min=1)).sqrt()
        left = (size > self.threshold) & observed
        if not left.any():
            return horizon[observed][-1] if observed.any() else horizon.new_zeros(())
        first = int(left.int().argmax())
        return horizon[first - 1] if first else horizon.new_zeros(())


class Coverage(Metric):
    """Share of true values inside the central interval of the draws.

    Args:
        share: Share that the interval should hold.
    """

    higher_is_better = None
    inside: Tensor
    total: Tensor

    def __init__(self, share: float = 0.9) -> None:
        super().__init__()
        self.share = share
        self.add_state("inside", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, draws: Tensor, true: Tensor) -> None:
        """Take up draws, shape (draws, …), and truth, shape (…)."""
        tail = (1 - self.share) / 2
        low, high = draws.quantile(tail, dim=0), draws.quantile(1 - tail, dim=0)
        known = ~true.isnan()
        self.inside += ((true >= low) & (true <= high) & known).sum()
        self.total += known.sum()

    def compute(self) -> Tensor:
        """A 0-d tensor."""
        return (self.inside / self.total).float()
