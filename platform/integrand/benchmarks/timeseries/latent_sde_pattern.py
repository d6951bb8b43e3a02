"""A latent SDE as torchsde's example has it, on the weights of the platform's."""

from __future__ import annotations

import math
from typing import Any

import torch
import torchsde
from torch import Tensor, nn
from torch.nn import functional as F

from integrand.modules.series.latent_equations import Posterior
from integrand.modules.series.latent_sde import LatentSDE
from integrand.modules.series.lockstep_sde import PathNormals
from integrand.series import Series


class PatternSDE(nn.Module):
    """Drifts and diffusion as `torchsde.sdeint` calls them, a net for each component of the diffusion.

    For f = h + g u it remembers h and g of that state, as the platform's does: the example's own f is a net,
    and has nothing to repeat.

    Args:
        equation: The posterior of a batch.
        times: Times of the observations, in units of the equation.
    """

    noise_type = "diagonal"
    sde_type = "ito"

    def __init__(self, equation: Posterior, times: Tensor) -> None:
        super().__init__()
        self.nets, self.known, self.times = equation.nets, equation.known.unbind(1), times
        control = equation.nets.control
        # the first layer of a net of [z; time until the next observation; what is known]
        self._weight = torch.cat((control.told.weight, control.known.weight), dim=1)
        self._shared: tuple[Tensor, Tensor, Tensor] | None = None

    def _diffusion(self, y: Tensor) -> Tensor:
        net = self.nets.diffusion
        parts = []
        for i, component in enumerate(torch.split(y, 1, dim=1)):
            inner = F.softplus(component * net.first[0, i] + net.first[1, i])
            parts.append(torch.sigmoid(inner @ net.second[i].unsqueeze(1) + net.offset[i]))
        return torch.cat(parts, dim=1)

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        """Posterior drift."""
        # a thousandth of a gap: t is a sum of steps, and may come out below the knot
        ahead = t + 1e-3 * (self.times[1] - self.times[0])
        i = min(int(torch.searchsorted(self.times, ahead, right=True)), len(self.times) - 1)
        h, g = self.nets.prior(y), self._diffusion(y)
        self._shared = (y, h, g)
        left = ((self.times[i] - t) / self.nets.gap).expand(len(y), 1)
        told, control = torch.cat((y, left, self.known[i]), dim=1), self.nets.control
        value: Tensor = h + g * control.rest(F.linear(told, self._weight, control.known.bias))
        return value

    def h(self, t: Tensor, y: Tensor) -> Tensor:
        """Prior drift."""
        shared = self._shared
        known = shared is not None and shared[0] is y
        value: Tensor = shared[1] if shared is not None and known else self.nets.prior(y)
        return value

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        """Diffusion."""
        shared = self._shared
        return shared[2] if shared is not None and shared[0] is y else self._diffusion(y)


class SameNoise:
    """The platform's noise as a Brownian motion of torchsde.

    Args:
        z0: The state.
        step: Length of a step.
    """

    levy_area_approximation = "none"

    def __init__(self, z0: Tensor, step: float) -> None:
        self._normals, self._step = PathNormals(len(z0), 1, z0), step
        # torchsde adds a component for the divergence
        self.shape, self.dtype, self.device = (len(z0), z0.shape[1] + 1), z0.dtype, z0.device

    def __call__(self, ta: Any, tb: Any = None) -> Tensor:
        """W(tb) − W(ta) over one step, or over the rest of rounding that torchsde ends with."""
        z, _ = self._normals.normals(round(float(ta) / self._step))
        return F.pad(math.sqrt(float(tb) - float(ta)) * z, (0, 1))


def pattern_loss(module: LatentSDE, x: Series, same: bool = False) -> Tensor:
    """−ELBO of one path.

    Args:
        module: The network, whose observations come at times that all series share.
        x: The batch.
        same: Whether the noise is the platform's; torchsde's own where not.
    """
    equation, mean, std, knots = module.posterior(x)
    z0 = mean + std * torch.randn_like(std)
    times = knots[0].to(z0)
    step = float(times[1] - times[0]) / module.steps
    sde, path = PatternSDE(equation, times), SameNoise(z0, step) if same else None
    states, divergence = torchsde.sdeint(sde, z0, times, bm=path, method="euler", dt=step, logqp=True)
    said = module.head(states).transpose(0, 1)
    error = (said - x.values) / module.noise
    density = -0.5 * (error.square() + math.log(2 * math.pi)) - module.noise.log()
    ratio = 2 * (std.log() - module.prior_log_std)
    moved = ((mean - module.prior_mean) * torch.exp(-module.prior_log_std)).square()
    first = 0.5 * (ratio.exp() + moved - 1 - ratio).sum(dim=-1)
    loss: Tensor = -(density.sum((1, 2)) - first - divergence.sum(0)).mean()
    return loss
