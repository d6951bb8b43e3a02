"""Finds every tensor a field's value depends on, so that no gradient is lost without a word."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn


def differentiable_inputs(field: nn.Module, value: Tensor) -> tuple[Tensor, ...]:
    """Parameters and other tensors that `value = field(t, y)` differentiates to.

    `field.parameters()` misses what a network conditions its field on: a tensor stored as a plain attribute,
    one in a closure, the weights of a module kept in a list. The attributes are found by name; the rest by
    walking the graph of one evaluation down to its leaves.

    Args:
        field: The field.
        value: Its value at a detached state, computed with gradients enabled.

    Returns:
        Distinct tensors that require gradients.
    """
    found: dict[int, Tensor] = {id(p): p for p in field.parameters() if p.requires_grad}
    for module in field.modules():
        for tensor in _tensors(vars(module).values(), depth=2):
            if tensor.requires_grad:
                found.setdefault(id(tensor), tensor)
    # a known intermediate tensor is where its producers end; they belong to the caller's graph
    boundary = {t.grad_fn for t in found.values() if t.grad_fn is not None}
    seen = set(boundary)
    stack: list[Any] = [value.grad_fn] if value.grad_fn is not None and value.grad_fn not in boundary else []
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if leaf is not None:
            found.setdefault(id(leaf), leaf)
        stack.extend(parent for parent, _ in node.next_functions if parent is not None)
    return tuple(found.values())


def _tensors(values: Iterable[object], depth: int) -> Iterable[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif depth and isinstance(value, list | tuple):
            yield from _tensors(value, depth - 1)
        elif depth and isinstance(value, dict):
            yield from _tensors(value.values(), depth - 1)
