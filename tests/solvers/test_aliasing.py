"""Fields that write into memory which is not theirs, as code ported from SciPy does, are refused."""

import numpy as np
import pytest
import torch
from torch import nn

from integrand.solvers import (
    RK4,
    Bosh3,
    Dopri5,
    Euler,
    EulerMaruyama,
    Reversible,
    SolverError,
    TorchDiffEq,
    Tsit5,
)

# SDIRK3 differentiates the field, which torch refuses for out= arguments and for writes into a leaf
SOLVERS = [
    Euler(num_steps=8),
    RK4(num_steps=4),
    Bosh3(),
    Dopri5(),
    Tsit5(per_sample=True),
    Reversible(num_steps=4),
    EulerMaruyama(num_steps=8),
    TorchDiffEq("rk4", num_steps=4),
    TorchDiffEq("dopri5"),
]
MODES = [torch.no_grad, torch.inference_mode]


class Field(nn.Module):
    noise_type, sde_type = "diagonal", "ito"

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, t, y):
        return self.function(t, y)

    f = forward

    def g(self, t, y):
        return 0.1 * torch.ones_like(y)


class Buffers:
    """Returns `number` buffers of its own in turn."""

    def __init__(self, number, lazy):
        self.buffers = [None if lazy else torch.empty(2, 3, dtype=torch.float64) for _ in range(number)]
        self.calls = 0

    def __call__(self, t, y):
        i = self.calls = (self.calls + 1) % len(self.buffers)
        if self.buffers[i] is None:
            self.buffers[i] = torch.empty_like(y)
        torch.sin(y, out=self.buffers[i])
        return self.buffers[i]


class Rows(Buffers):
    """A view of a buffer."""

    def __call__(self, t, y):
        return super().__call__(t, y).view_as(y)


class Copied:
    """Copied into, not written by an out= argument."""

    def __init__(self):
        self.buffer = torch.empty(2, 3, dtype=torch.float64)

    def __call__(self, t, y):
        self.buffer.copy_(torch.sin(y))
        return self.buffer


class NumPy:
    """A buffer that torch does not know of."""

    def __init__(self):
        self.buffer = np.empty((2, 3))

    def __call__(self, t, y):
        np.sin(y.numpy(), out=self.buffer)
        return torch.from_numpy(self.buffer)


def state():
    return torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: s.describe())
@pytest.mark.parametrize(
    "make",
    [
        lambda: Buffers(1, lazy=False),
        lambda: Buffers(1, lazy=True),
        lambda: Buffers(2, lazy=True),
        lambda: Rows(1, lazy=False),
        Copied,
        NumPy,
    ],
)
def test_reused_buffers_are_refused(make, solver, mode):
    with mode(), pytest.raises(SolverError, match="the same memory again"):
        solver.solve(Field(make()), state(), [0.0, 1.0])


def add_in_place(t, y):
    return y.mul_(-1.0).clone()


def set_item(t, y):
    y[:, 0] = 0.0
    return -y


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: s.describe())
@pytest.mark.parametrize("function", [add_in_place, set_item])
def test_fields_that_write_into_the_state_are_refused(function, solver, mode):
    with mode(), pytest.raises(SolverError, match="writes into the state"):
        solver.solve(Field(function), state(), [0.0, 1.0])


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: s.describe())
@pytest.mark.parametrize("foreign", [False, True])
def test_a_constant_that_is_returned_again_is_no_buffer(foreign, solver, mode):
    constant = torch.from_numpy(np.ones((2, 3))) if foreign else torch.ones(2, 3, dtype=torch.float64)
    field = Field(lambda t, y: constant)
    if isinstance(solver, EulerMaruyama):
        field.g = lambda t, y: torch.zeros_like(y)
    with mode():
        end = solver.solve(field, state(), [0.0, 1.0]).ys[-1]
    torch.testing.assert_close(end, state() + 1)


def test_diffusions_are_watched_too():
    field = Field(lambda t, y: -y)
    field.g = Copied()
    with torch.no_grad(), pytest.raises(SolverError, match="the diffusion returns the same memory"):
        EulerMaruyama(num_steps=8).solve(field, state(), [0.0, 1.0])


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_a_field_is_given_the_state_itself(mode):
    """Drift and diffusion may share their work by the state that they were asked about."""
    seen = []

    class Shared(Field):
        def g(self, t, y):
            return 0.1 * seen[-1][1] if seen[-1][0] is y else pytest.fail("another state")

    def drift(t, y):
        seen.append((y, -y))
        return -y

    with mode():
        y0 = torch.ones(2, 3, dtype=torch.float64)
        solution = EulerMaruyama(num_steps=8).solve(Shared(drift), y0, [0.0, 1.0])
    assert solution.ys.isfinite().all()
    assert len(seen) == 8
