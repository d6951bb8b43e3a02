"""Delay and fractional families: their limits are the neural ODE."""

import itertools

import pytest
import torch

from integrand.errors import UsageError
from integrand.modules import FractionalNeuralODE, NeuralDDE, NeuralODE
from integrand.solvers import TorchDiffEq
from integrand.spec import Classes, ImageSpec

SPEC = ImageSpec("made-up", Classes(3), (1, 8, 8))
X = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def build(family, **kwargs):
    torch.manual_seed(0)
    return family(SPEC, channels=6, **kwargs).double()


def test_fractional_of_order_one_is_the_neural_ode():
    plain = build(NeuralODE, solver=TorchDiffEq("dopri5", rtol=1e-8, atol=1e-8))
    exact = plain.net.dynamics(plain.net.stem(X)).ys[-1]
    errors = []
    for n in (16, 32, 64):
        module = build(FractionalNeuralODE, alpha=1.0, num_steps=n)
        module.load_state_dict(plain.state_dict())
        errors.append((module.net.dynamics(module.net.stem(X)).ys[-1] - exact).norm().item())
    # second order on a piecewise smooth field: the error falls by about 4, not exactly
    assert all(a / b > 3 for a, b in itertools.pairwise(errors))
    assert errors[-1] < 1e-3 * exact.norm().item()


def test_fractional_order_matters():
    outputs = [build(FractionalNeuralODE, alpha=a)(X) for a in (0.5, 1.0)]
    assert (outputs[0] - outputs[1]).abs().max() > 1e-3


def test_short_delays_come_near_the_neural_ode():
    """h(t − τ) = h(t) − τḣ + …: the difference to τ = 0 falls with τ."""
    present = build(NeuralDDE, delay=0.0, num_steps=64)
    limit = present.net.dynamics(present.net.stem(X)).ys[-1]

    class Present(torch.nn.Module):
        def forward(self, t, h):
            return present.net.dynamics.field(t, h, h)

    exact = TorchDiffEq("dopri5", rtol=1e-8, atol=1e-8)
    ode = exact.solve(Present(), present.net.stem(X), [0.0, 1.0]).ys[-1]
    # RK4 with 64 steps loses its order at the kinks of ReLU only
    torch.testing.assert_close(limit, ode, rtol=1e-4, atol=1e-4)
    gaps = []
    for delay in (1 / 16, 1 / 32, 1 / 64):
        module = build(NeuralDDE, delay=delay, num_steps=64)
        module.load_state_dict(present.state_dict())
        gaps.append((module.net.dynamics(module.net.stem(X)).ys[-1] - limit).norm().item())
    assert [a / b for a, b in itertools.pairwise(gaps)] == pytest.approx([2, 2], abs=0.2)


def test_a_delay_beyond_the_end_sees_the_input_throughout():
    module = build(NeuralDDE, delay=2.0, num_steps=32)
    h0 = module.net.stem(X)

    class Injected(torch.nn.Module):
        def forward(self, t, h):
            return module.net.dynamics.field(t, h, h0)

    ode = TorchDiffEq("dopri5", rtol=1e-8, atol=1e-8).solve(Injected(), h0, [0.0, 1.0]).ys[-1]
    torch.testing.assert_close(module.net.dynamics(h0).ys[-1], ode, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("family", "nfe", "described"),
    [
        (NeuralDDE, 32, "rk4 delay=0.5 num_steps=8"),
        (FractionalNeuralODE, 32, "caputo-pece alpha=0.8 num_steps=16"),
    ],
)
def test_cost_and_description(family, nfe, described, accounts):
    module = build(family).eval()
    with torch.inference_mode():
        module(X)
    assert accounts(module)[0].nfe_forward == nfe
    assert module.describe_solver() == (described, "backprop")
    assert accounts(module)[0].solver == described


@pytest.mark.parametrize(
    ("family", "option", "message"),
    [
        (NeuralDDE, {"delay": -0.5}, "delay must be 0 or more, got -0.5"),
        (NeuralDDE, {"delay": 1e-7}, "delay=1e-07 needs 1e"),
        (NeuralDDE, {"num_steps": 0}, "num_steps must be positive"),
        (NeuralDDE, {"t1": 0.0}, "t1 must be positive"),
        (FractionalNeuralODE, {"alpha": 0.0}, "alpha must lie in"),
        (FractionalNeuralODE, {"alpha": 1.5}, "alpha must lie in"),
        (FractionalNeuralODE, {"num_steps": 0}, "num_steps must be positive"),
        (FractionalNeuralODE, {"t1": -1.0}, "t1 must be positive"),
    ],
)
def test_values_outside_their_domain_are_refused(family, option, message):
    with pytest.raises(UsageError, match=message) as caught:
        build(family, **option)
    assert caught.value.remedy
