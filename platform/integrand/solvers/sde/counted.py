"""An SDE as solvers call it: checked and counted."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from integrand.errors import SpecError

from ..accounts import CountedField
from ..errors import SolverOptionError
from ..solution import SolveStats
from .base import SDE


class CountedSDE:
    """Counts drift and diffusion evaluations, forward and backward.

    Args:
        sde: The equation.
        stats: The account to fill.
    """

    def __init__(self, sde: SDE, stats: SolveStats) -> None:
        self.sde, self.stats = sde, stats
        module = sde if isinstance(sde, nn.Module) else nn.Module()
        self.surroundings = CountedField(module, stats)
        self.in_backward = False
        self.diagonal = sde.noise_type == "diagonal"
        self._remembered: Tensor | None = None

    def recomputing(self) -> AbstractContextManager[None]:
        """The surroundings of a recomputation; see `CountedField.recomputing`."""
        return self.surroundings.recomputing()

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        """Evaluate the drift."""
        if self.in_backward:
            self.stats.nfe_backward += 1
            self.stats.vjps += 1
        else:
            self.stats.nfe_forward += 1
        return self.sde.f(t, y)

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        """Evaluate the diffusion."""
        if self._remembered is not None:
            value, self._remembered = self._remembered, None
            return value
        if self.in_backward:
            self.stats.nfe_diffusion_backward += 1
            self.stats.vjps += 1
        else:
            self.stats.nfe_diffusion += 1
        return self.sde.g(t, y)

    def noise_shape(self, t: Tensor, y: Tensor) -> tuple[int, ...]:
        """Shape of ΔW; the diffusion evaluated for it serves as the solver's first.

        Raises:
            SpecError: The diffusion does not have the shape that its noise type demands.
        """
        g = self._remembered = self.g(t, y)
        if self.diagonal:
            if g.shape != y.shape:
                raise SpecError(
                    f"diagonal noise of shape {tuple(g.shape)} for a state of shape {tuple(y.shape)}",
                    "return one entry for each component from g, or declare noise_type general",
                )
            return tuple(y.shape)
        if y.ndim != 2 or g.ndim != 3 or g.shape[:2] != y.shape:
            raise SpecError(
                f"{self.sde.noise_type} noise of shape {tuple(g.shape)}, state of shape {tuple(y.shape)}",
                "use a state (batch, d) and return (batch, d, m) from g",
            )
        return (len(y), g.shape[2])

    def add_noise(self, y: Tensor, g: Tensor, z: Tensor, scale: float) -> Tensor:
        """The state y + scale · g z, as a new tensor."""
        if self.diagonal:
            return torch.addcmul(y, g, z, value=scale)
        return torch.baddbmm(y.unsqueeze(-1), g, z.unsqueeze(-1), alpha=scale).squeeze(-1)


def check_types(name: str, sde: SDE, noise_types: tuple[str, ...], sde_types: tuple[str, ...]) -> None:
    """Refuse an equation that the method does not converge to.

    Raises:
        SolverOptionError: Undeclared or unsuitable noise_type or sde_type.
    """
    for what, allowed, remedy in (
        ("noise_type", noise_types, "use EulerMaruyama or StratonovichHeun, which take every noise type"),
        ("sde_type", sde_types, "EulerMaruyama, Milstein and SRK are Itô, Heun and Milstein Stratonovich"),
    ):
        value = getattr(sde, what, None)
        if value is None:
            raise SolverOptionError(f"{type(sde).__name__} declares no {what}", f"set {what} on the class")
        if value not in allowed:
            raise SolverOptionError(
                f"{name} takes {what} {' or '.join(allowed)}, but {type(sde).__name__} declares {value!r}",
                remedy,
            )
