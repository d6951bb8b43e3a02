"""Models with exact scores, and noise that tests can look into."""

import math

import torch

from integrand.diffusion import ExactMixture, Stream

F64 = torch.float64


def zero_mean_mixture(process, parametrisation=None):
    """Two Gaussians in the plane with mean zero."""
    means = torch.tensor([[1.0, 0.3], [-0.8, -0.24]], dtype=F64)
    stds, weights = torch.tensor([0.5, 0.4], dtype=F64), torch.tensor([4 / 9, 5 / 9], dtype=F64)
    return ExactMixture(process, means, stds, weights, parametrisation)


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


class UnitNoise:
    """Row 0 gets no noise and row 1 + n gets 1 in draw n only: reads off the coefficient of every draw."""

    def __init__(self, draws):
        self.rows = draws + 2

    def normals(self, n, stream=Stream.STEP):
        z = torch.zeros(self.rows, 1, dtype=F64)
        z[1 + n] = 1.0
        return z


def linear_moments(sampler, process, grid, steps, mean, std):
    """Mean and variance of a sampler's output for Gaussian data, without any Monte Carlo.

    The score of Gaussian data is linear, so the output is a x_T + Σ b_n z_n + c; the batch holds one unit
    vector per random number. x_T has the exact marginal distribution.
    """
    model = ExactMixture(process, torch.tensor([[mean]], dtype=F64), torch.tensor([std], dtype=F64))
    start = process.node(float(grid.times(process, steps)[0]))
    draws = steps * sampler.draws_per_step
    x = torch.full((draws + 2, 1), start.alpha * mean, dtype=F64)
    x[-1] += math.hypot(start.alpha * std, start.sigma)
    out = sampler.sample(model, process, grid, x, UnitNoise(draws), steps=steps).x[:, 0]
    return float(out[0]), float((out[1:] - out[0]).square().sum())
