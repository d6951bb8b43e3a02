"""Jumps of the neural SDE's state: their moments, limits and account; float64."""

import math

import pytest
import torch
from torch import nn

from integrand.errors import UsageError
from integrand.modules import NeuralODE, NeuralSDE
from integrand.modules.stochastic.jumps import JumpDynamics, JumpingField
from integrand.solvers import Euler, count
from integrand.spec import Classes, ImageSpec

SPEC = ImageSpec("made-up", Classes(3), (1, 8, 8))
X = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Still(nn.Module):
    """f = 0."""

    def forward(self, t, x):
        return torch.zeros_like(x)


def build(**kwargs):
    torch.manual_seed(0)
    return NeuralSDE(SPEC, channels=6, diffusion="jump", **kwargs).double()


@pytest.mark.parametrize("steps", [1, 4])
def test_jumps_keep_the_mean_and_raise_the_second_moment(steps):
    scale, rate, t1, n, x0 = 0.5, 0.8, 1.2, 400_000, 1.5
    dynamics = JumpDynamics(Still(), 1, scale, rate, t1, steps, noisy_evaluation=False)
    torch.manual_seed(1)
    end = dynamics(torch.full((n, 1), x0, dtype=torch.float64)).ys[-1].flatten()
    square = end.square()
    assert end.mean().item() == pytest.approx(x0, abs=5 * end.std().item() / math.sqrt(n))
    exact = x0**2 * (1 + scale**2 * rate * t1 / steps) ** steps
    assert square.mean().item() == pytest.approx(exact, abs=5 * square.std().item() / math.sqrt(n))


def test_a_jump_is_a_share_of_the_element_up_or_down():
    x = torch.randn(50, 40, dtype=torch.float64)
    torch.manual_seed(2)
    factors = (0.25 * JumpingField(Still(), 0.5, 0.2, 0.25)(torch.zeros(()), x) / x).round(decimals=9)
    values, counts = factors.unique(return_counts=True)
    assert values.tolist() == [-0.5, 0.0, 0.5]
    # Bernoulli(0.2), half of them up
    for number, p in zip(counts.tolist(), (0.1, 0.8, 0.1), strict=True):
        assert number == pytest.approx(2000 * p, abs=5 * math.sqrt(2000 * p * (1 - p)))


@pytest.mark.parametrize("options", [{"sigma": 0.0}, {"rate": 0.0}])
def test_without_jumps_it_is_the_neural_ode_by_euler(options):
    sde = build(num_steps=4, **options)
    ode = NeuralODE(SPEC, 6, Euler(num_steps=4)).double()
    state = {k.replace("jumping.field", "field"): v for k, v in sde.state_dict().items()}
    ode.load_state_dict(state)
    torch.testing.assert_close(sde.train()(X), ode.train()(X), rtol=1e-12, atol=1e-12)
    assert not sde.stochastic
    assert sde.components == 1


def test_evaluation_follows_the_drift_or_averages_paths():
    quiet, noisy = build(sigma=0.5).eval(), build(sigma=0.5, samples=3).eval()
    assert torch.equal(quiet(X), quiet(X))
    assert quiet.components == 1
    assert noisy.components is None
    said, _ = noisy.draws(X, 5)
    assert (torch.cdist(said.flatten(1), said.flatten(1)) + torch.eye(5)).min() > 1e-6
    assert not torch.equal(noisy(X), noisy(X))


def test_evaluations_are_counted(accounts):
    module = build(num_steps=3).train()
    with count(*module.net.dynamics.residuals()) as seen:
        module(X).sum().backward()
    assert accounts(module)[-1].nfe_forward == seen.calls == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 20.0, "num_steps": 10}, "the probability 2"),
        ({"rate": -1.0}, "rate=-1"),
        ({"sigma": -1.0}, "sigma must be 0 or more"),
        ({"method": "milstein"}, "jumps are not solved by milstein"),
        ({"gradient": "checkpoint"}, "jumps are not solved"),
    ],
)
def test_numbers_out_of_their_domain_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        build(**options)
