"""Neural ODE with kinetic and Jacobian regularisation (Finlay et al. 2020)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from integrand.solvers import ODESolver, SolveStats
from integrand.spec import Spec

from ..bench import BenchFamily, Stage
from .ode import DEFAULT_SOLVER
from .regularized import RegularizedDynamics, count_differentiation, take_terms


def signs(y: Tensor) -> Tensor:
    """Rademacher noise ε of y's shape, so that E‖εᵀJ‖² = ‖J‖²_F, with less variance than Gaussian noise."""
    return torch.randint_like(y, 2).mul_(2).sub_(1)


def kinetic_and_jacobian(
    field: nn.Module, t: Tensor, y: Tensor, noise: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """‖f‖² and ‖εᵀ∂f/∂y‖², both per dimension and averaged over the batch.

    Args:
        field: Module called as `field(t, y)`.
        t: Time, 0-d.
        y: State, shape (batch, ...).
        noise: ε of y's shape; without it only the first is computed.

    Returns:
        Two 0-d tensors; the second is None without noise.
    """
    if noise is None:
        return field(t, y).square().mean(), None
    if not y.requires_grad:
        y = y.detach().requires_grad_()
    f = field(t, y)
    (product,) = torch.autograd.grad(f, y, noise, create_graph=True)
    return f.square().mean(), product.square().mean()


class KineticJacobianDynamics(RegularizedDynamics):
    """Integrates λ_K‖f‖² and λ_J‖εᵀ∂f/∂h‖² along the trajectory, with one ε for the whole solve.

    A node costs one evaluation; the Jacobian term one more product εᵀ∂f/∂h. Noise drawn anew at every node
    would be unbiased too, but would make the integrand rough.
    """

    def integrand(self, nodes: list[tuple[Tensor, Tensor]], stats: SolveStats) -> dict[str, list[Tensor]]:
        """Both terms at every node; see `RegularizedDynamics.integrand`."""
        wanted = [name for name, weight in self.weights.items() if weight]
        noise = signs(nodes[0][1]) if "jacobian" in wanted else None
        values: dict[str, list[Tensor]] = {name: [] for name in wanted}
        for t, y in nodes:
            kinetic, jacobian = kinetic_and_jacobian(self.field, t, y, noise)
            stats.nfe_forward += 1
            if "kinetic" in wanted:
                values["kinetic"].append(kinetic)
                count_differentiation(kinetic, stats, 1)
            if jacobian is not None:
                values["jacobian"].append(jacobian)
                stats.vjps += 1
                count_differentiation(jacobian, stats, 1)
        return values


class RNODE(BenchFamily):
    """Neural ODE pressed towards straight paths at constant speed, which solvers cross in few steps.

    Adds λ_K ∫‖f‖² dt + λ_J ∫‖εᵀ∂f/∂h‖² dt to the training loss, both divided by the dimension of the state,
    as in the authors' code, so that the weights keep their meaning across sizes. By Cauchy and Schwarz the
    first integral is at least ‖h(t1) − h(0)‖²/t1, with equality for straight lines at constant speed.
    Evaluation is the neural ODE. How the integrals are computed: `RegularizedDynamics`.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Channels of the hidden state; by default 32, or those of the state that is observed.
        kinetic: Weight λ_K of the kinetic energy, 0 or more.
        jacobian: Weight λ_J of the Jacobian's squared Frobenius norm, 0 or more.
        intervals: Even number of intervals of the quadrature.
        solver: What integrates the field.
        t1: End of the interval [0, t1].
        time_dependent: Whether the field sees t as a further channel; by default where the law may change.
        **kwargs: See `BenchFamily`.
    """

    family = "rnode"
    title = "Neural ODE with kinetic and Jacobian regularisation"
    group = "continuous"
    equation = "ḣ = f(h, t; θ); loss + λ_K ∫‖f‖² dt + λ_J ∫‖εᵀ∂f/∂h‖² dt"
    reference = "Finlay et al. 2020, How to Train Your Neural ODE"
    uses_solver = True

    def __init__(
        self,
        spec: Spec,
        channels: int | None = None,
        kinetic: float = 0.01,
        jacobian: float = 0.01,
        intervals: int = 4,
        solver: ODESolver = DEFAULT_SOLVER,
        t1: float = 1.0,
        time_dependent: bool | None = None,
        **kwargs: Any,
    ) -> None:
        weights = {"kinetic": kinetic, "jacobian": jacobian}

        def make(stage: Stage) -> KineticJacobianDynamics:
            field = stage.field(stage.channels, time_dependent=time_dependent)
            return KineticJacobianDynamics(field, solver, t1, stage.channels, weights, intervals)

        super().__init__(spec, make, channels=channels, **kwargs)

    def penalty(self) -> dict[str, Tensor]:
        """The two terms of the last training solve."""
        return take_terms(self.net.dynamics)
