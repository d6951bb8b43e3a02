"""Momentum families: closed forms, volumes and reductions to one another, in float64."""

import math

import pytest
import torch
from scipy.special import jv
from torch import nn

from integrand.errors import UsageError
from integrand.modules import (
    AdamNeuralODE,
    GeneralizedHeavyBallNeuralODE,
    HeavyBallNeuralODE,
    NesterovNeuralODE,
    SecondOrderNeuralODE,
)
from integrand.modules.continuous.adam_neural_ode import EPSILON, AdamField
from integrand.modules.continuous.generalized_heavy_ball_neural_ode import GeneralizedHeavyBallField
from integrand.modules.continuous.heavy_ball_neural_ode import HeavyBallField
from integrand.modules.continuous.nesterov_neural_ode import NesterovField, scale, to_momentum
from integrand.modules.continuous.second_order_neural_ode import SecondOrderField
from integrand.solvers import TorchDiffEq
from integrand.spec import Classes, ImageSpec

SPEC = ImageSpec("made-up", Classes(3), (1, 8, 8))
X = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
MIX = torch.randn(3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


class Force(nn.Module):
    """Any function of (t, h) as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, t, h):
        return self.function(t, h)


def tanh_force(t, h):
    return torch.tanh(h @ MIX) + torch.sin(t)


def build(family, **kwargs):
    torch.manual_seed(0)
    return family(SPEC, channels=6, **kwargs).double()


def tensor(*values):
    return torch.tensor([values], dtype=torch.float64)


def integrate(field, y0, t1, t0=0.0):
    solver = TorchDiffEq(method="dopri8", rtol=1e-11, atol=1e-12)
    return solver.solve(field.double(), y0, [t0, t1]).ys[-1]


def log_volume(field, d, t1, t0=0.0):
    """log|det| of the Jacobian of the flow of a state of dimension d."""
    y0 = torch.randn(d, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda y: integrate(field, y[None], t1, t0)[0], y0)
    return torch.linalg.slogdet(jacobian)[1].item()


# the solver's tolerance is 1e-11; its global error over a few time units stays below 1e-9
EXACT = {"rtol": 1e-9, "atol": 1e-9}
# rates are stored as float32 logits: relative error 6e-8 and its growth over a few time units
STORED = {"rtol": 1e-6, "atol": 1e-6}


def test_second_order_is_the_harmonic_oscillator():
    """f = −ω²h: h = h₀ cos ωt + (v₀/ω) sin ωt."""
    w, t1, h0, v0 = 1.7, 2.0, 0.8, -0.4
    field = SecondOrderField(Force(lambda t, y: -(w**2) * y.chunk(2, 1)[0]))
    h = h0 * math.cos(w * t1) + v0 / w * math.sin(w * t1)
    v = -h0 * w * math.sin(w * t1) + v0 * math.cos(w * t1)
    torch.testing.assert_close(integrate(field, tensor(h0, v0), t1), tensor(h, v), **EXACT)


def test_second_order_field_sees_the_velocity():
    """f = −cv alone: v = v₀e^{−ct}, h = h₀ + v₀(1 − e^{−ct})/c."""
    c, t1, h0, v0 = 0.9, 2.0, 0.8, -0.4
    field = SecondOrderField(Force(lambda t, y: -c * y.chunk(2, 1)[1]))
    decay = math.exp(-c * t1)
    expected = tensor(h0 + v0 * (1 - decay) / c, v0 * decay)
    torch.testing.assert_close(integrate(field, tensor(h0, v0), t1), expected, **EXACT)


def test_second_order_is_augmentation_with_the_first_half_fixed():
    module = build(SecondOrderNeuralODE)
    dynamics = module.net.dynamics
    augmented = Force(lambda t, y: torch.cat([y[:, 6:], dynamics.field.f(t, y)], dim=1))
    y0 = dynamics.lift(module.net.stem(X))
    ys = dynamics.solver.solve(augmented, y0, [0.0, 1.0]).ys
    assert torch.equal(module.net.head(ys[-1][:, :6]), module(X))
    assert torch.equal(y0[:, :6], module.net.stem(X))


def test_generalized_heavy_ball_without_its_terms_is_the_heavy_ball():
    general = build(GeneralizedHeavyBallNeuralODE, activation="identity", xi_init=0.0)
    plain = build(HeavyBallNeuralODE)
    plain.load_state_dict(general.state_dict())
    assert torch.equal(general(X), plain(X))


@pytest.mark.parametrize("activation", ["tanh", "identity"])
def test_generalized_heavy_ball_contracts_volume_at_rate_gamma(activation):
    gamma, t1, d = 0.3, 1.5, 3
    field = GeneralizedHeavyBallField(Force(tanh_force), gamma, xi_init=0.7, activation=activation)
    assert log_volume(field, 2 * d, t1) == pytest.approx(-gamma * d * t1, abs=1e-6)


def test_generalized_heavy_ball_restores_with_xi():
    """σ = id, f = 0: ḧ + γḣ + ξh = 0."""
    gamma, xi, t1 = 0.4, 3.0, 2.0
    field = GeneralizedHeavyBallField(Force(lambda t, h: 0 * h), gamma, xi, "identity")
    w = math.sqrt(xi - gamma**2 / 4)
    decay = math.exp(-gamma * t1 / 2)
    h = decay * (math.cos(w * t1) + gamma / 2 / w * math.sin(w * t1))
    m = -decay * xi / w * math.sin(w * t1)
    torch.testing.assert_close(integrate(field, tensor(1.0, 0.0), t1), tensor(h, m), **STORED)


@pytest.mark.parametrize("activation", ["tanh", "hardtanh"])
def test_generalized_heavy_ball_moves_no_faster_than_sigma(activation):
    """|h(t) − h(0)| ≤ t max|σ| = t, and a strong force comes close to it."""
    field = GeneralizedHeavyBallField(Force(lambda t, h: 50 + 0 * h), 0.3, 0.5, activation)
    # hardtanh has a kink, which dopri8 cannot see: looser tolerance, still far below the margin
    solver = TorchDiffEq(method="dopri5", rtol=1e-6, atol=1e-6)
    solution = solver.solve(field.double(), tensor(0.2, 0.0), [0.1 * i for i in range(21)])
    moved = (solution.ys[:, 0, 0] - 0.2).abs()
    assert (moved <= solution.ts + 1e-6).all()
    assert moved[-1] > 0.9 * solution.ts[-1]


def test_nesterov_transformation_is_closed():
    """h = kx turns ẍ + ẋ + (¼ − 3/(4t²))x + f/k = 0 into ḧ + (3/t)ḣ + f = 0."""
    t0, t1 = 1.0, 2.5
    y0 = torch.randn(4, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    nesterov = Force(lambda t, y: torch.cat([y[:, 3:], -3 / t * y[:, 3:] - tanh_force(t, y[:, :3])], 1))
    direct = integrate(nesterov, y0, t1, t0)
    start, end = (torch.tensor(t, dtype=torch.float64) for t in (t0, t1))
    field = NesterovField(Force(tanh_force), folded=False)
    through_x = integrate(field, to_momentum(start, y0), t1, t0)
    torch.testing.assert_close(through_x, to_momentum(end, direct), **EXACT)
    torch.testing.assert_close(scale(end) * through_x[:, :3], direct[:, :3], **EXACT)

    # as published, f has to be what the transformation leaves: f/k + (¼ − 3/(4t²)) h/k
    def left_to_f(t, h):
        return (tanh_force(t, h) + (0.25 - 0.75 / t**2) * h) / scale(t)

    folded = integrate(NesterovField(Force(left_to_f)), to_momentum(start, y0), t1, t0)
    torch.testing.assert_close(folded, through_x, **EXACT)


def test_nesterov_of_a_quadratic_is_a_bessel_function():
    """ḧ + (3/t)ḣ + h = 0 has h = 2J₁(t)/t, ḣ = −2J₂(t)/t (Su, Boyd, Candès 2014, section 3.2)."""

    def solution(t):
        return tensor(2 * jv(1, t) / t, -2 * jv(2, t) / t)

    t0, t1 = 0.5, 6.0
    start, end = (torch.tensor(t, dtype=torch.float64) for t in (t0, t1))
    field = NesterovField(Force(lambda t, h: h), folded=False)
    y = integrate(field, to_momentum(start, solution(t0)), t1, t0)
    torch.testing.assert_close(y, to_momentum(end, solution(t1)), **EXACT)


@pytest.mark.parametrize("folded", [True, False])
def test_nesterov_contracts_volume_at_rate_one(folded):
    field = NesterovField(Force(tanh_force), folded)
    assert log_volume(field, 6, 2.5, 1.0) == pytest.approx(-3 * 1.5, abs=1e-8)


def test_nesterov_trajectory_is_in_h():
    """The head reads h = kx, and the state starts at the stem's output although k(t0) ≠ 1."""
    module = build(NesterovNeuralODE, folded=False, t0=0.7, length=1.2)
    dynamics = module.net.dynamics
    ts, ys = module.trajectory(X, 3)
    stem = module.net.stem(X)
    # k(t0) times 1/k(t0)
    torch.testing.assert_close(ys[0], stem, rtol=1e-14, atol=1e-14)
    assert ts.tolist() == pytest.approx([0.7, 1.3, 1.9])
    f = dynamics.field.f
    nesterov = Force(lambda t, y: torch.cat([y[:, 6:], -3 / t * y[:, 6:] - f(t, y[:, :6])], 1))
    direct = TorchDiffEq(rtol=1e-6, atol=1e-6).solve(nesterov, dynamics.lift(stem), ts.tolist()).ys
    # the family's own solve has a tolerance of 1e-3
    torch.testing.assert_close(ys, direct[:, :, :6], rtol=1e-2, atol=1e-2)


def test_adam_moments_of_a_constant_force():
    """m → −f at rate β₁ and v → f² at rate β₂, both exponentially; ḣ → f/√(softplus(f²) + ε)."""
    b1, b2, f = 0.6, 0.3, torch.tensor([1.5, -0.2, 0.0], dtype=torch.float64)
    field = AdamField(Force(lambda t, h: f.expand_as(h)), b1, b2)
    h0, m0, v0 = (
        torch.zeros(3).double(),
        torch.tensor([0.3, 0.3, 0.3]).double(),
        torch.full((3,), 0.09).double(),
    )
    t1 = 2.0
    h, m, v = integrate(field, torch.cat([h0, m0, v0])[None], t1)[0].chunk(3)
    torch.testing.assert_close(m, -f + (m0 + f) * math.exp(-b1 * t1), **STORED)
    torch.testing.assert_close(v, f**2 + (v0 - f**2) * math.exp(-b2 * t1), **STORED)
    # h by Gauss-Legendre quadrature of the closed forms: 30 nodes reach round-off on smooth functions
    nodes, weights = torch.linalg.eigh(gauss_matrix(30))
    s = (nodes + 1)[:, None]
    ms, vs = -f + (m0 + f) * torch.exp(-b1 * s), f**2 + (v0 - f**2) * torch.exp(-b2 * s)
    velocity = -ms / torch.sqrt(nn.functional.softplus(vs) + EPSILON)
    torch.testing.assert_close(h, (2 * weights[0] ** 2) @ velocity, **STORED)
    # far out: the limit, which is not the sign of f
    limit = integrate(field, torch.cat([h0, -f, f**2])[None], 1.0)[0, :3]
    torch.testing.assert_close(limit, f / torch.sqrt(nn.functional.softplus(f**2) + EPSILON), **STORED)


def gauss_matrix(n):
    """Golub and Welsch: eigenvalues are the Gauss-Legendre nodes, squared first components half weights."""
    k = torch.arange(1, n, dtype=torch.float64)
    off = k / torch.sqrt(4 * k**2 - 1)
    return torch.diag(off, 1) + torch.diag(off, -1)


def test_adam_with_frozen_second_moment_is_the_heavy_ball():
    """With v still, p = −m/s obeys ḣ = p, ṗ = −β₁p + β₁f/s."""
    beta, v0, t1 = 0.4, 0.8, 1.5
    s = math.sqrt(math.log1p(math.exp(v0)) + EPSILON)
    h0, m0 = tensor(0.3, -0.5, 0.9), tensor(0.2, 0.1, -0.4)
    adam = AdamField(Force(tanh_force), beta, 1e-12)
    h, m, _ = integrate(adam, torch.cat([h0, m0, torch.full_like(h0, v0)], 1), t1).chunk(3, 1)
    ball = HeavyBallField(Force(lambda t, x: beta * tanh_force(t, x) / s), beta)
    expected = integrate(ball, torch.cat([h0, -m0 / s], 1), t1)
    torch.testing.assert_close(torch.cat([h, -m / s], 1), expected, **STORED)


def test_adam_starts_with_the_square_of_its_momentum():
    module = build(AdamNeuralODE)
    h, m, v = module.net.dynamics.lift(module.net.stem(X)).chunk(3, 1)
    assert torch.equal(h, module.net.stem(X))
    assert torch.equal(v, m**2)
    assert v.max() > 0


@pytest.mark.parametrize(
    ("family", "option", "message"),
    [
        (GeneralizedHeavyBallNeuralODE, {"gamma_init": 1.0}, "gamma_init must lie strictly between 0 and 1"),
        (GeneralizedHeavyBallNeuralODE, {"xi_init": -0.1}, "xi_init must be 0 or more"),
        (GeneralizedHeavyBallNeuralODE, {"activation": "tnah"}, "unknown activation 'tnah'"),
        (NesterovNeuralODE, {"t0": 0.0}, "t0 must be positive, got 0.0: .* singular at t = 0"),
        (NesterovNeuralODE, {"length": 0.0}, "length must be positive"),
        (AdamNeuralODE, {"beta1_init": 0.0}, "beta1_init must lie strictly between 0 and 1"),
        (AdamNeuralODE, {"beta2_init": 1.0}, "beta2_init must lie strictly between 0 and 1"),
        (SecondOrderNeuralODE, {"channels": 0}, "channels must be at least 1"),
    ],
)
def test_values_outside_their_domain_are_refused(family, option, message):
    with pytest.raises(UsageError, match=message) as caught:
        family(SPEC, **{"channels": 6, **option})
    assert caught.value.remedy


@pytest.mark.parametrize(
    "family", [SecondOrderNeuralODE, GeneralizedHeavyBallNeuralODE, NesterovNeuralODE, AdamNeuralODE]
)
def test_evaluates_under_inference_mode(family):
    module = build(family).eval()
    expected = module(X)
    with torch.inference_mode():
        assert torch.equal(module(X), expected)
