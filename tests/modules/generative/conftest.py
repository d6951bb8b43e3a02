"""Small fields with known flows."""

import pytest
import torch

from integrand.modules.generative.backbones import MLP, TimeNet


class Linear(TimeNet):
    """f(t, x) = A x + t b, of points."""

    def __init__(self, matrix, drift=None):
        super().__init__()
        self.register_buffer("matrix", matrix)
        self.register_buffer(
            "drift", torch.zeros(len(matrix), dtype=matrix.dtype) if drift is None else drift
        )

    def forward(self, t, x, y=None):
        return x @ self.matrix.T + t.reshape(-1, 1) * self.drift


def made_mlp(dim=2, gain=2.0, seed=0, **kwargs):
    torch.manual_seed(seed)
    net = MLP(**({"hidden": 16, "layers": 2} | kwargs)).build((dim,)).double()
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(gain)  # a fresh network moves almost nothing
    return net


@pytest.fixture
def linear():
    """matrix, drift -> a linear field."""
    return Linear


@pytest.fixture
def mlp():
    """dim, gain, seed -> a float64 MLP that moves points visibly."""
    return made_mlp
