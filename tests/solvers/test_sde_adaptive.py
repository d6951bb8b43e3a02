"""Steps that follow the error on one path: convergence, what rejection keeps, and refusals."""

import pytest
import torch
from sde_cases import Forced, Image, case, discovered
from torch import nn

from integrand.solvers import (
    BrownianPath,
    EulerMaruyama,
    MaxNFEError,
    Milstein,
    NonFiniteStateError,
    SolverOptionError,
    StepUnderflowError,
    StratonovichHeun,
    StratonovichMidpoint,
)
from integrand.solvers.sde.solver import OneStepSDE

BATCH = 64


def run(method, sde, tolerance, path=None, times=(0.0, 1.0), **kwargs):
    path = path or BrownianPath(5, [0.0, 1.0], sde.noise_shape(BATCH), torch.float64)
    solver = method(rtol=tolerance, atol=tolerance, **kwargs)
    return solver.solve(sde, sde.start(BATCH), list(times), brownian=path), path


ADAPTIVE = [
    pytest.param(method, noise_type, id=f"{method.__name__}-{noise_type}")
    for method in discovered(OneStepSDE)
    for noise_type in method.noise_types
    if noise_type in method.adaptive_noise
]


@torch.no_grad()
@pytest.mark.parametrize(("method", "noise_type"), ADAPTIVE)
def test_the_error_follows_the_tolerance(method, noise_type):
    """Against the solution along the path; general noise against 512 steps, whose error is 0.01."""
    sde = case(noise_type, method.sde_types[-1])
    tolerances = (3e-2, 1e-2) if noise_type == "general" else (1e-2, 1e-3)
    errors, sizes = [], []
    for tolerance in tolerances:
        solution, path = run(method, sde, tolerance)
        if hasattr(sde, "end"):
            exact = sde.end(path.increment(0.0, 1.0)[0])
        else:
            y0 = sde.start(BATCH)
            exact = method(num_steps=512).solve(sde, y0, [0.0, 1.0], brownian=path).ys[-1]
        errors.append((solution.ys[-1] - exact).abs().mean().item())
        sizes.append(solution.stats.min_step)
        assert sum(solution.stats.step_sizes) == pytest.approx(1.0, abs=1e-12)
    # the tolerance is that of one step; Euler's drift adds the most up, to six of them
    assert errors[0] < 10 * tolerances[0]
    assert errors[1] < 10 * tolerances[1]
    assert errors[1] < errors[0]
    # smooth cases meet both with the steps that they begin with
    assert sizes[1] <= sizes[0]


class Burst(nn.Module):
    """dy = dW but for a drift that is a spike of width 0.03 at t = 0.7: steps must shrink there only."""

    noise_type, sde_type = "diagonal", "stratonovich"

    def f(self, t, y):
        return torch.exp(-(((t - 0.7) / 0.03) ** 2)) * 40 * torch.cos(y)

    def g(self, t, y):
        return torch.ones_like(y)


@torch.no_grad()
def test_rejected_steps_keep_the_path():
    """Without the spike's drift the end would be W(1) exactly; the noise part stays that of the path."""
    path = BrownianPath(2, [0.0, 1.0], (8, 2), torch.float64)
    y0 = torch.zeros(8, 2, dtype=torch.float64)
    solution = StratonovichHeun(rtol=1e-3, atol=1e-3).solve(Burst(), y0, [0.0, 1.0], brownian=path)
    stats = solution.stats
    assert stats.rejected > 3
    assert stats.min_step < stats.max_step / 8
    fine = StratonovichMidpoint(num_steps=4096).solve(Burst(), y0, [0.0, 1.0], brownian=path).ys[-1]
    # Σ of about 60 local errors below 1e-3
    torch.testing.assert_close(solution.ys[-1], fine, rtol=0, atol=2e-2)


@torch.no_grad()
def test_a_seed_is_the_path_of_fixed_steps_too():
    sde, y0 = Forced(), Forced().start(5)
    adaptive = EulerMaruyama(rtol=1e-4, atol=1e-4).solve(sde, y0, [0.0, 1.0], seed=3).ys[-1]
    fixed = EulerMaruyama(num_steps=1024).solve(sde, y0, [0.0, 1.0], seed=3).ys[-1]
    torch.testing.assert_close(adaptive, fixed, rtol=0, atol=5e-3)


def spy(calls, name, original):
    def call(t, y):
        calls[name] += 1
        return original(t, y)

    return call


@pytest.mark.parametrize("method", [Milstein, StratonovichHeun])
def test_gradients_and_accounts(method):
    """Checkpoint is backprop to rounding; every call is counted, those of rejected steps too."""
    gradients, counts = [], []
    for gradient in ("backprop", "checkpoint"):
        sde = Image("diagonal", "stratonovich")
        calls = {"f": 0, "g": 0}
        for name in calls:
            setattr(sde, name, spy(calls, name, getattr(sde, name)))
        solution, _ = run(method, sde, 1e-2, times=(0.0, 0.25, 1.0), gradient=gradient)
        assert (solution.stats.nfe_forward, solution.stats.nfe_diffusion) == (calls["f"], calls["g"])
        counts.append(solution.stats.accepted)
        weights = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64)[:, None, None]
        gradients.append(torch.autograd.grad((weights * solution.ys).sum(), sde.matrix)[0])
    assert counts[0] == counts[1]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-10)


@pytest.mark.filterwarnings("ignore:.*missed the initial one")
def test_the_adjoint_takes_adaptive_steps_back():
    """Steps of 1/64 or less: to about the order, as with fixed ones."""
    found = []
    for gradient in ("backprop", "adjoint"):
        sde = Image("diagonal", "stratonovich")
        solution, _ = run(StratonovichHeun, sde, 1e-3, gradient=gradient)
        found.append(torch.autograd.grad(solution.ys[-1].mean(), sde.matrix)[0])
    torch.testing.assert_close(*found, rtol=0.05, atol=0)


def test_refusals_and_failures():
    sde = Image("diagonal", "ito")
    with pytest.raises(SolverOptionError, match="does not converge with diagonal noise"):
        run(EulerMaruyama, sde, 1e-2)
    with pytest.raises(SolverOptionError, match="got num_steps and rtol or atol"):
        Milstein(num_steps=3, rtol=1e-3)
    with pytest.raises(MaxNFEError, match="max_nfe=50"):
        run(Milstein, sde, 1e-6, max_nfe=50)
    with pytest.raises(StepUnderflowError, match="its error still"):
        # below the rounding of the state
        run(Milstein, sde, 1e-30)
    blown = Forced()
    blown.f = lambda t, y: y / (t - t)
    with pytest.raises(NonFiniteStateError, match="not finite at t=0"):
        run(EulerMaruyama, blown, 1e-2)
