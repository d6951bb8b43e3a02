"""Delay equations: exact solutions by the method of steps, convergence, accounts."""

import itertools
import math

import pytest
import torch
from torch import nn

from integrand.errors import SpecError
from integrand.solvers import NonFiniteStateError, SolverOptionError, TorchDiffEq, count
from integrand.solvers.delay import MethodOfSteps

ONE = torch.ones(1, 1, dtype=torch.float64)


class Delayed(nn.Module):
    """Any function of (t, y, delayed), with one parameter that scales it."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.scale = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))

    def forward(self, t, y, delayed):
        return self.scale * self.function(t, y, delayed)


def piecewise(t, delay=1.0):
    """ẏ = −y(t − τ), y = 1 before 0: Σ_k (−1)^k (t − (k−1)τ)₊^k / k!."""
    return sum(
        (-1) ** k * max(t - (k - 1) * delay, 0.0) ** k / math.factorial(k) for k in range(int(t / delay) + 2)
    )


@pytest.mark.parametrize("delay", [1.0, 0.3])
def test_linear_delay_is_piecewise_polynomial(delay):
    """Up to 4τ the solution is a quartic: the Hermite history is exact on its cubics, and so is RK4's quadrature."""
    times = [0.0, 0.5 * delay, delay, 1.7 * delay, 2 * delay, 3 * delay, 3.6 * delay, 4 * delay]
    ys = MethodOfSteps(delay, step_size=delay / 2).solve(Delayed(lambda t, y, d: -d), ONE, times).ys
    # round-off of a few dozen steps
    assert ys.flatten().tolist() == pytest.approx([piecewise(t, delay) for t in times], abs=1e-14)
    assert piecewise(0.5 * delay, delay) == 1 - 0.5 * delay


def test_a_scalar_equation_can_reverse_order():
    """No scalar ODE can, since its trajectories may not cross: x(2) = −x(0)/2."""
    start = torch.tensor([[-1.0], [0.2], [1.0]], dtype=torch.float64)
    end = MethodOfSteps(1.0, num_steps=4).solve(Delayed(lambda t, y, d: -d), start, [0.0, 2.0]).ys[-1]
    torch.testing.assert_close(end, -start / 2, rtol=1e-14, atol=1e-14)


def test_converges_with_its_declared_order():
    """ẏ = −y y(t−1): e^{−t} on [0, 1], then exp(−1 − (1 − e^{−(t−1)}))."""
    field = Delayed(lambda t, y, d: -y * d)
    exact = math.exp(-2 + math.exp(-1))
    errors = [
        abs(MethodOfSteps(1.0, step_size=1 / n).solve(field, ONE, [0.0, 2.0]).ys[-1].item() - exact)
        for n in (8, 16, 32)
    ]
    slopes = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert slopes == pytest.approx([MethodOfSteps.order] * 2, abs=0.1)


def test_converges_where_the_delay_does_not_fit_the_steps():
    """Breaking points become nodes, so that a delay of 0.3 keeps the order; reference by 4000 steps."""
    field = Delayed(lambda t, y, d: -y * d)
    reference = MethodOfSteps(0.3, num_steps=4000).solve(field, ONE, [0.0, 2.0]).ys[-1].item()
    errors = [
        abs(MethodOfSteps(0.3, num_steps=n).solve(field, ONE, [0.0, 2.0]).ys[-1].item() - reference)
        for n in (32, 64, 128)
    ]
    slopes = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert slopes == pytest.approx([4, 4], abs=0.1)


def test_nodes_hold_outputs_and_breaking_points_once():
    # 3 · 0.1 is not 0.3 in floating point: no step of 1e-17 between the two
    nodes = MethodOfSteps(0.1, num_steps=4).nodes([0.0, 0.3, 1.0])
    assert min(b - a for a, b in itertools.pairwise(nodes)) > 0.09
    assert max(b - a for a, b in itertools.pairwise(nodes)) <= 0.1 * (1 + 1e-9)
    assert 0.3 in nodes
    assert MethodOfSteps(0.0, num_steps=4).nodes([0.0, 1.0]) == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert MethodOfSteps(5.0, num_steps=2).nodes([0.0, 1.0]) == [0.0, 0.5, 1.0]


