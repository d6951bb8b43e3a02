"""Fields on a periodic grid: heat, Burgers, Kuramoto–Sivashinsky. Each grid point is a channel."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from integrand.errors import UsageError
from integrand.spec import SeriesSpec

from .base import SystemDataModule
from .cards import BURGERS, HEAT, KURAMOTO_SIVASHINSKY
from .generate import Array


class FieldDataModule(SystemDataModule):
    """u_t = F(u) on a periodic interval, by Fourier collocation.

    Starts are sums of the first waves with normal amplitudes.

    Args:
        grid: Number of grid points, even, 8 or more.
        waves: Highest wave number of a start.
        trajectories: Trajectories of the training split.
        points: Observations of a training trajectory.
        **kwargs: See `SystemDataModule`.

    Raises:
        UsageError: The grid is odd or too coarse for the waves.
    """

    length: float = 2 * np.pi

    def __init__(
        self, grid: int = 64, waves: int = 3, trajectories: int = 20, points: int = 51, **kwargs: Any
    ) -> None:
        if grid < 8 or grid % 2 or not 1 <= waves < grid // 2:
            raise UsageError(f"grid={grid}, waves={waves}", "give an even grid above twice the waves")
        self.grid, self.waves = grid, waves
        super().__init__(trajectories=trajectories, points=points, **kwargs)

    @property
    def published(self) -> SeriesSpec:
        """As many channels as grid points."""
        return replace(super().published, channels=self.grid, names=())

    @property
    def k(self) -> Array:
        """Wave numbers of the real Fourier transform."""
        found: Array = 2 * np.pi / self.length * np.arange(self.grid // 2 + 1, dtype=np.float64)
        return found

    def transform(self, u: Array) -> npt.NDArray[np.complex128]:
        """Fourier coefficients of fields (…, grid)."""
        return np.fft.rfft(u, axis=-1)

    def back(self, c: npt.NDArray[np.complex128]) -> Array:
        """Fields from their coefficients."""
        field: Array = np.fft.irfft(c, n=self.grid, axis=-1)
        return field

    def slope(self, u: Array) -> Array:
        """u_x; the highest wave has none on the grid."""
        factor = 1j * self.k
        factor[-1] = 0
        return self.back(factor * self.transform(u))

    def start(self, rng: np.random.Generator, n: int) -> Array:
        """See `SystemDataModule.start`."""
        x = np.arange(self.grid) / self.grid
        u = np.zeros((n, self.grid))
        for wave in range(1, self.waves + 1):
            a, b = rng.standard_normal((2, n, 1)) / self.waves
            u += a * np.sin(2 * np.pi * wave * x) + b * np.cos(2 * np.pi * wave * x)
        return u

    def settings(self) -> dict[str, Any]:
        """See `SystemDataModule.settings`."""
        return {"grid": self.grid, "waves": self.waves}

    @abstractmethod
    def rhs(self, t: float, x: Array) -> Array:
        """See `SystemDataModule.rhs`."""


class Heat(FieldDataModule):
    """u_t = κ u_xx: every wave decays by exp(−κk²t), exactly.

    Args:
        kappa: κ, positive.
        **kwargs: See `FieldDataModule`.
    """

    card = HEAT
    span = 1.0

    def __init__(self, kappa: float = 0.2, **kwargs: Any) -> None:
        self.kappa = kappa
        super().__init__(**kwargs)

    def rhs(self, t: float, x: Array) -> Array:
        """See `SystemDataModule.rhs`."""
        return self.back(-self.kappa * self.k**2 * self.transform(x))

    def solve(self, starts: Array, times: Array) -> Array:
        """In closed form."""
        decay = np.exp(-self.kappa * self.k**2 * (times - times[0])[:, None])
        return self.back(decay * self.transform(starts)[:, None])

    def settings(self) -> dict[str, Any]:
        """See `SystemDataModule.settings`."""
        return {**super().settings(), "kappa": self.kappa}


class Burgers(FieldDataModule):
    """u_t + u u_x = ν u_xx (Burgers 1948): waves steepen until viscosity holds them.

    Args:
        nu: ν, positive; shocks thinner than the grid are not resolved.
        **kwargs: See `FieldDataModule`.
    """

    card = BURGERS
    span = 2.0

    def __init__(self, nu: float = 0.1, **kwargs: Any) -> None:
        self.nu = nu
        super().__init__(**kwargs)

    def rhs(self, t: float, x: Array) -> Array:
        """See `SystemDataModule.rhs`; the transported square is cut at two thirds of the waves."""
        squared = self.transform(x**2 / 2) * (np.arange(len(self.k)) <= self.grid // 3)
        return self.back(-1j * self.k * squared - self.nu * self.k**2 * self.transform(x))

    def settings(self) -> dict[str, Any]:
        """See `SystemDataModule.settings`."""
        return {**super().settings(), "nu": self.nu}


class KuramotoSivashinsky(FieldDataModule):
    """u_t + u u_x + u_xx + u_xxxx = 0 on [0, 22) (Kuramoto 1978, Sivashinsky 1977): spatiotemporal chaos.

    Stiff by its fourth derivative: integrated by exponential Runge–Kutta of order four (Kassam & Trefethen
    2005) in steps of `step` at most; starts have run onto the attractor.

    Args:
        step: Longest step in units of t.
        **kwargs: See `FieldDataModule`.
    """

    card = KURAMOTO_SIVASHINSKY
    span = 20.0
    length = 22.0
    warm_up = 100.0

    def __init__(self, step: float = 0.0625, **kwargs: Any) -> None:
        self.step = step
        super().__init__(**kwargs)

    def linear(self) -> Array:
        """k² − k⁴."""
        return self.k**2 - self.k**4

    def nonlinear(self, c: npt.NDArray[np.complex128]) -> npt.NDArray[np.complex128]:
        """−½ik times the transform of u², without aliasing."""
        squared = self.transform(self.back(c) ** 2)
        cut: npt.NDArray[np.complex128] = (
            -0.5j * self.k * squared * (np.arange(len(self.k)) <= self.grid // 3)
        )
        return cut

    def rhs(self, t: float, x: Array) -> Array:
        """See `SystemDataModule.rhs`."""
        c = self.transform(x)
        return self.back(self.linear() * c + self.nonlinear(c))

    def start(self, rng: np.random.Generator, n: int) -> Array:
        """See `SystemDataModule.start`."""
        onto: Array = self.solve(super().start(rng, n), np.array([0.0, self.warm_up]))[:, -1]
        return onto

    def solve(self, starts: Array, times: Array) -> Array:
        """By the exponential scheme, in equal steps between observations."""
        c = self.transform(starts)
        seen = [starts]
        made: dict[float, Etdrk4] = {}
        for gap in np.diff(times):
            steps = max(1, int(np.ceil(gap / self.step - 1e-9)))
            h = round(float(gap / steps), 12)
            scheme = made.setdefault(h, Etdrk4(self.linear(), h))
            for _ in range(steps):
                c = scheme(c, self.nonlinear)
            seen.append(self.back(c))
        return np.stack(seen, axis=1)

    def lyapunov(self) -> float:
        """0.043 for a period of 22 (Edson, Bunder, Mattner & Roberts 2019)."""
        return 0.043

    def settings(self) -> dict[str, Any]:
        """See `SystemDataModule.settings`."""
        return {**super().settings(), "step": self.step}


class Etdrk4:
    """A step of c' = Lc + N(c) (Cox & Matthews 2002, eqs. 26–29; by the contour of Kassam & Trefethen 2005).

    Args:
        linear: L, real, shape (waves,).
        h: Step size.
    """

    def __init__(self, linear: Array, h: float) -> None:
        z = h * linear
        circle = z[:, None] + np.exp(1j * np.pi * (np.arange(32) + 0.5) / 32)
        e = np.exp(circle)
        self.half, self.whole = np.exp(z / 2), np.exp(z)
        self.q = h * ((np.exp(circle / 2) - 1) / circle).mean(axis=1).real
        self.a = h * ((-4 - circle + e * (4 - 3 * circle + circle**2)) / circle**3).mean(axis=1).real
        self.b = h * ((2 + circle + e * (circle - 2)) / circle**3).mean(axis=1).real
        self.c = h * ((-4 - 3 * circle - circle**2 + e * (4 - circle)) / circle**3).mean(axis=1).real

    def __call__(self, x: Any, nonlinear: Any) -> Any:
        """The coefficients a step later."""
        n0 = nonlinear(x)
        a = self.half * x + self.q * n0
        n1 = nonlinear(a)
        b = self.half * x + self.q * n1
        n2 = nonlinear(b)
        c = self.half * a + self.q * (2 * n2 - n0)
        n3 = nonlinear(c)
        return self.whole * x + self.a * n0 + 2 * self.b * (n1 + n2) + self.c * n3
