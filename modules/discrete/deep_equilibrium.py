"""Deep equilibrium network (Bai et al. 2019)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from integrand.errors import UsageError
from integrand.solvers import Solution, SolveStats, Status
from integrand.solvers.options import spell
from integrand.solvers.problem import prepare
from integrand.spec import DataSpec

from ..classification import Dynamics, ImageClassifier
from ..classification.fields import PreActivationField
from ..classification.net import check_channels
from .fixed_point import FixedPoint, Map, anderson, broyden
from .stepping import Evaluator, require_variant

RootFinder = Literal["anderson", "broyden"]


class EquilibriumDynamics(Dynamics):
    """z* = x + h f(z*): the fixed point of a residual block, which is one backward-Euler step of ż = f(z).

    Its gradient is implicit: with J = h ∂f/∂z at z*, ∂L/∂x = u with u = ∂L/∂z* + Jᵀu, found by the same
    method, so that memory does not depend on the number of iterations.

    Args:
        channels: Channels of the hidden state.
        h: Step size.
        root_finder: How fixed points are found, forward and backward.
        tol: Relative residual ‖x + h f(z) − z‖ / ‖x + h f(z)‖ at which a sample is done.
        max_iter: Most iterations of the forward and, separately, of the backward search.

    Raises:
        UsageError: A number is out of its range, or there is no such root finder.
    """

    def __init__(self, channels: int, h: float, root_finder: RootFinder, tol: float, max_iter: int) -> None:
        super().__init__()
        require_variant("root_finder", root_finder, RootFinder)
        if not h > 0:
            raise UsageError(f"h must be positive, got {h}", "set model.h, the step size")
        if not 0 < tol < 1:
            raise UsageError(f"tol must lie between 0 and 1, got {tol}", "set model.tol to 1e-4")
        if max_iter < 1:
            raise UsageError(f"max_iter must be at least 1, got {max_iter}", "set model.max_iter to 40")
        self.out_channels = channels
        self.field: nn.Module = PreActivationField(channels)
        self.h, self.root_finder, self.tol, self.max_iter = h, root_finder, tol, max_iter
        self.backward_failures = 0
        """Samples whose gradient used up max_iter since the last reading."""

    def residuals(self) -> list[nn.Module]:
        """The residual function."""
        return [self.field]

    def describe(self) -> str:
        """Root finder and tolerance in a few words."""
        return f"{self.root_finder} tol={spell(self.tol)} max_iter={self.max_iter}"

    def find(self, g: Map, z: Tensor, keep: bool = False) -> FixedPoint:
        """A fixed point of g by the chosen method, from z."""
        search = anderson if self.root_finder == "anderson" else broyden
        return search(g, z, self.tol, self.max_iter, keep=keep)

    def block(self, f: Any, x: Tensor, z: Tensor) -> Tensor:
        """The state x + h f(z), where `f(field, z)` evaluates the residual function."""
        return torch.add(x, f(self.field, z), alpha=self.h)

    def forward(self, h: Tensor, num_times: int = 2) -> Solution:
        """Search from the stem's output; with num_times above 2 every iterate. See `Dynamics.forward`."""
        problem = prepare(self, h, [0.0, self.h])
        x = problem.y0
        stats = SolveStats(solver=self.describe(), gradient="implicit")
        if problem.trivial:
            return problem.still(stats)
        f = Evaluator([self.field], stats, x)
        f.t = torch.full_like(f.t, self.h)
        with problem.context():
            if num_times > 2:
                with torch.no_grad():
                    found = self.find(lambda z: self.block(f, x, z), x, keep=True)
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
        with torch.no_grad():
            found = self.find(lambda z: self.block(f, x, z), x)
        if not torch.is_grad_enabled():
            return found, found.z
        parameters = [p for p in self.field.parameters() if p.requires_grad]
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
        with torch.enable_grad():
            z, x = z.detach().requires_grad_(), x.detach().requires_grad_()
            value = net.block(f.recompute, x, z)

        def pull_back(u: Tensor) -> Tensor:
            f.stats.vjps += 1
            (product,) = torch.autograd.grad(value, z, u, retain_graph=True)
            return torch.add(gradient, product)

        found = net.find(pull_back, gradient)
        net.backward_failures += int((~found.converged).sum())
        return None, None, None, *torch.autograd.grad(value, [x, *ctx.parameters], found.z)


class DeepEquilibrium(ImageClassifier):
    """Deep equilibrium network: the state at which a residual block no longer changes it.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Channels of the hidden state.
        h: Step size in front of the residual function; smaller is easier to solve.
        root_finder: `anderson` or `broyden`, for the forward and the backward search.
        tol: Relative residual at which a sample is done.
        max_iter: Most iterations of each search; samples that need more count as failures of the solve.
        **kwargs: See `ImageClassifier`.
    """

    family = "deep-equilibrium"
    title = "Deep equilibrium net"
    group = "discrete"
    equation = "z* = x + h f(z*; θ)"
    reference = "Bai et al. 2019, Deep Equilibrium Models"

    def __init__(
        self,
        spec: DataSpec,
        channels: int = 32,
        h: float = 1.0,
        root_finder: RootFinder = "anderson",
        tol: float = 1e-4,
        max_iter: int = 40,
        **kwargs: Any,
    ) -> None:
        dynamics = EquilibriumDynamics(check_channels(channels), h, root_finder, tol, max_iter)
        super().__init__(spec, dynamics, channels=channels, **kwargs)

    def on_after_backward(self) -> None:
        """Count the samples whose gradient used up max_iter; the forward pass has counted its own."""
        self.solve_failures += self._dynamics.backward_failures
        self._dynamics.backward_failures = 0

    def describe_solver(self) -> tuple[str, str]:
        """Root finder and gradient mode in a few words."""
        return self._dynamics.describe(), "implicit"

    @property
    def _dynamics(self) -> EquilibriumDynamics:
        dynamics = self.net.dynamics
        assert isinstance(dynamics, EquilibriumDynamics)
        return dynamics
