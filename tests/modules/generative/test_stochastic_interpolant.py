"""Stochastic interpolants between Gaussians, where velocity, noise and marginals are known."""

import pytest
import torch

from integrand.errors import UsageError
from integrand.evaluations.sampling import Wishes, named_sampler, way
from integrand.modules.generative.backbones import TimeNet
from integrand.modules.generative.paths import (
    IndependentCFM,
    LinearInterpolant,
    Lipman,
    SchroedingerBridgeCFM,
    TrigonometricInterpolant,
)
from integrand.modules.generative.stochastic_interpolant import StochasticInterpolant, StochasticSteps
from integrand.solvers import Dopri5
from integrand.spec import Density, VectorSpec

LINE = VectorSpec("made-up", Density(), 1)
STD = 0.4
PATHS = [LinearInterpolant(), TrigonometricInterpolant(0.7), SchroedingerBridgeCFM(0.8)]
every_path = pytest.mark.parametrize("path", PATHS, ids=lambda p: type(p).__name__)


def draws(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slopes(path, t):
    """Of E[ẋ | x] and E[z | x], both linear, between independent N(0, 1) and N(0, STD²)."""
    (a, b, g), (da, db, dg) = path.coefficients(t), path.rates(t)
    variance = a**2 + (b * STD) ** 2 + g**2
    # at the ends γ γ̇ is finite although γ̇ is not
    change = torch.where(g > 0, dg * g, 0.0)
    return (da * a + db * b * STD**2 + change) / variance, g / variance


class Gaussian(TimeNet):
    """Both in closed form, times numbers that are learned, 1 at the truth."""

    def __init__(self, path):
        super().__init__()
        self.path = path
        self.factors = torch.nn.Parameter(torch.ones(2, dtype=torch.float64))

    def forward(self, t, x, y=None, both=False):
        velocity, noise = slopes(self.path, t.reshape(-1, 1).clamp(1e-9, 1 - 1e-9))
        first = self.factors[0] * velocity * x
        return torch.cat((first, self.factors[1] * noise * x), dim=1) if both else first


def made(path):
    module = StochasticInterpolant(LINE, path=path, ema=None, solver=Dopri5(rtol=1e-6, atol=1e-6)).double()
    module.net = Gaussian(path)
    return module


@every_path
def test_the_objective_is_least_at_velocity_and_noise_in_closed_form(path, monkeypatch):
    """Its gradient at the closed form is noise alone, and larger if a factor is off."""
    monkeypatch.setattr(type(path), "couple", lambda self, x0, x1: (x0, x1))  # independent pairs
    module, n = made(path).train(), 200_000
    monkeypatch.setattr(module, "draw_times", lambda n, like: torch.full((n,), 0.3, dtype=like.dtype))

    def gradient(factors):
        with torch.no_grad():
            module.net.factors.copy_(torch.tensor(factors))
        torch.manual_seed(5)  # another than that of the data, or noise and data would be one
        loss = module.objective(STD * draws(n, 1), None, "train").terms["loss"]
        return torch.autograd.grad(loss, module.net.factors)[0].abs()

    velocity, noise = (float(s.abs()) for s in slopes(path, torch.tensor(0.3, dtype=torch.float64)))
    at = gradient([1.0, 1.0])
    # d loss/d factor = 2 E[k x (k x − target)]: its standard error is about 2 k x σ(target)/√n ≈ 0.01 k
    assert at[0] < 0.03 * velocity
    assert at[1] < 0.03 * noise
    off = gradient([1.2, 1.2])
    assert off[1] > 3 * at[1]


@every_path
def test_ode_and_sde_carry_the_noise_to_the_data(path):
    module = made(path)
    noise = draws(20_000, 1)
    expected = STD
    x, _ = module.generate(noise, range(20_000), 0)
    assert float(x.std()) == pytest.approx(expected * float(noise.std()), rel=1e-3)
    for how in (StochasticSteps(200), StochasticSteps(200, 0.3, constant=True)):
        x, stats = module.generate(noise, range(20_000), 0, how)
        # standard error 0.5 %, and Euler–Maruyama's bias of order 1/200; without the score it would be 1.5 times
        assert float(x.std()) == pytest.approx(expected, rel=0.06)
        assert stats.nfe_forward == 200
        assert float((x - module.generate(noise, range(20_000), 0)[0]).abs().mean()) > 0.05


def test_the_drift_of_one_bridge_is_that_of_brownian_motion_to_its_end():
    """b + ½σ²s = (x₁ − x)/(1 − t) for a single pair (Tong et al. 2024)."""
    path = SchroedingerBridgeCFM(0.8)
    module = made(path)
    x0, x1, z = draws(7, 1), draws(7, 1, seed=1), draws(7, 1, seed=2)
    for place in (0.1, 0.5, 0.8):
        t = torch.full((7,), place, dtype=torch.float64)
        x, u = path.between(x0, x1, t, z)
        epsilon, push = module.diffusion(t[0], StochasticSteps(1, 0.5 * 0.8**2, constant=True))
        assert epsilon == 0.5 * 0.8**2
        torch.testing.assert_close(u - push * z, (x1 - x) / (1 - place))


@pytest.mark.parametrize("path", PATHS[:2], ids=lambda p: type(p).__name__)
def test_rates_of_interpolants_are_the_derivatives(path):
    t = torch.linspace(0.05, 0.95, 7, dtype=torch.float64)
    _, rates = torch.func.jvp(path.coefficients, (t,), (torch.ones_like(t),))
    for found, expected in zip(path.rates(t), rates, strict=True):
        torch.testing.assert_close(found, expected)


def test_stochastic_samples_do_not_depend_on_their_batch():
    torch.manual_seed(0)
    module = StochasticInterpolant(LINE).double()
    named = named_sampler(module, "StochasticSteps")
    how = way(module, Wishes(), named, 5)
    assert how.num_steps == 5
    whole = module.sample(40, seed=2, sampler=how).x
    torch.testing.assert_close(module.sample(40, seed=2, sampler=how, batch_size=7).x, whole)
    assert not torch.equal(module.sample(40, seed=3, sampler=how).x, whole)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: StochasticInterpolant(LINE, path=IndependentCFM()), "has no score to learn"),
        (lambda: StochasticInterpolant(LINE, path=Lipman(0.1)), "has no score to learn"),
        (lambda: LinearInterpolant(0.0), "an interpolant without noise"),
        (lambda: LinearInterpolant(margin=0.5), "margin must lie in"),
        (lambda: StochasticSteps(0), "num_steps is a whole number"),
    ],
)
def test_wrong_settings_are_refused(make, message):
    with pytest.raises(UsageError, match=message):
        make()
