"""Noise in the steps of discrete nets: its law, in float64 and from fixed seeds.

A bound of 5 standard errors fails by chance once in 1.7 million draws of the seed; all seeds are fixed.
"""

import math

import pytest
import torch
from torch import nn

from integrand.modules import HOResNet, LMResNet, ResNet, RevNet
from integrand.modules.bench.image.fields import PreActivationField
from integrand.modules.discrete.resnet import ResidualDynamics
from integrand.modules.noise import Dropout, FeynmanKac, GaussianInjection, StochasticDepth, UniformInjection
from integrand.spec import Classes, ImageSpec

SPEC = ImageSpec("made-up", Classes(3), (1, 8, 8))
X = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Function(nn.Module):
    """f(t, x) from a function of x, with the dtype of the tests."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.unused = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, t, x):
        return self.function(x)


def residual_net(noise, *functions, h=1.0):
    """x_{n+1} = x_n + h f_n(x_n) for the given functions, with noise in training mode."""
    dynamics = ResidualDynamics(1, len(functions), h, tied=False, field=PreActivationField)
    dynamics.fields = nn.ModuleList(map(Function, functions))
    noise.attach(dynamics, "Net")
    return dynamics


def end(dynamics, x, seed=0):
    torch.manual_seed(seed)
    return dynamics(x).ys[-1]


def build(family, noise=None, **kwargs):
    # a head that is the same function in training
    torch.manual_seed(0)
    return family(SPEC, channels=6, noise=noise, head="none", **kwargs).double()


def zeros(n):
    return torch.zeros(n, 1, 1, 1, dtype=torch.float64)


def within(sample, mean, variance):
    """Sample mean within 5 standard errors of `mean`."""
    return abs(sample.mean().item() - mean) < 5 * math.sqrt(variance / len(sample))


def variance_within(sample, variance, fourth):
    """Sample variance within 5 of its standard errors, √((μ₄ − σ⁴)/n) for the fourth central moment μ₄."""
    n = len(sample)
    return abs(sample.var().item() - variance) < 5 * math.sqrt((fourth - variance**2) / n)


def test_dropout_has_mean_f_and_variance_p_over_q_times_f_squared():
    p, f, q = 0.3, 2.0, 0.7
    out = end(residual_net(Dropout(p), lambda x: torch.full_like(x, f)), zeros(40_000)).flatten()
    assert set(out.tolist()) == {0.0, f / q}
    variance = p / q * f**2
    # central moments of a variable that is f/q with probability q and 0 otherwise
    fourth = q * (f / q - f) ** 4 + p * f**4
    assert within(out, f, variance)
    assert variance_within(out, variance, fourth)


@pytest.mark.parametrize(("per", "dims"), [("channel", (2, 3)), ("image", (1, 2, 3))])
def test_dropout_drops_whole_channels_or_images(per, dims):
    x = torch.zeros(500, 4, 3, 3, dtype=torch.float64)
    out = end(residual_net(Dropout(0.5, per=per), torch.ones_like), x)
    assert torch.equal(out.amax(dims), out.amin(dims))
    assert 0 < out.amax(dims).mean() < 2  # some dropped, some kept


def test_dropout_draws_anew_in_every_step():
    one = torch.ones_like
    out = end(residual_net(Dropout(0.5), one, one), zeros(4000)).flatten()
    # 0, 2 or 4: both steps dropped, one, none; one shared mask would never leave exactly one
    assert within((out == 2).double(), 0.5, 0.25)


def test_stochastic_depth_keeps_step_l_with_probability_p_l():
    n, depth, last = 20_000, 6, 0.4
    noise = StochasticDepth(last)
    # powers of two: the sum tells which steps survived
    net = residual_net(noise, *(lambda x, k=k: torch.full_like(x, 2.0**k) for k in range(depth)))
    survived = (end(net, zeros(n)).flatten().long()[:, None] >> torch.arange(depth)) & 1
    for k in range(depth):
        p = 1 - (k + 1) / depth * (1 - last)
        assert noise.survivals()[k] == pytest.approx(p)
        assert within(survived[:, k].double(), p, p * (1 - p))
    # independent steps: their number has variance Σ p(1 − p)
    total = sum(p * (1 - p) for p in noise.survivals())
    assert within(survived.sum(1).double(), sum(noise.survivals()), total)


def test_half_survival_leaves_three_quarters_of_the_depth():
    noise, depth = StochasticDepth(0.5), 54
    residual_net(noise, *[torch.zeros_like] * depth)
    assert sum(noise.survivals()) == pytest.approx((3 * depth - 1) / 4)


@pytest.mark.parametrize("scale", ["test", "train"])
def test_mean_of_stochastic_depth_over_masks_is_the_linear_net_of_evaluation(scale):
    rates = (0.5, -0.4, 0.3, 0.8)
    noise = StochasticDepth(0.5, scale=scale)
    net = residual_net(noise, *(lambda x, a=a: a * x for a in rates))
    x = zeros(40_000) + 1
    sample = end(net, x).flatten()
    noise.eval()
    exact = math.prod(
        1 + (p if scale == "test" else 1) * a for p, a in zip(noise.survivals(), rates, strict=True)
    )
    assert end(net, x[:1]).item() == pytest.approx(exact, abs=1e-12)
    assert within(sample, exact, sample.var().item())


def test_stochastic_depth_for_the_batch_drops_for_all():
    net = residual_net(StochasticDepth(0.3, per="batch"), *[torch.ones_like] * 8)
    depths = [end(net, zeros(16), seed).unique() for seed in range(20)]
    assert all(len(d) == 1 for d in depths)
    assert len({d.item() for d in depths}) > 1


@pytest.mark.parametrize(
    ("family", "kwargs", "steps"),
    [
        (ResNet, {"blocks": 3}, 3),
        (ResNet, {"blocks": 3, "tied": True}, 3),
        (RevNet, {"blocks": 3, "reversible_backward": False}, 6),
        (HOResNet, {"blocks": 3, "method": "rk4"}, 3),
        (HOResNet, {"blocks": 3, "method": "rk4", "tied": True, "tied_stages": True}, 3),
    ],
)
def test_depth_counts_the_steps_of_the_net(family, kwargs, steps):
    module = build(family, StochasticDepth(0.5), **kwargs)
    assert module.noise.steps == steps


@pytest.mark.parametrize("method", ["midpoint", "rk4"])
def test_a_dropped_runge_kutta_step_is_the_identity_and_a_kept_one_the_step(method):
    module = build(HOResNet, StochasticDepth(1e-9), blocks=1, method=method)
    h = module.net.stem(X)
    assert torch.equal(end(module.net.dynamics, h), h)
    plain = build(HOResNet, blocks=1, method=method).net.dynamics
    module.noise.survival = 1 - 1e-12
    # the increment is added back: one rounding of numbers of size 1
    torch.testing.assert_close(end(module.net.dynamics, h), plain(h).ys[-1], rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(
    "noise",
    [
        Dropout(0.0),
        StochasticDepth(1.0),
        GaussianInjection(0.0),
        UniformInjection(0.0),
        FeynmanKac(0.0),
    ],
    ids=lambda n: type(n).__name__,
)
@pytest.mark.parametrize("family", [ResNet, LMResNet, HOResNet])
def test_without_strength_it_is_the_family_bit_for_bit(family, noise):
    module, plain = build(family, noise), build(family)
    assert torch.equal(module.train()(X), plain.train()(X))
    assert not module.stochastic


@pytest.mark.parametrize(
    "noise",
    [Dropout(0.5), StochasticDepth(0.5, scale="train"), GaussianInjection(1.0), UniformInjection(1.0)],
    ids=lambda n: type(n).__name__,
)
@pytest.mark.parametrize("family", [ResNet, HOResNet])
def test_evaluation_is_the_family_without_noise_bit_for_bit(family, noise):
    module, plain = build(family, noise), build(family)
    assert list(module.state_dict()) == list(plain.state_dict())
    assert not torch.equal(module.train()(X), plain(X))
    assert torch.equal(module.eval()(X), plain.eval()(X))


@pytest.mark.parametrize("steps", [4, 16])
def test_gaussian_injection_has_variance_sigma_squared_t_for_any_number_of_steps(steps):
    sigma, time = 0.7, 2.0
    net = residual_net(GaussianInjection(sigma), *[torch.zeros_like] * steps, h=time / steps)
    out = end(net, zeros(40_000)).flatten()
    variance = sigma**2 * time
    assert within(out, 0.0, variance)
    assert variance_within(out, variance, 3 * variance**2)
    # the heat equation u_t = ½σ²u_xx from cos: u = e^{−σ²t/2} cos x; Var cos ≤ 1
    assert within(torch.cos(out + 0.3), math.exp(-variance / 2) * math.cos(0.3), 1.0)


def test_uniform_injection_is_bounded_and_has_variance_a_third_of_eps_squared():
    eps = 0.6
    out = end(residual_net(UniformInjection(eps), torch.zeros_like), zeros(40_000)).flatten()
    assert out.abs().max() <= eps
    assert out.min() < -0.9 * eps < 0.9 * eps < out.max()
    assert within(out, 0.0, eps**2 / 3)
    assert variance_within(out, eps**2 / 3, eps**4 / 5)


def test_a_runge_kutta_step_is_given_its_noise_once():
    module = build(HOResNet, GaussianInjection(0.5), blocks=2, method="rk4", h=0.5)
    dynamics = module.net.dynamics
    for parameter in dynamics.parameters():
        nn.init.zeros_(parameter)
    x = torch.zeros(2000, 6, 1, 1, dtype=torch.float64)
    out = end(dynamics, x).flatten()
    variance = 0.5**2 * 2 * 0.5
    assert variance_within(out, variance, 3 * variance**2)


def test_feynman_kac_scales_with_the_spread_of_each_image_alone():
    coef = 0.2
    net = residual_net(FeynmanKac(coef), torch.zeros_like)
    x = torch.randn(2, 4, 50, 50, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x[1] *= 7
    noise = end(net, x) - x
    for image in range(2):
        variance = (coef * x[image].std().item()) ** 2
        assert variance_within(noise[image].flatten(), variance, 3 * variance**2)
    louder = x.clone()
    louder[1] *= 1000
    # a spread taken over the batch would change the first image with the second
    assert torch.equal(end(net, louder)[0], end(net, x)[0])


def test_feynman_kac_stays_on_in_evaluation_and_its_mean_over_a_linear_net_is_the_noiseless_output():
    noise = FeynmanKac(0.3)
    net = residual_net(noise, lambda x: 0.5 * x, lambda x: -0.25 * x)
    noise.eval()
    x = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64).view(1, 3, 1, 1).expand(20_000, 3, 1, 1)
    sample = end(net, x)[:, :, 0, 0]
    for channel in range(3):
        column = sample[:, channel]
        assert column.var() > 0.01
        assert within(column, 1.5 * 0.75 * x[0, channel, 0, 0].item(), column.var().item())


def test_variance_of_an_ensemble_falls_with_its_size(accounts):
    images = X[:1].expand(400, 1, 8, 8)
    variances = []
    for size in (1, 16):
        module = build(ResNet, FeynmanKac(0.1, ensemble=size), blocks=1).eval()
        torch.manual_seed(2)
        with torch.no_grad():
            variances.append(module(images)[:, 0].var().item())
        assert len(accounts(module)) == size
        assert sum(s.nfe_forward for s in accounts(module)) == size
    # the log of a sample variance has standard error √(2/399); 5 of the difference are 0.5
    assert math.log(variances[0] / variances[1]) == pytest.approx(math.log(16), abs=0.5)
