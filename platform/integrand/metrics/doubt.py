"""Scores of ignorance from the probabilities of draws: larger where a network knows less; in nats."""

from __future__ import annotations

import torch
from torch import Tensor


def probabilities_of(logits: Tensor) -> Tensor:
    """Probabilities of every draw, float64.

    Args:
        logits: Shape (draws, n, classes).
    """
    return torch.softmax(logits.double(), dim=-1)


def one_less_confidence(p: Tensor) -> Tensor:
    """1 − max_k of the mean probabilities, shape (n,).

    Args:
        p: Shape (draws, n, classes).
    """
    mean = p.mean(0)
    # the sum of the others: 1 − p would round to a tie where p is near 1
    return mean.sort(1).values[:, :-1].sum(1)


def predictive_entropy(p: Tensor) -> Tensor:
    """H(mean p), shape (n,); see `one_less_confidence`."""
    return _entropy(p.mean(0))


def expected_entropy(p: Tensor) -> Tensor:
    """Mean of H(p) over draws, shape (n,): what no further knowledge of the weights would take away."""
    return _entropy(p).mean(0)


def mutual_information(p: Tensor) -> Tensor:
    """H(mean p) − mean H(p), shape (n,): how far the draws disagree; 0 for one draw (Houlsby et al. 2011)."""
    return (predictive_entropy(p) - expected_entropy(p)).clamp(min=0)


def _entropy(p: Tensor) -> Tensor:
    entropy: Tensor = torch.special.entr(p).sum(-1)
    return entropy
