"""Stable equations on a hidden state: their laws in closed form, the drift without noise; float64, fixed seeds.

Bounds of 5 standard errors fail by chance once in 1.7 million seeds.
"""

import math

import pytest
import torch
from torch import nn

from integrand.errors import UsageError
from integrand.modules import NeuralSDE
from integrand.modules.stochastic.stable import EQUATIONS, StableDynamics
from integrand.spec import Classes, ImageSpec

SPEC = ImageSpec("made-up", Classes(3), (1, 8, 8))
X = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
PATHS = 20_000


class Given(nn.Module):
    """A function in place of a net."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *args):
        return self.function(*args)


def ends(diffusion, gamma, strength, z0, steps=20, noisy=True):
    """States at 1 of `PATHS` paths of one channel from `z0`."""
    dynamics = StableDynamics(nn.Identity(), 1, 2, diffusion, 1.0, 1.0, steps, "backprop", True).double()
    dynamics.drift, dynamics.strength = Given(gamma), Given(strength)
    dynamics.train(noisy)
    dynamics.noisy_evaluation = noisy
    torch.manual_seed(1)
    return dynamics(torch.full((PATHS, 1, 1, 1), z0, dtype=torch.float64)).ys[-1].flatten()


def rising(t):
    """σ(t) = ½ + t."""
    return (0.5 + t).view(1, 1, 1, 1)


def squares(steps):
    """∫ σ² dt as a left sum."""
    return sum((0.5 + n / steps) ** 2 for n in range(steps)) / steps


def test_langevin_without_force_has_the_variance_of_its_noise():
    z = ends("langevin", lambda t, z, z0: 0 * z, rising, 0.4)
    variance = squares(20)
    assert z.mean().item() == pytest.approx(0.4, abs=5 * math.sqrt(variance / PATHS))
    assert z.var().item() == pytest.approx(variance, abs=5 * math.sqrt(2 / PATHS) * variance)


def test_linear_noise_decays_in_the_mean_and_keeps_zero():
    kappa, steps = 1.5, 20
    z = ends("linear-noise", lambda t, z, z0: -kappa * z, rising, 2.0, steps)
    mean = 2 * (1 - kappa / steps) ** steps
    second = 4 * math.prod((1 - kappa / steps) ** 2 + (0.5 + n / steps) ** 2 / steps for n in range(steps))
    assert z.mean().item() == pytest.approx(mean, abs=5 * math.sqrt((second - mean**2) / PATHS))
    assert not ends("linear-noise", lambda t, z, z0: -kappa * z, rising, 0.0).any()


def test_geometric_keeps_signs_and_has_the_drift_of_its_logarithm():
    z = ends("geometric", lambda t, z, z0: torch.full_like(z, 0.3), rising, -2.0, steps=4)
    assert (z < 0).all()
    log = (z / -2.0).log()
    variance = squares(4)
    assert log.mean().item() == pytest.approx(0.3 - variance / 2, abs=5 * math.sqrt(variance / PATHS))
    assert log.var().item() == pytest.approx(variance, abs=5 * math.sqrt(2 / PATHS) * variance)


@pytest.mark.parametrize(
    ("diffusion", "factor"), [("langevin", 1 + 0.9), ("linear-noise", 1.9), ("geometric", None)]
)
def test_the_drift_sees_where_the_state_began(diffusion, factor):
    """γ = 0.3 z₀ at z₀ = 3 is a constant, so that Euler's method is exact; of the logarithm in `geometric`."""
    z = ends(diffusion, lambda t, z, z0: 0.3 * z0, rising, 3.0, noisy=False)
    expected = 3 * math.exp(0.9) if factor is None else 3.0 + 0.9
    torch.testing.assert_close(z, torch.full_like(z, expected))


def build(diffusion, spec=SPEC, **kwargs):
    torch.manual_seed(0)
    return NeuralSDE(spec, channels=6, diffusion=diffusion, num_steps=3, sigma=1.0, **kwargs).double()


@pytest.mark.parametrize("diffusion", EQUATIONS)
def test_paths_are_drawn_and_the_strength_is_learned(diffusion):
    sde = build(diffusion, samples=2)
    sde.train()(X).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in sde.parameters())
    sde.eval()
    with torch.no_grad():
        (one, two), solves = sde.draws(X, 2)
    assert not torch.equal(one, two)
    assert sum(s.nfe_forward for s in solves) == 2 * 3


@pytest.mark.parametrize("diffusion", EQUATIONS)
def test_without_samples_evaluation_follows_the_drift(diffusion):
    sde, still = build(diffusion).eval(), build(diffusion).train()
    for dynamics in still.modules():
        if isinstance(dynamics, StableDynamics):
            dynamics.strength.scale = 0.0
    with torch.no_grad():
        torch.testing.assert_close(sde(X), sde(X), rtol=0, atol=0)
        torch.testing.assert_close(
            sde.net.dynamics(sde.net.stem(X)).ys, still.net.dynamics(still.net.stem(X)).ys
        )


def test_langevin_has_one_force_at_all_times():
    for diffusion, same in (("langevin", True), ("linear-noise", False)):
        drift = build(diffusion).net.dynamics.drift
        z = torch.randn(2, 6, 8, 8, dtype=torch.float64)
        early, late = (drift(torch.tensor(t, dtype=torch.float64), z, z) for t in (0.0, 1.0))
        assert torch.equal(early, late) == same


def test_another_scheme_is_refused():
    with pytest.raises(UsageError, match="langevin is not solved by milstein"):
        build("langevin", method="milstein")
