"""Stable neural SDEs: the laws that give them their names, and the controlled ODE without noise."""

import math

import pytest
import torch
from torch import nn

from integrand.errors import UsageError
from integrand.modules.series.geometric_sde import Geometric, GeometricSDE
from integrand.modules.series.langevin_sde import LangevinSDE
from integrand.modules.series.linear_noise_sde import LinearNoise, LinearNoiseSDE
from integrand.modules.series.lockstep_sde import solve_lockstep
from integrand.modules.series.stable_sde import DrivenSDE
from integrand.solvers import linear_control
from integrand.spec import Classes, SeriesSpec

F64 = torch.float64
FAMILIES = [LangevinSDE, LinearNoiseSDE, GeometricSDE]


def build(family, **kwargs):
    torch.manual_seed(0)
    spec = SeriesSpec("made-up", Classes(3), channels=3, length=9, missing=True)
    return family(spec, channels=5, hidden=7, **kwargs).double()


class Given(nn.Module):
    """A function in place of a net."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *args):
        return self.function(*args)


def final(makes, gamma, sigma, z0, seed=0, n=101, paths=1, noisy=True):
    """z(1) after n − 1 steps of Euler's method, from a path of one channel that is the time."""
    knots = torch.linspace(0, 1, n, dtype=F64).expand(paths, -1)
    path = linear_control(knots.unsqueeze(-1))
    start = torch.full((paths, 1), z0, dtype=F64)
    sde = makes(Given(gamma), Given(lambda t: torch.full_like(t, sigma)), path, start, noisy)
    torch.manual_seed(seed)
    return sde.state(solve_lockstep(sde, knots, sde.begin).ys)[..., 0]


def test_langevin_tends_to_the_density_of_its_potential():
    """γ = −κz, σ² = 2/β: variance (1 − e^{−2κ})/(βκ), here of Euler's method with 100 steps."""
    kappa, beta, h, paths = 4.0, 2.0, 0.01, 20000
    z = final(DrivenSDE, lambda t, z, x: -kappa * z, math.sqrt(2 / beta), 0.0, paths=paths)[-1]
    keep = (1 - kappa * h) ** 2
    expected = 2 / beta * h * (1 - keep**100) / (1 - keep)
    assert expected == pytest.approx((1 - math.exp(-2 * kappa)) / (beta * kappa), rel=0.03)
    # four standard errors of a variance
    assert abs(z.var().item() / expected - 1) < 4 * math.sqrt(2 / paths)


def test_linear_noise_decays_in_the_mean_and_keeps_zero():
    """γ = −κz: E z = z₀ (1 − κh)^n of Euler's method."""
    z = final(LinearNoise, lambda t, z, x: -1.5 * z, 0.8, 2.0, paths=20000)[-1]
    expected = 2.0 * (1 - 0.015) ** 100
    assert abs(z.mean().item() - expected) < 4 * z.std().item() / math.sqrt(20000)
    assert not final(LinearNoise, lambda t, z, x: -1.5 * z, 0.8, 0.0, paths=5).any()


def test_geometric_noise_keeps_signs_and_grows_at_the_rate_of_its_drift():
    """E z = z₀ e^γ exactly at any step, since the noise of log z is additive; Itô's correction is in it."""
    z = final(Geometric, lambda t, z, x: torch.full_like(z, 0.3), 0.9, -2.0, n=4, paths=40000)
    assert (z < 0).all()
    assert abs(z[-1].mean().item() + 2.0 * math.exp(0.3)) < 4 * z[-1].std().item() / math.sqrt(40000)
    assert z[-1].div(-2).log().mean().item() == pytest.approx(0.3 - 0.405, abs=4 * 0.9 / 200)


def test_the_geometric_equation_is_the_one_that_it_says():
    """Along one path of noise, against Euler's method on dz = zγ dt + σz dW itself, at 4000 steps."""

    class Plain(LinearNoise):
        def f(self, t, y):
            return y * super().f(t, y)

    def gamma(t, z, x):
        return torch.sin(z) + x

    ours, plain = (final(makes, gamma, 0.5, 1.2, n=4001, paths=3)[-1] for makes in (Geometric, Plain))
    # strong order 1/2 of the plain scheme: σ² √h is 4e-3, and the paths differ by far more
    torch.testing.assert_close(ours, plain, rtol=0.02, atol=0)
    assert ours.std() > 0.2


@pytest.mark.parametrize("makes", [DrivenSDE, LinearNoise, Geometric])
def test_the_drift_sees_the_path_where_it_is(makes):
    """ż = X(t) or ż = z X(t) with X = t: 1/2 at the end, up to the half step of the left ends."""
    z = final(makes, lambda t, z, x: x, 0.0, 1.0, n=101)[-1].item()
    total = 0.5 - 0.005
    assert z == pytest.approx(math.exp(total) if makes is Geometric else 1 + total, abs=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_without_noise_paths_do_not_differ(family, series):
    module, x = build(family, samples=3), series()
    module.eval()
    noisy = module(x)
    for parameter in module.diffusion.parameters():
        nn.init.zeros_(parameter)
    quiet = module(x)
    module.samples = 0
    assert not torch.allclose(noisy, quiet, atol=1e-4)
    torch.testing.assert_close(module(x), quiet, rtol=1e-12, atol=1e-12)
    module.train()
    torch.testing.assert_close(module(x), quiet, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("path", ["natural_cubic", "rectilinear"])
@pytest.mark.parametrize("family", FAMILIES)
def test_steps_between_observations_read_the_path_between_them(family, path, series):
    """Four steps in a gap against eight: first order, so the differences halve; one observation reads nothing."""
    x = series((9, 1), missing=0.0)
    said = []
    for steps in (4, 8, 16):
        module = build(family, interpolation=path, steps=steps).eval()
        said.append(module(x))
    ratio = (said[1] - said[0])[0].norm() / (said[2] - said[1])[0].norm()
    assert ratio.item() == pytest.approx(2.0, abs=0.35)
    assert torch.equal(said[0][1], said[2][1])


@pytest.mark.parametrize("family", FAMILIES)
def test_checkpoint_gives_the_gradient_of_backprop(family, series):
    gradients = []
    for mode in ("backprop", "checkpoint"):
        module = build(family, gradient=mode)
        torch.manual_seed(3)
        module(series()).square().sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in module.parameters()]))
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-10, atol=1e-12)


def test_settings_out_of_their_domains_are_refused():
    with pytest.raises(UsageError, match=r"set model\.steps"):
        build(LangevinSDE, steps=0)
