"""Finds every tensor a field's value depends on, so that no gradient is lost without a word."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node, get_gradient_edge

from .errors import SolverError
from .reachable import reachable_tensors


def differentiable_inputs(field: object, *values: Tensor) -> tuple[Tensor, ...]:
    """Parameters and other tensors that a field's values differentiate to, now or at another time.

    `field.parameters()` misses what a network conditions its field on: a tensor stored as a plain attribute,
    one in a closure, the weights of a module kept in a list. What the field can reach is found by following
    its references, so that controls chosen by t are found too; the rest by walking the graph of evaluations
    down to its leaves.

    Args:
        field: The field: a module, or an object that holds the functions evaluated.
        *values: Its values at a detached state, computed with gradients enabled.

    Returns:
        Distinct tensors that require gradients.
    """
    parameters = field.parameters() if isinstance(field, nn.Module) else ()
    found: dict[int, Tensor] = {id(p): p for p in parameters if p.requires_grad}
    for tensor in reachable_tensors(field):
        if tensor.requires_grad:
            found.setdefault(id(tensor), tensor)
    # a known intermediate tensor is where its producers end; they belong to the caller's graph
    boundary = {t.grad_fn for t in found.values() if t.grad_fn is not None}
    for leaf in _leaves(values, boundary):
        found.setdefault(id(leaf), leaf)
    return tuple(found.values())


class KnownInputs:
    """Tells the inputs of a solve from others that its recomputation meets.

    A tensor that the field reaches only at some times, by a way that no search finds, would get no gradient.

    Args:
        inputs: What `differentiable_inputs` found.
        solver: The solver, in a few words.
    """

    def __init__(self, inputs: Sequence[Tensor], solver: str) -> None:
        edges = [get_gradient_edge(x) for x in inputs if x.requires_grad]
        self._nodes = {edge.node for edge in edges}
        self._solver = solver
        self._others: list[tuple[weakref.ref[Tensor], Tensor | float | None]] = []
        self._made: dict[Node, set[int]] = {}
        for edge, x in zip(edges, (x for x in inputs if x.requires_grad), strict=True):
            if x.grad_fn is not None:
                self._made.setdefault(edge.node, set()).add(edge.output_nr)

    @property
    def made(self) -> bool:
        """Whether some input was computed from other tensors, whose graph is the caller's."""
        return bool(self._made)

    @contextmanager
    def border(self) -> Iterator[None]:
        """Inside it gradients end at the inputs.

        Of two inputs one may be made from the other. The caller's graph takes the gradient from there on; it
        would be counted twice, were it followed here too.
        """
        with ExitStack() as stack:
            for node, outputs in self._made.items():
                # runs behind the capture of the gradients that were asked for
                stack.callback(node.register_prehook(partial(_nothing_for, outputs)).remove)
            yield

    def look_for_others(
        self, values: Sequence[Tensor], own: Sequence[Tensor], t: Tensor | float | None
    ) -> None:
        """Note the leaves of a recomputation that are not known.

        Args:
            values: What was recomputed, with its graph.
            own: The state and other tensors that the solver itself differentiates to or hands to the field.
            t: Time of the recomputation, for the message.
        """
        stops = self._nodes.union(x.grad_fn for x in own if x.grad_fn is not None)
        for leaf in _leaves(values, stops):
            if not any(leaf is x for x in own):
                # weak: what the field makes and forgets within one evaluation is nobody's input
                self._others.append((weakref.ref(leaf), t))

    def refuse_others(self) -> None:
        """Call when the graphs of all recomputations are gone.

        Raises:
            SolverError: The field used a tensor that requires a gradient and would have got none.
        """
        for reference, t in self._others:
            leaf = reference()
            if leaf is not None:
                when = "" if t is None else f" at t={float(t if isinstance(t, float) else t.max()):.6g}"
                raise SolverError(
                    f"{self._solver}: the field uses a tensor of shape {tuple(leaf.shape)}{when} that"
                    " requires a gradient, but neither its first evaluation nor its attributes lead to it",
                    "store it on the field (an attribute or a list is enough), or set gradient: backprop",
                )
        self._others.clear()


def _nothing_for(outputs: set[int], grads: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    """The gradients of a node with zeros in the place of those of `outputs`."""
    return tuple(torch.zeros_like(g) if i in outputs and g is not None else g for i, g in enumerate(grads))


def _leaves(values: Iterable[Tensor], stops: set[Node] | set[Any]) -> list[Tensor]:
    """Leaves of the graphs of `values` that are reached without passing one of the nodes in `stops`."""
    leaves: list[Tensor] = []
    seen: set[Node] = {*stops}  # one look-up for each edge
    stack: list[Node] = [v.grad_fn for v in values if v.grad_fn is not None and v.grad_fn not in stops]
    while stack:
        node = stack.pop()
        parents = node.next_functions
        if not parents:
            leaf = getattr(node, "variable", None)
            if leaf is not None:
                leaves.append(leaf)
            continue
        for parent, _ in parents:
            if parent is not None and parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return leaves
