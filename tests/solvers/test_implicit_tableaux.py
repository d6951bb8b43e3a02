"""Order conditions by rooted trees, and stability, of the implicit methods' coefficients."""

from itertools import product
from math import prod

import numpy as np
import pytest

from integrand.solvers import SDIRK3, KenCarp4, Kvaerno5, Rodas5P

DIAGONAL = [SDIRK3, Kvaerno5, KenCarp4]


def trees(order):
    """Rooted trees with `order` vertices, each a sorted tuple of its subtrees."""
    return _forests(order - 1, order - 1)


def _forests(vertices, largest):
    if vertices == 0:
        return [()]
    found = []
    for first in range(min(vertices, largest), 0, -1):
        for rest in _forests(vertices - first, first):
            found += [
                (tree, *rest)
                for tree in trees(first)
                if not rest or (size(rest[0]), rest[0]) <= (first, tree)
            ]
    return found


def size(tree):
    return 1 + sum(map(size, tree))


def density(tree):
    return size(tree) * prod(map(density, tree))


def residuals(b, order, stage):
    """Σ b_i Φ_i(τ) - 1/γ(τ) of all trees of one order; `stage` makes Φ of a vertex from those of its children."""

    def weight(tree):
        return stage([weight(child) for child in tree])

    return [b @ weight(tree) - 1 / density(tree) for tree in trees(order)]


def runge_kutta(a):
    ones = np.ones(len(a))
    return lambda children: prod((a @ child for child in children), start=ones)


def rosenbrock(alpha, beta):
    """β where a vertex has one child, α where it has more; Hairer, Wanner (1996), IV.7, theorem 7.3."""
    ones = np.ones(len(alpha))

    def stage(children):
        matrix = beta if len(children) == 1 else alpha
        return prod((matrix @ child for child in children), start=ones)

    return stage


def square(rows, n, diagonal=0.0, first=True):
    a = np.zeros((n, n))
    for i, row in enumerate(rows):
        a[i, : len(row)] = row
        if i or first:
            a[i, i] = diagonal
    return a


def implicit(tableau):
    return square(tableau.a, len(tableau.c), tableau.gamma, first=not tableau.explicit_first)


def test_numbers_of_rooted_trees():
    """1, 1, 2, 4, 9, 20: the list that the other tests go through is whole."""
    assert [len(trees(n)) for n in range(1, 7)] == [1, 1, 2, 4, 9, 20]
    assert all(len(set(trees(n))) == len(trees(n)) for n in range(1, 7))


@pytest.mark.parametrize("method", DIAGONAL)
def test_diagonally_implicit_methods_have_their_orders_and_no_more(method):
    tableau = method.tableau
    a = implicit(tableau)
    np.testing.assert_allclose(a.sum(1), tableau.c, atol=1e-14)
    stage = runge_kutta(a)
    for b, order in ((tableau.b, method.order), (tableau.b_low, tableau.error_order)):
        for k in range(1, order + 1):
            np.testing.assert_allclose(residuals(np.array(b), k, stage), 0, atol=3e-15 * 10)
        assert np.abs(residuals(np.array(b), order + 1, stage)).max() > 1e-5


@pytest.mark.parametrize("method", DIAGONAL)
def test_diagonally_implicit_methods_are_l_stable(method):
    """|R| ≤ 1 on the imaginary axis, no pole on the left of it (γ > 0), and R(∞) = 0."""
    tableau = method.tableau
    a, b = implicit(tableau), np.array(tableau.b)

    def growth(z, weights=b):
        return abs(1 + z * weights @ np.linalg.solve(np.eye(len(a)) - z * a, np.ones(len(a))))

    assert max(growth(1j * y) for y in np.geomspace(1e-2, 1e6, 300)) <= 1 + 1e-9
    assert growth(-1e9) < 1e-6


