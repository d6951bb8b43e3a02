"""Smooth activations that carry tangents along: value and product with the slope as one operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

Activation = Literal["silu", "tanh", "softplus"]


class Smooth(NamedTuple):
    """An activation φ.

    Args:
        value: φ(a).
        slopes: φ(a), φ′(a) and what else −φ″ is made of, from a.
        bend: −φ″(a) from these three.
    """

    value: Callable[[Tensor], Tensor]
    slopes: Callable[[Tensor], tuple[Tensor, Tensor, Tensor | None]]
    bend: Callable[[Tensor, Tensor, Tensor | None], Tensor]


def _silu(a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    s = torch.sigmoid(a)
    h = a * s
    return h, torch.addcmul(s + h, h, s, value=-1), s


def _silu_bend(h: Tensor, slope: Tensor, s: Tensor | None) -> Tensor:
    assert s is not None
    # −φ″ = (1 − s)(φ − 2φ′)
    negative = torch.sub(h, slope, alpha=2)
    return torch.addcmul(negative, negative, s, value=-1)


def _tanh(a: Tensor) -> tuple[Tensor, Tensor, None]:
    h = torch.tanh(a)
    return h, 1 - h * h, None


def _softplus(a: Tensor) -> tuple[Tensor, Tensor, None]:
    return F.softplus(a), torch.sigmoid(a), None


ACTIVATIONS: dict[str, Smooth] = {
    "silu": Smooth(F.silu, _silu, _silu_bend),
    "tanh": Smooth(torch.tanh, _tanh, lambda h, slope, _: 2 * h * slope),
    "softplus": Smooth(F.softplus, _softplus, lambda h, slope, _: slope * (slope - 1)),
}


def advance(name: str, a: Tensor, v: Tensor, weight: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """From one layer to the next: φ(a) Wᵀ + shift, and with it the tangents φ′(a) v Wᵀ.

    It has a backward pass of its own, which keeps a and v alone and computes the rest again: through a solve,
    fetching memory costs more than an activation.

    Args:
        name: A key of `ACTIVATIONS`.
        a: Shape (batch, width).
        v: Tangents, shape (k, batch, width).
        weight: W, shape (next width, width).
        shift: Shape (next width,), or (batch, next width) where samples differ.

    Returns:
        Shapes (batch, next width) and (k, batch, next width).
    """
    tensors = (a, v, weight, shift)
    # under autocast the operations themselves choose their dtypes, forward and backward
    own = torch.is_grad_enabled() and not torch.is_autocast_enabled(a.device.type)
    if own and any(x.requires_grad for x in tensors):
        pair: tuple[Tensor, Tensor] = _Advance.apply(name, *tensors)  # type: ignore[no-untyped-call]  # torch
        return pair
    return _advance(name, *tensors)


def _advance(name: str, a: Tensor, v: Tensor, weight: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    h, slope, _ = ACTIVATIONS[name].slopes(a)
    return shifted(h, weight, shift), F.linear(v * slope, weight)


def shifted(x: Tensor, weight: Tensor, shift: Tensor) -> Tensor:
    """X Wᵀ + shift in one operation where every sample has the same shift."""
    return F.linear(x, weight, shift) if shift.ndim == 1 else F.linear(x, weight) + shift


class _Advance(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, name: str, a: Tensor, v: Tensor, weight: Tensor, shift: Tensor
    ) -> tuple[Tensor, Tensor]:
        ctx.name, ctx.shared = name, shift.ndim == 1
        ctx.save_for_backward(a, v, weight)
        return _advance(name, a, v, weight, shift)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_a: Tensor, grad_v: Tensor) -> tuple[None, Tensor, Tensor, Tensor, Tensor]:
        a, v, weight = ctx.saved_tensors
        h, slope, rest = ACTIVATIONS[ctx.name].slopes(a)
        rows = grad_v.reshape(-1, grad_v.shape[-1])
        grad_weight = torch.addmm(grad_a.T @ h, rows.T, (v * slope).reshape(-1, v.shape[-1]))
        grad_shift = grad_a.sum(dim=0) if ctx.shared else grad_a
        grad_w = grad_v @ weight
        along = grad_w * v if len(v) == 1 else (grad_w * v).sum(dim=0, keepdim=True)
        bend = ACTIVATIONS[ctx.name].bend(h, slope, rest)
        back = (grad_a @ weight).mul_(slope).addcmul_(along[0], bend, value=-1)
        return None, back, grad_w.mul_(slope), grad_weight, grad_shift
