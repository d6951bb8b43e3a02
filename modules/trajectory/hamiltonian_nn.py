"""Hamiltonian neural network (Greydanus et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from integrand.solvers import ODESolver
from integrand.spec import Spec

from ..bench import Stage
from ..continuous.ode import DEFAULT_SOLVER, ODEDynamics
from .mechanics import Energy, EnergyFamily, degrees_of_freedom, gradient


class HamiltonianField(nn.Module):
    """q̇ = ∂H/∂p, ṗ = −∂H/∂q (eq. 3): H is constant along solutions and the flow keeps volumes.

    Args:
        hamiltonian: H, called as `hamiltonian(t, y)` with y = [q; p] of shape (batch, 2d); one number for
            each sample, shape (batch, 1).
    """

    def __init__(self, hamiltonian: nn.Module) -> None:
        super().__init__()
        self.hamiltonian = hamiltonian

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Evaluate at the scalar t and y = [q; p], shape (batch, 2d)."""
        by_q, by_p = gradient(lambda x: self.hamiltonian(t, x), y).chunk(2, dim=1)
        return torch.cat([by_p, -by_q], dim=1)


class HamiltonianNN(EnergyFamily):
    """Trajectories of a learned energy: the network is H, its gradient turned by a quarter is the field.

    The channels are coordinates q and behind them as many momenta p, in units in which they belong together:
    scales of their own for single channels would keep the form for one degree of freedom only.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Channels of the state [q; p], by default those of the data.
        solver: What integrates the field; `ImplicitMidpoint` bounds the error of the energy.
        t1: End of the interval [0, t1] of a pass without times.
        angles: Channels that are angles in radians, from 0; H sees their cosine and sine.
        time_dependent: Whether H depends on t, and is then not constant; by default where the law may change.
        **kwargs: See `BenchFamily`.
    """

    family = "hamiltonian-nn"
    title = "Hamiltonian neural network"
    equation = "q̇ = ∂H/∂p, ṗ = −∂H/∂q, H = H(q, p; θ)"
    reference = "Greydanus et al. 2019, Hamiltonian Neural Networks, eq. 3"

    def __init__(
        self,
        spec: Spec,
        channels: int | None = None,
        solver: ODESolver = DEFAULT_SOLVER,
        t1: float = 1.0,
        angles: Sequence[int] = (),
        time_dependent: bool | None = None,
        **kwargs: Any,
    ) -> None:
        def make(stage: Stage) -> ODEDynamics:
            degrees_of_freedom(stage.channels, "momenta")
            energy = Energy(stage.field, stage.channels, angles, time_dependent)
            return ODEDynamics(HamiltonianField(energy), solver, t1, stage.channels)

        super().__init__(spec, make, channels=channels, **kwargs)
