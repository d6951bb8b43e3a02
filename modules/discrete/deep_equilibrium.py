"""Deep equilibrium network (Bai et al. 2019), monotone by default (Winston & Kolter 2020)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from integrand.errors import UsageError
from integrand.solvers import Solution, SolveStats, Status
from integrand.solvers.options import spell
from integrand.solvers.problem import prepare
from integrand.solvers.processes import collectives, refuse_collectives
from integrand.spec import Spec

from ..bench import BenchFamily, Dynamics, Stage
from .equilibrium_blocks import MonotoneBlock, ResidualBlock
from .fixed_point import FixedPoint, Map, anderson, broyden
from .stepping import Evaluator, require_variant

RootFinder = Literal["anderson", "broyden"]
Block = Literal["monotone", "residual"]


class EquilibriumDynamics(Dynamics):
    """z* = g(z*; x): the fixed point of a block into which the stem's output x is injected.

    Its gradient is implicit: with J = ∂g/∂z at z*, ∂L/∂x = uᵀ∂g/∂x with u = ∂L/∂z* + Jᵀu, found by the same
    method, so that memory does not depend on the number of iterations.

    Args:
        channels: Channels of the hidden state.
        block: What makes g.
        root_finder: How fixed points are found, forward and backward.
        tol: Relative residual ‖g(z) − z‖ / ‖g(z)‖ at which a sample is done.
        max_iter: Most iterations of the forward and, separately, of the backward search.

    Raises:
        UsageError: A number is out of its range, or there is no such root finder.
    """

    def __init__(
        self,
        channels: int,
        block: MonotoneBlock | ResidualBlock,
        root_finder: RootFinder,
        tol: float,
        max_iter: int,
    ) -> None:
        super().__init__()
        require_variant("root_finder", root_finder, RootFinder)
        if not 0 < tol < 1:
            raise UsageError(f"tol must lie between 0 and 1, got {tol}", "set model.tol to 1e-4")
        if max_iter < 1:
            raise UsageError(f"max_iter must be at least 1, got {max_iter}", "set model.max_iter to 40")
        self.out_channels = channels
        self.block = block
        self.repeats = isinstance(block, ResidualBlock)
        self.root_finder, self.tol, self.max_iter = root_finder, tol, max_iter

    def residuals(self) -> list[nn.Module]:
        """The field of the block."""
        return [self.block.field]

    def describe(self) -> str:
        """Root finder and tolerance in a few words."""
        return f"{self.root_finder} tol={spell(self.tol)} max_iter={self.max_iter}"

    def find(self, g: Map, z: Tensor, keep: bool = False) -> FixedPoint:
        """A fixed point of g by the chosen method, from z."""
        search = anderson if self.root_finder == "anderson" else broyden
        return search(self._watched(g), z, self.tol, self.max_iter, keep=keep)

    def _watched(self, g: Map) -> Map:
        """g, whose first evaluation must not talk to other processes: searches are of unlike lengths."""
        fresh = True

        def watched(z: Tensor) -> Tensor:
            nonlocal fresh
            begun = collectives() if fresh else 0
            value = g(z)
            if fresh:
                refuse_collectives(begun, self.describe(), fixed="")
            fresh = False
            return value

        return watched

    def forward(self, h: Tensor, num_times: int = 2) -> Solution:
        """Search from the stem's output; with num_times above 2 every iterate. See `Dynamics.forward`."""
        problem = prepare(self, h, [0.0, self.block.length])
        x = problem.y0
        stats = SolveStats(solver=self.describe(), gradient="implicit")
        if problem.trivial:
            return problem.still(stats)
        f = Evaluator(self.residuals(), stats, x)
        f.t = torch.full_like(f.t, self.block.length)
        with problem.context():
            if num_times > 2:
                with torch.no_grad(), self.block.bind(f, x) as g:
                    found = self.find(g, x, keep=True)
                states = found.iterates
            else:
                found, z = self._equilibrium(f, x)
                states = [x, z]
        failed = bool((~found.converged).any())
        return Solution(
            torch.arange(len(states), dtype=problem.time_dtype, device=x.device),
            torch.stack(states).to(problem.dtype),
            stats,
            Status.MAX_NFE if failed else Status.SUCCESS,
            ~found.converged if failed else None,
        )

    def _equilibrium(self, f: Evaluator, x: Tensor) -> tuple[FixedPoint, Tensor]:
        with torch.no_grad(), self.block.bind(f, x) as g:
            found = self.find(g, x)
        if not torch.is_grad_enabled():
            return found, found.z
        parameters = [p for p in self.block.parameters() if p.requires_grad]
        z: Tensor = _Implicit.apply(self, f, found.z, x, *parameters)  # type: ignore[no-untyped-call]  # torch
        return found, z


