"""Stochastic equations from knot to knot of each series: all in lockstep, each over its own gaps."""

from __future__ import annotations

from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from integrand.solvers import EulerMaruyama, Solution, solve_logqp

Gradient = Literal["backprop", "checkpoint"]
STRIDE = 7919
"""Between the seeds of steps; a prime."""


class KnotSDE(Protocol):
    """An Itô equation with diagonal noise whose coefficients may change at knots; an `nn.Module` in practice.

    One with a prior drift h has a method `h` like `f`, or `u` for (f − h)/g behind an evaluation of f.
    """

    def enter(self, interval: int, place: float) -> None:
        """From now on it is asked about this place, in [0, 1), of an interval between knots."""

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        """Drift at times t of shape (batch, 1) and states (batch, d)."""

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        """Diagonal of the diffusion."""


class InPlaces(nn.Module):
    """The equation over places s, where knot i of every series is at s = i.

    With t = t_i + (s − i) h_i, dy = f h_i ds + g √h_i dW. Gaps of no length move nothing, so that series of
    unequal lengths stand side by side.

    Args:
        sde: The equation in time.
        knots: Times of the knots of each series, shape (batch, n), never decreasing.
        steps: Steps in each gap: places are looked up by the number of their step.
        dtype: Dtype of the states.
    """

    noise_type = "diagonal"
    sde_type = "ito"

    def __init__(self, sde: KnotSDE, knots: Tensor, steps: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.sde, self.steps = sde, steps
        gaps = knots.diff(dim=1)
        self._gaps = gaps.to(dtype).T.unsqueeze(-1).unbind(0)
        self._roots = gaps.sqrt().to(dtype).T.unsqueeze(-1).unbind(0)
        shares = torch.arange(steps, device=knots.device) / steps
        times = torch.addcmul(knots[:, :-1, None], gaps[..., None], shares.to(knots)).flatten(1)
        self._times = times.to(dtype).T.unsqueeze(-1).unbind(0)
        self._last: tuple[Tensor, int, Tensor] | None = None
        if hasattr(sde, "u"):
            self.u = self._u

    def _at(self, s: Tensor) -> tuple[int, Tensor]:
        """Interval and time of a place; drift and diffusion of a step ask for the same one."""
        last = self._last
        if last is None or last[0] is not s:
            number = round(float(s) * self.steps)
            # Euler's method looks at the left ends of steps alone, so a knot belongs to the gap behind it
            interval, step = divmod(number, self.steps)
            self.sde.enter(interval, step / self.steps)
            last = self._last = (s, interval, self._times[number])
        return last[1], last[2]

    def f(self, s: Tensor, y: Tensor) -> Tensor:
        """Drift by s."""
        i, t = self._at(s)
        return self._gaps[i] * self.sde.f(t, y)

    def g(self, s: Tensor, y: Tensor) -> Tensor:
        """Diffusion by s."""
        i, t = self._at(s)
        return self._roots[i] * self.sde.g(t, y)

    def h(self, s: Tensor, y: Tensor) -> Tensor:
        """Prior drift by s."""
        i, t = self._at(s)
        value: Tensor = self._gaps[i] * self.sde.h(t, y)  # type: ignore[attr-defined]  # see KnotSDE
        return value

    def _u(self, s: Tensor, y: Tensor) -> Tensor:
        """The control by s, of the same divergence: √h_i dt is ds."""
        i, t = self._at(s)
        value: Tensor = self._roots[i] * self.sde.u(t, y)  # type: ignore[attr-defined]  # see KnotSDE
        return value


class PathNormals:
    """Standard normals of the steps of a solve, which follow from a seed and the number of a step alone.

    So padding, which adds steps behind all others, changes nothing. Where series share their noise a forecast
    does not depend on its batch either; of one series the draws are independent.

    Args:
        draws: Number of paths.
        batch: Series that share them, behind one another for each draw.
        like: The state, of draws · batch rows: size, device and dtype of the numbers.
        seed: Seed of the paths; drawn from torch's generator where None.
    """

    def __init__(self, draws: int, batch: int, like: Tensor, seed: int | None = None) -> None:
        self.shape, self.batch, self.like = (draws, 1, like.shape[1]), batch, like
        self.seed = int(torch.randint(2**53, ())) if seed is None else seed

    def normals(self, step: int) -> tuple[Tensor, None]:
        """Those of one step, shape (draws · batch, size)."""
        generator = torch.Generator().manual_seed(self.seed + STRIDE * step)
        z = torch.randn(self.shape, generator=generator)
        return z.expand(-1, self.batch, -1).flatten(0, 1).to(self.like), None

    def behind(self, steps: int) -> PathNormals:
        """Those of a solve that goes on where one of so many steps ended."""
        return PathNormals(self.shape[0], self.batch, self.like, self.seed + STRIDE * steps)


def solve_lockstep(
    sde: KnotSDE,
    knots: Tensor,
    y0: Tensor,
    steps: int = 1,
    gradient: Gradient = "backprop",
    noise: PathNormals | None = None,
) -> Solution:
    """States at all knots by the Euler–Maruyama method.

    Args:
        sde: The equation.
        knots: See `InPlaces`.
        y0: States at the first knots, shape (batch, d).
        steps: Steps in each gap.
        gradient: `backprop`, or `checkpoint`, which keeps one state for each step.
        noise: What to draw from; by default every series has a path of its own, from torch's generator.

    Returns:
        Solution with ys of shape (n, batch, d).
    """
    solver, equation, places = _posed(sde, knots, y0, steps, gradient)
    noise = noise or PathNormals(len(y0), 1, y0)
    return solver.solve(equation, y0, places, brownian=noise)  # type: ignore[arg-type]  # by steps


def solve_lockstep_logqp(
    sde: KnotSDE,
    knots: Tensor,
    y0: Tensor,
    steps: int = 1,
    gradient: Gradient = "backprop",
    noise: PathNormals | None = None,
) -> tuple[Solution, Tensor]:
    """The same of a posterior with a prior drift h, and its divergence ½∫|u|² dt, shape (batch,)."""
    noise = noise or PathNormals(len(y0), 1, y0)
    if gradient == "backprop" and hasattr(sde, "u"):
        solution, controls, h = _recorded(sde, knots, y0, steps, noise)
        return solution, 0.5 * (controls.square().sum(dim=2) * h).sum(dim=0)
    solver, equation, places = _posed(sde, knots, y0, steps, gradient)
    solution, divergence = solve_logqp(solver, equation, y0, places, brownian=noise)  # type: ignore[arg-type]
    return solution, divergence.sum(dim=0)


def solve_lockstep_logratio(
    sde: KnotSDE, knots: Tensor, y0: Tensor, steps: int = 1, noise: PathNormals | None = None
) -> tuple[Solution, Tensor]:
    """The same of a posterior with a control `u`, and log dQ/dP of the path itself, shape (batch,).

    ½∫|u|² dt + ∫u dW by Girsanov's theorem; of Euler's steps the ratio of their chains' densities, exactly.
    """
    noise = noise or PathNormals(len(y0), 1, y0)
    solution, controls, h = _recorded(sde, knots, y0, steps, noise)
    total = 0.5 * (controls.square().sum(dim=2) * h).sum(dim=0)
    for number, (u, root) in enumerate(zip(controls, h.sqrt(), strict=True)):
        total = total + (u * noise.normals(number)[0]).sum(dim=1) * root
    return solution, total


def _recorded(
    sde: KnotSDE, knots: Tensor, y0: Tensor, steps: int, noise: PathNormals
) -> tuple[Solution, Tensor, Tensor]:
    """A solve, the control of every step, (all steps, batch, d), and their lengths, (all steps, batch)."""
    solver, _, places = _posed(sde, knots, y0, steps, "backprop")
    equation = _Recorded(sde, knots, steps, y0.dtype)
    solution = solver.solve(equation, y0, places, brownian=noise)  # type: ignore[arg-type]  # by steps
    controls = torch.stack(equation.controls) if equation.controls else y0.new_zeros(0, *y0.shape)
    h = (knots.diff(dim=1) / steps).to(y0.dtype).T.repeat_interleave(steps, dim=0)
    return solution, controls, h


class _Recorded(InPlaces):
    """Keeps the control of every step; cheaper than its square as one more component of the state."""

    def __init__(self, sde: KnotSDE, knots: Tensor, steps: int, dtype: torch.dtype) -> None:
        super().__init__(sde, knots, steps, dtype)
        self.controls: list[Tensor] = []

    def f(self, s: Tensor, y: Tensor) -> Tensor:
        """Drift by s."""
        value = super().f(s, y)
        self.controls.append(self.sde.u(self._at(s)[1], y))  # type: ignore[attr-defined]  # see KnotSDE
        return value


def _posed(
    sde: KnotSDE, knots: Tensor, y0: Tensor, steps: int, gradient: Gradient
) -> tuple[EulerMaruyama, InPlaces, list[float]]:
    n = knots.shape[1]
    solver = EulerMaruyama(num_steps=steps * max(n - 1, 1), gradient=gradient)
    return solver, InPlaces(sde, knots, steps, y0.dtype), [float(i) for i in range(n)]
