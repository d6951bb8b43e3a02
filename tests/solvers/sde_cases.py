"""Stochastic equations with curved coefficients whose solutions are known along every path."""

import math

import torch
from torch import nn

from integrand.registry import subclasses

SDE_TYPES = ("ito", "stratonovich")


def _gudermann(x):
    return 2 * x.exp().atan()


class Image(nn.Module):
    """y = u(x) with x = A W + a t + c: dy = a u′ dt + u′ A ∘ dW, u′ as a function of y.

    u is sinh in the even components and Gudermann's function in the odd ones, so that the diffusion has
    curvature, unlike that of geometric Brownian motion. With diagonal noise A is the unit matrix, with scalar
    noise one column; with commutative noise it is any matrix, since the solution is a function of W. Itô's
    drift has u″ (A Aᵀ) / 2 more.
    """

    a = 0.4

    def __init__(self, noise_type="diagonal", sde_type="ito"):
        super().__init__()
        self.noise_type, self.sde_type = noise_type, sde_type
        rows = {
            "diagonal": [[1.0, 0.0], [0.0, 1.0]],
            "scalar": [[0.8], [-0.6]],
            "commutative": [[0.6, 0.5], [-0.7, 0.4]],
        }[noise_type]
        self.matrix = nn.Parameter(torch.tensor(rows, dtype=torch.float64))
        self.c = torch.tensor([0.3, -0.6], dtype=torch.float64)

    def _slope(self, y):
        return torch.stack(((1 + y[:, 0] ** 2).sqrt(), torch.sin(y[:, 1])), 1)

    def _second(self, y):
        """u″ = u′ du′/dy."""
        return torch.stack((y[:, 0], torch.sin(y[:, 1]) * torch.cos(y[:, 1])), 1)

    def _scale(self):
        # with diagonal noise only the diagonal is used
        return self.matrix.diagonal() if self.noise_type == "diagonal" else self.matrix

    def f(self, t, y):
        drift = self.a * self._slope(y)
        if self.sde_type == "ito":
            power = self._scale() ** 2
            drift = drift + self._second(y) * (power if power.ndim == 1 else power.sum(1)) / 2
        return drift

    def g(self, t, y):
        if self.noise_type == "diagonal":
            return self._slope(y) * self._scale()
        return self._slope(y).unsqueeze(-1) * self.matrix

    def noise_shape(self, batch):
        return (batch, self.matrix.shape[1])

    def start(self, batch):
        return self._of(self.c.expand(batch, 2))

    def end(self, w, t=1.0):
        shift = w * self._scale() if self.noise_type == "diagonal" else w @ self.matrix.T
        return self._of(shift + self.a * t + self.c)

    @staticmethod
    def _of(x):
        return torch.stack((torch.sinh(x[:, 0]), _gudermann(x[:, 1])), 1)


class Forced(nn.Module):
    """dy = -y dt + e^{-t} B dW, additive: y(1) = e^{-1} (y0 + B W(1)), the same in both meanings."""

    noise_type = "additive"

    def __init__(self, sde_type="ito"):
        super().__init__()
        self.sde_type = sde_type
        self.matrix = nn.Parameter(torch.tensor([[1.0, 0.5, -0.3], [0.2, -1.0, 0.7]], dtype=torch.float64))

    def f(self, t, y):
        return -y

    def g(self, t, y):
        return torch.exp(-t) * self.matrix.expand(len(y), 2, 3)

    def noise_shape(self, batch):
        return (batch, 3)

    def start(self, batch):
        return torch.ones(batch, 2, dtype=torch.float64)

    def end(self, w):
        return math.exp(-1) * (self.start(len(w)) + w @ self.matrix.T)


class Twisted(nn.Module):
    """Two columns that do not commute: rotation and shear, bounded; no closed form."""

    noise_type = "general"

    def __init__(self, sde_type="ito"):
        super().__init__()
        self.sde_type = sde_type
        self.size = nn.Parameter(torch.tensor(0.8, dtype=torch.float64))

    def f(self, t, y):
        return -0.5 * torch.sin(y)

    def g(self, t, y):
        p, q = y.unbind(1)
        first = torch.stack((torch.cos(q), torch.sin(p)), 1)
        second = torch.stack((torch.sin(q), -torch.cos(p + q)), 1)
        return self.size * torch.stack((first, second), 2)

    def noise_shape(self, batch):
        return (batch, 2)

    def start(self, batch):
        return torch.tensor([0.5, -0.2], dtype=torch.float64).expand(batch, 2)


def case(noise_type, sde_type):
    if noise_type == "additive":
        return Forced(sde_type)
    return Twisted(sde_type) if noise_type == "general" else Image(noise_type, sde_type)


def discovered(base):
    """Every concrete subclass."""
    found = [cls for cls in subclasses(base) if not getattr(cls, "__abstractmethods__", None)]
    return sorted(found, key=lambda cls: cls.__name__)
