"""Port-Hamiltonian neural network: dissipative SymODEN (Zhong et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from integrand.errors import UsageError
from integrand.solvers import ODESolver
from integrand.spec import Spec

from ..bench import Stage
from ..continuous.ode import DEFAULT_SOLVER, ODEDynamics
from .mechanics import Energy, EnergyFamily, OnCircles, degrees_of_freedom, gradient


class PortHamiltonianField(nn.Module):
    """ẋ = (J − R(q)) ∇H + G(q) u with R = L Lᵀ on the momenta, for the state [q; p; u] with u̇ = 0.

    Its power balance is Ḣ = −∇HᵀR∇H + uᵀGᵀ∇H: energy is lost by R alone, and comes in by u alone.

    Args:
        hamiltonian: H, called as `hamiltonian(t, [q; p])`, one number for each sample.
        damping: The lower triangle of L row by row, called as `damping(t, q)`, d (d + 1) / 2 numbers; None
            for R = 0.
        ports: G, called as `ports(t, q)`, d · m numbers; None for m = 0.
        inputs: Number m of inputs u, the last channels of the state.
    """

    def __init__(
        self, hamiltonian: nn.Module, damping: nn.Module | None, ports: nn.Module | None, inputs: int = 0
    ) -> None:
        super().__init__()
        self.hamiltonian, self.damping, self.ports, self.inputs = hamiltonian, damping, ports, inputs

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Evaluate at the scalar t and y = [q; p; u], shape (batch, 2d + m)."""
        x, u = y[:, : y.shape[1] - self.inputs], y[:, y.shape[1] - self.inputs :]
        q, _ = x.chunk(2, dim=1)
        by_q, by_p = gradient(lambda z: self.hamiltonian(t, z), x).chunk(2, dim=1)
        force = -by_q
        if self.damping is not None:
            force = force - torch.einsum("bij,bj->bi", self.dissipation(t, q), by_p)
        if self.ports is not None:
            force = force + torch.einsum("bij,bj->bi", self.port(t, q), u)
        return torch.cat([by_p, force, torch.zeros_like(u)], dim=1)

    def dissipation(self, t: Tensor, q: Tensor) -> Tensor:
        """R on the momenta, symmetric and not negative, shape (batch, d, d)."""
        assert self.damping is not None
        d = q.shape[1]
        rows, columns = torch.tril_indices(d, d, device=q.device)
        entries: Tensor = self.damping(t, q)
        root = torch.zeros(len(q), d, d, dtype=entries.dtype, device=q.device)
        root = root.index_put((torch.arange(len(q), device=q.device)[:, None], rows, columns), entries)
        return root @ root.mT

    def port(self, t: Tensor, q: Tensor) -> Tensor:
        """G on the momenta, shape (batch, d, m)."""
        assert self.ports is not None
        entries: Tensor = self.ports(t, q)
        return entries.view(len(q), q.shape[1], self.inputs)


class PortHamiltonianNN(EnergyFamily):
    """Trajectories of a learned energy that is lost by friction and comes in by inputs.

    Without friction and inputs it is the Hamiltonian neural network. Where the momenta of the data are those
    of the energy up to a factor, H is known up to that factor only: compare fields, not energies.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Channels of the state [q; p; u], by default those of the data.
        solver: What integrates the field.
        t1: End of the interval [0, t1] of a pass without times.
        angles: Channels of q that are angles in radians, from 0; the networks see their cosine and sine.
        dissipative: Whether there is friction, R ≠ 0.
        inputs: Number of inputs u, the last channels of the data, constant along a series.
        **kwargs: See `BenchFamily`.

    Raises:
        UsageError: The channels do not hold as many coordinates as momenta beside the inputs, or a channel of
            `angles` is no coordinate.
    """

    family = "port-hamiltonian-nn"
    title = "Port-Hamiltonian neural network (dissipative SymODEN)"
    equation = "ẋ = (J − R(q)) ∇H + G(q) u, R = L Lᵀ on p, H = H(q, p; θ)"
    reference = "Zhong et al. 2020, Dissipative SymODEN, eq. 6; Symplectic ODE-Net, 2020"

    def __init__(
        self,
        spec: Spec,
        channels: int | None = None,
        solver: ODESolver = DEFAULT_SOLVER,
        t1: float = 1.0,
        angles: Sequence[int] = (),
        dissipative: bool = True,
        inputs: int = 0,
        **kwargs: Any,
    ) -> None:
        if inputs < 0:
            raise UsageError(f"inputs must be 0 or more, got {inputs}", "set model.inputs")

        def make(stage: Stage) -> ODEDynamics:
            d = degrees_of_freedom(stage.channels - inputs, "momenta")

            def of_q(numbers: int) -> nn.Module:
                return OnCircles(stage.field, d, numbers, angles)

            field = PortHamiltonianField(
                Energy(stage.field, 2 * d, angles),
                of_q(d * (d + 1) // 2) if dissipative else None,
                of_q(d * inputs) if inputs else None,
                inputs,
            )
            return ODEDynamics(field, solver, t1, stage.channels)

        super().__init__(spec, make, channels=channels, **kwargs)
