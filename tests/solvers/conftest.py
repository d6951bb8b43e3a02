"""Fields with known solutions and gradients, and one small network."""

import importlib.util
import math
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

# shared by several test files; pytest's importlib mode puts no folder on the path
_spec = importlib.util.spec_from_file_location("sde_cases", Path(__file__).with_name("sde_cases.py"))
sys.modules["sde_cases"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(sys.modules["sde_cases"])


class Linear(nn.Module):
    """ẏ = λ y; y(T) = y0 e^{λT}, dy(T)/dλ = T y(T)."""

    def __init__(self, rate=-0.7):
        super().__init__()
        self.rate = nn.Parameter(torch.tensor(rate, dtype=torch.float64))

    def forward(self, t, y):
        return self.rate.to(y.dtype) * y


class Oscillator(nn.Module):
    """(q, p)' = ω (p, -q): a rotation by ωT."""

    def __init__(self, omega=2.0):
        super().__init__()
        self.omega = nn.Parameter(torch.tensor(omega, dtype=torch.float64))

    def forward(self, t, y):
        q, p = y.unbind(1)
        return self.omega.to(y.dtype) * torch.stack((p, -q), 1)


class Cosine(nn.Module):
    """ẏ = y cos t; y(t) = y0 e^{sin t}."""

    def forward(self, t, y):
        return y * torch.cos(t)

    @staticmethod
    def exact(t, y0):
        return y0 * math.exp(math.sin(t))


class Tanh(nn.Module):
    """A small time-dependent network, weights fixed by a seed."""

    def __init__(self, width=3, hidden=8, seed=0, scale=1.5):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.inner = nn.Linear(width + 1, hidden, dtype=torch.float64)
        self.outer = nn.Linear(hidden, width, dtype=torch.float64)
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(
                    scale
                    * torch.randn(p.shape, generator=generator, dtype=torch.float64)
                    / p.shape[-1] ** 0.5
                )

    def forward(self, t, y):
        return self.outer(torch.tanh(self.inner(torch.cat((y, t.expand(len(y), 1)), 1))))


@pytest.fixture
def linear():
    return Linear()


@pytest.fixture
def oscillator():
    return Oscillator()


@pytest.fixture
def tanh_net():
    return Tanh()


@pytest.fixture
def state():
    return torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def fields():
    """The classes, for tests that build their own."""
    return {"linear": Linear, "oscillator": Oscillator, "cosine": Cosine, "tanh": Tanh}


def pytest_configure():
    torch.set_num_threads(1)
