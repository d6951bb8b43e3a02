"""States between steps: the polynomial of each method, kept or read off, and solves that go on."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from integrand.errors import SpecError
from integrand.solvers import (
    RK4,
    SDIRK3,
    Bosh3,
    Dopri5,
    Dopri8,
    Euler,
    Fehlberg45,
    Heun,
    Midpoint,
    SolverOptionError,
    Tsit5,
)

METHODS = [Euler, Midpoint, Heun, RK4, Bosh3, Fehlberg45, Dopri5, Tsit5, Dopri8]
DENSE_ORDER = {Bosh3: 3, Dopri5: 4, Tsit5: 4, Dopri8: 6}


class Pendulum(nn.Module):
    """θ″ = −a sin θ + cos t: nonlinear and driven, so that no coefficient drops out."""

    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(1.3, dtype=torch.float64))

    def forward(self, t, y):
        angle, speed = y[:, :1], y[:, 1:]
        return torch.cat((speed, -self.a * torch.sin(angle) + torch.cos(t) * torch.ones_like(angle)), 1)


@pytest.fixture
def pendulum():
    return Pendulum()


@pytest.fixture
def angles():
    return torch.tensor([[0.4, 0.0], [1.1, -0.7], [2.0, 0.3]], dtype=torch.float64)


@pytest.fixture
def exact(pendulum, angles):
    """The trajectory to 1e-13."""

    def at(times):
        with torch.no_grad():
            return Dopri8(rtol=1e-13, atol=1e-13).solve(pendulum, angles, [0.0, *times]).ys[1:]

    return at


@pytest.mark.parametrize("method", METHODS)
def test_order_between_the_steps(method, pendulum, angles, exact):
    """Slope of the largest error inside steps, where an interpolant of order q gives min(p, q + 1) globally.

    Order 8 meets the conditions of order 7 to 6e-6, so its slope is 7 until errors of 1e-12.
    """
    times = torch.linspace(0, 2, 61, dtype=torch.float64)[1:-1].tolist()
    truth = exact(times)
    numbers = {1: (200, 400, 800), 2: (60, 120, 240), 8: (6, 9, 12)}.get(method.order, (25, 50, 100))
    errors = []
    for n in numbers:
        solution = method(num_steps=n, dense=True).solve(pendulum, angles, [0.0, 2.0])
        errors.append((solution.at(times) - truth).abs().max().item())
    slope = -np.polyfit(np.log(numbers), np.log(errors), 1)[0]
    assert slope > min(method.order, DENSE_ORDER.get(method, 3) + 1) - 0.3


@pytest.mark.parametrize("mode", [{"num_steps": 12}, {"rtol": 1e-6, "atol": 1e-6}])
@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("method", [Heun, Bosh3, Fehlberg45, Dopri5, Tsit5, Dopri8])
@pytest.mark.parametrize("span", [(0.0, 2.0), (1.5, -0.5)])
def test_kept_steps_are_the_steps(method, mode, per_sample, span, pendulum, angles):
    """At the ends of steps the polynomial is the state; between them it is as accurate as the solve."""
    if per_sample and "num_steps" in mode:
        pytest.skip("fixed steps are those of the batch")
    settings = {**mode, "per_sample": per_sample} if per_sample else mode
    plain = method(**settings).solve(pendulum, angles, span)
    kept = method(**settings, dense=True).solve(pendulum, angles, span)
    assert torch.equal(kept.ys, plain.ys)
    torch.testing.assert_close(kept.at(list(span)), plain.ys, rtol=1e-12, atol=1e-12)
    times = torch.linspace(*span, 9, dtype=torch.float64)
    many = Dopri8(rtol=1e-12, atol=1e-12).solve(pendulum, angles, times)
    loose = 5e-2 if method.order == 2 and "num_steps" in mode else 2e-3 if "num_steps" in mode else 3e-4
    torch.testing.assert_close(kept.at(times), many.ys, rtol=0, atol=loose)
    own = times.repeat(len(angles), 1).flip(1)
    torch.testing.assert_close(kept.at(own), kept.at(times.flip(0)), rtol=0, atol=0)
    assert kept.at(0.7).shape == angles.shape


def test_states_between_steps_carry_the_gradient(pendulum, angles):
    """Also to the time that is asked for: dy/dt is the field to the accuracy of the polynomial."""
    y0 = angles.clone().requires_grad_()
    solution = Dopri5(rtol=1e-9, atol=1e-9, dense=True).solve(pendulum, y0, [0.0, 2.0])
    t = torch.tensor(1.234, dtype=torch.float64, requires_grad=True)
    y = solution.at(t)
    by_t, by_y0, by_a = torch.autograd.grad(y[:, 0].sum(), (t, y0, pendulum.a))
    direct = Dopri5(rtol=1e-9, atol=1e-9).solve(pendulum, y0, [0.0, 1.234]).ys[-1]
    expected = torch.autograd.grad(direct[:, 0].sum(), (y0, pendulum.a))
    torch.testing.assert_close((by_y0, by_a), expected, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(by_t, y[:, 1].sum().detach(), rtol=1e-5, atol=1e-6)


def test_what_was_not_kept_is_refused(pendulum, angles):
    for solver in (Dopri5(), SDIRK3(), RK4(num_steps=3)):
        with pytest.raises(SolverOptionError, match="kept no steps"):
            solver.solve(pendulum, angles, [0.0, 1.0]).at(0.5)
    kept = Dopri5(dense=True).solve(pendulum, angles, [0.0, 1.0])
    for t in (1.1, [-0.2, 0.5]):
        with pytest.raises(SpecError, match=r"went from 0 to 1, but is asked for (1\.1|-0\.2)"):
            kept.at(t)
    with pytest.raises(SolverOptionError, match="checkpoint"):
        Dopri5(dense=True, gradient="checkpoint")


@pytest.mark.parametrize("gradient", ["backprop", "checkpoint"])
@pytest.mark.parametrize("solver", [RK4, Dopri5, Heun])
def test_every_step_as_an_output(solver, gradient, pendulum, angles):
    mode = {"num_steps": 7} if solver is RK4 else {"rtol": 1e-4, "atol": 1e-4}
    solution = solver(**mode, save="steps", gradient=gradient).solve(pendulum, angles, [0.0, 2.0])
    assert len(solution.ts) == solution.stats.accepted + 1 == len(solution.ys)
    torch.testing.assert_close(solution.ts.diff(), torch.tensor(solution.stats.step_sizes).double())
    assert solution.ts[-1] == 2.0
    plain = solver(**mode, gradient=gradient).solve(pendulum, angles, [0.0, 2.0])
    assert torch.equal(solution.ys[-1], plain.ys[-1])
    by_steps = torch.autograd.grad(solution.ys[-1].sum(), pendulum.a)
    assert torch.equal(by_steps[0], torch.autograd.grad(plain.ys[-1].sum(), pendulum.a)[0])
    with pytest.raises(SolverOptionError, match="save=steps"):
        solver(**mode, save="steps").solve(pendulum, angles, [0.0, 1.0, 2.0])
    with pytest.raises(SolverOptionError, match="one time for all samples"):
        Dopri5(per_sample=True, save="steps")


def test_a_solve_goes_on_as_if_it_had_not_stopped(pendulum, angles):
    """Heun steps on its outputs, so that one solve with an output there takes the same steps bit by bit."""
    solver = Heun(rtol=1e-5, atol=1e-5)
    whole = solver.solve(pendulum, angles, [0.0, 1.0, 2.0])
    first = solver.solve(pendulum, angles, [0.0, 1.0])
    second = solver.proceed(pendulum, first, [1.5, 2.0])
    reference = solver.solve(pendulum, angles, [0.0, 1.0, 1.5, 2.0])
    assert torch.equal(second.ys[-1], reference.ys[-1])
    assert torch.equal(second.ys[0], whole.ys[1])
    assert second.stats.step_sizes == reference.stats.step_sizes[first.stats.accepted :]
    # two evaluations of the initial step are saved, one at the seam is made again
    assert first.stats.nfe_forward + second.stats.nfe_forward == reference.stats.nfe_forward
    with pytest.raises(SolverOptionError, match="adaptive steps"):
        RK4(num_steps=2).proceed(pendulum, RK4(num_steps=2).solve(pendulum, angles, [0.0, 1.0]), [2.0])


def test_dopri8_does_not_stop_at_outputs(pendulum, angles, exact):
    """201 outputs cost two further evaluations for each step, and are as accurate as the steps."""
    solver = Dopri8(rtol=1e-9, atol=1e-9)
    times = torch.linspace(0, 10, 201, dtype=torch.float64)
    few = solver.solve(pendulum, angles, [0.0, 10.0])
    many = solver.solve(pendulum, angles, times)
    assert many.stats.accepted == few.stats.accepted
    assert many.stats.nfe_forward <= few.stats.nfe_forward + 2 * few.stats.accepted + 1
    truth = exact(times[1:].tolist())
    assert (many.ys[1:] - truth).abs().max() < 10 * (few.ys[-1] - truth[-1]).abs().max()


@pytest.mark.parametrize("method", [m for m in METHODS if m.tableau.b_low is not None or m is RK4])
def test_polynomials_meet_both_ends(method):
    interpolant, n = method.tableau.interpolant, method.tableau.stages
    ends = {i: sum(row) for i, row in enumerate(interpolant.dense)}
    for i, weight in ends.items():
        assert weight == pytest.approx(method.tableau.b[i] if i < n else 0.0, abs=1e-11)
    assert math.isclose(sum(w for _, w in interpolant.weights(0.4)), 0.4, abs_tol=1e-12)
