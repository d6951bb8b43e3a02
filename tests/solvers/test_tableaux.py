"""Identities that every tableau must fulfil, and the order that the steps really have."""

import numpy as np
import pytest
import torch
from scipy.integrate._ivp.rk import RK23, RK45

from integrand.registry import import_package, subclasses
from integrand.solvers import RK4, Bosh3, Dopri5, Dopri8, RungeKutta, Tsit5
from integrand.solvers.runge_kutta import Tableau

import_package("integrand.solvers")
METHODS = [m for m in subclasses(RungeKutta) if hasattr(m, "tableau")]
PAIRS = [m for m in METHODS if m.tableau.b_low is not None]


def matrix(tableau):
    a = np.zeros((tableau.stages, tableau.stages))
    for i, weights in enumerate(tableau.a):
        a[i, : len(weights)] = weights
    return a, np.array(tableau.c)


def conditions(a, c, b):
    """Residuals of the order conditions, grouped by order up to 4 (Hairer 1993, table II.2.1)."""
    return {
        1: [b.sum() - 1],
        2: [b @ c - 1 / 2],
        3: [b @ c**2 - 1 / 3, b @ a @ c - 1 / 6],
        4: [b @ c**3 - 1 / 4, b @ (c * (a @ c)) - 1 / 8, b @ a @ c**2 - 1 / 12, b @ a @ a @ c - 1 / 24],
    }


def check_weights(method):
    a, c = matrix(method.tableau)
    # the decimals of Tsitouras carry 16 digits, the fractions of Prince and Dormand 18
    np.testing.assert_allclose(a.sum(1), c, atol=2e-14)
    for order, residuals in conditions(a, c, np.array(method.tableau.b)).items():
        if order <= method.order:
            np.testing.assert_allclose(residuals, 0, atol=2e-14)
    # quadrature conditions of the higher orders
    for k in range(1, method.order + 1):
        assert np.array(method.tableau.b) @ c ** (k - 1) == pytest.approx(1 / k, abs=2e-14)


@pytest.mark.parametrize("method", METHODS)
def test_rows_sum_to_the_nodes_and_b_fulfils_its_order_conditions(method):
    check_weights(method)


def made_up(*weights):
    """Kutta's third-order method with weights of the test's choice; discovered by nobody else."""

    class MadeUp:
        order = 3
        tableau = Tableau(c=(0.0, 0.5, 1.0), a=((), (0.5,), (-1.0, 2.0)), b=weights)

    return MadeUp


def test_a_method_with_wrong_weights_is_noticed():
    """Weights that sum to 5/6, and weights that sum to 1 but miss ∫c = 1/2."""
    check_weights(made_up(1 / 6, 2 / 3, 1 / 6))
    for wrong in ((1 / 6, 1 / 2, 1 / 6), (1 / 3, 1 / 3, 1 / 3)):
        with pytest.raises(AssertionError):
            check_weights(made_up(*wrong))


def test_every_method_is_discovered():
    """A file in the package is enough to be checked."""
    assert {RK4, Bosh3, Dopri5, Dopri8, Tsit5} <= set(METHODS)
    assert len(METHODS) >= 11


@pytest.mark.parametrize("method", PAIRS)
def test_embedded_weights_have_their_order_and_no_more(method):
    a, c = matrix(method.tableau)
    low = np.array(method.tableau.b_low)
    order = method.tableau.error_order if method.tableau.error_order < method.order else method.order + 1
    for k, residuals in conditions(a, c, low).items():
        if k <= order:
            np.testing.assert_allclose(residuals, 0, atol=2e-14)
    quadrature = [abs(low @ c ** (k - 1) - 1 / k) for k in range(1, order + 2)]
    assert max(quadrature[:order]) < 2e-14
    assert abs(sum(method.tableau.b) - sum(low)) < 2e-14
    assert any(x != y for x, y in zip(method.tableau.b, low, strict=True))


@pytest.mark.parametrize("method", [m for m in METHODS if m.tableau.dense is not None])
def test_dense_output_meets_both_ends_and_its_order(method):
    a, c = matrix(method.tableau)
    order = {Bosh3: 3}.get(method, method.order - 1)
    for theta in (0.2, 0.5, 0.9, 1.0):
        b = np.zeros(method.tableau.stages)
        for i, w in method.tableau.interpolant.weights(theta):
            b[i] = w
        for k in range(1, order + 1):
            assert b @ c ** (k - 1) == pytest.approx(theta**k / k, abs=2e-14)
        # with one of the tree conditions of order 3 that quadrature does not see
        assert b @ a @ c == pytest.approx(theta**3 / 6, abs=2e-14)
    np.testing.assert_allclose(b, method.tableau.b, atol=2e-14)


def test_dense_output_is_scipys():
    np.testing.assert_allclose(Dopri5.tableau.dense, RK45.P, rtol=1e-14)
    np.testing.assert_allclose(Bosh3.tableau.dense, RK23.P, rtol=1e-14)


@pytest.mark.parametrize("method", METHODS)
def test_stability_interval(method):
    """|R(z)| ≤ 1 on (-stability, 0) and not beyond, R from the tableau."""
    a, _ = matrix(method.tableau)
    b, n = np.array(method.tableau.b), method.tableau.stages

    def growth(z):
        return abs(1 + z * b @ np.linalg.solve(np.eye(n) - z * a, np.ones(n)))

    limit = method.tableau.stability
    assert all(growth(-x) <= 1 + 1e-12 for x in np.linspace(1e-3, 0.99 * limit, 200))
    assert growth(-1.02 * limit) > 1


@pytest.mark.parametrize("method", METHODS)
def test_convergence_slope_is_the_declared_order(method, fields):
    """Least-squares slope of the error on a non-linear, time-dependent network field, in float64.

    Step numbers lie between the asymptotic range and rounding (errors from 1e-2 to 1e-14, rounding at 4e-15);
    order 8 fits only between 14 and 24 steps, on a field where the ninth-order term is small.
    """
    field = fields["tanh"](scale=1.25, seed=2) if method.order == 8 else fields["tanh"](scale=1.5)
    y0 = torch.randn(64, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    numbers = {1: (512, 1024), 2: (64, 128, 256), 3: (64, 128, 256), 5: (64, 96, 128), 8: (14, 16, 20, 24)}
    chosen = numbers.get(method.order, (32, 64, 128))
    with torch.no_grad():
        truth = Dopri8(num_steps=200).solve(field, y0, [0.0, 2.0]).ys[-1]
        ends = [method(num_steps=n).solve(field, y0, [0.0, 2.0]).ys[-1] for n in chosen]
    errors = [(end - truth).norm().item() / truth.norm().item() for end in ends]
    slope = -np.polyfit(np.log(chosen), np.log(errors), 1)[0]
    assert slope == pytest.approx(method.order, abs=0.15)
