"""An SDE as solvers call it: checked and counted."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from integrand.errors import SpecError

from ..accounts import CountedField
from ..aliasing import FirstEvaluations
from ..errors import MaxNFEError, SolverOptionError
from ..processes import collectives, refuse_collectives
from ..solution import SolveStats
from .base import SDE
from .brownian import Brownian


class CountedSDE:
    """Counts drift and diffusion evaluations, forward and backward, and checks their shapes.

    Scalar noise is handed on as diagonal noise whose components share one increment: g of shape (batch, d)
    and ΔW of shape (batch, 1).

    Args:
        sde: The equation.
        stats: The account to fill.
        max_nfe: Largest number of drift evaluations of the forward solve.
        uneven: Whether the number of evaluations follows from the data; see `CountedField`.
    """

    def __init__(self, sde: SDE, stats: SolveStats, max_nfe: int | None = None, uneven: bool = False) -> None:
        self.sde, self.stats = sde, stats
        module = sde if isinstance(sde, nn.Module) else nn.Module()
        self.surroundings = CountedField(module, stats)
        self.in_backward = False
        self.noise_type, self.sde_type = sde.noise_type, sde.sde_type
        self.elementwise = sde.noise_type in ("diagonal", "scalar")
        self.limit = math.inf if max_nfe is None else max_nfe
        self._known_f = self._known_g = False
        self._first_drift, self._first_diffusion = FirstEvaluations("drift"), FirstEvaluations("diffusion")
        self._begun = collectives() if uneven else None
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
            if self.stats.nfe_forward >= self.limit:
                raise MaxNFEError(
                    f"{self.stats.solver} used up max_nfe={self.limit} at t={t.item():.6g}",
                    "raise max_nfe, loosen rtol and atol, or take fixed steps",
                )
            self.stats.nfe_forward += 1
        first = self._first_drift
        f = self._searched(first.evaluate(self.sde.f, t, y) if first.left else self.sde.f(t, y), t, y)
        # the first evaluation tells: checks would cost as much as a small kernel
        return f if self._known_f else self._first_f(f, y)

    def _first_f(self, f: Tensor, y: Tensor) -> Tensor:
        if f.shape != y.shape:
            raise SpecError(
                f"the drift returned shape {tuple(f.shape)} for a state of shape {tuple(y.shape)}",
                "f(t, y) must return the shape of y",
            )
        self._known_f = f.dtype == y.dtype
        if self._begun is not None:
            refuse_collectives(self._begun, self.stats.solver)
        return f.to(y.dtype)

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        """Evaluate the diffusion; scalar noise comes back without its last dimension."""
        if self._remembered is not None:
            value, self._remembered = self._remembered, None
            return value
        if self.in_backward:
            self.stats.nfe_diffusion_backward += 1
            self.stats.vjps += 1
        else:
            self.stats.nfe_diffusion += 1
        first = self._first_diffusion
        g = self._searched(first.evaluate(self.sde.g, t, y) if first.left else self.sde.g(t, y), t, y)
        return g if self._known_g else self._first_g(g, y)

    def _searched(self, value: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """In the backward solve of an adjoint: tensors that would get no gradient are noted."""
        known = self.surroundings.known
        if known is not None and torch.is_grad_enabled():
            known.look_for_others((value,), (t, y), t.detach())
        return value

    def _first_g(self, g: Tensor, y: Tensor) -> Tensor:
        if self.noise_type == "diagonal":
            if g.shape != y.shape:
                raise SpecError(
                    f"diagonal noise of shape {tuple(g.shape)} for a state of shape {tuple(y.shape)}",
                    "return one entry for each component from g, or declare noise_type general",
                )
        elif y.ndim != 2 or g.ndim != 3 or g.shape[:2] != y.shape:
            raise SpecError(
                f"{self.noise_type} noise of shape {tuple(g.shape)}, state of shape {tuple(y.shape)}",
                "use a state (batch, d) and return (batch, d, m) from g",
            )
        elif self.noise_type == "scalar" and g.shape[2] != 1:
            raise SpecError(
                f"scalar noise of shape {tuple(g.shape)}: {g.shape[2]} Brownian motions",
                "return (batch, d, 1) from g, or declare noise_type general",
            )
        scalar = self.noise_type == "scalar"
        self._known_g = g.dtype == y.dtype and not scalar
        return (g.squeeze(-1) if scalar else g).to(y.dtype)

    def probe(self, t: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        """Values at the initial state whose graphs lead to everything that the equation depends on."""
        self.stats.nfe_forward += 1
        self.stats.nfe_diffusion += 1
        return self.sde.f(t, y), self.sde.g(t, y)

    def seen(self, brownian: Brownian) -> Brownian:
        """The path as the state needs it."""
        return brownian

    def noise_shape(self, t: Tensor, y: Tensor) -> tuple[int, ...]:
        """Shape of ΔW; where the diffusion is evaluated for it, that serves as the solver's first.

        Raises:
            SpecError: The diffusion does not have the shape that its noise type demands.
        """
        if self.noise_type == "diagonal":
            return tuple(y.shape)
        g = self._remembered = CountedSDE.g(self, t, y)
        return (len(y), 1 if self.elementwise else g.shape[2])

    def add_noise(self, y: Tensor, g: Tensor, dw: Tensor, scale: float = 1.0) -> Tensor:
        """The state y + scale · g ΔW, as a new tensor."""
        if self.elementwise:
            return torch.addcmul(y, g, dw, value=scale)
        return torch.baddbmm(y.unsqueeze(-1), g, dw.unsqueeze(-1), alpha=scale).squeeze(-1)


def check_types(name: str, sde: SDE, noise_types: tuple[str, ...], sde_types: tuple[str, ...]) -> None:
    """Refuse an equation that the method does not converge to.

    Raises:
        SolverOptionError: Undeclared or unsuitable noise_type or sde_type.
    """
    for what, allowed, remedy in (
        ("noise_type", noise_types, "use EulerMaruyama or StratonovichHeun, which take every noise type"),
        (
            "sde_type",
            sde_types,
            "EulerMaruyama, Milstein and SRK take Itô, Milstein and the others Stratonovich",
        ),
    ):
        value = getattr(sde, what, None)
        if value is None:
            raise SolverOptionError(f"{type(sde).__name__} declares no {what}", f"set {what} on the class")
        if value not in allowed:
            raise SolverOptionError(
                f"{name} takes {what} {' or '.join(allowed)}, but {type(sde).__name__} declares {value!r}",
                remedy,
            )
