"""The stiff method: order, stability, gradients, accounts."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from integrand.solvers import SDIRK3, Dopri5, Dopri8, EvaluationCounter, SolverOptionError
from integrand.solvers.implicit import sdirk3


class Stiff(nn.Module):
    """Prothero and Robinson: ẏ = -λ (y - cos t) - sin t, y = cos t from y(0) = 1; dy(T)/dλ = 0 there."""

    def __init__(self, rate=1e4):
        super().__init__()
        self.rate = nn.Parameter(torch.tensor(rate, dtype=torch.float64))

    def forward(self, t, y):
        return -self.rate * (y - torch.cos(t)) - torch.sin(t)


def test_order_conditions():
    b, c = np.array(sdirk3.B), np.array(sdirk3.C)
    a = np.diag([sdirk3.GAMMA] * 3)
    for i, weights in enumerate(sdirk3.A):
        a[i, : len(weights)] = weights
    np.testing.assert_allclose(a.sum(1), c, atol=1e-15)
    residuals = [b.sum() - 1, b @ c - 1 / 2, b @ c**2 - 1 / 3, b @ a @ c - 1 / 6]
    np.testing.assert_allclose(residuals, 0, atol=1e-15)
    low = np.array(sdirk3.B_LOW)
    np.testing.assert_allclose([low.sum() - 1, low @ c - 1 / 2], 0, atol=1e-15)
    assert abs(low @ c**2 - 1 / 3) > 1e-3
    # L-stable: R(∞) = 1 - bᵀA⁻¹1 = 0
    assert 1 - b @ np.linalg.solve(a, np.ones(3)) == pytest.approx(0, abs=1e-14)


def test_convergence_slope(tanh_net, state):
    with torch.no_grad():
        truth = Dopri8(num_steps=200).solve(tanh_net, state, [0.0, 1.0]).ys[-1]
        errors = [
            (SDIRK3(num_steps=n).solve(tanh_net, state, [0.0, 1.0]).ys[-1] - truth).norm().item()
            for n in (32, 64, 128)
        ]
    assert -np.polyfit(np.log((32, 64, 128)), np.log(errors), 1)[0] == pytest.approx(3, abs=0.15)


def test_stiff_problem_needs_few_steps():
    one = torch.ones(2, 1, dtype=torch.float64)
    with torch.no_grad():
        stiff = SDIRK3(rtol=1e-4, atol=1e-4).solve(Stiff(), one, [0.0, 1.0, 2.0])
        explicit = Dopri5(rtol=1e-4, atol=1e-4).solve(Stiff(), one, [0.0, 1.0, 2.0])
    exact = torch.tensor([1.0, math.cos(1), math.cos(2)], dtype=torch.float64)[:, None, None].expand(3, 2, 1)
    torch.testing.assert_close(stiff.ys, exact, rtol=0, atol=1e-3)
    assert stiff.stats.accepted < 50
    assert explicit.stats.accepted > 3000
    assert explicit.stats.stiffness > 0.7


@pytest.mark.parametrize("gradient", ["backprop", "checkpoint"])
@pytest.mark.parametrize("mode", [{"num_steps": 60}, {"rtol": 1e-7, "atol": 1e-7}])
def test_gradient_and_account(gradient, mode, tanh_net, state):
    counter = EvaluationCounter(tanh_net)
    y0 = state.requires_grad_()
    solution = SDIRK3(gradient=gradient, **mode).solve(counter, y0, [0.0, 0.4, 1.0])
    assert solution.stats.nfe_forward == counter.reset()
    ours = torch.autograd.grad(solution.ys.square().sum(), (y0, *tanh_net.parameters()))
    assert solution.stats.nfe_backward == counter.reset()
    assert (solution.stats.nfe_backward > 0) == (gradient == "checkpoint")
    reference = Dopri8(num_steps=100).solve(tanh_net, y0, [0.0, 0.4, 1.0]).ys
    theirs = torch.autograd.grad(reference.square().sum(), (y0, *tanh_net.parameters()))
    for a, b in zip(ours, theirs, strict=True):
        # third order with 60 steps: errors of a few 1e-5
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


def test_gradient_of_a_stiff_problem():
    field = Stiff()
    y0 = torch.ones(2, 1, dtype=torch.float64, requires_grad=True)
    end = SDIRK3(gradient="checkpoint").solve(field, y0, [0.0, 1.0]).ys[-1]
    by_y0, by_rate = torch.autograd.grad(end.sum(), (y0, field.rate))
    assert by_y0.abs().max() < 1e-4  # e^{-10000}
    assert abs(by_rate) < 1e-6


def test_large_states_are_refused(tanh_net):
    with pytest.raises(SolverOptionError, match="up to 1024 components"):
        SDIRK3().solve(tanh_net, torch.zeros(2, 1025, dtype=torch.float64), [0.0, 1.0])


def test_vector_jacobian_products_are_those_of_the_jacobians_and_stages(tanh_net, state):
    """Backward: per step one Jacobian to solve with, and for each of three stages a Jacobian and a product."""
    solution = SDIRK3(num_steps=7, gradient="checkpoint").solve(tanh_net, state, [0.0, 1.0])
    forward = solution.stats.vjps
    assert forward == 7 * 3  # one Jacobian of a state of three components per step
    solution.ys[-1].sum().backward()
    assert solution.stats.vjps - forward == 7 * (3 + 3 * (3 + 1))
