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
        slopes: (φ(a), φ′(a)) from a.
        curvature: φ″(a) from a, φ(a) and φ′(a).
    """

    value: Callable[[Tensor], Tensor]
    slopes: Callable[[Tensor], tuple[Tensor, Tensor]]
    curvature: Callable[[Tensor, Tensor, Tensor], Tensor]


def _silu(a: Tensor) -> tuple[Tensor, Tensor]:
    s = torch.sigmoid(a)
    h = a * s
    return h, torch.addcmul(s + h, h, s, value=-1)


def _silu_curvature(a: Tensor, h: Tensor, slope: Tensor) -> Tensor:
    s = torch.sigmoid(a)  # φ″ = s(1 − s)(2 + a(1 − 2s))
    return s * (1 - s) * torch.addcmul(torch.full_like(a, 2.0), a, 1 - 2 * s)


def _tanh(a: Tensor) -> tuple[Tensor, Tensor]:
    h = torch.tanh(a)
    return h, 1 - h * h


def _softplus(a: Tensor) -> tuple[Tensor, Tensor]:
    return F.softplus(a), torch.sigmoid(a)


ACTIVATIONS: dict[str, Smooth] = {
    "silu": Smooth(F.silu, _silu, _silu_curvature),
    "tanh": Smooth(torch.tanh, _tanh, lambda a, h, slope: -2 * h * slope),
    "softplus": Smooth(F.softplus, _softplus, lambda a, h, slope: slope * (1 - slope)),
}


def activate(name: str, a: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """φ(a) and φ′(a) v, with a backward pass of its own: autograd would keep and revisit every factor.

    Args:
        name: A key of `ACTIVATIONS`.
        a: Shape (batch, width).
        v: Tangents, shape (k, batch, width).

    Returns:
        Shapes of a and v.
    """
    if torch.is_grad_enabled() and (a.requires_grad or v.requires_grad):
        pair: tuple[Tensor, Tensor] = _Activate.apply(name, a, v)  # type: ignore[no-untyped-call]  # torch
        return pair
    h, slope = ACTIVATIONS[name].slopes(a)
    return h, v * slope


class _Activate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, name: str, a: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        h, slope = ACTIVATIONS[name].slopes(a)
        ctx.name = name
        ctx.save_for_backward(a, h, slope, v)
        return h, v * slope

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_h: Tensor, grad_w: Tensor) -> tuple[None, Tensor, Tensor]:
        a, h, slope, v = ctx.saved_tensors
        curvature = ACTIVATIONS[ctx.name].curvature(a, h, slope)
        along = (grad_w * v).sum(dim=0) if len(v) > 1 else (grad_w * v)[0]
        return None, torch.addcmul(grad_h * slope, along, curvature), grad_w * slope
