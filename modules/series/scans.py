"""Linear recurrences over the observations of a series."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _AffineScan(torch.autograd.Function):
    """The gradient is the same recurrence from the end, s_k = g_k + ā_{k+1} s_{k+1}: no round is kept."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        x = _steps(a, b) if a.device.type == "cpu" else _rounds(a, b)
        ctx.save_for_backward(a, x)
        return x

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        a, x = ctx.saved_tensors
        later = torch.cat((a[:, 1:].conj(), torch.zeros_like(a[:, :1])), dim=1)
        s = affine_scan(later.flip(1), grads[0].flip(1)).flip(1)
        before = torch.cat((torch.zeros_like(x[:, :1]), x[:, :-1]), dim=1)
        return s * before.conj(), s


def affine_scan(a: Tensor, b: Tensor) -> Tensor:
    """x_k = a_k x_{k−1} + b_k with x_{−1} = 0, elementwise, real or complex.

    Args:
        a: Factors, shape (batch, n, …).
        b: What is added, likewise.

    Returns:
        x_0, …, x_{n−1}, likewise.
    """
    x: Tensor = _AffineScan.apply(a, b)  # type: ignore[no-untyped-call]
    return x


def _steps(a: Tensor, b: Tensor) -> Tensor:
    """One after the other: on a CPU a step's entries stay in its cache, each round moves all there are."""
    x = torch.empty_like(b)
    x[:, 0] = b[:, 0]
    for k in range(1, b.shape[1]):
        torch.addcmul(b[:, k], a[:, k], x[:, k - 1], out=x[:, k])
    return x


def _rounds(a: Tensor, b: Tensor) -> Tensor:
    """Hillis and Steele (1986), Data parallel algorithms.

    After the round of d every entry holds the composition of the 2d maps that end with it.
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
