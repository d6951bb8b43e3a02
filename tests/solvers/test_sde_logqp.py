"""The divergence of latent SDEs: closed forms, torchsde's numbers on one path, gradients."""

import math

import pytest
import torch
import torchsde
from sde_cases import Forced, Image, Twisted
from torch import nn

from integrand.errors import SpecError
from integrand.solvers import (
    SRK,
    BrownianPath,
    EulerHeun,
    EulerMaruyama,
    Milstein,
    ReversibleHeunSDE,
    SolverOptionError,
    StratonovichHeun,
    StratonovichMidpoint,
    TorchSDE,
    sdeint,
    solve_logqp,
)
from integrand.solvers.sde.torchsde_path import EnginePath

BATCH = 6


class OrnsteinUhlenbeck(nn.Module):
    """Posterior dy = −φ y dt + σ dW, prior dy = −θ y dt + σ dW."""

    noise_type, sde_type = "diagonal", "ito"
    phi, theta, sigma = 1.5, 0.5, 0.8

    def f(self, t, y):
        return -self.phi * y

    def h(self, t, y):
        return -self.theta * y

    def g(self, t, y):
        return torch.full_like(y, self.sigma)


def test_ornstein_uhlenbeck_has_its_closed_form():
    """E ∫ ((θ − φ) y/σ)²/2 dt with E y² = y0² e^{−2φt} + σ² (1 − e^{−2φt}) / 2φ."""
    sde, n, start = OrnsteinUhlenbeck(), 20_000, 0.7
    y0 = torch.full((n, 1), start, dtype=torch.float64)
    _, kl = solve_logqp(EulerMaruyama(num_steps=128), sde, y0, [0.0, 0.5, 1.0], seed=0)
    assert kl.shape == (2, n)
    phi, sigma = sde.phi, sde.sigma

    def second_moment(t):
        """∫ E y² from 0 to t."""
        decay = (1 - math.exp(-2 * phi * t)) / (2 * phi)
        return start**2 * decay + sigma**2 / (2 * phi) * (t - decay)

    factor = ((sde.theta - phi) / sigma) ** 2 / 2
    for part, (a, b) in zip(kl, ((0.0, 0.5), (0.5, 1.0)), strict=True):
        expected = factor * (second_moment(b) - second_moment(a))
        # left sums are off by h/2 of the change of the integrand, at most 0.4 · 0.004
        error = 5 * part.std().item() / math.sqrt(n) + 0.002
        assert part.mean().item() == pytest.approx(expected, abs=error)