class _Implicit(torch.autograd.Function):
    """The fixed point as a function of x and the parameters; keeps x and z* only."""

    @staticmethod
    def forward(
        ctx: Any, net: EquilibriumDynamics, f: Evaluator, z: Tensor, x: Tensor, *parameters: Tensor
    ) -> Tensor:
        ctx.net, ctx.f, ctx.parameters = net, f, parameters
        z = z.clone()  # the output has to be a tensor of its own
        ctx.save_for_backward(z, x)
        return z

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        net: EquilibriumDynamics = ctx.net
        f: Evaluator = ctx.f
        (gradient,), (z, x) = gradients, ctx.saved_tensors
        with torch.enable_grad(), torch.autocast(x.device.type, enabled=False):
            z, x = z.detach().requires_grad_(), x.detach().requires_grad_()
            with net.block.bind(f.recompute, x) as g:
                value = g(z)

        def pull_back(u: Tensor) -> Tensor:
            f.stats.vjps += 1
            (product,) = torch.autograd.grad(value, z, u, retain_graph=True)
            return torch.add(gradient, product)

        found = net.find(pull_back, gradient)
        f.stats.failures += int((~found.converged).sum())
        return None, None, None, *torch.autograd.grad(value, [x, *ctx.parameters], found.z)


class DeepEquilibrium(BenchFamily):
    """Deep equilibrium network: the state at which a block no longer changes it.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Channels of the hidden state; by default 32, or those of the state that is observed.
        block: `monotone`, which has one fixed point whatever the weights, or `residual`, the residual block
            of the other families, z* = x + h f(z*), which training may leave without one.
        margin: Margin m of the monotone block, above 0 and at most 1; default 1.
        h: Step size of the residual block; smaller is easier to solve; default 1.
        root_finder: `anderson` or `broyden`, for the forward and the backward search.
        tol: Relative residual at which a sample is done.
        max_iter: Most iterations of each search; samples that need more count as failures of the solve.
        **kwargs: See `BenchFamily`.

    Raises:
        UsageError: There is no such block, or an option belongs to the other one.
    """

    family = "deep-equilibrium"
    title = "Deep equilibrium net"
    group = "discrete"
    equation = "z* = ReLU(W z* + U x + b), W = (1 − m)I − AᵀA + B − Bᵀ"
    reference = "Winston & Kolter 2020, Monotone Operator Equilibrium Networks; Bai et al. 2019"

    def __init__(
        self,
        spec: Spec,
        channels: int | None = None,
        block: Block = "monotone",
        margin: float | None = None,
        h: float | None = None,
        root_finder: RootFinder = "anderson",
        tol: float = 1e-4,
        max_iter: int = 40,
        **kwargs: Any,
    ) -> None:
        require_variant("block", block, Block)
        if block == "monotone" and h is not None:
            raise UsageError("h belongs to the residual block", "leave model.h out")
        if block == "residual" and margin is not None:
            raise UsageError("margin belongs to the monotone block", "leave model.margin out")

        def make(stage: Stage) -> EquilibriumDynamics:
            made = (
                MonotoneBlock(stage.channels, 1.0 if margin is None else margin, stage.axes)
                if block == "monotone"
                else ResidualBlock(stage.channels, 1.0 if h is None else h, stage.field)
            )
            return EquilibriumDynamics(stage.channels, made, root_finder, tol, max_iter)

        super().__init__(spec, make, channels=channels, **kwargs)

    def describe_solver(self) -> tuple[str, str]:
        """Root finder and gradient mode in a few words."""
        return self._dynamics[0].describe(), "implicit"

    @property
    def _dynamics(self) -> list[EquilibriumDynamics]:
        return [m for m in self.net.modules() if isinstance(m, EquilibriumDynamics)]
