"""Whether probabilities can be believed: scores and bins of the predicted classes; float64 throughout."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

SMALLEST_TEMPERATURE, LARGEST_TEMPERATURE = 1e-2, 1e2
_EPS = torch.finfo(torch.float64).eps


def mean_probabilities(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Probabilities averaged over draws, shape (n, classes), float64.

    Args:
        logits: Shape (draws, n, classes).
        temperature: What logits are divided by.
    """
    return torch.softmax(logits.double() / temperature, dim=-1).mean(0)


def negative_log_likelihood(probabilities: Tensor, target: Tensor) -> float:
    """Mean of −log p of the true class, in nats; p = 0 counts as the rounding of float64.

    Args:
        probabilities: Shape (n, classes).
        target: True classes, shape (n,), int64.
    """
    chosen = probabilities.double().gather(1, target[:, None])
    return float(-chosen.clamp(min=_EPS).log().mean())


def brier_score(probabilities: Tensor, target: Tensor) -> float:
    """Σ_k (p_k − y_k)², mean over samples: 0 to 2 (Brier 1950); others divide it by 2 or by the classes.

    Args:
        probabilities: Shape (n, classes).
        target: True classes, shape (n,), int64.
    """
    truth = torch.nn.functional.one_hot(target, probabilities.shape[1])
    return float((probabilities.double() - truth).square().sum(1).mean())


@dataclass(frozen=True)
class Bins:
    """Samples by the confidence of their prediction.

    Args:
        counts: Samples in each bin, shape (bins,).
        confidence: Mean probability of the predicted class in each bin, 0 where it is empty, shape (bins,).
        accuracy: Share predicted rightly, likewise.
    """

    counts: Tensor
    confidence: Tensor
    accuracy: Tensor

    @property
    def error(self) -> float:
        """Expected calibration error Σ_b (n_b/N)·|accuracy_b − confidence_b| (Naeini et al. 2015)."""
        return float((self.counts * (self.accuracy - self.confidence).abs()).sum() / self.counts.sum())


def equal_width_bins(probabilities: Tensor, target: Tensor, bins: int = 15) -> Bins:
    """Bins of equal width, (b/B, (b+1)/B].

    Take all samples at once: the error of batches, averaged, is larger than that of the whole.

    Args:
        probabilities: Shape (n, classes).
        target: True classes, shape (n,), int64.
        bins: Number B of bins.
    """
    confidence, right = _confidence(probabilities, target)
    inner = torch.linspace(0, 1, bins + 1, dtype=torch.float64, device=confidence.device)[1:-1]
    return _binned(confidence, right, torch.bucketize(confidence, inner), bins)


def equal_mass_bins(probabilities: Tensor, target: Tensor, bins: int = 15) -> Bins:
    """Bins of samples in the order of their confidence, as equal in number as can be.

    Args:
        probabilities: Shape (n, classes).
        target: True classes, shape (n,), int64.
        bins: Number of bins; one for each sample where there are fewer.
    """
    confidence, right = _confidence(probabilities, target)
    n = len(confidence)
    place = torch.empty(n, dtype=torch.int64, device=confidence.device)
    place[confidence.argsort(stable=True)] = torch.arange(n, device=confidence.device)
    bins = min(bins, n)
    return _binned(confidence, right, place * bins // n, bins)


def fit_temperature(logits: Tensor, target: Tensor) -> float:
    """The temperature in [0.01, 100] of least negative log-likelihood (Guo et al. 2017, section 4.2).

    Searched by brackets in log T: a few gradient steps can stop short of it.

    Args:
        logits: Shape (draws, n, classes).
        target: True classes, shape (n,), int64.
    """

    def loss(log_temperature: float) -> float:
        return negative_log_likelihood(mean_probabilities(logits, math.exp(log_temperature)), target)

    from scipy.optimize import minimize_scalar  # slow to import, and every command knows this file

    bounds = (math.log(SMALLEST_TEMPERATURE), math.log(LARGEST_TEMPERATURE))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return math.exp(float(found.x))


def _confidence(probabilities: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Probability of the predicted class, and whether it is the true one."""
    confidence, predicted = probabilities.double().max(1)
    return confidence, (predicted == target).double()


def _binned(confidence: Tensor, right: Tensor, place: Tensor, bins: int) -> Bins:
    zeros = torch.zeros(bins, dtype=torch.float64, device=confidence.device)
    counts = zeros.index_add(0, place, torch.ones_like(confidence))
    some = counts.clamp(min=1)
    return Bins(counts, zeros.index_add(0, place, confidence) / some, zeros.index_add(0, place, right) / some)
