"""SDE-BNN: laws of the weights and divergence in closed form, the estimator at the exact posterior; float64."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Normal
from torch.nn import functional as F

from integrand.errors import UsageError
from integrand.modules import SDEBNN, NeuralODE
from integrand.modules.stochastic.sde_bnn import SDEBNNDynamics
from integrand.solvers import Euler
from integrand.spec import Classes, ImageSpec, VectorSpec

SPEC = ImageSpec("made-up", Classes(3), (1, 8, 8))
X = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.tensor([0, 1, 2, 0])


class Affine(nn.Module):
    """u = a + b w."""

    def __init__(self, a=0.0, b=0.0):
        super().__init__()
        self.a, self.b = a, b

    def forward(self, t, w):
        return self.a + self.b * w


def dynamics(control, sigma=0.5, t1=1.0, steps=20, start=2.0, stl=False):
    """Two weights, started at `start`."""
    made = SDEBNNDynamics(nn.Linear(2, 1, bias=False), 1, (2,), sigma, t1, steps, stl).double()
    made.sde.control = control
    nn.init.constant_(made.start, start)
    return made


def build(**kwargs):
    torch.manual_seed(0)
    return SDEBNN(SPEC, channels=4, **kwargs).double()


def test_without_control_the_weights_are_the_prior_at_no_divergence():
    """An Ornstein–Uhlenbeck process, in the law of the scheme: m → (1 − h) m, v → (1 − h)² v + σ² h."""
    n, steps, sigma = 20_000, 20, 0.5
    torch.manual_seed(1)
    path, divergence = dynamics(Affine(), sigma, steps=steps).paths(n)
    assert torch.equal(divergence, torch.zeros(n, dtype=torch.float64))
    a = 1 - 1 / steps
    variance = sigma**2 / steps * sum(a ** (2 * k) for k in range(steps))
    # the equation's own is σ²(1 − e^{−2T})/2, to the first order of the scheme
    assert variance == pytest.approx(sigma**2 * (1 - math.exp(-2)) / 2, rel=2 / steps)
    end = path[-1]
    assert end.mean().item() == pytest.approx(2 * a**steps, abs=5 * math.sqrt(variance / end.numel()))
    assert end.var().item() == pytest.approx(variance, abs=5 * math.sqrt(2 / end.numel()) * variance)


@pytest.mark.parametrize("steps", [1, 7])
def test_a_constant_control_has_its_divergence_on_every_grid(steps):
    _, divergence = dynamics(Affine(a=0.7), t1=1.5, steps=steps).paths(3)
    # ½ c² T for each of two weights: with NN = σ c it is NN² T/(2σ²)
    torch.testing.assert_close(divergence, torch.full((3,), 0.7**2 * 1.5, dtype=torch.float64))


def test_a_linear_drift_has_its_divergence_in_closed_form():
    """Drift −κw: u = (1 − κ) w/σ, ½((κ − 1)/σ)² [w₀² E + σ²(T − E)/(2κ)], E = (1 − e^{−2κT})/(2κ), each weight."""
    kappa, sigma, n, w0 = 1.8, 0.5, 4000, 0.6
    e = (1 - math.exp(-2 * kappa)) / (2 * kappa)
    exact = 0.5 * ((kappa - 1) / sigma) ** 2 * (w0**2 * e + sigma**2 * (1 - e) / (2 * kappa))
    found = []
    for steps in (64, 128):
        torch.manual_seed(2)
        _, divergence = dynamics(Affine(b=(1 - kappa) / sigma), sigma, steps=steps, start=w0).paths(n)
        found.append((divergence.mean().item() / 2, 5 * divergence.std().item() / 2 / math.sqrt(n)))
    for (value, error), steps in zip(found, (64, 128), strict=True):
        # the left sum is too large by (h/2)(r(0) − r(T)) with the rate r, below half of its start here
        assert value == pytest.approx(exact, abs=error + 0.5 * ((kappa - 1) * w0 / sigma) ** 2 / 2 / steps)


class Bridge(nn.Module):
    """The exact control for an observation y of w(1) with noise r: σ ∂_w log p(y | w(t)), times c, 1 for each path."""

    def __init__(self, y, r, sigma, paths):
        super().__init__()
        self.y, self.r, self.sigma = y, r, sigma
        self.c = nn.Parameter(torch.ones(paths, dtype=torch.float64))

    def forward(self, t, w):
        decay = torch.exp(t - 1)
        variance = self.sigma**2 * (1 - decay**2) / 2 + self.r**2
        c = self.c.repeat(len(w) // len(self.c)).unsqueeze(1)
        return c * self.sigma * decay * (self.y - w * decay) / variance


def bridged(stl, steps, n=200, y=1.4, r=0.3, sigma=0.5):
    torch.manual_seed(3)
    made = dynamics(Bridge(y, r, sigma, n), sigma, steps=steps, start=0.2, stl=stl)
    path, divergence = made.paths(n)
    loss = divergence - Normal(path[-1], r).log_prob(torch.tensor(y)).sum(1)
    loss.sum().backward()
    mean, variance = 0.2 * math.exp(-1), sigma**2 * (1 - math.exp(-2)) / 2 + r**2
    evidence = 2 * Normal(mean, math.sqrt(variance)).log_prob(torch.tensor(y))
    return made, path, loss.detach(), made.sde.control.c.grad, -evidence.item()


def test_at_the_exact_posterior_every_path_has_the_evidence():
    made, path, loss, _, evidence = bridged(False, 400)
    with torch.no_grad():
        whole = loss + made.landing(path)
    # the scheme's error falls as √h and is 0.03 here; without the term paths scatter by 1
    assert whole.std() < 0.1 * loss.std()
    assert whole.mean().item() == pytest.approx(evidence, abs=0.05)


def test_sticking_the_landing_takes_the_noise_out_of_the_gradient_at_the_posterior():
    plain, stuck = (bridged(stl, 400)[3] for stl in (False, True))
    assert stuck.std() < 0.1 * plain.std()
    # the same mean: zero, since the posterior is the best
    assert plain.mean().abs() < 5 * plain.std() / math.sqrt(len(plain))
    assert stuck.mean().abs() < 0.1 * plain.std()


def test_the_value_of_the_divergence_is_that_without_the_landing():
    values = [bridged(stl, 10)[2] for stl in (False, True)]
    torch.testing.assert_close(*values)


def test_without_noise_and_control_it_is_the_neural_ode_with_decaying_weights():
    """σ → 0: w_k = (1 − h)^k w_0, and Euler's method on ḣ = f(h; w)."""
    module = build(sigma=1e-12, num_steps=1).eval()
    ode = NeuralODE(SPEC, 4, Euler(num_steps=1)).double().eval()
    state = module.state_dict()
    own = ode.state_dict()
    own.update({k: v for k, v in state.items() if k in own})
    start = state["net.dynamics.start"]
    for name, value in ode.net.dynamics.field.named_parameters():
        own[f"net.dynamics.field.{name}"], start = (
            start[: value.numel()].view_as(value),
            start[value.numel() :],
        )
    assert start.numel() == 0
    ode.load_state_dict(own)
    torch.testing.assert_close(torch.softmax(module(X), -1), torch.softmax(ode(X), -1))


