"""Discrete networks as integration schemes over the same residual functions as continuous ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from .accounts import CountedField
from .errors import SolverOptionError
from .options import spell
from .problem import prepare
from .solution import Solution, SolveStats


class Scheme(ABC):
    """A rule that composes residual functions f_n(t_n, x) into a network, one block after the other."""

    order: ClassVar[int]
    """Order of convergence where all blocks are one field and h goes to zero."""

    @abstractmethod
    def solve(self, blocks: Sequence[nn.Module], x: Tensor) -> Solution:
        """Send `x` through all blocks.

        Args:
            blocks: Residual functions, each called as `block(t_n, x)` and returning the shape of x; the same
                module may occur many times (tied weights).
            x: Input of the first block, shape (batch, ...).

        Returns:
            Solution with ts = n h. ys holds every state, shape (len(blocks) + 1, *x.shape), or only the
            first and the last one.
        """

    @abstractmethod
    def describe(self) -> str:
        """The scheme in a few words, such as `euler h=1`."""


class EulerScheme(Scheme):
    """Forward Euler, x_{n+1} = x_n + h f_n(t_n, x_n) with t_n = n h: a residual network (He 2016).

    With one f in every block it equals a neural ODE solved by `TorchDiffEq(method="euler")` with the same
    steps, evaluation for evaluation.

    Args:
        h: Step size; 1 is the residual network as usually written.
        keep_all: Return the state after every block instead of the first and the last one only.
        autocast: Evaluate the blocks under the caller's autocast instead of full precision.

    Raises:
        SolverOptionError: h is zero.
    """

    order: ClassVar[int] = 1

    def __init__(self, h: float = 1.0, keep_all: bool = False, autocast: bool = False) -> None:
        if h == 0:
            raise SolverOptionError("h=0 leaves every state where it is", "set h to 1")
        self.h = h
        self.keep_all = keep_all
        self.autocast = autocast

    def describe(self) -> str:
        """`euler h=1`."""
        return f"euler h={spell(self.h)}"

    def solve(self, blocks: Sequence[nn.Module], x: Tensor) -> Solution:
        """Send `x` through all blocks; see `Scheme.solve`."""
        n = len(blocks)
        times = [i * self.h for i in range(n + 1)]
        problem = prepare(
            nn.ModuleList(blocks), x, times if self.keep_all or n < 2 else [0.0, times[-1]], self.autocast
        )
        stats = SolveStats(solver=self.describe(), accepted=n, rejected=0)
        if n:
            stats.min_step = stats.max_step = abs(self.h)
        if problem.trivial:
            return problem.still(stats)
        y = problem.y0
        nodes = torch.tensor(times, dtype=y.dtype).to(y.device, non_blocking=True)
        device = y.device.type
        fields = {
            id(b): CountedField(b, stats, autocast=self.autocast, device_type=device, watch=True)
            for b in dict.fromkeys(blocks)
        }
        states = [y]
        with problem.context():
            for t, block in zip(nodes, blocks, strict=False):
                y = torch.add(y, fields[id(block)](t, y), alpha=self.h)
                states.append(y)
        for counted in fields.values():
            counted.start_backward()
        return problem.finish(torch.stack(states if self.keep_all else [states[0], y]), stats)
