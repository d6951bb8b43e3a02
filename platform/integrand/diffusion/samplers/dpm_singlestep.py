"""DPM-Solver and DPM-Solver++ as singlestep methods."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from torch import Tensor

from integrand.solvers.options import require_choice

from ..grids import LogSNRGrid
from ..processes import Node, Process
from .base import Run, Sampler
from .exponential import Form, Second, advance

Stages = Literal["paper", "midpoint", "heun"]


def orders(intervals: int, order: int, lower_order_final: bool) -> list[int]:
    """Orders of the steps into which a grid's intervals are grouped; a step of order k spans k of them.

    Args:
        intervals: Number of intervals, which is the number of evaluations.
        order: Highest order.
        lower_order_final: Whether order 3 ends with 2 and 1 where the intervals divide by 3.
    """
    full, rest = divmod(intervals, order)
    if order == 3 and rest == 0 and lower_order_final and full:
        return [3] * (full - 1) + [2, 1]
    return [order] * full + [rest] * (rest > 0)


def _even_groups(process: Process, nodes: list[Node], chosen: list[int]) -> list[list[Node]]:
    """Steps of equal length in λ between the ends of `nodes`, each cut into as many parts as its order."""
    first, last = nodes[0].log_snr, nodes[-1].log_snr
    h = (last - first) / len(chosen)
    cuts = [[first + h * (k + j / order) for j in range(order)] for k, order in enumerate(chosen)]
    groups = [[process.node_at(value) for value in part] for part in cuts]
    groups[0][0] = nodes[0]
    ends = [*(group[0] for group in groups[1:]), nodes[-1]]
    return [[*group, end] for group, end in zip(groups, ends, strict=True)]


class _Singlestep(Sampler):
    """Base: exponential Runge–Kutta in λ.

    A step of order k spans k intervals of the grid and costs k evaluations, so that steps are as long as they
    are costly and NFE can be any number. Its stages lie at the grid's own times between its ends; on
    `LogSNRGrid` all steps are equally long in λ whatever their order, with stages at ½, or at ⅓ and ⅔. So
    does the authors' code.

    Args:
        order: 1, 2 or 3.
        stages: Weights of the first derivative: `paper`, or `midpoint` or `heun` throughout.
        lower_order_final: Whether order 3 ends with steps of order 2 and 1 where NFE divides by 3.
    """

    form: Form
    stochastic = False
    spans_intervals = True

    def __init__(self, order: int = 3, stages: Stages = "paper", lower_order_final: bool = True) -> None:
        require_choice("order", str(order), ("1", "2", "3"))
        require_choice("stages", stages, ("paper", "midpoint", "heun"))
        self.order = self.longest = order
        self.stages, self.lower_order_final = stages, lower_order_final

    @classmethod
    def examples(cls) -> tuple[_Singlestep, ...]:
        """Every order, and all weights of order 3."""
        variants: tuple[Stages, ...] = ("midpoint", "heun")
        lowered = tuple(cls(k, lower_order_final=False) for k in (1, 2, 3))
        return (*lowered, *(cls(3, stages, lower_order_final=False) for stages in variants))

    def prepare(self, run: Run) -> None:
        """Choose the nodes between the groups, and keep the others as stages."""
        chosen = orders(run.last, self.longest, self.lower_order_final)
        ends = [sum(chosen[:k]) for k in range(len(chosen) + 1)]
        nodes, rest = run.nodes[: run.last + 1], run.nodes[run.last + 1 :]
        if isinstance(run.grid, LogSNRGrid) and chosen:
            groups = _even_groups(run.process, nodes, chosen)
        else:
            groups = [nodes[a : b + 1] for a, b in pairwise(ends)]
        run.memory["groups"] = groups
        run.nodes = [*(group[0] for group in groups), nodes[-1], *rest]

    def step(self, run: Run, i: int, x: Tensor) -> Tensor:
        """See `Sampler.step`."""
        a, *stages, b = run.memory["groups"][i]
        m0 = self._value(run, x, a)
        if not stages:
            return advance(x, a, b, self.form, m0)
        h = b.log_snr - a.log_snr
        s1 = stages[0]
        r1 = (s1.log_snr - a.log_snr) / h
        m1 = self._value(run, advance(x, a, s1, self.form, m0), s1)
        if len(stages) == 1:
            second: Second = "heun" if self.stages == "heun" else "midpoint"
            return advance(x, a, b, self.form, m0, (m1 - m0) / r1, second=second)
        s2 = stages[1]
        r2 = (s2.log_snr - a.log_snr) / h
        inner: Second = "midpoint" if self.stages == "midpoint" else "heun"
        # the derivative is scaled to the stage's own step
        u2 = advance(x, a, s2, self.form, m0, (m1 - m0) * (r2 / r1), second=inner)
        near, far = (m1 - m0) / r1, (self._value(run, u2, s2) - m0) / r2
        if self.stages != "heun":
            return advance(x, a, b, self.form, m0, far, second="heun")
        # slope and curvature of the parabola through the three values
        slope = (r2 * near - r1 * far) / (r2 - r1)
        return advance(x, a, b, self.form, m0, slope, 2 * (far - near) / (r2 - r1))

    def _value(self, run: Run, x: Tensor, node: Node) -> Tensor:
        prediction = run.evaluate(x, node)
        return prediction.noise() if self.form == "noise" else prediction.data()

    def _name(self) -> str:
        return f"{self.order}S" + ("" if self.stages == "paper" else f" {self.stages}")


class DPMSolverSinglestep(_Singlestep):
    """DPM-Solver-k by the noise (Lu et al. 2022, DPM-Solver, Alg. 1–2, and the `fast` grouping of App. D.3).

    Args:
        order: 1, 2 or 3; 1 is DDIM.
        stages: Weights of the first derivative: `paper`, or `midpoint` or `heun` throughout.
        lower_order_final: Whether order 3 ends with steps of order 2 and 1 where NFE divides by 3.
    """

    form = "noise"

    def describe(self) -> str:
        """Such as `dpm-solver 3S`."""
        return f"dpm-solver {self._name()}"


class DPMSolverPPSinglestep(_Singlestep):
    """DPM-Solver++(kS) by the data (Lu et al. 2022, DPM-Solver++, Alg. 1).

    Args:
        order: 1, 2 or 3.
        stages: Weights of the first derivative: `paper`, or `midpoint` or `heun` throughout.
        lower_order_final: Whether order 3 ends with steps of order 2 and 1 where NFE divides by 3.
    """

    form = "data"

    def describe(self) -> str:
        """Such as `dpm-solver++ 2S`."""
        return f"dpm-solver++ {self._name()}"