@pytest.mark.parametrize("method", DIAGONAL)
def test_first_guesses_are_polynomials_in_the_nodes(method):
    """Exact for a field that is constant, and for a linear one where two or more stages are used."""
    tableau = method.tableau
    c = np.array(tableau.c)
    for i, row in enumerate(tableau.guess_rows):
        if not any(row):
            continue
        used = np.count_nonzero(row)
        for degree in range(used):
            assert np.array(row) @ c[:i] ** degree == pytest.approx(c[i] ** degree, rel=1e-12)


def test_kvaernos_guesses_look_back_from_every_stage_but_the_first():
    rows = Kvaerno5.tableau.guess_rows
    assert [len(row) for row in rows] == list(range(7))
    assert [np.count_nonzero(row) for row in rows[1:]] == [1, 2, 3, 2, 3, 3]


def test_kencarp4_is_of_its_order_in_every_mixture_of_its_parts():
    """Every vertex of a tree below the root may be of either part: all colourings of the edges."""
    tableau = KenCarp4.tableau
    b = np.array(tableau.b)
    matrices = implicit(tableau), square(tableau.explicit, len(b))
    np.testing.assert_allclose(matrices[1].sum(1), tableau.c, atol=1e-14)
    ones = np.ones(len(b))

    def weights(tree):
        """Φ of all colourings of the edges below."""
        below = [[m @ w for m in matrices for w in weights(child)] for child in tree]
        return [prod(chosen, start=ones) for chosen in product(*below)]

    for order, row in ((4, b), (3, np.array(tableau.b_low))):
        for k in range(1, order + 1):
            for tree in trees(k):
                for w in weights(tree):
                    assert row @ w == pytest.approx(1 / density(tree), abs=1e-13)


def _classical(tableau):
    """α, Γ and b of the usual form, from A = αΓ⁻¹, C = diag(1/γ) - Γ⁻¹, m = bΓ⁻¹."""
    n = len(tableau.c)
    inverse = np.eye(n) / tableau.gamma - square(tableau.m, n)
    gamma = np.linalg.inv(inverse)
    return square(tableau.a, n) @ gamma, gamma


def test_rodas5p_has_its_orders_and_no_more():
    tableau = Rodas5P.tableau
    alpha, gamma = _classical(tableau)
    np.testing.assert_allclose(alpha.sum(1), tableau.c, atol=1e-12)
    np.testing.assert_allclose(gamma.sum(1), tableau.d, atol=1e-12)
    stage = rosenbrock(alpha, alpha + gamma)
    low = np.array(tableau.b) - np.array(tableau.e)
    # coefficients of up to 165 in 16 digits
    for b, order in ((np.array(tableau.b), 5), (low, 4)):
        for k in range(1, order + 1):
            np.testing.assert_allclose(residuals(b @ gamma, k, stage), 0, atol=1e-12)
        assert np.abs(residuals(b @ gamma, order + 1, stage)).max() > 1e-5


def test_rodas5p_is_l_stable():
    tableau = Rodas5P.tableau
    alpha, gamma = _classical(tableau)
    b, beta = np.array(tableau.b) @ gamma, alpha + gamma

    def growth(z):
        return abs(1 + z * b @ np.linalg.solve(np.eye(len(b)) - z * beta, np.ones(len(b))))

    assert max(growth(1j * y) for y in np.geomspace(1e-2, 1e6, 300)) <= 1 + 1e-9
    assert growth(-1e9) < 1e-6


@pytest.mark.parametrize("theta", [0.2, 0.5, 0.9])
def test_rodas5p_dense_output_is_of_order_4(theta):
    tableau = Rodas5P.tableau
    alpha, gamma = _classical(tableau)
    p1, p2, p3 = map(np.array, tableau.dense)
    row = theta * (np.array(tableau.b) + (1 - theta) * (p1 + theta * (p2 + theta * p3)))
    stage = rosenbrock(alpha, alpha + gamma)
    for k in range(1, 5):
        for tree, residual in zip(trees(k), residuals(row @ gamma, k, stage), strict=True):
            assert residual + 1 / density(tree) == pytest.approx(theta**k / density(tree), abs=1e-12)
