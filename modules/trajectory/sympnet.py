"""SympNet: a learned symplectic map (Jin et al. 2020)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from integrand.errors import UsageError
from integrand.series import Series
from integrand.solvers import SolveStats
from integrand.spec import Forecast, Spec

from ..series.base import Said, SeriesFamily
from .mechanics import degrees_of_freedom


class Shear(nn.Module):
    """One half of the state moves by a gradient at the other half: p += h ∇V(q), or q += h ∇K(p).

    A function with a symmetric Jacobian is a gradient, and such a step is symplectic at any weights.
    """

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """The gradient at one half of the state, from (batch, d) to (batch, d)."""


class GradientShear(Shear):
    """K diag(a) σ(Kᵀx + b), σ the logistic function (eq. 13).

    The paper draws all weights from N(0, 0.01²), so that 50,000 steps of training follow; here K starts as a
    linear layer does, and a so that the map starts near the identity.

    Args:
        d: Degrees of freedom.
        width: Columns of K.
    """

    def __init__(self, d: int, width: int) -> None:
        super().__init__()
        self.k = nn.Parameter(torch.randn(d, width) / d**0.5)
        self.a = nn.Parameter(0.01 * torch.randn(width))
        self.b = nn.Parameter(torch.randn(width))

    def forward(self, x: Tensor) -> Tensor:
        """See `Shear.forward`."""
        return (self.a * torch.sigmoid(x @ self.k + self.b)) @ self.k.mT


class LinearShear(Shear):
    """(S + Sᵀ) x + b (eq. 9).

    Args:
        d: Degrees of freedom.
    """

    def __init__(self, d: int) -> None:
        super().__init__()
        self.s = nn.Parameter(0.01 * torch.randn(d, d))
        self.b = nn.Parameter(torch.zeros(d))

    def forward(self, x: Tensor) -> Tensor:
        """See `Shear.forward`."""
        return x @ (self.s + self.s.mT) + self.b


class ActivationShear(Shear):
    """a ⊙ σ(x), σ the logistic function (eq. 11).

    Args:
        d: Degrees of freedom.
    """

    def __init__(self, d: int) -> None:
        super().__init__()
        self.a = nn.Parameter(0.01 * torch.randn(d))

    def forward(self, x: Tensor) -> Tensor:
        """See `Shear.forward`."""
        return self.a * torch.sigmoid(x)


class SymplecticMap(nn.Module):
    """Φ_h: shears one after the other, p first, then q and p in turn; Φ_0 is the identity.

    Args:
        shears: One or more.
    """

    def __init__(self, shears: Sequence[Shear]) -> None:
        super().__init__()
        self.shears = nn.ModuleList(shears)

    def forward(self, y: Tensor, h: Tensor) -> Tensor:
        """The state after time h.

        Args:
            y: [q; p], shape (batch, 2d).
            h: Shape (batch, 1).
        """
        q, p = y.chunk(2, dim=1)
        for i, shear in enumerate(self.shears):
            p, q = (p, q + h * shear(p)) if i % 2 else (p + h * shear(q), q)
        return torch.cat([q, p], dim=1)

    def inverse(self, y: Tensor, h: Tensor) -> Tensor:
        """The state time h before: the shears undone in reverse order."""
        q, p = y.chunk(2, dim=1)
        for i, shear in reversed(list(enumerate(self.shears))):
            p, q = (p, q - h * shear(p)) if i % 2 else (p - h * shear(q), q)
        return torch.cat([q, p], dim=1)


def gradient_map(d: int, layers: int, width: int) -> SymplecticMap:
    """G-SympNet: gradient shears alone."""
    return SymplecticMap([GradientShear(d, width) for _ in range(layers)])


def linear_activation_map(d: int, layers: int, sublayers: int) -> SymplecticMap:
    """LA-SympNet: linear maps of `sublayers` shears with an activation between two of them."""
    shears: list[Shear] = []
    for layer in range(layers):
        if layer:
            shears.append(ActivationShear(d))
        shears += [LinearShear(d) for _ in range(sublayers)]
    return SymplecticMap(shears)


class SympNet(SeriesFamily):
    """Learned symplectic map of one step, applied again and again: there is no equation and no solver.

    The channels are coordinates q and behind them as many momenta p; the map starts at the last observation.
    A gap of the query is divided into equal steps near `step`. Maps of different h are no powers of each
    other, so that forecasts are best on the gaps of training.

    Args:
        spec: What the data set publishes; the command line fills it in.
        kind: `gradient`, or `linear-activation`, which costs less for many degrees of freedom.
        layers: Shears of a gradient map, or linear maps of the other.
        width: Hidden width of a gradient shear.
        sublayers: Shears of a linear map.
        step: Step h in units of the data's times; their median gap where omitted.
        **kwargs: See `SeriesFamily`.

    Raises:
        UsageError: A size or the step is not positive, the channels are not coordinates and as many momenta,
            or some of the last observation may be missing.
    """

    family = "sympnet"
    title = "SympNet"
    group = "trajectory"
    equation = "y(t + h) = Φ_h(y(t)), Φ_h shears p += h ∇V(q; θ), q += h ∇K(p; θ) in turn"
    reference = "Jin et al. 2020, SympNets: Intrinsic structure-preserving symplectic networks, eq. 9 to 13"
    answers = (Forecast,)

    def __init__(
        self,
        spec: Spec,
        kind: Literal["gradient", "linear-activation"] = "gradient",
        layers: int = 6,
        width: int = 32,
        sublayers: int = 2,
        step: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(spec, 1, **kwargs)
        if min(layers, width, sublayers) < 1 or (step is not None and not step > 0):
            raise UsageError(
                f"layers={layers}, width={width}, sublayers={sublayers}, step={step} make no map",
                "give positive numbers",
            )
        if self.spec.missing:
            raise UsageError(
                f"{self.spec.name} may lack some channels of the state that SympNet starts from",
                "take a family that reads the series: integrand families",
            )
        d = degrees_of_freedom(self.spec.channels, "momenta")
        self.step_size = self.spec.step if step is None else step
        self.map = (
            gradient_map(d, layers, width)
            if kind == "gradient"
            else linear_activation_map(d, layers, sublayers)
        )

    def make_head(self, width: int) -> nn.Module:
        """None: the state is what is observed."""
        return nn.Identity()

    def residuals(self) -> list[nn.Module]:
        """The shears."""
        return list(self.map.shears)

    def forecast(self, x: Series, times: Tensor) -> Said:
        """See `SeriesFamily.forecast`; every shear of every step is an evaluation.

        Raises:
            UsageError: No time is asked for: a map has no derivative in time to learn from.
        """
        if not times.shape[1]:
            raise UsageError("SympNet learns a map, not a derivative", "set data.learn to values")
        stats = SolveStats(solver=f"map h={self.step_size:g}", accepted=0, rejected=0)
        y = x.last
        gaps = torch.cat([x.end[:, None], times], dim=1).diff(dim=1)
        steps = (gaps / self.step_size).round().clamp(min=1)
        said = []
        for gap, number in zip(gaps.unbind(1), steps.unbind(1), strict=True):
            for k in range(int(number.max())):
                # a sample that has arrived waits: the map of h = 0 is the identity
                h = torch.where(k < number, gap / number, 0.0).to(y.dtype)[:, None]
                y = self._advance(y, h, stats)
            said.append(y)
        return torch.stack(said, dim=1), [stats]

    def _advance(self, y: Tensor, h: Tensor, stats: SolveStats) -> Tensor:
        number = len(self.map.shears)
        stats.nfe_forward += number
        stats.accepted = (stats.accepted or 0) + 1
        y = self.map(y, h)

        def differentiated(_: Tensor) -> None:
            stats.vjps += number

        if y.requires_grad:
            y.register_hook(differentiated)  # type: ignore[no-untyped-call]  # torch
        return y
