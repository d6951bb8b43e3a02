"""Neural SDE: its law where it is known, its limits, and its account; float64, fixed seeds.

Bounds of 5 standard errors fail by chance once in 1.7 million seeds.
"""

import itertools
import math

import pytest
import torch
from torch import nn

from integrand.errors import UsageError
from integrand.modules import NeuralODE, NeuralSDE
from integrand.modules.bench.image.cifar import CIFARStages
from integrand.modules.noise import Dropout
from integrand.modules.stochastic.neural_sde import DiffusedField, SDEDynamics
from integrand.solvers import Euler, count
from integrand.solvers.sde import EulerMaruyama, Milstein
from integrand.spec import Classes, ImageSpec

SPEC = ImageSpec("made-up", Classes(3), (1, 8, 8))
X = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Linear(nn.Module):
    """f = a + μh."""

    def __init__(self, a=0.0, mu=0.0):
        super().__init__()
        self.a, self.mu = a, mu

    def forward(self, t, h):
        return self.a + self.mu * h


def build(family=NeuralSDE, **kwargs):
    torch.manual_seed(0)
    return family(SPEC, channels=6, **kwargs).double()


def law(diffusion, sigma, field, h0=1.0, t1=1.0, num_steps=10, n=40_000):
    """End states of n paths from h0."""
    dynamics = SDEDynamics(
        field, 1, diffusion, sigma, t1, num_steps, "euler-maruyama", "backprop", noisy_evaluation=False
    )
    torch.manual_seed(1)
    return dynamics(torch.full((n, 1, 1, 1), h0, dtype=torch.float64)).ys[-1].flatten()


def has_normal_law(sample, mean, variance):
    """Mean and variance within 5 standard errors, √(σ²/n) and √(2/n) σ²."""
    n = len(sample)
    assert sample.mean().item() == pytest.approx(mean, abs=5 * math.sqrt(variance / n))
    assert sample.var().item() == pytest.approx(variance, abs=5 * math.sqrt(2 / n) * variance)


@pytest.mark.parametrize(
    ("diffusion", "method"),
    [
        ("additive", "euler-maruyama"),
        ("multiplicative", "euler-maruyama"),
        ("dropout", "euler-maruyama"),
        ("additive", "milstein"),
        ("multiplicative", "milstein"),
    ],
)
def test_without_noise_it_is_the_neural_ode_by_euler_bit_for_bit(diffusion, method):
    sde = build(sigma=0.0, diffusion=diffusion, method=method, num_steps=7, t1=0.8)
    ode = build(NeuralODE, solver=Euler(num_steps=7), t1=0.8)
    ode.load_state_dict(
        {k.replace("dynamics.sde.field", "dynamics.field"): v for k, v in sde.state_dict().items()}
    )
    assert torch.equal(sde.train()(X), ode(X))
    assert not sde.stochastic


def test_evaluation_follows_the_drift_bit_for_bit(accounts):
    sde = build(sigma=0.5, num_steps=7).eval()
    ode = build(NeuralODE, solver=Euler(num_steps=7)).eval()
    assert torch.equal(sde(X), ode(X))
    assert accounts(sde)[-1].nfe_diffusion == 0
    assert not torch.equal(sde.train()(X), ode(X))


@pytest.mark.parametrize("num_steps", [1, 16])
def test_additive_noise_without_drift_is_brownian_motion(num_steps):
    sigma, t1 = 0.7, 2.0
    has_normal_law(law("additive", sigma, Linear(), 1.5, t1, num_steps), 1.5, sigma**2 * t1)


def test_dropout_noise_of_a_constant_drift_is_brownian_with_that_drift():
    p, a, t1 = 0.2, 3.0, 0.5
    sigma = math.sqrt(p / (1 - p))
    has_normal_law(law("dropout", sigma, Linear(a), 1.0, t1), 1.0 + a * t1, (sigma * a) ** 2 * t1)


def test_geometric_brownian_motion_has_its_mean():
    mu, sigma, steps = 0.5, 0.4, 50
    sample = law("multiplicative", sigma, Linear(mu=mu), num_steps=steps)
    error = 5 * sample.std().item() / math.sqrt(len(sample))
    # the scheme's own mean (1 + μ/N)^N is exact; e^μ is μ²e^μ/2N ≈ 0.004 away
    assert sample.mean().item() == pytest.approx((1 + mu / steps) ** steps, abs=error)
    assert sample.mean().item() == pytest.approx(math.exp(mu), abs=error + mu**2 * math.exp(mu) / steps)


class Path:
    """A Brownian path on [0, 1] seen through steps of equal length."""

    def __init__(self, increments, num_steps):
        self.dw = increments.view(num_steps, -1, *increments.shape[1:]).sum(1)

    def increment(self, a, b, area):
        return self.dw[round(a * len(self.dw))], None


