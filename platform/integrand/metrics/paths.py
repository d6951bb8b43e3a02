"""How far generated paths are from data, as torchmetrics."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from integrand.solvers.control import signature

MOST_PATHS = 2000
"""Paths of either kind that are compared with all others; they cost their square."""


class MarginalError(Metric):
    """Error of the mean or the deviation at each time, root mean square over times and channels.

    In units of the data's deviation of the channel over all times, so that 1 is large.

    Args:
        moment: `mean` or `std`.
        length: Observations of a path.
        channels: Channels of one.
    """

    higher_is_better = False
    sums: Tensor

    def __init__(self, moment: str, length: int, channels: int) -> None:
        super().__init__()
        self.moment = moment
        # of samples and of data: count, x, x²
        zeros = torch.zeros(2, 3, length, channels, dtype=torch.float64)
        self.add_state("sums", zeros, dist_reduce_fx="sum")

    def update(self, samples: Tensor, data: Tensor) -> None:
        """Take up paths, each (n, length, channels), NaN where nothing was observed."""
        for i, x in enumerate((samples, data)):
            known, x = ~x.isnan(), x.double().nan_to_num()
            self.sums[i] += torch.stack([known.double(), x, x * x]).sum(dim=1).to(self.sums)

    def compute(self) -> Tensor:
        """A 0-d tensor; NaN where the data do not vary."""
        count, total, square = self.sums.unbind(dim=1)
        mean = total / count
        std = (square / count - mean**2).clamp_min(0).sqrt()
        own, true = mean if self.moment == "mean" else std
        whole = self.sums[1].sum(dim=1)
        scale = (whole[2] / whole[0] - (whole[1] / whole[0]) ** 2).sqrt()
        error: Tensor = ((own - true) / scale).square().nanmean().sqrt().float()
        return error


class _OfPaths(Metric):
    """Keeps paths up to `MOST_PATHS`, each with the time as its first channel.

    Args:
        times: Times of the observations, shape (n,).
    """

    higher_is_better = False
    times: Tensor
    samples: list[Tensor]
    data: list[Tensor]

    def __init__(self, times: Tensor) -> None:
        super().__init__()
        self.register_buffer("times", times, persistent=False)
        self.add_state("samples", [], dist_reduce_fx="cat")
        self.add_state("data", [], dist_reduce_fx="cat")

    def update(self, samples: Tensor, data: Tensor) -> None:
        """Take up paths, each (n, length, channels); data with missing values are left out."""
        for kept, x in ((self.samples, samples), (self.data, data)):
            complete = ~x.isnan().flatten(1).any(dim=1)
            kept.append(x[complete].detach().double())

    def _both(self) -> tuple[Tensor, Tensor]:
        """Samples and data, in units of the data's deviation."""
        a, b = (torch.cat([*x])[:MOST_PATHS] if isinstance(x, list) else x[:MOST_PATHS] for x in self._kept)
        centre, scale = b.mean(dim=(0, 1)), b.std(dim=(0, 1)).clamp_min(1e-12)
        return (a - centre) / scale, (b - centre) / scale

    @property
    def _kept(self) -> tuple[list[Tensor] | Tensor, list[Tensor] | Tensor]:
        return self.samples, self.data


class SignatureMMD(_OfPaths):
    """Distance of the expected signatures, a maximum mean discrepancy (Chevyrev and Oberhauser 2022).

    Of paths with their time, from 0 to 1, and their start: signatures to depth 3 tell laws apart by moments
    of what lies at a time and of the order in which things happen.
    """

    def compute(self) -> Tensor:
        """A 0-d tensor; √ of the unbiased estimate of the squared distance where that is positive, else 0."""
        a, b = (self._features(x) for x in self._both())
        if min(len(a), len(b)) < 2:
            return torch.tensor(torch.nan)

        def within(x: Tensor) -> Tensor:
            total, n = x.sum(dim=0), len(x)
            return (total.square().sum() - x.square().sum()) / (n * (n - 1))

        squared = within(a) + within(b) - 2 * (a.mean(dim=0) * b.mean(dim=0)).sum()
        return squared.clamp_min(0).sqrt().float()

    def _features(self, x: Tensor) -> Tensor:
        span = (self.times[-1] - self.times[0]).clamp_min(1e-300)
        time = ((self.times - self.times[0]) / span).to(x).expand(len(x), -1).unsqueeze(-1)
        path = torch.cat((time, x), dim=-1)
        # signatures do not see where a path starts: it comes from 0
        path = torch.cat((torch.zeros_like(path[:, :1]), path), dim=1)
        return torch.cat([level.flatten(1) for level in signature(path.diff(dim=1), 3)], dim=1)


class ClassifierTest(_OfPaths):
    """Accuracy of a classifier that tells samples from data (Lopez-Paz and Oquab 2017), 1/2 where it cannot.

    The classifier is the nearest other path, over equally many of both.
    """

    def compute(self) -> Tensor:
        """A 0-d tensor."""
        a, b = self._both()
        n = min(len(a), len(b))
        if n < 2:
            return torch.tensor(torch.nan)
        paths = torch.cat((a[:n], b[:n])).flatten(1)
        distances = torch.cdist(paths, paths)
        distances.fill_diagonal_(torch.inf)
        nearest = distances.argmin(dim=1)
        places = torch.arange(2 * n, device=paths.device)
        return ((nearest < n) == (places < n)).double().mean().float()
