"""Linear recurrences over all observations at once: log₂ n rounds in place of n steps."""

from __future__ import annotations

import torch
from torch import Tensor


def affine_scan(a: Tensor, b: Tensor) -> Tensor:
    """x_k = a_k x_{k−1} + b_k with x_{−1} = 0, elementwise.

    Hillis and Steele (1986), Data parallel algorithms: after the round of d every entry holds the composition
    of the 2d maps that end with it.

    Args:
        a: Factors, shape (batch, n, …).
        b: What is added, likewise.

    Returns:
        x_0, …, x_{n−1}, likewise.
    """
    d, n = 1, a.shape[1]
    while d < n:
        b = torch.cat((b[:, :d], torch.addcmul(b[:, d:], a[:, d:], b[:, :-d])), dim=1)
        a = torch.cat((a[:, :d], a[:, d:] * a[:, :-d]), dim=1)
        d *= 2
    return b


def product_scan(factors: Tensor) -> Tensor:
    """E_k E_{k−1} ⋯ E_0 for every k.

    Args:
        factors: Square matrices E_k, shape (batch, n, …, h, h).

    Returns:
        The products, likewise.
    """
    d, n = 1, factors.shape[1]
    while d < n:
        factors = torch.cat((factors[:, :d], factors[:, d:] @ factors[:, :-d]), dim=1)
        d *= 2
    return factors
