"""Times far from 0 with a float32 state: right or refused, and nothing changes for times near 0."""

import math
import warnings

import pytest
import torch
from torch import nn

from integrand.errors import SpecError
from integrand.solvers import (
    RK4,
    SDIRK3,
    Dopri5,
    Euler,
    EulerMaruyama,
    Reversible,
    TorchDiffEq,
    Tsit5,
)
from integrand.solvers.delay import MethodOfSteps
from integrand.solvers.fractional import CaputoPECE

STARTS = [1e4, 1e6, 1.7e9]
SOLVERS = [
    RK4(num_steps=50),
    Dopri5(),
    Dopri5(per_sample=True),
    Tsit5(gradient="checkpoint"),
    SDIRK3(),
    Reversible(num_steps=200),
]


class Wave(nn.Module):
    """ẏ = a cos 2πt over a quarter period from a whole one: y = a / 2π."""

    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.ones(()))
        self.dtypes = set()

    def forward(self, t, y):
        self.dtypes.add(t.dtype)
        return self.a * torch.cos(2 * math.pi * t) + 0 * y


class Concatenating(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, t, y):
        return self.layer(torch.cat((y, t.expand(len(y), 1)), 1))


def quarter(start):
    return torch.tensor([start, start + 0.25], dtype=torch.float64)


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: s.describe())
@pytest.mark.parametrize("start", STARTS)
def test_times_far_from_zero_reach_the_field_unrounded(start, solver):
    """In float32 the answer is off by 0.2 to 157 %; float64 resolves a Unix time to 2e-7."""
    field = Wave()
    with pytest.warns(UserWarning, match="measure times from the start"):
        end = solver.solve(field, torch.ones(2, 1), quarter(start)).ys[-1]
    torch.testing.assert_close(end - 1, torch.full((2, 1), 1 / (2 * math.pi)), rtol=5e-4, atol=0)
    assert end.dtype == torch.float32
    assert field.dtypes == {torch.float64}
    end.sum().backward()
    assert field.a.grad.item() == pytest.approx(2 / (2 * math.pi), rel=5e-4)


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: s.describe())
def test_ordinary_times_have_the_dtype_of_the_state(solver):
    """So that a field may concatenate them, and no result changes."""
    field = Wave()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solver.solve(field, torch.ones(2, 1), [0.0, 1.0])
        solver.solve(field, torch.zeros(2, 1), [100.0, 100.3])
    assert field.dtypes == {torch.float32}


@pytest.mark.filterwarnings("ignore:the times are so large")
def test_a_field_that_cannot_take_float64_times_is_refused():
    for solver in (Dopri5(), RK4(num_steps=4), SDIRK3()):
        with pytest.raises(SpecError, match="times near 1e\\+06 need float64"):
            solver.solve(Concatenating(), torch.zeros(2, 2), quarter(1e6))


def test_libraries_that_round_times_refuse_them():
    with pytest.raises(SpecError, match="would round times near 1e\\+06"):
        TorchDiffEq("dopri5").solve(Wave(), torch.zeros(2, 1), quarter(1e6))
    TorchDiffEq("dopri5").solve(Wave().double(), torch.zeros(2, 1, dtype=torch.float64), quarter(1e6))


@pytest.mark.filterwarnings("ignore:the times are so large")
def test_short_fixed_steps_count_too():
    """Near t = 1 float32 resolves 6e-8: enough for 10,000 steps, not for steps of 1e-7."""
    field, y0 = Wave(), torch.zeros(1, 1)
    Euler(num_steps=10_000).solve(field, y0, [0.0, 1.0])
    assert field.dtypes == {torch.float32}
    Euler(step_size=1e-7).solve(field, y0, [1.0, 1.0001])
    assert field.dtypes == {torch.float32, torch.float64}


@pytest.mark.filterwarnings("ignore:the times are so large")
def test_delay_fractional_and_stochastic_equations():
    class Delayed(Wave):
        def forward(self, t, y, delayed):
            return super().forward(t, y)

    class Noiseless(Wave):
        noise_type, sde_type = "diagonal", "ito"

        def f(self, t, y):
            return self(t, y)

        def g(self, t, y):
            return 0 * y

    y0, expected = torch.zeros(1, 1), pytest.approx(1 / (2 * math.pi), rel=1e-2)
    assert MethodOfSteps(0.1, num_steps=20).solve(Delayed(), y0, quarter(1e6)).ys[-1].item() == expected
    assert CaputoPECE(1.0, num_steps=50).solve(Wave(), y0, quarter(1e6)).ys[-1].item() == expected
    assert EulerMaruyama(num_steps=200).solve(Noiseless(), y0, quarter(1e6), seed=0).ys[-1].item() == expected
