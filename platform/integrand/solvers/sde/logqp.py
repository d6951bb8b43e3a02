"""Latent SDEs: the Kullback–Leibler divergence between a posterior and a prior along the path."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from integrand.errors import SpecError

from ..errors import SolverOptionError
from ..solution import Solution, SolveStats
from .base import SDE, SDESolver
from .brownian import Brownian
from .counted import CountedSDE
from .solver import OneStepSDE

OUTSIDE = 1e-3
"""Relative part of f − h outside the range of g from which the divergence is said to be infinite."""


class LatentSDE(SDE, Protocol):
    """A posterior dy = f dt + g dW with the prior dy = h dt + g dW, torchsde's names."""

    def h(self, t: Tensor, y: Tensor) -> Tensor:
        """Drift of the prior, shape of y."""


def solve_logqp(
    solver: SDESolver,
    sde: LatentSDE,
    y0: Tensor,
    t: Tensor | Sequence[float],
    seed: int | None = None,
    first_sample: int = 0,
    brownian: Brownian | None = None,
) -> tuple[Solution, Tensor]:
    """Solve a posterior and integrate its divergence from the prior along the way.

    KL(q‖p) = E ∫ |u|²/2 dt with g u = f − h (Girsanov; Li et al. 2020, Scalable gradients for stochastic
    differential equations, eq. 10). The integral is one more component of the state, so that every method and
    gradient mode serves; the path is the one without it.

    Args:
        solver: One of the engine's own methods.
        sde: Posterior drift f, prior drift h and their diffusion g; in Itô's and Stratonovich's sense both
            drifts are meant in the equation's own. With a method `u` that solves g u = f − h, called as
            `u(t, y)` right behind f at the same place, neither h nor a division is needed on the way.
        y0: State at t[0], shape (batch, ...).
        t: Output times, shape (n_t,), increasing.
        seed: See `SDESolver.solve`.
        first_sample: See `SDESolver.solve`.
        brownian: See `SDESolver.solve`.

    Returns:
        The solution, and ∫ |u|²/2 dt over each output interval, shape (n_t − 1, batch), torchsde's `logqp`.
        An evaluation of f counts one and makes one of h and, where the solver does not need it anyway, of g.

    Raises:
        SolverOptionError: Another solver, or f − h outside the range of g, where the divergence is infinite.
        SpecError: The equation has no prior drift h.
    """
    if not isinstance(solver, OneStepSDE):
        raise SolverOptionError(
            f"{type(solver).__name__} does not integrate the divergence", "use one of the engine's methods"
        )
    if not callable(getattr(sde, "h", None)):
        raise SpecError(f"{type(sde).__name__} has no prior drift", "define h(t, y), of the shape of y")
    shape = y0.shape[1:]
    start = torch.cat((y0.flatten(1), y0.new_zeros(len(y0), 1)), 1)

    def counted(sde: SDE, stats: SolveStats, max_nfe: int | None, uneven: bool) -> CountedSDE:
        return _WithDivergence(sde, stats, max_nfe, uneven, shape)

    solution = solver.integrate(sde, start, t, seed, first_sample, brownian, counted)
    divergence = solution.ys[..., -1].diff(dim=0)
    solution.ys = solution.ys[..., :-1].reshape(-1, *y0.shape)
    return solution, divergence


class _WithDivergence(CountedSDE):
    """The equation of (y, ∫ |u|²/2 dt), flattened to (batch, d + 1)."""

    sde: LatentSDE

    def __init__(
        self, sde: SDE, stats: SolveStats, max_nfe: int | None, uneven: bool, shape: Sequence[int]
    ) -> None:
        super().__init__(sde, stats, max_nfe, uneven)
        self._shape, self._size = shape, math.prod(shape)
        self._shared: tuple[Tensor, Tensor] | None = None
        self._looked = self.noise_type == "diagonal"

    def _state(self, y: Tensor) -> Tensor:
        return y[:, : self._size].view(len(y), *self._shape)

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        """Posterior drift and |u|²/2; the diffusion serves for the next call of g too."""
        state = self._state(y)
        f, g = super().f(t, state), super().g(t, state)
        self._shared = (y, g)
        known = getattr(self.sde, "u", None)
        u = self._ratio(f - self.sde.h(t, state), g) if known is None else known(t, state)
        return torch.cat((f.flatten(1), u.square().flatten(1).sum(1, keepdim=True) / 2), 1)

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        """Diffusion, zero in the last component."""
        shared, self._shared = self._shared, None
        g = shared[1] if shared is not None and shared[0] is y else super().g(t, self._state(y))
        g = g.flatten(1) if self.elementwise else g
        return torch.cat((g, torch.zeros_like(g[:, :1])), 1)

    def probe(self, t: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        """See `CountedSDE.probe`."""
        state = self._state(y)
        return (*super().probe(t, state), self.sde.h(t, state))

    def noise_shape(self, t: Tensor, y: Tensor) -> tuple[int, ...]:
        """Shape of ΔW without the divergence."""
        return super().noise_shape(t, self._state(y))

    def seen(self, brownian: Brownian) -> Brownian:
        """The path as the flattened state needs it."""
        return _Padded(brownian) if self.noise_type == "diagonal" else brownian

    def _ratio(self, difference: Tensor, g: Tensor) -> Tensor:
        """Solution u of g u = f − h."""
        if self.noise_type == "diagonal":
            # 0/0 is no divergence: where neither drift nor noise moves a component
            nothing = (g == 0) & (difference == 0)
            return difference / torch.where(nothing, torch.ones_like(g), g)
        if self.elementwise:
            u = (g * difference).sum(1, keepdim=True) / g.square().sum(1, keepdim=True)
            rest = difference - g * u
        else:
            u = (torch.linalg.pinv(g) @ difference.unsqueeze(-1)).squeeze(-1)
            rest = difference - (g @ u.unsqueeze(-1)).squeeze(-1)
        if not self._looked:
            self._looked = True
            outside = float(rest.detach().norm() / difference.detach().norm().clamp_min(1e-30))
            if outside > OUTSIDE:
                raise SolverOptionError(
                    f"{100 * outside:.3g} % of f − h lie outside the range of g: the divergence is infinite",
                    "let g have at least as many columns as y has components, or let f and h agree outside",
                )
        return u


class _Padded:
    """A path flattened, with a component that the state has and the noise has not."""

    def __init__(self, brownian: Brownian) -> None:
        self._brownian = brownian

    def increment(self, a: float, b: float, area: bool) -> tuple[Tensor, Tensor | None]:
        """See `Brownian.increment`."""
        w, h = self._brownian.increment(a, b, area)
        return _pad(w), None if h is None else _pad(h)


def _pad(x: Tensor) -> Tensor:
    return torch.nn.functional.pad(x.flatten(1), (0, 1))
