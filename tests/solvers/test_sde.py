"""Stochastic solvers: order along shared paths, moments, seeds, gradients, accounts."""

import math

import pytest
import torch
from torch import nn

from integrand.errors import SpecError
from integrand.solvers import (
    SRK,
    BrownianPath,
    EulerMaruyama,
    Milstein,
    SolverOptionError,
    StratonovichHeun,
    TorchSDE,
)

OWN = [EulerMaruyama, Milstein, StratonovichHeun, SRK]


class Geometric(nn.Module):
    """dy = μ y dt + σ y dW: y(T) = y0 exp((μ - σ²/2) T + σ W(T)) for Itô, without -σ²/2 for Stratonovich."""

    noise_type = "diagonal"

    def __init__(self, sde_type="ito", mu=0.6, sigma=0.7):
        super().__init__()
        self.sde_type = sde_type
        self.mu = nn.Parameter(torch.tensor(mu, dtype=torch.float64))
        self.sigma = nn.Parameter(torch.tensor(sigma, dtype=torch.float64))

    def f(self, t, y):
        return self.mu.to(y.dtype) * y

    def g(self, t, y):
        return self.sigma.to(y.dtype) * y

    def exact(self, y0, w, end):
        correction = self.sigma**2 / 2 if self.sde_type == "ito" else 0.0
        return y0 * torch.exp((self.mu - correction) * end + self.sigma * w)


class Forced(nn.Module):
    """dy = -y dt + e^{-t} dW in two components with three noises, additive: y(T) = e^{-T} (y0 + B W(T))."""

    noise_type = "additive"
    sde_type = "ito"

    def __init__(self, noise_type="additive"):
        super().__init__()
        self.noise_type = noise_type
        self.b = nn.Parameter(torch.tensor([[1.0, 0.5, -0.3], [0.2, -1.0, 0.7]], dtype=torch.float64))

    def f(self, t, y):
        return -y

    def g(self, t, y):
        return torch.exp(-t) * self.b.expand(len(y), 2, 3)


def shared(shape, seed):
    return BrownianPath(seed, [0.0, 1.0], shape, torch.float64)


@pytest.mark.parametrize("method", [EulerMaruyama, Milstein, SRK])
def test_weak_error_is_the_predicted_one(method):
    """The mean of the discrete solution of a linear equation has a closed form, of weak order 1, or 3 in SRK's drift.

    The exact solution along the same path takes most of the sampling error away.
    """
    sde = Geometric()
    path = shared((4000, 1), 7)
    y0 = torch.ones(4000, 1, dtype=torch.float64)
    exact = sde.exact(y0, path.increment(0.0, 1.0)[0], 1.0).detach()
    for n in (4, 8, 16):
        with torch.no_grad():
            ys = method(num_steps=n).solve(sde, y0, [0.0, 1.0], brownian=path).ys
        difference = ys[-1] - exact
        x = 0.6 / n
        growth = 1 + x + x**2 / 2 + x**3 / 6 if method is SRK else 1 + x
        predicted = growth**n - math.exp(0.6)
        error = difference.std().item() / math.sqrt(4000)
        assert abs(difference.mean().item() - predicted) < 4 * error


def test_ito_and_stratonovich_differ_by_half_sigma_squared():
    """Same path, same f and g: log y differs by σ² T / 2."""
    y0 = torch.ones(50, 1, dtype=torch.float64)
    with torch.no_grad():
        ito = Milstein(num_steps=400).solve(Geometric("ito"), y0, [0.0, 1.0], seed=1).ys[-1]
        strat = Milstein(num_steps=400).solve(Geometric("stratonovich"), y0, [0.0, 1.0], seed=1).ys[-1]
    # both err by O(h) = 0.0025 times a normal number
    torch.testing.assert_close((strat / ito).log(), torch.full_like(y0, 0.7**2 / 2), rtol=0, atol=1e-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("method", "sde"), [(EulerMaruyama, Geometric()), (SRK, Geometric()), (SRK, Forced())]
)
def test_same_seed_same_path_for_any_split(method, sde, dtype):
    y0 = torch.linspace(0.5, 1.5, 22, dtype=dtype).view(11, 2)
    sde = sde.to(dtype)
    solver = method(num_steps=37)
    with torch.no_grad():
        whole = solver.solve(sde, y0, [0.0, 0.5, 1.0], seed=3).ys
        assert torch.equal(whole, solver.solve(sde, y0, [0.0, 0.5, 1.0], seed=3).ys)
        assert not torch.equal(whole, solver.solve(sde, y0, [0.0, 0.5, 1.0], seed=4).ys)
        for cut in (1, 4, 10):
            parts = [
                solver.solve(sde, y0[:cut], [0.0, 0.5, 1.0], seed=3).ys,
                solver.solve(sde, y0[cut:], [0.0, 0.5, 1.0], seed=3, first_sample=cut).ys,
            ]
            torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("solver", [EulerMaruyama(num_steps=8), TorchSDE(num_steps=8)])
def test_torch_manual_seed_seeds(solver):
    y0 = torch.ones(4, 2, dtype=torch.float64)
    ends = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        ends.append(solver.solve(Geometric(), y0, [0.0, 1.0]).ys)
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])