def test_no_delay_is_the_ode_and_a_short_one_comes_near_it():
    """y(t − τ) = y(t) + O(τ): halving τ halves the difference."""
    field = Delayed(lambda t, y, d: torch.sin(t) * y - 0.8 * d**2)

    class Present(nn.Module):
        def forward(self, t, y):
            return field(t, y, y)

    exact = TorchDiffEq("dopri8", rtol=1e-12, atol=1e-12).solve(Present(), ONE, [0.0, 1.5]).ys[-1]
    present = MethodOfSteps(0.0, num_steps=100).solve(field, ONE, [0.0, 1.5]).ys[-1]
    # RK4 with h = 0.015: h⁴ = 5e-8 times a small constant
    torch.testing.assert_close(present, exact, rtol=0, atol=1e-9)
    gaps = [
        (MethodOfSteps(d, num_steps=100).solve(field, ONE, [0.0, 1.5]).ys[-1] - exact).item()
        for d in (0.01, 0.005, 0.0025)
    ]
    assert [a / b for a, b in itertools.pairwise(gaps)] == pytest.approx([2, 2], abs=0.05)


def test_history_before_the_start_is_the_initial_state():
    """A delay beyond the end: ẏ = y0, so y = y0 (1 + t)."""
    times = [0.0, 0.4, 1.0]
    solution = MethodOfSteps(3.0, num_steps=3).solve(Delayed(lambda t, y, d: d), 2 * ONE, times)
    assert solution.ys.flatten().tolist() == pytest.approx([2, 2.8, 4], rel=1e-14)
    assert solution.ts.tolist() == times


def test_starts_anywhere():
    field = Delayed(lambda t, y, d: -d * torch.cos(t))
    shifted = Delayed(lambda t, y, d: -d * torch.cos(t - 2))
    at_zero = MethodOfSteps(0.5, num_steps=6).solve(field, ONE, [0.0, 1.5]).ys[-1]
    at_two = MethodOfSteps(0.5, num_steps=6).solve(shifted, ONE, [2.0, 3.5]).ys[-1]
    torch.testing.assert_close(at_zero, at_two, rtol=1e-14, atol=1e-14)


def test_account_and_gradient_of_the_method_of_steps():
    """ẏ = a y(t−1): y(2) = 1 + 2a + a²/2, dy/da = 2 + a; every evaluation counted and differentiated once."""
    field = Delayed(lambda t, y, d: d)
    with torch.no_grad():
        field.scale.fill_(-0.7)
    with count(field) as seen:
        solution = MethodOfSteps(1.0, num_steps=6).solve(field, ONE, [0.0, 2.0])
    stats = solution.stats
    assert (stats.nfe_forward, stats.accepted, stats.rejected) == (24, 6, 0)
    assert seen.calls == 24
    assert (stats.min_step, stats.max_step) == pytest.approx((1 / 3, 1 / 3))
    assert stats.solver == "rk4 delay=1 num_steps=6"
    solution.ys[-1].sum().backward()
    assert field.scale.grad.item() == pytest.approx(2 - 0.7, rel=1e-13)
    assert (stats.vjps, stats.nfe_backward, seen.calls) == (24, 0, 24)


def test_dtypes_and_repeated_times():
    field = Delayed(lambda t, y, d: -d).float()
    solution = MethodOfSteps(0.5, num_steps=4).solve(field, torch.ones(2, 3), [0.0, 0.5, 0.5, 1.0])
    assert solution.ys.shape == (4, 2, 3)
    assert solution.ys.dtype == torch.float32
    assert torch.equal(solution.ys[1], solution.ys[2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delay": -0.1, "num_steps": 4}, "delay must be 0 or more, got -0.1"),
        ({"delay": math.nan, "num_steps": 4}, "delay must be 0 or more"),
        ({"delay": 0.1}, "neither step_size nor num_steps"),
        ({"delay": 0.1, "num_steps": 4, "step_size": 0.1}, "both step_size and num_steps"),
        ({"delay": 0.1, "num_steps": 0}, "num_steps must be positive"),
    ],
)
def test_delay_options_outside_their_domain_are_refused(options, message):
    with pytest.raises(SolverOptionError, match=message) as caught:
        MethodOfSteps(**options)
    assert caught.value.remedy


def test_delay_problems_it_cannot_solve_are_refused():
    field = Delayed(lambda t, y, d: -d)
    with pytest.raises(SolverOptionError, match="no backward solve"):
        MethodOfSteps(0.5, num_steps=4).solve(field, ONE, [1.0, 0.0])
    with pytest.raises(SolverOptionError, match="delay=1e-06 needs 1e"):
        MethodOfSteps(1e-6, num_steps=4).solve(field, ONE, [0.0, 1.0])
    with pytest.raises(SpecError, match="the field returned shape"):
        MethodOfSteps(0.5, num_steps=4).solve(Delayed(lambda t, y, d: d.sum()), ONE, [0.0, 1.0])
    with pytest.raises(NonFiniteStateError, match="not finite"):
        MethodOfSteps(0.5, num_steps=4).solve(Delayed(lambda t, y, d: d / 0), ONE, [0.0, 1.0])
