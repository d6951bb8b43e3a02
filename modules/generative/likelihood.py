"""Log-density of flows from standard normal noise."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from integrand.diffusion import Noise, Trace, Transport, log_normal, transport
from integrand.solvers import ODESolver

from .backbones import TimeNet


@dataclass
class Likelihood(Transport):
    """Log p(x) of a batch with the solve that gave it, from the data to the noise.

    Args:
        log_prob: log p(x) in nats, shape (batch,).
    """

    log_prob: Tensor


def log_likelihood(
    net: TimeNet,
    x: Tensor,
    solver: ODESolver,
    trace: Trace,
    penalties: bool = False,
    end: float = 0.0,
    noise: Noise | None = None,
) -> Likelihood:
    """Log p(x) = log N(z; 0, I) + log |det ∂z/∂x| of the flow from N(0, I) at `end` to the data at t = 1.

    Args:
        net: The field f(t, x).
        x: Data, shape (batch, …).
        solver: What integrates it.
        trace: How the trace is had.
        penalties: Whether to integrate ‖f‖² and ‖J‖² too; the solver then controls their error as well.
        end: Time of the noise.
        noise: Where random directions come from; the global generator where not given.

    Raises:
        SolverError: The solve failed.
    """
    found = transport(net, x, (1.0, end), solver, trace, trace.directions(x, noise), penalties)
    return Likelihood(**vars(found), log_prob=log_normal(found.z) + found.log_det)