@pytest.mark.parametrize(
    "solver",
    [
        EulerMaruyama(num_steps=7),
        Milstein(num_steps=7),
        SRK(num_steps=7),
        Milstein(rtol=1e-2, atol=1e-2),
    ],
)
def test_the_constant_shift_is_exact_and_the_path_the_same(solver):
    """f − h = c: ∫ |u|²/2 dt = Σ (c/σ)²/2 T to rounding, on states of any shape; y is that of a plain solve."""

    class Shifted(OrnsteinUhlenbeck):
        def h(self, t, y):
            return self.f(t, y) - 0.3

    y0 = torch.rand(3, 2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    solution, kl = solve_logqp(solver, Shifted(), y0, [0.0, 0.25, 1.0], seed=1)
    expected = 8 * (0.3 / 0.8) ** 2 / 2 * torch.tensor([0.25, 0.75], dtype=torch.float64)
    torch.testing.assert_close(kl, expected[:, None].expand(2, 3), rtol=1e-12, atol=0)
    plain = solver.solve(Shifted(), y0, [0.0, 0.25, 1.0], seed=1)
    assert solution.ys.shape == plain.ys.shape
    if not solver.is_adaptive:
        assert torch.equal(solution.ys, plain.ys)


@pytest.mark.parametrize("noise_type", ["diagonal", "scalar", "additive", "general"])
def test_equal_drifts_have_none(noise_type):
    sde = _latent(noise_type, "ito", equal=True)
    _, kl = solve_logqp(EulerMaruyama(num_steps=5), sde, sde.start(BATCH), [0.0, 1.0], seed=0)
    assert torch.equal(kl, torch.zeros(1, BATCH, dtype=torch.float64))


def _latent(noise_type, sde_type, equal=False):
    """The equations of the other tests with priors that differ within the range of g."""
    base = {"additive": Forced, "general": Twisted}.get(noise_type)
    sde = base(sde_type) if base else Image(noise_type, sde_type)
    weights = nn.Parameter(torch.tensor([0.3, -0.5, 0.2], dtype=torch.float64))
    sde.weights = weights

    def prior(t, y):
        if equal:
            return sde.f(t, y)
        g = sde.g(t, y)
        shift = torch.cos(y[:, :1]) * weights
        if noise_type == "diagonal":
            return sde.f(t, y) - g * shift[:, : g.shape[1]]
        return sde.f(t, y) - (g @ shift[:, : g.shape[2], None]).squeeze(-1)

    sde.h = prior
    return sde


@torch.no_grad()
@pytest.mark.parametrize("noise_type", ["diagonal", "scalar", "additive", "general"])
@pytest.mark.parametrize(
    ("solver", "theirs", "sde_type"),
    [
        (EulerMaruyama, "euler", "ito"),
        (StratonovichHeun, "heun", "stratonovich"),
        (StratonovichMidpoint, "midpoint", "stratonovich"),
        (EulerHeun, "euler_heun", "stratonovich"),
        (ReversibleHeunSDE, "reversible_heun", "stratonovich"),
    ],
)
def test_agrees_with_torchsde_on_one_path(solver, theirs, sde_type, noise_type):
    sde, n = _latent(noise_type, sde_type), 16
    y0, shape = sde.start(BATCH), sde.noise_shape(BATCH)
    path = BrownianPath(7, [0.0, 1.0], shape, torch.float64)
    solution, kl = solve_logqp(solver(num_steps=n), sde, y0, [0.0, 0.5, 1.0], brownian=path)

    class Wider:
        """torchsde asks for noise in the component of the divergence too, and multiplies it by zero."""

        def increment(self, a, b, area):
            w, _ = path.increment(a, b, False)
            return (nn.functional.pad(w, (0, 1)) if noise_type == "diagonal" else w), None

    nodes = [i / n for i in range(n + 1)]
    wide = (BATCH, shape[1] + 1) if noise_type == "diagonal" else shape
    bm = EnginePath(Wider(), nodes, wide, torch.float64, y0.device)
    ts = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    ys, log_ratio = torchsde.sdeint(sde, y0, ts, bm=bm, method=theirs, dt=1 / n, logqp=True)
    torch.testing.assert_close(solution.ys, ys, rtol=0, atol=1e-12)
    torch.testing.assert_close(kl, log_ratio, rtol=1e-9, atol=1e-12)
    assert kl.min() > 0


@pytest.mark.parametrize("noise_type", ["diagonal", "general"])
@pytest.mark.parametrize(
    ("method", "gradient"), [(StratonovichHeun, "checkpoint"), (ReversibleHeunSDE, "reversible")]
)
def test_gradients_reach_the_prior_in_every_mode(method, gradient, noise_type):
    found = []
    for mode in ("backprop", gradient):
        sde = _latent(noise_type, "stratonovich")
        y0 = sde.start(BATCH).clone().requires_grad_()
        solution, kl = solve_logqp(method(num_steps=8, gradient=mode), sde, y0, [0.0, 1.0], seed=0)
        loss = kl.sum() + solution.ys[-1].square().sum()
        found.append(torch.autograd.grad(loss, (y0, sde.weights)))
    for a, b in zip(*found, strict=True):
        assert b.abs().max() > 0
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("method", [EulerMaruyama, SRK, Milstein])
def test_accounts(method):
    """One evaluation of the prior for each of the drift; the diffusion of the ratio serves for the step."""
    sde = _latent("diagonal", "ito")
    calls = dict.fromkeys("fg", 0)
    prior = sde.h

    def spy(name, original):
        def call(t, y):
            calls[name] += 1
            return original(t, y)

        return call

    sde.h = lambda t, y: y * 0
    for name in calls:
        setattr(sde, name, spy(name, getattr(sde, name)))
    stats = solve_logqp(method(num_steps=8), sde, sde.start(BATCH), [0.0, 1.0], seed=0)[0].stats
    assert (stats.nfe_forward, stats.nfe_diffusion) == (calls["f"], calls["g"])
    assert stats.nfe_diffusion == 8 * {EulerMaruyama: 1, Milstein: 2, SRK: 6}[method]
    assert prior is not sde.h


def test_sdeint_returns_it():
    sde = _latent("diagonal", "ito")
    path = BrownianPath(3, [0.0, 1.0], (BATCH, 2), torch.float64)
    ys, kl, solution = sdeint(
        sde, sde.start(BATCH), [0.0, 1.0], num_steps=4, brownian=path, logqp=True, return_solution=True
    )
    expected, divergence = solve_logqp(SRK(num_steps=4), sde, sde.start(BATCH), [0.0, 1.0], brownian=path)
    assert torch.equal(ys, expected.ys)
    assert torch.equal(kl, divergence)
    assert solution.stats.nfe_forward == expected.stats.nfe_forward


def test_refusals():
    sde = _latent("scalar", "ito")
    y0 = sde.start(BATCH)
    with pytest.raises(SolverOptionError, match="TorchSDE does not integrate"):
        solve_logqp(TorchSDE(), sde, y0, [0.0, 1.0])
    with pytest.raises(SpecError, match="has no prior drift"):
        solve_logqp(EulerMaruyama(num_steps=2), Image(), y0, [0.0, 1.0])
    sde.h = lambda t, y: y
    with pytest.raises(SolverOptionError, match="outside the range of g"):
        solve_logqp(EulerMaruyama(num_steps=2), sde, y0, [0.0, 1.0])