def strong_errors(scheme, exact, mu=0.8, sigma=0.9, fine=256, n=4000):
    """Mean |h − exact| of geometric Brownian motion on one path with 8, 16, 32 and 64 steps."""
    generator = torch.Generator().manual_seed(4)
    increments = torch.randn(fine, n, 1, generator=generator, dtype=torch.float64) / math.sqrt(fine)
    target = exact(mu, sigma, increments.sum(0))
    sde = DiffusedField(Linear(mu=mu), "multiplicative", sigma)
    errors = []
    for steps in (8, 16, 32, 64):
        y0 = torch.ones(n, 1, dtype=torch.float64)
        end = scheme(num_steps=steps).solve(sde, y0, [0.0, 1.0], brownian=Path(increments, steps)).ys[-1]
        errors.append((end - target).abs().mean().item())
    return errors


def ito(mu, sigma, w):
    return torch.exp(mu - sigma**2 / 2 + sigma * w)


def stratonovich(mu, sigma, w):
    return torch.exp(mu + sigma * w)


@pytest.mark.parametrize(("scheme", "order"), [(EulerMaruyama, 0.5), (Milstein, 1.0)])
def test_strong_order(scheme, order):
    errors = strong_errors(scheme, ito)
    slopes = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    # means over the same 4000 paths scatter by a few per cent, and the order is that of h → 0
    assert sum(slopes) / 3 == pytest.approx(order, abs=0.12)


@pytest.mark.parametrize("scheme", [EulerMaruyama, Milstein])
def test_the_integral_is_itos_and_not_stratonovichs(scheme):
    """The two differ by the factor e^{σ²/2} = 1.5, which no refinement removes."""
    wrong = strong_errors(scheme, stratonovich)
    right = strong_errors(scheme, ito)
    assert right[-1] < 0.25 * wrong[-1]
    assert wrong[-1] > 0.8 * wrong[0]


@pytest.mark.parametrize("diffusion", ["additive", "multiplicative", "dropout"])
@pytest.mark.parametrize("gradient", ["backprop", "checkpoint"])
def test_counts_exactly_ten_drifts_for_ten_steps(diffusion, gradient, accounts):
    module = build(diffusion=diffusion, gradient=gradient)
    with count(*module.net.dynamics.residuals()) as seen:
        logits = module(X)
        forward = seen.calls
        logits.sum().backward()
    stats = accounts(module)[-1]
    extra = gradient == "checkpoint"  # one evaluation finds what the solve depends on
    assert stats.nfe_forward == forward == 10 + extra
    assert stats.nfe_diffusion == 10 + extra
    assert stats.nfe_backward == seen.calls - forward == 10 * extra


@pytest.mark.parametrize("diffusion", ["additive", "multiplicative", "dropout"])
def test_checkpoint_replays_the_path_and_gives_the_same_gradient(diffusion):
    gradients = []
    for gradient in ("backprop", "checkpoint"):
        module = build(diffusion=diffusion, gradient=gradient, sigma=0.5)
        torch.manual_seed(3)
        module(X).square().sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in module.parameters()]))
    # the same operations: rounding of sums only
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-10)


def test_evaluation_by_samples_averages_paths(accounts):
    module = build(samples=4, sigma=0.5).eval()
    torch.manual_seed(4)
    averaged = module(X)
    assert len(accounts(module)) == 4
    module.samples = 1
    torch.manual_seed(4)
    singles = [module(X) for _ in range(4)]
    assert not torch.equal(singles[0], singles[1])
    torch.testing.assert_close(averaged, sum(singles) / 4, rtol=1e-13, atol=1e-13)


def test_trajectory_shows_the_steps_of_the_solve():
    module = build(num_steps=6, t1=1.5)
    torch.manual_seed(5)
    ts, ys = module.trajectory(X)
    assert ts.tolist() == pytest.approx([0.25 * i for i in range(7)])
    torch.manual_seed(5)
    assert torch.equal(module.net.head(ys[-1]), module(X))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"method": "milstein", "diffusion": "dropout"},
            r"depends on all → set model.method to euler-maruyama",
        ),
        ({"sigma": -0.1}, r"sigma must be 0 or more"),
        ({"num_steps": 0}, r"set model.num_steps"),
        ({"t1": 0.0}, r"t1 must be positive"),
        ({"samples": -1}, r"set model.samples"),
        ({"diffusion": "jumps"}, r"additive, multiplicative, dropout, jump, langevin"),
        ({"method": "heun"}, r"euler-maruyama or milstein"),
        ({"noise": Dropout()}, r"Dropout does not fit NeuralSDE"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(UsageError, match=message):
        build(**options)


def test_takes_the_staged_layout(accounts):
    torch.manual_seed(0)
    spec = ImageSpec("made-up", Classes(3), (3, 16, 16))
    module = NeuralSDE(spec, channels=4, num_steps=3, layout=CIFARStages(norm="group"))
    module(torch.randn(2, 3, 16, 16)).sum().backward()
    assert accounts(module)[-1].nfe_forward == 3 * 3 + 2
    assert module.describe_solver() == build(num_steps=3).describe_solver()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("diffusion", ["additive", "multiplicative", "dropout"])
def test_noisy_evaluation_works_as_the_trainer_evaluates(diffusion, mode):
    """The trainer evaluates under inference mode; drift and diffusion have to be asked about one state."""
    module = build(diffusion=diffusion, samples=3).eval()
    with mode():
        torch.manual_seed(3)
        said = module(X)
    with torch.no_grad():
        torch.manual_seed(3)
        assert torch.equal(module(X), said)
