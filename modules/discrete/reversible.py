"""Nets whose input can be recomputed from their output, and the backward pass that does so.

Every reversible family is a list of *couplings*: one of two maps changes, from itself and from the other, and
the other stays. A coupling is undone with the same evaluation that its gradient needs (Gomez et al. 2017, The
Reversible Residual Network, alg. 1): the backward pass makes one evaluation and one vector-Jacobian product
for each evaluation of the forward pass, and two maps are stored, whatever the family and the depth.
"""

from __future__ import annotations

import copy
import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from integrand.errors import UsageError
from integrand.solvers import Solution, SolveStats
from integrand.solvers.problem import Problem

from .stepping import Evaluator, State, SteppedDynamics

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Coupling:
    """a ← keep·a + mix·b + scale·f(b), where a is map number `target` of the two and b the other one.

    Args:
        target: Which map changes, 0 or 1.
        field: Residual function f; None for a step without an evaluation.
        keep: Factor of a; the coupling is invertible where it is not 0.
        mix: Factor of b.
        scale: Factor of f(b).
    """

    target: int
    field: nn.Module | None = None
    keep: float = 1.0
    mix: float = 0.0
    scale: float = 1.0

    def apply(self, state: Pair, f: Evaluator) -> Pair:
        """The pair after the coupling."""
        a, b = state[self.target], state[1 - self.target]
        if self.keep != 1:
            a = self.keep * a
        if self.mix:
            a = torch.add(a, b, alpha=self.mix)
        if self.field is not None:
            a = torch.add(a, f(self.field, b), alpha=self.scale)
        return self._placed(a, b)

    def undo(self, state: Pair, value: Tensor | None) -> Pair:
        """The pair before the coupling.

        Args:
            state: The pair after it.
            value: f(b), which b, unchanged by the coupling, still gives; None where there is no f.
        """
        a, b = state[self.target], state[1 - self.target]
        if value is not None:
            a = torch.sub(a, value, alpha=self.scale)
        if self.mix:
            a = torch.sub(a, b, alpha=self.mix)
        if self.keep != 1:
            a = a / self.keep
        return self._placed(a, b)

    def _placed(self, a: Tensor, b: Tensor) -> Pair:
        return (b, a) if self.target else (a, b)


class ReversibleDynamics(SteppedDynamics):
    """Steps made of couplings between two maps.

    Args:
        channels: Channels that the head reads.
        blocks: Number N of steps, 1 or more.
        h: Step size.
        reversible_backward: Whether the backward pass recomputes every activation from the output instead of
            storing it: memory does not grow with depth, for one more evaluation per evaluation.
    """

    def __init__(self, channels: int, blocks: int, h: float = 1.0, reversible_backward: bool = True) -> None:
        super().__init__(channels, blocks, h)
        self.width = channels
        """Channels of each of the two maps."""
        self.reversible_backward = reversible_backward
        self.composition = "recomputed" if reversible_backward else "linear"

    @abstractmethod
    def couplings(self, n: int) -> Sequence[Coupling]:
        """The couplings of step n, in order."""

    def check_reversible(self, axes: int) -> None:
        """Refuse what cannot be undone; constructors call it once their residual functions are there.

        Args:
            axes: Axes of a state behind its channels.

        Raises:
            UsageError: A coupling forgets its map, or a residual function changes the shape of the state or
                draws at random, so that a recomputation would be another function.
        """
        if not self.reversible_backward:
            return
        for n in range(self.blocks):
            for coupling in self.couplings(n):
                if coupling.keep == 0:
                    raise UsageError(
                        f"step {n} of {self.scheme} forgets its state and cannot be inverted",
                        "set model.reversible_backward to false",
                    )
        for field in self.residuals():
            if reason := why_not_reversible(field, self.width, axes):
                raise UsageError(
                    f"the residual function {type(field).__name__} of a reversible net {reason}",
                    "take the layer out of it, or set model.reversible_backward to false",
                )

    def step(self, n: int, state: State, f: Evaluator) -> State:
        """Apply the couplings of step n."""
        pair = (state[0], state[1])
        for coupling in self.couplings(n):
            pair = coupling.apply(pair, f)
        return pair

    @torch.no_grad()
    def inverse(self, a: Tensor, b: Tensor) -> Pair:
        """The pair before the first step, from the pair after the last one."""
        pair = (a, b)
        f = Evaluator(self.residuals(), SolveStats(), a)
        for n in reversed(range(self.blocks)):
            f.t = torch.full_like(f.t, n * self.h)
            for c in reversed(self.couplings(n)):
                pair = c.undo(pair, None if c.field is None else f(c.field, pair[1 - c.target]))
        return pair

    def _run(self, problem: Problem, stats: SolveStats, keep_all: bool) -> Solution:
        if keep_all or not self.reversible_backward or not torch.is_grad_enabled():
            return super()._run(problem, stats, keep_all)
        stats.gradient = "reversible"
        f = Evaluator(self.residuals(), stats, problem.y0)
        parameters = [p for p in self.parameters() if p.requires_grad]
        x, y = self.start(problem.y0)
        pair: Pair = _Reversible.apply(self, f, x, y, *parameters)  # type: ignore[no-untyped-call]  # torch
        states = [self.read(0, (x, y)), self.read(self.blocks, pair)]
        return self._solution(problem, stats, states)


