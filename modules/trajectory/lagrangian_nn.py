"""Lagrangian neural network (Cranmer et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from integrand.solvers import ODESolver
from integrand.spec import Spec

from ..bench import Stage
from ..continuous.ode import DEFAULT_SOLVER, ODEDynamics
from .mechanics import Energy, EnergyFamily, degrees_of_freedom, gradient

Inverse = Literal["pinv", "solve"]
"""How q̈ is got from the Euler–Lagrange equation."""


class LagrangianField(nn.Module):
    """q̈ = (∇_q̇∇_q̇ᵀL)⁺ (∇_qL − (∇_q∇_q̇ᵀL) q̇) (eq. 6), as a first-order system of [q; q̇].

    Args:
        lagrangian: L, called as `lagrangian(t, y)` with y = [q; q̇] of shape (batch, 2d), one number for each
            sample, shape (batch, 1).
        inverse: `pinv`, the paper's, is there for every mass matrix ∇_q̇∇_q̇ᵀL; `solve` is faster, and fails
            on a singular one.
    """

    def __init__(self, lagrangian: nn.Module, inverse: Inverse = "pinv") -> None:
        super().__init__()
        self.lagrangian = lagrangian
        self.inverse = inverse

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Evaluate at the scalar t and y = [q; q̇], shape (batch, 2d)."""
        _, velocity = y.chunk(2, dim=1)

        slope, pull, *_ = torch.func.vjp(lambda x: gradient(lambda z: self.lagrangian(t, z), x), y)
        # L's second derivatives are symmetric, so that pulling back a direction is going along it
        second = torch.func.vmap(lambda direction: pull(direction)[0])(self._directions(y))
        # rows of the mass matrix, and last the change of ∇_q̇L as q moves on
        changes = second.chunk(2, dim=2)[1]
        mass, drift = changes[:-1].permute(1, 0, 2), changes[-1]
        force = slope.chunk(2, dim=1)[0] - drift
        if self.inverse == "pinv":
            acceleration = torch.einsum("bij,bj->bi", torch.linalg.pinv(mass, hermitian=True), force)
        else:
            acceleration = torch.linalg.solve(mass, force)
        return torch.cat([velocity, acceleration], dim=1)

    @staticmethod
    def _directions(y: Tensor) -> Tensor:
        """The d unit vectors of q̇, then [q̇; 0], shape (d + 1, batch, 2d)."""
        d = y.shape[1] // 2
        units = torch.eye(2 * d, dtype=y.dtype, device=y.device)[d:, None].expand(d, *y.shape)
        onward = torch.cat([y[:, d:], torch.zeros_like(y[:, d:])], dim=1)
        return torch.cat([units, onward[None]])


class UnitMass(nn.Module):
    """½‖q̇‖² + f(t, [q; q̇]): any Lagrangian still, and its mass matrix starts near the identity.

    The mass matrix of a network that has learned nothing is near singular somewhere, and the equation there
    so stiff that no solver comes through.

    Args:
        f: Called as `f(t, y)`, one number for each sample.
    """

    def __init__(self, f: nn.Module) -> None:
        super().__init__()
        self.f = f

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """From (batch, 2d) to (batch, 1)."""
        velocity = y.chunk(2, dim=1)[1]
        value: Tensor = self.f(t, y) + velocity.square().sum(dim=1, keepdim=True) / 2
        return value


class LagrangianNN(EnergyFamily):
    """Trajectories of a learned Lagrangian: no canonical momenta are needed, only coordinates and velocities.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Channels of the state [q; q̇], by default those of the data.
        solver: What integrates the field.
        t1: End of the interval [0, t1] of a pass without times.
        angles: Channels that are angles in radians, from 0; L sees their cosine and sine.
        unit_mass: Whether ½‖q̇‖² is part of L; see `UnitMass`. The paper trains without, on accelerations.
        inverse: See `LagrangianField`.
        **kwargs: See `BenchFamily`.
    """

    family = "lagrangian-nn"
    title = "Lagrangian neural network"
    equation = "q̈ = (∇_q̇∇_q̇ᵀL)⁺ (∇_qL − (∇_q∇_q̇ᵀL) q̇), L = L(q, q̇; θ)"
    reference = "Cranmer et al. 2020, Lagrangian Neural Networks, eq. 6"

    def __init__(
        self,
        spec: Spec,
        channels: int | None = None,
        solver: ODESolver = DEFAULT_SOLVER,
        t1: float = 1.0,
        angles: Sequence[int] = (),
        unit_mass: bool = True,
        inverse: Inverse = "pinv",
        **kwargs: Any,
    ) -> None:
        def make(stage: Stage) -> ODEDynamics:
            degrees_of_freedom(stage.channels, "velocities")
            lagrangian: nn.Module = Energy(stage.field, stage.channels, angles)
            if unit_mass:
                lagrangian = UnitMass(lagrangian)
            return ODEDynamics(LagrangianField(lagrangian, inverse), solver, t1, stage.channels)

        super().__init__(spec, make, channels=channels, **kwargs)
