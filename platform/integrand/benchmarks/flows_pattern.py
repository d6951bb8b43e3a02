"""The pattern of torchdiffeq's example `cnf.py`: state in a tuple, trace by autograd, adjoint."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torchdiffeq import odeint_adjoint


class PatternField(nn.Module):
    """(x, log p) ↦ (f, −tr ∂f/∂x) with one `autograd.grad` and one graph for each dimension.

    Args:
        net: The field f(t, x).
        probe: ε, shape of x: the trace is then estimated by one product εᵀ∂f/∂x instead.
    """

    def __init__(self, net: nn.Module, probe: Tensor | None = None) -> None:
        super().__init__()
        self.net = net
        self.probe = probe
        self.calls = 0

    def forward(self, t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Evaluate, whatever the mode, with a graph for the trace."""
        self.calls += 1
        x = state[0]
        with torch.set_grad_enabled(True):
            x.requires_grad_(True)
            f = self.net(t, x)
            if self.probe is None:
                trace = x.new_zeros(len(x))
                for i in range(x.shape[1]):
                    (row,) = torch.autograd.grad(f[:, i].sum(), x, create_graph=True)
                    trace = trace + row[:, i]
            else:
                (product,) = torch.autograd.grad(f, x, self.probe, create_graph=True)
                trace = (product * self.probe).sum(dim=1)
        return f, -trace.unsqueeze(1)


def pattern_log_prob(field: PatternField, x: Tensor, tol: float) -> Tensor:
    """Log p(x) in nats by torchdiffeq's dopri5 and adjoint, shape (batch,).

    Args:
        field: The field.
        x: Data, shape (batch, d).
        tol: rtol and atol.
    """
    times = torch.tensor([1.0, 0.0])
    z, change = odeint_adjoint(
        field,
        (x, x.new_zeros(len(x), 1)),
        times,
        rtol=tol,
        atol=tol,
        method="dopri5",
        adjoint_params=tuple(field.parameters()),
    )
    prior = -0.5 * (z[-1].square() + math.log(2 * math.pi)).sum(dim=1)
    log_p: Tensor = prior - change[-1].squeeze(1)
    return log_p
