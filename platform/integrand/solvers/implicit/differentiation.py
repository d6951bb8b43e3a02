"""Derivatives of the field inside a solve, the same under grad, no_grad and inference mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from ..accounts import CountedField


class _Normal(TorchFunctionMode):
    """Hands normal copies of inference tensors to every operation: autograd may save those."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        args, kwargs = tree_map_only(Tensor, normal, (args, kwargs or {}))
        return func(*args, **kwargs)


def normal(x: Tensor) -> Tensor:
    """A tensor that autograd may save: a copy of one made in inference mode."""
    return x.clone() if x.is_inference() else x


def leaf(y: Tensor, graph: bool) -> Tensor:
    """The point to differentiate at: y itself where its graph is to go on, otherwise a new leaf."""
    return y if graph and y.requires_grad else normal(y.detach()).requires_grad_()


@contextmanager
def differentiating() -> Iterator[None]:
    """Gradients are recorded, whatever mode the caller is in; results are normal tensors."""
    if not torch.is_inference_mode_enabled():
        with torch.enable_grad():
            yield
        return
    with torch.inference_mode(False), torch.enable_grad(), _Normal():
        yield


@dataclass
class Linearised:
    """The field and its Jacobian at one point, samples not acting on each other.

    Args:
        value: f(t, y), shape (batch, ...).
        jacobian: ∂f/∂y of every sample, shape (batch, d, d).
        in_time: ∂f/∂t, shape of value; None where it was not asked for, or the field is autonomous.
    """

    value: Tensor
    jacobian: Tensor
    in_time: Tensor | None = None


def linearise(
    field: CountedField,
    t: Tensor,
    y: Tensor,
    *,
    graph: bool = False,
    second: bool = False,
    time: bool = False,
) -> Linearised:
    """One evaluation and d vector-Jacobian products in one batch; two more for ∂f/∂t.

    Args:
        field: The field.
        t: Time, 0-d.
        y: State, shape (batch, ...).
        graph: Whether the value carries gradients to y and to the parameters.
        second: Whether the derivatives do, too.
        time: Whether ∂f/∂t is wanted.
    """
    with differentiating():
        point = leaf(y, graph)
        when = normal(t.detach())
        if time:
            when = when.clone().requires_grad_()
        value = field(when, point)
        in_time = time_derivative(value, when, second) if time else None
        jacobian = dense_jacobian(value, point, graph=second)
    # a recomputation is charged with one product; here they are counted one by one
    field.add_vjps(point[0].numel() + 2 * (in_time is not None) - field.in_backward)
    return Linearised(value if graph else value.detach(), jacobian, in_time)


def dense_jacobian(value: Tensor, point: Tensor, *, graph: bool = False) -> Tensor:
    """∂value/∂point of every sample, shape (batch, d, d); keeps the graph of `value`."""
    flat = value.reshape(len(value), -1)
    batch, d = flat.shape
    if not flat.requires_grad:
        return flat.new_zeros(batch, d, d)
    rows = torch.eye(d, dtype=flat.dtype, device=flat.device).unsqueeze(1).expand(d, batch, d)
    (columns,) = torch.autograd.grad(
        flat,
        point,
        rows,
        is_grads_batched=True,
        materialize_grads=True,
        create_graph=graph,
        retain_graph=True,
    )
    return columns.reshape(d, batch, d).transpose(0, 1)


def product_with_transpose(value: Tensor, point: Tensor, w: Tensor) -> Tensor:
    """(∂value/∂point)ᵀ w; keeps the graph of `value`."""
    if not value.requires_grad:
        return torch.zeros_like(w)
    (product,) = torch.autograd.grad(value, point, w, retain_graph=True, allow_unused=True)
    return torch.zeros_like(w) if product is None else product


def time_derivative(value: Tensor, t: Tensor, graph: bool) -> Tensor | None:
    """∂value/∂t, None where the graph of `value` does not reach t; keeps that graph.

    The product with a vector is differentiated once more: c(w) = wᵀ ∂f/∂t, dc/dw = ∂f/∂t.
    """
    if not value.requires_grad:
        return None
    w = torch.zeros_like(value).requires_grad_()
    (product,) = torch.autograd.grad(value, t, w, create_graph=True, allow_unused=True)
    if product is None or not product.requires_grad:
        return None
    (in_time,) = torch.autograd.grad(product, w, create_graph=graph, retain_graph=True, allow_unused=True)
    return in_time