class _Reversible(torch.autograd.Function):
    """All steps of a net as one node of the graph; keeps the two maps of the output and nothing else."""

    @staticmethod
    def forward(
        ctx: Any, net: ReversibleDynamics, f: Evaluator, x: Tensor, y: Tensor, *parameters: Tensor
    ) -> Pair:
        state: State = (x, y)
        for n in range(net.blocks):
            f.t = torch.full_like(f.t, n * net.h)
            state = net.step(n, state, f)
        # a map that no coupling changed is an input, which autograd wants to see as a new tensor
        a, b = (s.clone() if s is x or s is y else s for s in state)
        ctx.net, ctx.f, ctx.parameters = net, f, parameters
        ctx.save_for_backward(a, b)
        return a, b

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        net: ReversibleDynamics = ctx.net
        f: Evaluator = ctx.f
        sums: dict[Tensor, Tensor] = {}
        pair: Pair = ctx.saved_tensors
        grads = [*gradients]
        for n in reversed(range(net.blocks)):
            f.t = torch.full_like(f.t, n * net.h)
            for c in reversed(net.couplings(n)):
                pair = _undo(c, pair, grads, sums, f)
        return None, None, *grads, *(sums.get(p) for p in ctx.parameters)


def _undo(c: Coupling, pair: Pair, grads: list[Tensor], sums: dict[Tensor, Tensor], f: Evaluator) -> Pair:
    """Undo a coupling and pull the gradients of its output, in `grads` and `sums`, back to its input."""
    g, value = grads[c.target], None
    if c.field is not None:
        parameters = [p for p in c.field.parameters() if p.requires_grad]
        with torch.enable_grad():
            b = pair[1 - c.target].detach().requires_grad_()
            value = f.recompute(c.field, b)
            products = torch.autograd.grad(value, [b, *parameters], c.scale * g)
        value = value.detach()
        grads[1 - c.target] = grads[1 - c.target] + products[0]
        for parameter, product in zip(parameters, products[1:], strict=True):
            sums[parameter] = sums[parameter] + product if parameter in sums else product
    if c.mix:
        grads[1 - c.target] = torch.add(grads[1 - c.target], g, alpha=c.mix)
    if c.keep != 1:
        grads[c.target] = c.keep * g
    return c.undo(pair, value)


def why_not_reversible(field: nn.Module, width: int, axes: int = 2) -> str:
    """Why `field` has no place in a net whose activations are recomputed; empty where it has.

    One small evaluation tells: the shape has to stay, and nothing may be drawn at random.

    Args:
        field: Residual function, called as `field(t, y)`.
        width: Channels of the maps that it reads.
        axes: Axes of a map behind its channels.
    """
    parameter = next(field.parameters(), torch.empty(0))
    if parameter.is_meta:
        return ""
    probe = copy.deepcopy(field).train()
    shape_in = (2, width, *[4] * axes)
    y = torch.linspace(-1, 1, math.prod(shape_in)).reshape(shape_in).to(parameter)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        drawn = torch.get_rng_state()
        try:
            shape = probe(y.new_zeros(()), y).shape
        except RuntimeError as error:
            return f"does not take a state of {width} channels ({error})"
        if not torch.equal(drawn, torch.get_rng_state()):
            return "draws at random, so that a recomputation would be another function"
    return "" if shape == y.shape else f"turns a state of {width} channels into shape {tuple(shape[1:])}"