@pytest.mark.parametrize("method", OWN)
@pytest.mark.parametrize("gradient", ["backprop", "checkpoint"])
def test_gradients_and_accounts(method, gradient):
    """d/dσ of the discrete solve by central differences along the same path."""
    sde_type = "stratonovich" if method is StratonovichHeun else "ito"
    sde = Geometric(sde_type)
    y0 = torch.ones(6, 2, dtype=torch.float64, requires_grad=True)
    solver = method(num_steps=20, gradient=gradient)

    calls = {"f": 0, "g": 0}
    for name in calls:
        original = getattr(sde, name)

        def spy(t, y, name=name, original=original):
            calls[name] += 1
            return original(t, y)

        setattr(sde, name, spy)
    solution = solver.solve(sde, y0, [0.0, 0.3, 1.0], seed=2)
    stats = solution.stats
    assert (stats.nfe_forward, stats.nfe_diffusion) == (calls["f"], calls["g"])
    calls.update(f=0, g=0)
    weights = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64)[:, None, None]
    by_y0, by_sigma = torch.autograd.grad((weights * solution.ys).sum(), (y0, sde.sigma))
    assert (stats.nfe_backward, stats.nfe_diffusion_backward) == (calls["f"], calls["g"])
    assert stats.vjps > 0
    values = []
    for shift in (1e-6, -1e-6):
        other = Geometric(sde_type, sigma=0.7 + shift)
        values.append((weights * solver.solve(other, y0, [0.0, 0.3, 1.0], seed=2).ys).sum().item())
    # rounding 1e-15 / 1e-6 and curvature 1e-12
    assert by_sigma.item() == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-6)
    torch.testing.assert_close(by_y0, (weights * solution.ys).sum(0) / y0, rtol=1e-9, atol=0)  # linear in y0


@pytest.mark.parametrize("method", OWN)
def test_checkpoint_is_backprop_to_rounding(method):
    sde = Geometric("stratonovich" if method is StratonovichHeun else "ito")
    gradients = []
    for gradient in ("backprop", "checkpoint"):
        y0 = torch.ones(3, 2, dtype=torch.float64, requires_grad=True)
        ys = method(num_steps=50, gradient=gradient).solve(sde, y0, [0.0, 0.3, 1.0], seed=2).ys
        gradients.append(torch.autograd.grad(ys.square().sum(), (y0, sde.mu, sde.sigma)))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("gradient", ["backprop", "adjoint"])
@pytest.mark.parametrize(
    ("method", "sde_type"),
    [
        ("euler", "ito"),
        ("milstein", "ito"),
        ("srk", "ito"),
        ("heun", "stratonovich"),
        ("reversible_heun", "stratonovich"),
    ],
)
def test_torchsde_is_counted_and_right(method, sde_type, gradient):
    """Mean of log y along 400 paths against (μ - σ²/2) T, and the account against a count."""
    sde = Geometric(sde_type)
    calls = {"f": 0, "g": 0}
    for name in calls:
        original = getattr(sde, name)

        def spy(t, y, name=name, original=original):
            calls[name] += 1
            return original(t, y)

        setattr(sde, name, spy)
    y0 = torch.ones(400, 1, dtype=torch.float64)
    solution = TorchSDE(method, num_steps=64, gradient=gradient).solve(sde, y0, [0.0, 1.0], seed=0)
    stats = solution.stats
    assert (stats.nfe_forward, stats.nfe_diffusion) == (calls["f"], calls["g"])
    calls.update(f=0, g=0)
    solution.ys[-1].mean().backward()
    assert (stats.nfe_backward, stats.nfe_diffusion_backward) == (calls["f"], calls["g"])
    assert stats.vjps > 0
    mean = 0.6 - (0.7**2 / 2 if sde_type == "ito" else 0)
    # standard error 0.7 / 20 = 0.035, Euler's bias 0.005
    assert solution.ys[-1].log().mean().item() == pytest.approx(mean, abs=0.13)
    exact_by_mu = solution.ys[-1].mean().item()  # dy(T)/dμ = T y(T)
    assert sde.mu.grad.item() == pytest.approx(exact_by_mu, rel=0.05)


@pytest.mark.parametrize("steps", [32, 99, 100, 101, 128])
def test_torchsde_takes_the_steps_asked_for(steps):
    """In float32 with dt = 0.01 torchsde alone takes 101 steps over [0, 1], the last of 1e-7."""
    y0 = torch.ones(4, 2)
    stats = TorchSDE("euler", num_steps=steps).solve(Geometric(), y0, [0.0, 1.0], seed=0).stats
    assert stats.nfe_forward == steps + 1  # torchsde's own check makes one


def test_general_noise_and_refusals():
    y0 = torch.ones(5, 2, dtype=torch.float64)
    sde = Forced("general")
    ys = EulerMaruyama(num_steps=10).solve(sde, y0, [0.0, 1.0], seed=0).ys
    assert ys.shape == (2, 5, 2)
    with pytest.raises(SolverOptionError, match="takes noise_type diagonal"):
        Milstein(num_steps=10).solve(sde, y0, [0.0, 1.0])
    with pytest.raises(SolverOptionError, match="takes sde_type ito"):
        EulerMaruyama(num_steps=10).solve(Geometric("stratonovich"), y0, [0.0, 1.0])
    with pytest.raises(SolverOptionError, match="did you mean milstein"):
        TorchSDE("milsten")
    with pytest.raises(SolverOptionError, match="neither"):
        EulerMaruyama()
    with pytest.raises(SpecError, match="backwards"):
        EulerMaruyama(num_steps=3).solve(Geometric(), y0, [1.0, 0.0])
    assert torch.equal(EulerMaruyama(num_steps=3).solve(Geometric(), y0, [0.5]).ys[0], y0)


def test_without_noise_euler_maruyama_is_euler():
    from integrand.solvers import Euler

    sde = Geometric(sigma=0.0)
    field = nn.Module()
    field.forward = lambda t, y: sde.f(t, y)
    y0 = torch.ones(3, 2, dtype=torch.float64)
    a = EulerMaruyama(num_steps=7).solve(sde, y0, [0.0, 1.0], seed=0).ys
    assert torch.equal(a, Euler(num_steps=7).solve(field, y0, [0.0, 1.0]).ys)
