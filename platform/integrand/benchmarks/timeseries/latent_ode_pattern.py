"""A latent ODE in the pattern of torchdiffeq's example `latent_ode.py`.

The encoder is a cell in a loop over the observations, from the last to the first. The decoder solves once at
the times of all series together, since `odeint` takes one vector of times, and each series picks its own.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchdiffeq import odeint

from integrand.modules.series.latent_ode import LatentODE, Posterior
from integrand.modules.series.observations import told, truth
from integrand.series import Series


def pattern_loss(module: LatentODE, cell: torch.nn.GRUCell, x: Series, tol: tuple[float, float]) -> Tensor:
    """−ELBO of series that are observed at all of their times, on the weights of `module`.

    Args:
        module: The latent ODE.
        cell: Its encoder's GRU as a cell.
        x: Series of equal lengths.
        tol: rtol and atol of dopri5.
    """
    h = x.values.new_zeros(len(x), cell.hidden_size)
    gaps = torch.cat((x.gaps[:, 1:], torch.zeros_like(x.gaps[:, :1])), 1)  # from the observation after
    inputs = torch.cat((told(x), -gaps[..., None] / module.unit), -1)
    for i in reversed(range(x.times.shape[1])):
        h = cell(inputs[:, i], h)
    mean, raw = module.encoder.posterior(h).chunk(2, -1)
    posterior = Posterior(mean, torch.nn.functional.softplus(raw) + 1e-4, [])
    z0 = posterior.draw(1)
    since = (x.times - x.times[:, :1]) / module.unit
    union, place = torch.unique(since, return_inverse=True)
    zs = odeint(module.field, z0[0], union, rtol=tol[0], atol=tol[1], method="dopri5")
    own = zs.transpose(0, 1)[torch.arange(len(x))[:, None], place]
    means = module.decoder(own)[None]
    bound = module.log_likelihood(means, truth(x)).mean(0) - posterior.divergence()
    return -bound.mean()


def as_cell(gru: torch.nn.GRU) -> torch.nn.GRUCell:
    """A cell that shares the weights of a GRU."""
    cell = torch.nn.GRUCell(gru.input_size, gru.hidden_size)
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        setattr(cell, name, getattr(gru, f"{name}_l0"))
    return cell
