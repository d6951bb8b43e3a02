"""What a hybrid model keeps of its law, in float64."""

import pytest
import torch
from torch import nn

from integrand.errors import UsageError
from integrand.modules.bench.vector import VectorField
from integrand.modules.trajectory.hybrid_model import HybridField
from integrand.modules.trajectory.laws import lotka_volterra, nothing, pendulum
from integrand.solvers import Dopri5

T = torch.zeros((), dtype=torch.float64)
Y = 1 + torch.rand(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
NUMBERS = {"stiffness": 2.0, "damping": 0.3}


def silent():
    net = VectorField(2).double()
    nn.init.zeros_(net.net[-1].weight)
    nn.init.zeros_(net.net[-1].bias)
    return net


def test_without_a_word_of_the_network_it_is_the_law():
    angle, rate = Y.unbind(1)
    expected = torch.stack([rate, -2 * angle.sin() - 0.3 * rate], 1)
    for unknown in (None, silent()):
        field = HybridField(pendulum, NUMBERS, unknown=unknown).double()
        torch.testing.assert_close(field(T, Y), expected, rtol=1e-7, atol=1e-7)  # numbers start in float32


def test_without_a_law_it_is_the_network():
    net = VectorField(2).double()
    assert torch.equal(HybridField(nothing, {}, unknown=net)(T, Y), net(T, Y))


def test_the_gradient_of_a_number_is_the_sensitivity_of_the_law():
    """Of θ̈ = −kθ̇-free small oscillations: S = ∂y/∂φ solves Ṡ = ∂f/∂y S + ∂f/∂φ beside the state."""
    field = HybridField(pendulum, NUMBERS, unknown=silent()).double()
    tight = Dopri5(rtol=1e-11, atol=1e-11)
    end = tight.solve(field, Y[:1], [0.0, 1.0]).ys[-1][0]

    class WithSensitivity(nn.Module):
        def forward(self, t, x):
            (a, w), (sa, sw) = x[:, :2].unbind(1), x[:, 2:].unbind(1)
            return torch.stack([w, -2 * a.sin() - 0.3 * w, sw, -2 * a.cos() * sa - 0.3 * sw - a.sin()], 1)

    start = torch.cat([Y[:1], torch.zeros(1, 2).double()], 1)
    expected = tight.solve(WithSensitivity(), start, [0.0, 1.0]).ys[-1][0, 2:]
    for value, slope in zip(end, expected, strict=True):
        number = field.law_parameters["stiffness"]
        (gradient,) = torch.autograd.grad(value, number, retain_graph=True)
        torch.testing.assert_close(gradient, slope, rtol=0, atol=1e-6)


def test_what_is_fixed_gets_no_gradient():
    field = HybridField(pendulum, NUMBERS, fixed=["damping"])
    field(T, Y).sum().backward()
    assert field.law_parameters["stiffness"].grad is not None
    assert not field.law_parameters["damping"].requires_grad


@pytest.mark.parametrize("missing", [(), ("beta",), ("delta",), ("beta", "delta")])
def test_lotka_and_volterra_leave_out_what_is_not_known(missing):
    numbers = {"alpha": 1.5, "beta": 0.5, "gamma": 0.75, "delta": 0.25}
    given = {k: torch.tensor(v).double() for k, v in numbers.items() if k not in missing}
    u, v = Y.unbind(1)
    beta, delta = (0.0 if k in missing else numbers[k] for k in ("beta", "delta"))
    expected = torch.stack([1.5 * u - beta * u * v, -0.75 * v + delta * u * v], 1)
    torch.testing.assert_close(lotka_volterra(T, Y, given), expected)


def test_a_fixed_name_that_is_none_is_refused():
    with pytest.raises(UsageError, match="no parameter mass to fix"):
        HybridField(pendulum, NUMBERS, fixed=["mass"])
