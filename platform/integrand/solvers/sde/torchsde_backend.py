"""torchsde behind the SDE contract: Brownian motion that costs little, seeded by torch, counted."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, ClassVar, Literal

import torch
import torchsde
from torch import Tensor, nn

from integrand.errors import SpecError

from ..accounts import refuse_dropout
from ..errors import SolverOptionError
from ..hidden_inputs import differentiable_inputs
from ..options import require_choice, require_positive, spell
from ..problem import Problem, grid, prepare, require_finite
from ..randomness import Generators
from ..solution import Solution, SolveStats
from ..torchdiffeq_adjoint import AdjointSolve
from .base import SDE, SDESolver
from .brownian import Brownian, seeded_path
from .counted import CountedSDE, check_types
from .normals import draw_seed
from .torchsde_path import EnginePath

_ITO, _STRATONOVICH = ("ito",), ("stratonovich",)
_ALL = ("diagonal", "scalar", "additive", "general")
METHODS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # method: noise types, meanings
    "euler": (_ALL, _ITO),
    "milstein": (("diagonal", "scalar", "additive"), _ITO + _STRATONOVICH),
    "srk": (("diagonal", "scalar", "additive"), _ITO),
    "euler_heun": (_ALL, _STRATONOVICH),
    "heun": (_ALL, _STRATONOVICH),
    "midpoint": (_ALL, _STRATONOVICH),
    "reversible_heun": (_ALL, _STRATONOVICH),
    "log_ode": (_ALL, _STRATONOVICH),
}
MethodName = Literal[
    "euler", "milstein", "srk", "euler_heun", "heun", "midpoint", "reversible_heun", "log_ode"
]


class TorchSDE(SDESolver):
    """Fixed-step methods of torchsde 0.2.6 (Li 2020).

    They run along the engine's paths: one seed is the same path as for its own methods, seeded by torch's
    generator, which torchsde itself ignores, without the cost of torchsde's interval (upstream issue #109: up
    to 126 times). Only `log_ode`, which needs Lévy areas, keeps torchsde's; it refuses `first_sample`.

    Args:
        method: Name of the method.
        num_steps: Number of steps over the whole time span.
        gradient: `backprop` differentiates the steps; `adjoint` solves the adjoint equation backwards
            (exact with reversible_heun, whose backward method is then adjoint_reversible_heun).

    Raises:
        SolverOptionError: Unknown method or gradient.
    """

    gradients: ClassVar[tuple[str, ...]] = ("backprop", "adjoint")

    def __init__(
        self,
        method: MethodName = "euler",
        num_steps: int = 100,
        gradient: Literal["backprop", "adjoint"] = "backprop",
    ) -> None:
        require_choice("method", method, METHODS)
        require_choice("gradient", gradient, self.gradients)
        require_positive(num_steps=num_steps)
        self.method, self.num_steps, self.gradient = method, num_steps, gradient

    def describe(self) -> str:
        """Method and steps, such as `torchsde euler num_steps=100`."""
        return f"torchsde {self.method} num_steps={spell(self.num_steps)}"

    def solve(
        self,
        sde: SDE,
        y0: Tensor,
        t: Tensor | Sequence[float],
        seed: int | None = None,
        first_sample: int = 0,
        brownian: Brownian | None = None,
    ) -> Solution:
        """Integrate; see `SDESolver.solve`."""
        noise_types, sde_types = METHODS[self.method]
        check_types(f"torchsde {self.method}", sde, noise_types, sde_types)
        module = sde if isinstance(sde, nn.Module) else nn.Module()
        problem = prepare(module, y0, t)
        stats = SolveStats(solver=self.describe(), gradient=self.gradient, rejected=0)
        if problem.trivial:
            return problem.still(stats)
        problem.require_state_clock("torchsde", "use EulerMaruyama")
        if problem.times[-1] < problem.times[0] or problem.y0.ndim != 2:
            raise SpecError("torchsde takes states (batch, d) and increasing times", "flatten the state")
        counted = CountedSDE(sde, stats)
        y = problem.y0
        ts = torch.tensor(problem.times, dtype=torch.float64, device=y.device)
        # a hair more than the exact step: rounding would leave a last step of 1e-16
        dt = (problem.times[-1] - problem.times[0]) / self.num_steps * (1 + 1e-9)
        shape = counted.noise_shape(ts[0].to(y.dtype), y.detach())
        path = self._path(problem, (shape[0], shape[1]), seed, first_sample, brownian, dt)
        with problem.context():
            ys = self._integrate(counted, module, y, ts, path, dt)
            require_finite(stats.solver, ys[-1], problem.times[-1], stats.nfe_forward)
        counted.in_backward = True
        return problem.finish(ys, stats)

    def _path(
        self,
        problem: Problem,
        shape: tuple[int, int],
        seed: int | None,
        first_sample: int,
        brownian: Brownian | None,
        dt: float,
    ) -> Any:
        y, ends = problem.y0, (problem.times[0], problem.times[-1])
        if self.method == "log_ode":
            if first_sample or brownian is not None:
                raise SolverOptionError(
                    f"torchsde {self.method} needs Lévy areas, which only torchsde's own path offers: its "
                    "numbers depend on the whole batch",
                    "leave out first_sample and brownian, or use midpoint",
                )
            return torchsde.BrownianInterval(
                t0=ends[0],
                t1=ends[1],
                size=shape,
                dtype=y.dtype,
                device=y.device,
                entropy=(draw_seed() if seed is None else seed) & (2**62 - 1),
                dt=dt,
                levy_area_approximation="foster",
            )
        (nodes,) = grid(ends, None, self.num_steps)
        path = brownian or seeded_path(seed, nodes, shape, y, first_sample)
        return EnginePath(path, nodes, shape, y.dtype, y.device)

    def _integrate(
        self, counted: CountedSDE, module: nn.Module, y: Tensor, ts: Tensor, path: Any, dt: float
    ) -> Tensor:
        kwargs: dict[str, Any] = {"bm": path, "method": self.method, "dt": dt}
        wrapped = _Wrapped(counted)
        if self.gradient == "backprop" or not torch.is_grad_enabled():
            ys: Tensor = torchsde.sdeint(wrapped, y, ts, **kwargs)
            if ys.requires_grad:
                stats = counted.stats
                vjps = stats.nfe_forward + stats.nfe_diffusion

                def arrived(_: Tensor) -> None:
                    stats.vjps += vjps

                ys.register_hook(arrived)  # type: ignore[no-untyped-call]  # torch
            return ys
        refuse_dropout(module, "adjoint")
        t0 = ts[0].to(y.dtype)
        generators = Generators(y.device)
        values = (counted.f(t0, y.detach()), counted.g(t0, y.detach()))
        inputs = differentiable_inputs(counted.sde, *values)
        if self.method == "reversible_heun":
            kwargs["adjoint_method"] = "adjoint_reversible_heun"

        def solve(start: Tensor) -> Tensor:
            solved: Tensor = torchsde.sdeint_adjoint(wrapped, start, ts, adjoint_params=inputs, **kwargs)
            return solved

        ys = AdjointSolve(solve, inputs, counted.surroundings, ts.tolist(), nullcontext).run(y)
        generators.refuse_draws(counted.stats.solver, "adjoint")
        return ys


class _Wrapped(nn.Module):
    """The counted equation as torchsde wants it."""

    def __init__(self, counted: CountedSDE) -> None:
        super().__init__()
        self.counted = counted
        self.noise_type, self.sde_type = counted.sde.noise_type, counted.sde.sde_type

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        """Drift."""
        return self.counted.f(t.to(y.dtype), y)

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        """Diffusion."""
        g = self.counted.g(t.to(y.dtype), y)
        return g.unsqueeze(-1) if self.noise_type == "scalar" else g
