"""Caputo equations: exact solutions, convergence, the limit α = 1, accounts."""

import itertools
import math

import pytest
import torch
from scipy.special import erfcx
from torch import nn

from integrand.solvers import NonFiniteStateError, SolverOptionError, TorchDiffEq, count
from integrand.solvers.fractional import CaputoPECE

ONE = torch.ones(1, 1, dtype=torch.float64)
ALPHAS = [0.3, 0.5, 0.8, 1.0]


class Forced(nn.Module):
    """Any function of (t, y), with one parameter that scales it."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.scale = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))

    def forward(self, t, y):
        return self.scale * self.function(t, y)


def mittag_leffler(alpha, z):
    """E_α(z) by its series, which converges to round-off for |z| ≤ 1."""
    return sum(z**k / math.gamma(alpha * k + 1) for k in range(120))


@pytest.mark.parametrize("alpha", ALPHAS)
def test_constant_forcing(alpha):
    """D^α y = c: y = y0 + c t^α/Γ(1+α); the kernel is integrated exactly, so only round-off is left."""
    times = [0.0, 0.25, 0.6, 1.7]
    ys = CaputoPECE(alpha, num_steps=12).solve(Forced(lambda t, y: 0 * y + 3), ONE, times).ys
    expected = [1 + 3 * t**alpha / math.gamma(1 + alpha) for t in times]
    assert ys.flatten().tolist() == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_linear_forcing_on_unequal_steps(alpha):
    """D^α y = t: y = t^{1+α}/Γ(2+α). The polygon is exact for it on any nodes."""
    times = [0.0, 0.1, 0.75, 1.0]
    ys = CaputoPECE(alpha, step_size=0.2).solve(Forced(lambda t, y: t + 0 * y), 0 * ONE, times).ys
    expected = [t ** (1 + alpha) / math.gamma(2 + alpha) for t in times]
    assert ys.flatten().tolist() == pytest.approx(expected, rel=1e-12)


def test_weights_are_those_of_the_paper():
    """On equal steps: b_j and a_j of Diethelm, Ford, Freed 2002, with h = 1."""
    alpha, n = 0.6, 5
    rectangles, trapezia = CaputoPECE(alpha, num_steps=1).weights([float(j) for j in range(n + 2)], n + 1.0)
    b = [((n + 1 - j) ** alpha - (n - j) ** alpha) / math.gamma(alpha + 1) for j in range(n + 1)]
    assert rectangles == pytest.approx(b, rel=1e-13)
    a = [n ** (alpha + 1) - (n - alpha) * (n + 1) ** alpha]
    for j in range(1, n + 1):
        a.append((n - j + 2) ** (alpha + 1) + (n - j) ** (alpha + 1) - 2 * (n - j + 1) ** (alpha + 1))
    # second differences of powers lose three digits
    assert trapezia == pytest.approx([v / math.gamma(alpha + 2) for v in [*a, 1.0]], rel=1e-12)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_converges_with_its_declared_order(alpha):
    """y = 2 t^{2+α}/Γ(3+α) has D^α y = t²; the term in y makes the predictor count."""

    def exact(t):
        return 2 * t ** (2 + alpha) / math.gamma(3 + alpha)

    field = Forced(lambda t, y: t**2 + exact(t) ** 2 - y**2)
    errors = [
        abs(CaputoPECE(alpha, num_steps=n).solve(field, 0 * ONE, [0.0, 1.0]).ys[-1].item() - exact(1.0))
        for n in ((128, 256, 512) if alpha < 0.5 else (32, 64, 128))
    ]
    slopes = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    order = CaputoPECE(alpha, num_steps=1).order
    assert order == 1 + alpha
    # the corrector's own error, of order 2, still adds at these steps, the longer the smaller α
    assert slopes == pytest.approx([order, order], abs=0.15)


@pytest.mark.parametrize("alpha", [0.5, 0.8])
def test_linear_equation_is_the_mittag_leffler_function(alpha):
    """D^α y = λy: y0 E_α(λ t^α). D^α y is only Hölder at 0, where uniform steps converge slowly."""
    rate, times = -0.9, [0.0, 0.5, 1.0]
    field = Forced(lambda t, y: rate * y)
    expected = [mittag_leffler(alpha, rate * t**alpha) for t in times]
    errors = []
    for n in (50, 200):
        ys = CaputoPECE(alpha, num_steps=n).solve(field, ONE, times).ys.flatten().tolist()
        errors.append(max(abs(y - e) for y, e in zip(ys, expected, strict=True)))
    assert errors[1] < 2e-3
    assert errors[0] / errors[1] > 4**0.9
    if alpha == 0.5:
        # an independent closed form: E_½(−x) = exp(x²) erfc(x)
        assert expected[-1] == pytest.approx(erfcx(-rate), rel=1e-12)


def test_order_one_is_the_ode():
    """α = 1: second order for ẏ = f(t, y)."""
    field = Forced(lambda t, y: torch.sin(3 * t) - y**2)
    exact = TorchDiffEq("dopri8", rtol=1e-12, atol=1e-12).solve(field, ONE, [0.0, 1.5]).ys[-1].item()
    errors = [
        abs(CaputoPECE(1.0, num_steps=n).solve(field, ONE, [0.0, 1.5]).ys[-1].item() - exact)
        for n in (40, 80, 160)
    ]
    assert errors[-1] < 1e-4
    assert [math.log2(a / b) for a, b in itertools.pairwise(errors)] == pytest.approx([2, 2], abs=0.1)


def test_memory_begins_at_the_start():
    """The Caputo derivative depends on t − t₀ only."""
    shifted = Forced(lambda t, y: torch.cos(t - 2) - y)
    at_two = CaputoPECE(0.7, num_steps=20).solve(shifted, ONE, [2.0, 3.0]).ys[-1]
    at_zero = (
        CaputoPECE(0.7, num_steps=20).solve(Forced(lambda t, y: torch.cos(t) - y), ONE, [0.0, 1.0]).ys[-1]
    )
    # differences of times near 2 lose a digit
    torch.testing.assert_close(at_two, at_zero, rtol=1e-13, atol=1e-13)


def test_memory_is_not_a_semigroup():
    """Starting again half-way forgets: unlike an ODE, two solves are not one."""
    field = Forced(lambda t, y: -y)

    def two_solves(alpha):
        scheme = CaputoPECE(alpha, num_steps=100)
        half = scheme.solve(field, ONE, [0.0, 0.5]).ys[-1]
        once = CaputoPECE(alpha, num_steps=200).solve(field, ONE, [0.0, 1.0]).ys[-1]
        return (scheme.solve(field, half, [0.5, 1.0]).ys[-1] - once).abs().item()

    assert two_solves(0.5) > 0.05
    # the discretisation error of order 2
    assert two_solves(1.0) < 1e-4


def test_account_and_gradient_of_the_caputo_solve():
    """D^α y = a: dy/da = t^α/Γ(1+α); 2N evaluations, each differentiated once where y depends on it."""
    field = Forced(lambda t, y: 0 * y + 1)
    with count(field) as seen:
        solution = CaputoPECE(0.6, num_steps=5).solve(field, ONE, [0.0, 2.0])
    stats = solution.stats
    assert (stats.nfe_forward, stats.accepted, stats.rejected) == (10, 5, 0)
    assert seen.calls == 10
    assert (stats.min_step, stats.max_step) == pytest.approx((0.4, 0.4))
    assert stats.solver == "caputo-pece alpha=0.6 num_steps=5"
    solution.ys[-1].sum().backward()
    assert field.scale.grad.item() == pytest.approx(2**0.6 / math.gamma(1.6), rel=1e-13)
    assert (stats.vjps, stats.nfe_backward, seen.calls) == (10, 0, 10)


def test_dtype_of_the_state_is_kept():
    field = Forced(lambda t, y: -y).float()
    solution = CaputoPECE(0.5, num_steps=4).solve(field, torch.ones(2, 3), [0.0, 0.5, 1.0])
    assert solution.ys.shape == (3, 2, 3)
    assert solution.ys.dtype == torch.float32
    assert solution.ts.tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 0.0, "num_steps": 4}, r"alpha must lie in \(0, 1\], got 0.0"),
        ({"alpha": 1.1, "num_steps": 4}, r"alpha must lie in \(0, 1\], got 1.1"),
        ({"alpha": math.nan, "num_steps": 4}, r"alpha must lie in \(0, 1\]"),
        ({"alpha": 0.5}, "neither step_size nor num_steps"),
        ({"alpha": 0.5, "num_steps": 4, "step_size": 0.1}, "both step_size and num_steps"),
        ({"alpha": 0.5, "num_steps": -1}, "num_steps must be positive"),
    ],
)
def test_caputo_options_outside_their_domain_are_refused(options, message):
    with pytest.raises(SolverOptionError, match=message) as caught:
        CaputoPECE(**options)
    assert caught.value.remedy


def test_caputo_problems_it_cannot_solve_are_refused():
    with pytest.raises(SolverOptionError, match="looks back only"):
        CaputoPECE(0.5, num_steps=4).solve(Forced(lambda t, y: -y), ONE, [1.0, 0.0])
    with pytest.raises(NonFiniteStateError, match="not finite"):
        CaputoPECE(0.5, num_steps=4).solve(Forced(lambda t, y: y / 0), ONE, [0.0, 1.0])