def test_the_penalty_is_the_divergence_of_the_path_of_the_batch():
    module = build(kl=0.5, stl=False).train()
    module.net.dynamics.sde.control = Affine(a=0.1)
    size = len(module.net.dynamics.start)
    outcome = module.step((X, Y), "train")
    torch.testing.assert_close(outcome.terms["kl"].item(), 0.5 * 0.5 * 0.01 * size)
    assert set(module.step((X, Y), "val").terms) == {"loss"}


def test_each_draw_has_weights_of_its_own_for_the_whole_batch():
    module = build(sigma=1.0).eval()
    twice = X[:1].expand(2, -1, -1, -1)
    said, solves = module.draws(twice, 3)
    torch.testing.assert_close(said[:, 0], said[:, 1])
    assert (torch.cdist(said[:, 0], said[:, 0]) + torch.eye(3)).min() > 1e-6
    assert sum(s.nfe_forward for s in solves) == 3 * 10


def test_vectors_too_and_every_stage():
    torch.manual_seed(0)
    module = SDEBNN(VectorSpec("made-up", Classes(2), 3), channels=4)
    x, y = torch.randn(5, 3), torch.tensor([0, 1, 0, 1, 1])
    outcome = module.step((x, y), "train")
    torch.testing.assert_close(outcome.terms["loss"], F.cross_entropy(outcome.prediction, y))


@pytest.mark.parametrize(
    "options", [{"sigma": 0.0}, {"kl": -1.0}, {"samples": 0}, {"widths": (0,)}, {"num_steps": 0}]
)
def test_numbers_out_of_their_domain_are_refused(options):
    with pytest.raises(UsageError, match=next(iter(options))):
        build(**options)
